"""What a monitor remembers, in one file: bound to its detector, its settings and what it watches;
whole, or set aside."""

import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np

from cangraph.deploy.incidents import Case
from cangraph.deploy.monitor import COUNTED, Buses, Event
from cangraph.deploy.reasons import Cause, Tally
from cangraph.evaluation.alarms import Evidence, Seen
from cangraph.features.baseline import arrays_of
from cangraph.files import put

_LARGEST = 1 << 29  # bytes; made-up IDs of CAN FD on four buses do not fill more
_BEGINS = b"PK\3\4state.npy"  # a file of numpy, and 26 bytes later the name of its first array
# what the facts of a state are like: lists of any length, tuples as long as here, dicts with these
# keys ("?": its value may be null, "*": any, "...": others too), numbers that are finite, whole
# ones at least 0
_SEEN = tuple(get_type_hints(Seen).values())
_EVIDENCE = dict.fromkeys(vars(Evidence()), float)
_WATCH = {"last": [_SEEN], "evidence": _EVIDENCE, "time": float, "on": bool, "between?": _SEEN}
_WATCH |= {"alarm?": (str, float, float, float, _SEEN, float, bool)}
_MONITOR = {"watch": _WATCH, "clean?": [float], "count": dict.fromkeys(COUNTED, int), "at": float}
_MONITOR |= {"time": float, "passed": int, "told": int, "origin": float}
_TURN = {"id": str, "attack": str, "peak": float, "delay": float, "...": None}
_FRAME = {"before": str, "after": str, "changed": [int], "...": None}
_WHY: dict[str, Any] = dict.fromkeys(("id", "kind", "cause", "why", "sure", "name"), str)
_WHY |= {"many": int, "blamed": {"*": int}, "reasons": [dict], "frame?": _FRAME, "...": None}
_TALLY = get_type_hints(Tally) | {"blamed": {"*": {"*": int}}}
_CASE = get_type_hints(Case) | {"turn": _TURN, "facts": _WHY, "tally": _TALLY}
_INCIDENTS = {"cases": {"*": _CASE}, "number": int, "untold": int, "ids": [str], "first": float}
_FACTS = {"settings": dict, "source": (str, int, str), "since": {"*": float}, "unsaid": [dict]}
_FACTS |= {"buses": {"*": _MONITOR}, "incidents": _INCIDENTS}
_REMEDY = "start it as it was, give another --state, or delete it"


class SpoiltStateError(ValueError):
    """A state that a monitor saved, and that none can go on from: it is damaged, or its log is
    gone."""


class Source(NamedTuple):
    """What is watched: the `name` of the buses, or of a `log`, and then the hash of the first
    `size` bytes."""

    name: str
    log: Path | None = None
    size: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, log: Path) -> "Source":
        """A log as it is now; it may grow. Raises `ValueError` for what is no file."""
        if not log.is_file():
            raise ValueError(f"{log}: no file; expected one where a --state is kept; save it first")
        size = log.stat().st_size
        return cls(str(log), log, size, _sha256(log, size))


