"""`cangraph scan`: whether a log looks under attack, when, on which bus, which ID, and why.

`scan` judges one log and returns what it found as one object; `scanpage` makes text and a page of
it. Its status is a `deploy.detector.Status`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from cangraph.deploy.detector import Exported, Status
from cangraph.deploy.monitor import Monitor
from cangraph.evaluation.alarms import event_metrics
from cangraph.evaluation.scores import Scores
from cangraph.extras import named_extra
from cangraph.frames import Frames
from cangraph.io.readers import read_frames
from cangraph.report import diagnosis
from cangraph.report.reasons import RARE, Own, newcomers, own_frames, why

_PIECE = 20_000  # frames between two steps of a progress bar
_DATED = 1e8  # s; timestamps above it count from 1970
_PAUSE = 0.5  # s without any frame on a bus
_WARM = 5.0  # s in which every ID that comes is taken for normal
_MANY = 3  # suspicious windows of an alarm that is sure
_RARE_ID = 9  # frames; an ID with fewer has no period
_ENDED = ("over", "ongoing")  # events that tell an alarm as a whole


class OneBus(NamedTuple):
    """One bus of a log: its `frames`, when its first one came (s since that of the log), the
    frames of each ID (if there was an alarm), and of its windows `start`, `end` and `value`,
    f8 (B, 3)."""

    frames: Frames
    since: float
    own: dict[int, Own]
    windows: np.ndarray


class Scan(NamedTuple):
    """What was found in a log: the `facts`, which JSON can hold, and what pictures are made of."""

    facts: dict[str, Any]
    streams: dict[str, OneBus]
    detector: Exported

    @property
    def status(self) -> Status:
        return Status(self.facts["status"])


class Names:
    """The messages and signals of a DBC (or .kcd, .arxml, .sym) file, by cantools.

    Raises `ValueError` for a file that cantools cannot read."""

    def __init__(self, path: Path | str):
        with named_extra("--dbc"):
            import cantools
        try:
            self.database: Any = cantools.database.load_file(path, strict=False)
        except OSError:
            raise
        except Exception as error:  # cantools' parsers share no class
            why = " ".join(str(error).split())[:120]
            came = f"{path}: no database of messages ({why})"
            raise ValueError(f"{came}; expected a .dbc file; give another") from error

    def message(self, arbitration_id: int) -> str:
        try:
            return self.database.get_message_by_frame_id(arbitration_id).name
        except KeyError:
            return ""

    def signals(self, arbitration_id: int, payload: str) -> dict[str, str]:
        """The signals of a payload (hexadecimal) as text; none where it is not as the file says."""
        try:
            message = self.database.get_message_by_frame_id(arbitration_id)
            values = message.decode(bytes.fromhex(payload), decode_choices=True)
            units = {signal.name: signal.unit or "" for signal in message.signals}
        except Exception:  # not in the file, or of another length: what cantools raises varies
            return {}
        return {name: f"{value} {units[name]}".strip() for name, value in values.items()}


def scan(
    log: Path | str | Frames,
    detector: Exported,
    names: Names | None = None,
    labels: bool | Path = False,
    console: Console | None = None,
    **reading: Any,
) -> Scan:
    """Read a log, whatever of it is readable, and judge each bus of it. With `labels` the alarms
    are compared with the attacks that the log itself names, or a file of intervals (see
    `io.intervals`); a `console` shows what is under way; `reading` is of `read_frames`, for a table
    of no known shape.

    Raises as `read_frames` does where nothing can be read.
    """
    intervals = labels if isinstance(labels, Path) else None
    console = console or Console(quiet=True)
    if isinstance(log, Frames):
        frames = log
    else:
        with console.status("reading"):
            frames = read_frames(log, strict=False, labels=intervals, **reading)
    streams, alarms, buses, diagnostics = {}, [], [], []
    parts = frames.by_bus()
    if len(parts) < 2:  # the only bus needs no name
        parts = {"": frames}
    for bus, part in parts.items():
        monitor, events = Monitor(detector, bus=bus), []
        pieces, quiet = [*part.chunks(_PIECE)], not console.is_terminal or console.quiet
        for piece in track(pieces, "judging", console=console, transient=True, disable=quiet):
            events += monitor.feed(piece)
        events += monitor.ongoing()
        seen = [[e["start"], e["time"], e["value"]] for e in events if e["event"] == "window"]
        windows = np.array(seen, float).reshape(-1, 3)
        since = float(part.timestamp[0] - frames.timestamp[0])
        alarmed = any(event["event"] in _ENDED for event in events)
        own = own_frames(part) if alarmed else {}  # costs as much as judging
        one = streams[bus] = OneBus(part, since, own, windows)
        mine = _alarms(bus, one, events, detector, names)
        alarms += mine
        buses.append(_bus(bus, one, mine, monitor, bool(labels)))
        diagnostics += [
            row | {"bus": bus, "id": f"{row['id']:03X}"} for row in diagnosis.conversations(part)
        ]
    alarms.sort(key=lambda alarm: alarm["begin"])
    judged, unjudged = min(b["windows"] for b in buses), sum(b["unjudged"] for b in buses)
    status = Status.of(len(alarms), frames.report.refused, len(frames), judged, unjudged)
    facts: dict[str, Any] = {"log": frames.name if isinstance(log, Frames) else str(log)}
    facts |= {
        "status": status.value,
        "verdict": _verdict(status, alarms, len(streams) > 1 or unjudged > 0),
    }
    facts |= {"read": _read(frames), "buses": buses}
    return Scan(facts | {"alarms": alarms, "diagnostics": diagnostics}, streams, detector)


def unreadable(log: Path | str, error: Exception, detector: Exported) -> Scan:
    """The scan of a log that cannot be read."""
    nothing: dict[str, Any] = {"buses": [], "alarms": [], "diagnostics": []}
    said = {"log": str(log), "verdict": "cannot be read", "why": str(error)}
    return Scan(nothing | said | {"status": Status.UNREADABLE.value}, {}, detector)


def _verdict(status: Status, alarms: Sequence[dict], some: bool) -> str:
    if status is Status.UNREADABLE:
        return "is mostly unreadable; the rest raises no alarm"
    if status is Status.NOT_JUDGED:
        return "is not judged in full" if some else "is too short to be judged"
    if status is Status.NOTHING:
        return "raises no alarm"
    sure = any(alarm["sure"] == "high" for alarm in alarms)
    return "looks under attack" if sure else "may be under attack"


def _alarms(
    bus: str, one: OneBus, events: Sequence[dict], detector: Exported, names: Names | None
) -> list[dict[str, Any]]:
    """The alarms of a bus, each once, as it was when it ended; one that was reopened is the same.
    Times are s since the log's first frame."""
    ended = [event for event in events if event["event"] in _ENDED]
    raised = list({event["since"]: event for event in ended}.values())
    ends = np.sort([event["time"] for event in raised])
    # what led to an alarm may have led to the one before, too
    first = [event["since"] - event["delay"] for event in raised]
    begins = np.maximum(np.sort(first), np.r_[-np.inf, ends[:-1]])
    windows = [event for event in events if event["event"] == "window"]
    return [_alarm(event, bus, one, windows, (begins, ends), names) for event in raised]


