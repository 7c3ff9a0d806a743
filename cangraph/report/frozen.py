"""`cangraph freeze` and `cangraph unseen`: what a claim rests on, before and after it is tried.

A record of `freeze` names the code, the constants, the weights and the rule for alarms, and all
captures that were known then. `unseen` measures captures that are not among these, by that very
state, and gives the rows and the lines of the register that cite the record.
"""

import hashlib
import json
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cangraph.data.graphs import to_graphs
from cangraph.data.protocol import FROZEN, NEVER, content, register, state_of
from cangraph.deploy.box import boxed, takes_detector
from cangraph.deploy.detector import Exported, this_code
from cangraph.evaluation.alarms import event_metrics, evidence_constants
from cangraph.evaluation.scores import by_capture
from cangraph.evaluation.stats import with_rate
from cangraph.files import apart, file_sha256, put, sealed, unsealed
from cangraph.frames import Frames
from cangraph.io.readers import read_frames
from cangraph.params import versions
from cangraph.report.tables import show

_RESTS_ON = ("code", "constants", "detector", "rule", "stride")  # a claim; versions are only told
_RATE = "false_alarms_per_hour"
_SHOWN = ["capture", "auroc", "f1", "events", "found", "delay_of_all", "false_alarms",
          "benign_hours", _RATE, f"{_RATE}_low", f"{_RATE}_high", "state"]  # fmt: skip


def code_hash() -> str:
    """The hash of all source files of the package, by name and content."""
    package = Path(__file__).parents[1]
    files = sorted(path for path in package.rglob("*.*") if path.suffix in (".py", ".c"))
    hashed = {path.relative_to(package).as_posix(): file_sha256(path) for path in files}
    return hashlib.sha256(json.dumps(hashed).encode()).hexdigest()


def frozen(detector: Exported) -> dict[str, Any]:
    """The state of now that a claim about a detector rests on, and when it was written down (UTC);
    `sha256` is that of the rest."""
    record = {
        "code": code_hash(),
        "constants": this_code() | {"evidence": evidence_constants()},
        "detector": detector.sha256,
        "rule": list(detector.rule),
        "stride": detector.about["stride"],
        "versions": versions(),
        "opened": sorted(register()),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.loads(sealed(record))


def thawed(path: Path, detector: Exported) -> dict[str, Any]:
    """The record in a file. Raises `ValueError` where it was changed, or where what it rests on is
    not what is here now."""
    record, now = json.loads(sealed(unsealed(path))), frozen(detector)
    if other := [name for name in _RESTS_ON if now[name] != record.get(name)]:
        do = "expected the state that was frozen; check out its code and give its --detector"
        raise ValueError(f"{path}: other {', '.join(other)} than in the record; {do}")
    return record


def unseen(record: dict, detector: Exported, captures: Sequence[Frames]) -> list[dict]:
    """A row for each capture: window metrics, attacks found, false alarms with hours and interval,
    and its `entry` for the register. Raises `ValueError` for a capture that was known before."""
    for capture in captures:
        if content(capture) in record["opened"] or state_of([capture]) != NEVER:
            do = "expected one that was never opened; its score is one of development"
            raise ValueError(f"{capture.name}: the register knows it ({state_of([capture])}); {do}")
    opened = datetime.now(UTC).isoformat(timespec="seconds")
    if opened <= record["written"]:
        raise ValueError(f"the record is of {record['written']}, and it is {opened}; wait a second")
    rows = []
    for capture in captures:
        scores = detector.score(to_graphs([capture], int(detector.about["window"]),
                                          int(detector.about["stride"])))  # fmt: skip
        entry = [FROZEN, record["code"][:12], capture.name, record["sha256"], opened]
        row = with_rate(event_metrics(scores, *detector.rule))
        row |= by_capture(scores, detector.rule.at)[0] | {"state": FROZEN}
        rows.append(row | {"content": content(capture), "entry": entry})
    return rows


def run_freeze(arguments: Sequence[str]) -> int:
    """Run `cangraph freeze`; returns its exit status."""
    about = "Write down what a claim rests on, before the captures are opened that it is tried on."
    parser = ArgumentParser("cangraph freeze", description=about)
    parser.add_argument("-o", "--out", type=Path, required=True, help="the record, frozen.json")
    takes_detector(parser)
    given = parser.parse_args(arguments)
    apart(given.out, [given.detector])
    record = frozen(Exported(given.detector or boxed()))
    put(given.out, json.dumps(record, indent=1).encode())
    print(f"{given.out}: record {record['sha256'][:16]} of {record['written']}")
    return 0


def run_unseen(arguments: Sequence[str]) -> int:
    """Run `cangraph unseen`; returns its exit status."""
    about = "Measure a frozen detector on labelled logs that were never opened before."
    parser = ArgumentParser("cangraph unseen", description=about)
    parser.add_argument("record", type=Path, help="what `cangraph freeze` wrote")
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("--detector", type=Path, help="the ONNX file that was frozen")
    given = parser.parse_args(arguments)
    detector = Exported(given.detector or boxed())
    record = thawed(given.record, detector)
    logs = [read_frames(path, strict=False) for path in given.logs]
    for path, log in zip(given.logs, logs, strict=True):
        print(f"{path}: {len(log):,} frames, {log.report.refused:,} rows refused")
    rows = unseen(record, detector, [part for log in logs for part in log.by_bus().values()])
    print(show(rows, _SHOWN, digits=3))
    print("These captures are opened now. For params/protocol.yaml:")
    for row in rows:
        print(f"  '{row['content']}': {json.dumps(row['entry'])}")
    return 0
