"""Which captures were opened while the code was made, and what may be claimed of them.

`params/protocol.yaml` is the register: of each capture, by its `content`, the state and the commit
since when. A capture that is not in it was never opened; once a claim has been measured on it, it
was *frozen before it was opened*, and its entry cites the record that `cangraph freeze` wrote
before. `check` refuses a register that claims more than its records show.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from cangraph.frames import Frames
from cangraph.params import parameter_files

TRAINED, DEVELOPED = "trained", "developed on"
FROZEN, NEVER, SIMULATED = "frozen before it was opened", "never opened", "simulated"
_WORST = (TRAINED, DEVELOPED, FROZEN, NEVER, SIMULATED)  # of several captures the first counts
_COLUMNS = ("arbitration_id", "dlc", "data", "attack")


class Entry(NamedTuple):
    """A capture of the register: its state, the commit since when it has it, its name, and, of one
    that was frozen, the `content` of its record and the UTC time when it was opened (ISO 8601)."""

    state: str
    since: str
    name: str
    record: str = ""
    opened: str = ""


def content(frames: Frames) -> str:
    """A hash of times, IDs, payloads and labels: the same in whatever format they are kept.

    >>> content(Frames(np.arange(2.0), np.array([1, 2])))
    '6dc39dcbc45e519d'
    """
    # readers of other formats may round otherwise in the last bit
    digest = hashlib.sha256(np.rint(frames.timestamp * 1e6).astype(np.int64).tobytes())
    for name in _COLUMNS:
        digest.update(getattr(frames, name).tobytes())
    return digest.hexdigest()[:16]


def register(path: Path | None = None) -> dict[str, Entry]:
    """The entries of the register by content. Raises `ValueError` for one that is not one."""
    path = path or parameter_files()["protocol"]
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))["captures"]
    found = {}
    for key, row in rows.items():
        if not 3 <= len(row) <= len(Entry._fields) or row[0] not in (TRAINED, DEVELOPED, FROZEN):
            expected = f"expected {TRAINED}, {DEVELOPED} or {FROZEN}, the commit and the name"
            raise ValueError(
                f"{path}: {key}: {row}; {expected}; what was never opened has no entry"
            )
        found[key] = Entry(*map(str, row))
    return found


def check(entries: Mapping[str, Entry], records: Iterable[Mapping]) -> None:
    """Raise `ValueError`, with the capture's name, unless each frozen entry cites one of `records`
    that was written before the capture was opened and that does not know it."""
    known = {record["sha256"]: record for record in records}
    for key, entry in entries.items():
        if entry.state != FROZEN:
            continue
        record, do = known.get(entry.record), f"call it {DEVELOPED}, or cite the record"
        where = f"protocol: {entry.name} is called {FROZEN}"
        if record is None:
            raise ValueError(
                f"{where} and cites no record; expected one of `cangraph freeze`; {do}"
            )
        if not entry.opened or record["written"] >= entry.opened:
            came = f"its record is of {record['written']} and it was opened {entry.opened or '?'}"
            raise ValueError(f"{where}, but {came}; expected a record that is older; {do}")
        if key in record["opened"]:
            raise ValueError(f"{where}, but its record knows it; expected one from before; {do}")


def state_of(captures: Sequence[Frames], entries: Mapping[str, Entry] | None = None) -> str:
    """The state of captures together: that of the one that was known best.

    >>> state_of([Frames([0.0], [1])])
    'never opened'
    """
    entries = register() if entries is None else entries
    found = {entries[key].state if (key := content(c)) in entries else NEVER for c in captures}
    return min(found, key=_WORST.index)


def states(dataset: str, captures: Sequence[Frames]) -> dict[str, str]:
    """The state of each scenario of a dataset; what the demo simulates was never anybody's."""
    entries, found = register(), {}
    for scenario in dict.fromkeys(capture.scenario for capture in captures):
        mine = [capture for capture in captures if capture.scenario == scenario]
        found[scenario] = SIMULATED if dataset == "demo" else state_of(mine, entries)
    return found