def _alarm(event, bus, one, windows, spans, names) -> dict[str, Any]:
    """What is said of one alarm, among the `spans` (begins, ends) of all."""
    begin, end = float(spans[0][np.searchsorted(spans[1], event["time"])]), event["time"]
    first, last = np.searchsorted(one.windows[:, 0], [begin - 1e-9, end]).tolist()
    called = [window for window in windows[first:last] if window["value"] >= window["level"]]
    number, kind, blamed = _blamed(event, called)
    own = one.own[number]
    quiet = np.searchsorted(spans[0], own.time, "right") == np.searchsorted(spans[1], own.time)
    found = why(own, (begin, end), quiet)
    spread = 3 * max(blamed.values(), default=0) <= len(called)
    if spread:
        found["reasons"] = [*newcomers(one.own, (begin, end)), *found["reasons"]]
    telling = [r for r in found["reasons"] if (r["elsewhere"] or 0.0) <= RARE]
    often = 2 * len(called) >= last - first
    for moment in (*found["reasons"], *filter(None, [found["frame"]])):
        moment["time"] = round(moment["time"] + one.since, 6)
    times = {"begin": begin, "raised": event["since"], "end": end}
    alarm = {"bus": bus} | {k: round(t + one.since, 6) for k, t in times.items()}
    alarm |= {"ongoing": event["event"] == "ongoing", "id": f"{number:03X}"}
    alarm |= {"message": names.message(number) if names else "", "kind": kind}
    alarm |= {"part": diagnosis.part_of(number), "peak": event["peak"]}
    alarm |= {"windows": last - first, "called": len(called)}
    alarm |= {"blamed": dict(blamed.most_common(4)), "many": len(blamed) if spread else 1}
    alarm["sure"] = "medium" if telling or often else "low"
    alarm["most"] = 2 * (last - first) > len(one.windows)
    if telling and often and len(called) >= _MANY and not alarm["most"]:
        alarm["sure"] = "high"
    if names and found["frame"]:
        before, after = (names.signals(number, found["frame"][k]) for k in ("before", "after"))
        changed = {k: [before.get(k, ""), v] for k, v in after.items() if before.get(k) != v}
        found["frame"]["signals"] = changed
    return alarm | found


