"""`cangraph scan`: whether a log looks under attack, when, on which bus, which ID, and why.

`scan` judges one log and returns what it found as one object; `scanpage` makes text and a page of
it. Its status is a `deploy.detector.Status`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from cangraph.deploy.detector import Exported, Status
from cangraph.deploy.monitor import Monitor
from cangraph.deploy.reasons import WARM, Own, Spans, Tally, explain, own_frames
from cangraph.deploy.recent import Heard
from cangraph.evaluation.alarms import event_metrics
from cangraph.evaluation.scores import Scores
from cangraph.frames import Frames
from cangraph.io.diagnosis import conversations
from cangraph.io.names import Names
from cangraph.io.readers import read_frames

_PIECE = 20_000  # frames between two steps of a progress bar
_DATED = 1e8  # s; timestamps above it count from 1970
_PAUSE = 0.5  # s without any frame on a bus
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


def scan(
    log: Path | str | Frames,
    detector: Exported,
    names: Names | None = None,
    console: Console | None = None,
    **reading: Any,
) -> Scan:
    """Read a log, whatever of it is readable, and judge each bus of it. Where the log
    itself names attacks, the alarms are compared with these; a `console` shows what is under way;
    `reading` is of `read_frames`, for a table of no known shape.

    Raises as `read_frames` does where nothing can be read.
    """
    console = console or Console(quiet=True)
    with console.status("reading"):
        frames = log if isinstance(log, Frames) else read_frames(log, strict=False, **reading)
    streams, alarms, buses, diagnostics, disputes = {}, [], [], [], []
    parts = frames.by_bus()
    if len(parts) < 2:  # the only bus needs no name
        parts = {"": frames}
    for bus, part in parts.items():
        monitor, events = Monitor(detector, bus=bus, recent=len(part)), []
        pieces, quiet = [*part.chunks(_PIECE)], not console.is_terminal or console.quiet
        for piece in track(pieces, "judging", console=console, transient=True, disable=quiet):
            events += monitor.feed(piece)
        events += monitor.ongoing()
        seen = [[e["start"], e["time"], e["value"]] for e in events if e["event"] == "window"]
        windows = np.array(seen, float).reshape(-1, 3)
        since = float(part.timestamp[0] - frames.timestamp[0])
        heard = monitor.heard()
        alarmed = any(event["event"] in _ENDED for event in events)
        one = streams[bus] = OneBus(part, since, own_frames(heard) if alarmed else {}, windows)
        mine = _alarms(bus, one, heard, events, names)
        alarms += mine
        buses.append(_bus(bus, one, mine, monitor))
        diagnostics += [row | {"bus": bus, "id": f"{row['id']:03X}"} for row in conversations(part)]
        disputes += _disputes(bus, one, detector)
    alarms.sort(key=lambda alarm: alarm["begin"])
    judged, unjudged = min(b["windows"] for b in buses), sum(b["unjudged"] for b in buses)
    status = Status.of(len(alarms), frames.report.refused, len(frames), judged, unjudged)
    verdict = _verdict(status, alarms, len(streams) > 1 or unjudged > 0)
    facts: dict[str, Any] = {"log": frames.name if isinstance(log, Frames) else str(log)}
    facts |= {"status": status.value, "verdict": verdict, "read": _read(frames), "buses": buses}
    facts |= {"alarms": alarms, "disputes": disputes, "diagnostics": diagnostics}
    return Scan(facts, streams, detector)


def unreadable(log: Path | str, error: Exception, detector: Exported) -> Scan:
    """The scan of a log that cannot be read."""
    nothing: dict[str, Any] = {"buses": [], "alarms": [], "disputes": [], "diagnostics": []}
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
    bus: str, one: OneBus, heard: Heard, events: Sequence[dict], names: Names | None
) -> list[dict[str, Any]]:
    """The alarms of a bus, each once, as it was when it ended; one that was reopened is the same.
    Times are s since the log's first frame."""
    ended = [event for event in events if event["event"] in _ENDED]
    raised = list({event["since"]: event for event in ended}.values())
    ends = np.sort([event["time"] for event in raised])
    # what led to an alarm may have led to the one before, too
    first = [event["since"] - event["delay"] for event in raised]
    spans = Spans(np.maximum(np.sort(first), np.r_[-np.inf, ends[:-1]]), ends)
    windows = [event for event in events if event["event"] == "window"]
    return [_alarm(event, bus, one, heard, windows, spans, names) for event in raised]