def _sha256(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while size > 0 and (block := stream.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def check_place(path: Path) -> None:
    """Raises `ValueError` where a state would replace what is no file: a link, a device, a pipe, a
    folder."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        came = f"{path}: a link, a folder, a device or a pipe"
        raise ValueError(f"{came}; expected a file, or nothing yet; give another --state")


def save_state(path: Path, buses: Buses, source: Source, unsaid: Iterable[Event] = ()) -> None:
    """Write the state of `buses`, and events that are `unsaid`, to a file: whole or not at all.
    Raises `OSError`, and `ValueError` as `check_place` does, where that cannot be done."""
    states = {bus: monitor.state() for bus, monitor in buses.of.items()}
    facts: dict[str, Any] = {
        "settings": buses.pattern.settings(),
        "unsaid": [*unsaid],
        "since": buses.since,
        "incidents": buses.incidents,
    }
    facts |= {"source": [source.name, source.size, source.sha256]}
    facts |= {"buses": {bus: mine for bus, (mine, _) in states.items()}}
    arrays = {"state": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    for number, (_, mine) in enumerate(states.values()):
        arrays |= {f"{number}/{name}": array for name, array in mine.items()}
    arrays["sha256"] = np.frombuffer(_digest(arrays), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    check_place(path)
    put(path, buffer.getvalue())


def resume_state(path: Path, buses: Buses, source: Source) -> list[Event]:
    """Let `buses` go on from a file that `save_state` wrote; returns the events yet unsaid.

    Raises `SpoiltStateError` for a file that is damaged, or whose log has other content now, and
    `ValueError` for one of another detector, settings or source, and for what is no state.
    """
    check_place(path)
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    ours = _BEGINS.startswith(content[:4] + content[30:39]) or _BEGINS[4:] in content
    if not ours and content.strip(b"\0"):  # a file system may leave zeros
        came = f"{path}: no state of a monitor"
        raise ValueError(f"{came}; expected what one saved; give another --state, or delete it")
    with _spoilt(path):
        arrays = _arrays(content)
        facts = json.loads(arrays["state"].tobytes())
        if not _is(facts, _FACTS) or not facts["since"].keys() <= facts["buses"].keys():
            raise ValueError("its facts are none that a monitor notes")
        for case in facts["incidents"]["cases"].values():
            Cause(case["facts"]["cause"])
            ids = case["facts"]["id"], case["turn"]["id"], *case["tally"]["blamed"]
            [int(name, 16) for name in ids]  # raises where one is none
        settings, (name, size, sha256) = facts["settings"], facts["source"]
        same_content = source.log is not None and size and _sha256(source.log, size) == sha256
    here = buses.pattern.settings()
    odd = [key for key in here if settings.get(key) != here[key]]
    if odd:
        came = f"{path}: saved with another {' and '.join(odd)}"
        raise ValueError(f"{came}; expected the same as now; {_REMEDY}")
    if not same_content and name != source.name:
        raise ValueError(f"{path}: saved at {name}; expected {source.name}; {_REMEDY}")
    if not same_content and source.log is not None:
        raise SpoiltStateError(f"{path}: {name} has other content now")
    with _spoilt(path):
        of = {bus: buses.make(bus=bus) for bus in facts["buses"]}
        for number, (bus, mine) in enumerate(facts["buses"].items()):
            begin = f"{number}/"
            named = {k.removeprefix(begin): v for k, v in arrays.items() if k.startswith(begin)}
            of[bus].restore(mine, named)
        buses.of |= of
        buses.since, buses.incidents = facts["since"], facts["incidents"]
        return facts["unsaid"]


@contextmanager
def _spoilt(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # zip, json, numpy: whatever reading raises
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        raise SpoiltStateError(f"{path}: not as a monitor saved it ({why})") from error


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file, if they are those that were saved."""
    if len(content) > _LARGEST:
        raise ValueError("it is larger than any state")
    arrays = arrays_of(content, _LARGEST)
    if _digest(arrays) != arrays["sha256"].tobytes():
        raise ValueError("its content and its hash disagree")
    return arrays


def _digest(arrays: dict[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays.keys() - {"sha256"}):
        for of, array in _fields(name, arrays[name]):
            digest.update(f"{of} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return digest.digest()


def _fields(name: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """An array, or those of its fields, since nobody fills the bytes between them."""
    if array.dtype.names is None:
        yield name, array
    for field in array.dtype.names or ():
        yield from _fields(f"{name}.{field}", array[field])


def _is(value: Any, model: Any) -> bool:
    """Whether what JSON held is like a model (see `_FACTS`)."""
    if isinstance(model, list):
        return isinstance(value, list) and all(_is(each, model[0]) for each in value)
    if isinstance(model, tuple):
        fits = isinstance(value, list) and len(value) == len(model)
        return fits and all(map(_is, value, model))
    if isinstance(model, dict) and isinstance(value, dict):
        if "*" in model:
            return all(_is(each, model["*"]) for each in value.values())
        named = {n.rstrip("?"): (n[-1] == "?", of) for n, of in model.items() if n != "..."}
        others = value.keys() - named.keys()
        return (
            value.keys() >= named.keys()
            and ("..." in model or not others)
            and all(
                (none and value[name] is None) or _is(value[name], of)
                for name, (none, of) in named.items()
            )
        )
    if model is float and type(value) in (int, float):
        return math.isfinite(value)
    return type(value) is model and (model is not int or 0 <= value < 1 << 53)


def set_aside(path: Path) -> Path:
    """Give a file another name, which it returns: nothing is overwritten."""
    free = (path.with_name(f"{path.name}.aside-{number}") for number in count(1))
    aside = next(place for place in free if not os.path.lexists(place))
    path.rename(aside)
    return aside