def _blamed(event: dict, called: Sequence[dict]) -> tuple[int, str, Counter[str]]:
    """The ID that an alarm is about, what kind of attack it looks like, and how often each ID is
    blamed in the windows that were called: the ID of most of these, or, where each has another, of
    the window with the highest value."""
    blamed = Counter(f"{int(window['id'], 16):03X}" for window in called)
    (name, times), *_ = [*blamed.most_common(1), ("", 0)]
    if times <= len(called) / 3:
        return int(event["id"], 16), event["attack"], blamed
    kinds = Counter(w["attack"] for w in called if int(w["id"], 16) == int(name, 16))
    return int(name, 16), kinds.most_common(1)[0][0], blamed


def _read(frames: Frames) -> dict[str, Any]:
    """What was read, and what not."""
    report = frames.report._asdict()
    begins = ""
    if len(frames) and frames.timestamp[0] > _DATED:
        begins = f"{datetime.fromtimestamp(float(frames.timestamp[0]), UTC):%Y-%m-%d %H:%M:%S} UTC"
    return report | {
        "frames": len(frames),
        "ids": len(np.unique(frames.arbitration_id)),
        "seconds": round(frames.duration, 6),
        "begins": begins,
        "buses": [*frames.by_bus()],
    }


def _bus(
    bus: str, one: OneBus, alarms: Sequence[dict], monitor: Monitor, labels: bool
) -> dict[str, Any]:
    """What is said of a bus as a whole."""
    frames, values, detector = one.frames, one.windows[:, 2], monitor.detector
    unjudged = monitor.count["unjudged"]
    facts = {"bus": bus, "frames": len(frames), "ids": len(np.unique(frames.arbitration_id))}
    facts |= {"seconds": round(frames.duration, 6), "windows": len(values), "unjudged": unjudged}
    facts |= {"called": int((values >= detector.threshold).sum()), "alarms": len(alarms)}
    if labels and len(values) and (frames.attack.any() or frames.attack_spans):
        facts["labels"] = _labelled(one, detector)
    return facts | {"not_judged": list(_not_judged(one, detector, unjudged))}


def _labelled(one: OneBus, detector: Exported) -> dict[str, Any]:
    """The alarms of a bus beside the attacks that its log names: `event_metrics`."""
    start, end, value = one.windows.T
    frames = one.frames
    time = frames.timestamp[frames.attack] - frames.timestamp[0]
    label = np.searchsorted(time, end, "right") > np.searchsorted(time, start)
    for span in frames.attack_spans:
        label |= (start <= span.end) & (end >= span.start)
    none = np.zeros(len(value), np.int32)
    scores = Scores(value, label, none, none, start, end, captures=(frames.info,))
    return event_metrics(scores, *detector.rule)


def _not_judged(one: OneBus, detector: Exported, unjudged: int) -> Iterable[str]:
    """What of a bus could not be judged, or only in part."""
    frames, windows = one.frames, len(one.windows) + unjudged
    left = len(frames) - detector.window - max(windows - 1, 0) * detector.stride
    if unjudged:
        yield f"{unjudged:,} of {windows:,} windows, for which the detector has no number"
    if not windows:
        yield f"all of it: {len(frames):,} frames, where a window takes {detector.window}"
        return
    if left > 0:
        yield f"the last {left} frames, which fill no window"
    if not detector.baseline:
        yield f"what was there in the first {_WARM:g} s: it is taken for normal"
    gaps = np.diff(frames.timestamp)
    long = gaps[gaps > _PAUSE]
    if len(long):
        yield (
            f"{len(long):,} pauses of the whole bus, {long.sum():,.1f} s in all: what comes behind "
            "one is late for everybody"
        )
    ids, counts = np.unique(frames.arbitration_id, return_counts=True)
    if rare := [f"{number:03X}" for number in ids[counts < _RARE_ID].tolist()]:
        more = f" and {len(rare) - 8} more" if len(rare) > 8 else ""
        few = f"{len(rare):,} IDs with fewer than {_RARE_ID} frames, which have no period"
        yield f"{few}: {', '.join(rare[:8])}{more}"
