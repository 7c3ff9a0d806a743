"""The register of captures: what it may claim, and what changing it by hand does."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from cangraph.data import protocol
from cangraph.data.protocol import DEVELOPED, FROZEN, NEVER, SIMULATED, TRAINED, Entry
from cangraph.frames import Frames

ROOT = Path(__file__).parents[2]
RECORDS = [json.loads(p.read_text()) for p in sorted((ROOT / "docs").glob("frozen/*.json"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
UNSEEN = re.compile(r"\b(unseen|never opened|frozen before)\b")


def capture(*ids, **where):
    return Frames(np.arange(len(ids), dtype=float), np.array(ids)).label(**where)


def test_the_register_claims_no_more_than_its_records_show():
    protocol.check(protocol.register(), RECORDS)


def test_the_captures_of_the_published_sets_are_in_the_register():
    mine = [e for e in protocol.register().values() if e.name.startswith(("hcrl_sa/", "set_04/"))]
    assert len(mine) == 35
    for entry in mine:
        assert entry.state == (TRAINED if "/train_" in entry.name else DEVELOPED), entry.name


def test_a_state_that_is_changed_by_hand_is_refused_with_the_name_of_the_capture():
    entries = protocol.register()
    key, entry = next((k, e) for k, e in entries.items() if "DoS-spark" in e.name)
    record = {"sha256": "f00", "written": "2026-01-01T00:00:00+00:00", "opened": []}
    later = "2026-01-02T00:00:00+00:00"
    by_hand = entries | {key: entry._replace(state=FROZEN)}
    with pytest.raises(ValueError, match=r"DoS-spark .* cites no record"):
        protocol.check(by_hand, RECORDS)
    cited = {key: entry._replace(state=FROZEN, record="f00", opened=later)}
    with pytest.raises(ValueError, match=r"DoS-spark.*its record knows it"):
        protocol.check(cited, [record | {"opened": [key]}])
    with pytest.raises(ValueError, match=r"2026-01-02.*opened 2026-01-02.*older"):
        protocol.check(cited, [record | {"written": later}])
    protocol.check(cited, [record])  # written before, by who did not know the capture


@pytest.mark.parametrize("row", [[NEVER, "abc", "x"], ["unseen", "abc", "x"], [DEVELOPED, "abc"]])
def test_an_entry_that_is_none_is_refused(tmp_path, row):
    path = tmp_path / "protocol.yaml"
    path.write_text(yaml.safe_dump({"captures": {"00ff": row}}))
    with pytest.raises(ValueError, match=r"protocol.yaml: 00ff"):
        protocol.register(path)


def test_captures_together_are_as_known_as_the_one_that_is_known_best():
    first, second, third = capture(1), capture(1, 2), capture(1, 2, 3)
    entries = {
        protocol.content(first): Entry(TRAINED, "abc", "first"),
        protocol.content(second): Entry(FROZEN, "abc", "second", "f00", "2026"),
    }
    assert protocol.state_of([first, second], entries) == TRAINED
    assert protocol.state_of([second, third], entries) == FROZEN
    assert protocol.state_of([third], entries) == NEVER
    named = [capture(1, 2, 3, scenario="test_01"), capture(4, scenario="test_02")]
    assert set(protocol.states("demo", named).values()) == {SIMULATED}
    assert protocol.states("set_01", named) == {"test_01": NEVER, "test_02": NEVER}


# what pages say


def test_the_page_counts_what_the_register_holds():
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    counted = Counter((e.name.split("/")[0], e.state) for e in protocol.register().values())
    said = re.findall(
        r"^\| `?(\w+)/?`? \| (trained|developed on|frozen.*?) \| (\d+) \|", text, re.M
    )
    assert {(dataset, state): int(n) for dataset, state, n in said} == counted


def refused(text, entries):
    """The rows of tables in a text that call a dataset of the register unseen, all of whose
    captures were opened before."""
    opened = {e.name.split("/")[0] for e in entries.values() if e.state != FROZEN}
    rows = [line for line in text.splitlines() if line.startswith("|") and UNSEEN.search(line)]
    return [row for row in rows if any(name in row for name in opened)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_table_calls_unseen_what_was_developed_on(page):
    assert refused(page.read_text(encoding="utf-8"), protocol.register()) == []


def test_a_table_that_does_so_is_refused():
    entries = {"00": Entry(DEVELOPED, "abc", "hcrl_sa/test_01/DoS")}
    table = "| GAT, unseen | hcrl_sa | .99 |\n| hcrl_sa | developed on | .99 |\n| set_01 | unseen |"
    assert refused(table, entries) == ["| GAT, unseen | hcrl_sa | .99 |"]