def _alarm(event, bus, one, heard, windows, spans, names) -> dict[str, Any]:
    """What is said of one alarm, among the `spans` of all."""
    begin, end = float(spans.begins[np.searchsorted(spans.ends, event["time"])]), event["time"]
    first, last = np.searchsorted(one.windows[:, 0], [begin - 1e-9, end]).tolist()
    tally = Tally.of(windows[first:last])
    found = explain(heard, event, tally, (begin, end), spans, len(one.windows))
    number, frame = int(found["id"], 16), found["frame"]
    for moment in (*found["reasons"], *filter(None, [frame])):
        moment["time"] = round(moment["time"] + one.since, 6)
    times = {"begin": begin, "raised": event["since"], "end": end}
    alarm = {"bus": bus} | {k: round(t + one.since, 6) for k, t in times.items()}
    alarm |= {"ongoing": event["event"] == "ongoing", "peak": event["peak"]}
    alarm |= {"message": names.message(number) if names else ""}
    alarm |= {"windows": tally.windows, "called": tally.called}
    if names and frame:
        frame["signals"] = names.changed(number, frame["before"], frame["after"])
    return alarm | found


def _disputes(bus: str, one: OneBus, detector: Exported) -> list[dict[str, Any]]:
    """When messages of a bus contradict each other, by what the baseline knows of them."""
    known = detector.baseline.related(bus) if detector.baseline else None
    return [
        {"bus": bus, "begin": round(found.start + one.since, 6)}
        | {"end": round(found.end + one.since, 6), "id": f"{found.blamed:03X}"}
        | {"partners": [f"{number:03X}" for number in found.partners], "value": found.value}
        for found in (known.disputes(one.frames) if known else ())
    ]


def _read(frames: Frames) -> dict[str, Any]:
    """What was read, and what not."""
    begins = ""
    if len(frames) and frames.timestamp[0] > _DATED:
        begins = f"{datetime.fromtimestamp(float(frames.timestamp[0]), UTC):%Y-%m-%d %H:%M:%S} UTC"
    facts = frames.report._asdict() | _counted(frames)
    return facts | {"begins": begins, "buses": [*frames.by_bus()]}


def _counted(frames: Frames) -> dict[str, Any]:
    ids, seconds = len(np.unique(frames.arbitration_id)), round(frames.duration, 6)
    return {"frames": len(frames), "ids": ids, "seconds": seconds}


def _bus(bus: str, one: OneBus, alarms: Sequence[dict], monitor: Monitor) -> dict[str, Any]:
    """What is said of a bus as a whole."""
    frames, values, detector = one.frames, one.windows[:, 2], monitor.detector
    unjudged = monitor.count["unjudged"]
    facts = {"bus": bus} | _counted(frames) | {"windows": len(values), "unjudged": unjudged}
    facts |= {"called": int((values >= detector.threshold).sum()), "alarms": len(alarms)}
    if len(values) and (frames.attack.any() or frames.attack_spans):
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
        yield f"what came in the first {WARM:g} s, which is taken as normal"
    gaps = np.diff(frames.timestamp)
    long = gaps[gaps > _PAUSE]
    if len(long):
        yield (
            f"{len(long):,} pauses of the whole bus, {long.sum():,.1f} s in all: what comes behind "
            "one is late for everybody"
        )
    ids, counts = np.unique(frames.arbitration_id, return_counts=True)
    if rare := [f"{number:03X}" for number in ids[counts < _RARE_ID].tolist()]:
        more = f" and {len(rare) - 8:,} more" if len(rare) > 8 else ""
        few = f"{len(rare):,} IDs with fewer than {_RARE_ID} frames, which have no period"
        yield f"{few}: {', '.join(rare[:8])}{more}"
