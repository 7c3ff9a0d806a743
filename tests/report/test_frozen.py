"""`cangraph freeze` and `cangraph unseen`: a claim, and captures that nobody knew."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from cangraph.__main__ import main
from cangraph.bus.attacks import inject
from cangraph.bus.simulator import simulate
from cangraph.data import protocol
from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported
from cangraph.files import sealed
from cangraph.io.writers import write_frames
from cangraph.report import frozen


@pytest.fixture(scope="module")
def detector():
    return Exported(boxed())


@pytest.fixture(scope="module")
def before(detector):
    """A record of a minute ago."""
    return json.loads(resealed(frozen.frozen(detector), written=ago(60)))


def resealed(record, **changes):
    record = record | changes
    del record["sha256"]
    return sealed(record)


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture(scope="module")
def attacked():
    log = simulate("clover", 20.0, seed=4)
    return inject(log, "flooding", spans=[(10, 14)], seed=1).label(name="mine")


def test_whoever_brings_a_capture_makes_a_row_with_one_command(tmp_path, capsys, before, attacked):
    """As docs/protocol.md says, and the line it prints is one that the register takes."""
    record, log = tmp_path / "frozen.json", tmp_path / "mine.csv"
    assert main(["freeze", "-o", str(record)]) == 0
    record.write_bytes(resealed(before))
    write_frames(attacked, log)
    assert main(["unseen", str(record), str(log)]) == 0
    said = capsys.readouterr().out
    assert "1,000" not in said and protocol.FROZEN in said
    key, entry = re.search(r"  '(\w+)': (\[.*\])", said).groups()
    entries = {key: protocol.Entry(*json.loads(entry))}
    protocol.check(entries, [before])
    assert protocol.state_of([attacked], entries) == protocol.FROZEN


def test_a_row_has_its_hours_and_interval(detector, before, attacked):
    (row,) = frozen.unseen(before, detector, [attacked])
    assert (row["events"], row["found"], row["state"]) == (1, 1, protocol.FROZEN)
    assert row["auroc"] > 0.9 and 0 < row["benign_hours"] < 20 / 3600
    low, high = (row[f"false_alarms_per_hour_{end}"] for end in ("low", "high"))
    assert low <= row["false_alarms_per_hour"] < high


def test_what_was_known_is_no_unseen_row(detector, before, attacked):
    known = before | {"opened": [protocol.content(attacked)]}
    with pytest.raises(ValueError, match=r"mine: the register knows it"):
        frozen.unseen(known, detector, [attacked])
    with pytest.raises(ValueError, match="wait a second"):
        frozen.unseen(before | {"written": ago(-60)}, detector, [attacked])


def test_another_state_than_the_frozen_one_is_refused_by_name(tmp_path, detector, before):
    path = tmp_path / "frozen.json"
    path.write_bytes(resealed(before))
    assert frozen.thawed(path, detector) == before
    path.write_bytes(resealed(before, code="other", rule=[0.5, 2, 3]))
    with pytest.raises(ValueError, match="other code, rule than"):
        frozen.thawed(path, detector)
    constants = before["constants"] | {"evidence": {"sure": 4.0}}
    path.write_bytes(resealed(before, constants=constants))
    with pytest.raises(ValueError, match="other constants than"):
        frozen.thawed(path, detector)
    path.write_text(json.dumps(before | {"opened": []}, indent=1))
    with pytest.raises(ValueError, match=r"frozen.json: .*expected what its sha256 says"):
        frozen.thawed(path, detector)
