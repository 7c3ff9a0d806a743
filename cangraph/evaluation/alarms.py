"""From windows to alarms and events: what an operator at the bus would see and hear."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from cangraph.evaluation.scores import Scores, attack_spans, each_capture
from cangraph.evaluation.watch import SURE, added, check

__all__ = [
    "Alarm",
    "Event",
    "alarm_curve",
    "event_delays",
    "event_metrics",
    "events",
    "events_by_capture",
    "raise_alarms",
    "recall_at_false_alarms",
    "recovery",
]

_AFTERMATH = 1.0  # s behind an event that are neither attack nor benign
_LONGEST_GAP = 1.0  # s; windows further apart belong to two stretches, attacks to two events


class Alarm(NamedTuple):
    """An alarm in a capture (its number): raised at `start`, over at `end`, in s since the
    capture's first frame; `peak` is the highest value in the windows it rests on."""

    capture: int
    start: float
    end: float
    peak: float


class Event(NamedTuple):
    """An attack in a capture (its number), from `start` to `end` in s since its first frame."""

    capture: int
    start: float
    end: float


def _in_order(scores: Scores) -> Scores:
    return scores[np.lexsort((scores.end, scores.capture))]


def _captures(scores: Scores) -> list[tuple[int, slice]]:
    """The windows of each capture, of scores in order."""
    of = scores.capture
    return [(int(c), slice(*np.searchsorted(of, [c, c + 1]))) for c in np.unique(of)]


def _evidence(scores: Scores, k: int, n: int) -> np.ndarray:
    """The k-th highest of each window's and the n − 1 values before it, in its capture; −∞ while
    there are fewer than k. It reaches a threshold if and only if k of the last n windows do."""
    check(k, n)
    found = np.empty(len(scores))
    for _, mine in _captures(scores):
        padded = np.concatenate([np.full(n - 1, -np.inf), scores.value[mine]])
        last = np.lib.stride_tricks.sliding_window_view(padded, n)
        found[mine] = np.partition(last, n - k, axis=1)[:, n - k]
    return found


def _sums(scores: Scores, at: float) -> np.ndarray:
    """The evidence after each window of scores in order (`watch.added`)."""
    found = np.empty(len(scores))
    for _, mine in _captures(scores):
        values = scores.value[mine].tolist()
        found[mine] = [*accumulate(values, lambda s, v: added(s, v, at), initial=0.0)][1:]
    return found


def _alarms(scores: Scores, level: np.ndarray, at: float, n: int, hold: float) -> list[Alarm]:
    """`raise_alarms` of scores in order where a `level` reaches `at`; with n = 0 of evidence."""
    found: list[Alarm] = []
    for number, mine in _captures(scores):
        value, end, height = scores.value[mine], scores.end[mine], level[mine]
        on = np.concatenate([[False], height >= at, [False]])
        rises = np.flatnonzero(~on[:-1] & on[1:]).tolist()
        falls = np.flatnonzero(on[:-1] & ~on[1:]).tolist()
        spans: list[list[int]] = []  # first window on, first window off
        for rise, fall in zip(rises, falls, strict=True):
            if spans and end[rise] - end[spans[-1][1]] <= hold:
                spans[-1][1] = fall
            else:
                spans.append([rise, fall])
        for rise, fall in spans:
            first = max(rise - n + 1, 0)
            if not n:  # behind the last window that left no evidence
                first = 1 + np.flatnonzero(height[:rise] == 0).max(initial=-1)
            peak = float(value[first:fall].max())
            over = end[min(fall, len(end) - 1)]
            found.append(Alarm(number, float(end[rise]), float(over), peak))
    return found


def raise_alarms(
    scores: Scores, at: float, k: int = 2, n: int = 3, hold: float = 1.0
) -> list[Alarm]:
    """The alarms that windows raise: k of the last n in a capture with `value >= at`, or with
    k = n = 0, of probabilities, the evidence of the last ones (`watch.added`).

    A detector knows a window when its last frame is there, so an alarm starts at the end of the
    window that raises it, and lasts until the end of the first window that would raise none. An
    alarm raised within `hold` seconds of the last one's end goes on with it.

    >>> windows = Scores(np.array([0, 9, 9, 0, 0, 0.]), *np.zeros((3, 6), int),
    ...                  np.arange(6.), np.arange(6.) + 1, captures=())
    >>> raise_alarms(windows, at=5.0)
    [Alarm(capture=0, start=3.0, end=5.0, peak=9.0)]
    """
    check(k, n)
    scores = _in_order(scores)
    level, at = (_evidence(scores, k, n), at) if n else (_sums(scores, at), SURE)
    return _alarms(scores, level, at, n, hold)


def events(scores: Scores, longest_gap: float = _LONGEST_GAP) -> list[Event]:
    """The attacks of each capture, from the labels of its windows: attack windows less than
    `longest_gap` seconds apart are one event. An event starts with its first attack window, up
    to a window before the first attack frame, so a delay is never understated."""
    scores = _in_order(scores)
    return [
        Event(number, *span)
        for number, mine in _captures(scores)
        for span in attack_spans(scores[mine], longest_gap)
    ]


def _overlap(start: float, end: float, spans: list[tuple[float, float]]) -> float:
    """Seconds of [start, end] that lie in disjoint spans."""
    return sum(max(0.0, min(end, b) - max(start, a)) for a, b in spans)


class _Capture(NamedTuple):
    """What alarms of one capture are judged by: its events, the end of the first attack window
    of each, the events with their aftermath (joined where they overlap), and what the windows
    cover."""

    events: list[tuple[float, float]]
    known: list[float]
    behind: list[tuple[float, float]]
    covered: list[tuple[float, float]]

    @property
    def benign(self) -> float:
        """Seconds covered by windows outside events and their aftermath."""
        total = sum(b - a for a, b in self.covered)
        return total - sum(_overlap(a, b, self.covered) for a, b in self.behind)


def _truth(scores: Scores) -> dict[int, _Capture]:
    """Of each capture of scores in order."""
    found = {}
    for number, mine in _captures(scores):
        part = scores[mine]
        spans = attack_spans(part, _LONGEST_GAP)
        behind: list[tuple[float, float]] = []
        for start, end in spans:
            if behind and start <= behind[-1][1]:
                behind[-1] = (behind[-1][0], end + _AFTERMATH)
            else:
                behind.append((start, end + _AFTERMATH))
        known = [float(part.end[part.label & (part.start >= s)][0]) for s, _ in spans]
        everything = replace(part, label=np.ones(len(part), bool))
        found[number] = _Capture(spans, known, behind, attack_spans(everything, _LONGEST_GAP))
    return found


def _right(capture: _Capture, alarms: list[Alarm]) -> list[Alarm]:
    """Of the alarms in a capture those that an event explains."""
    spans = [*zip(capture.known, capture.events, strict=True)]
    return [a for a in alarms if any(k <= a.start <= end + _AFTERMATH for k, (_, end) in spans)]


def _delays(capture: _Capture, right: list[Alarm]) -> list[float | None]:
    """Seconds from the start of each event to its first right alarm; None where it is missed."""
    found: list[float | None] = []
    for known, (start, end) in zip(capture.known, capture.events, strict=True):
        about = [
            alarm.start
            for alarm in right
            if alarm.start <= end + _AFTERMATH and (alarm.start >= known or alarm.end > known)
        ]
        found.append(max(0.0, about[0] - start) if about else None)
    return found


def _judge(truth: dict[int, _Capture], alarms: list[Alarm]) -> dict:
    """`event_metrics` of the captures in `truth`."""
    delays: list[float] = []
    false, on_duty = 0, 0.0
    for number, capture in truth.items():
        mine = [alarm for alarm in alarms if alarm.capture == number]
        right = _right(capture, mine)
        false += len(mine) - len(right)
        delays += [d for d in _delays(capture, right) if d is not None]
        for alarm in mine:
            inside = [(max(alarm.start, a), min(alarm.end, b)) for a, b in capture.covered]
            inside = [(a, b) for a, b in inside if a < b]
            on_duty += sum(b - a - _overlap(a, b, capture.behind) for a, b in inside)
    n_events = sum(len(capture.events) for capture in truth.values())
    benign = sum(capture.benign for capture in truth.values())
    return {
        "events": n_events,
        "found": len(delays),
        "recall": len(delays) / n_events if n_events else None,
        "delay_median": float(np.median(delays)) if delays else None,
        "delay_p90": float(np.quantile(delays, 0.9)) if delays else None,
        "alarms": len(alarms),
        "false_alarms": false,
        "benign_hours": benign / 3600,
        "false_alarms_per_hour": false / benign * 3600 if benign > 0 else None,
        "duty": on_duty / benign if benign > 0 else None,
    }


def event_metrics(scores: Scores, at: float, k: int = 2, n: int = 3, hold: float = 1.0) -> dict:
    """What the alarms at a threshold are worth, all captures pooled; None where undefined.

    An alarm is right if it is raised from the end of an event's first window until a second behind
    the event, and false otherwise. An event is `found` if a right alarm is raised in that time or
    is still going on. A false alarm that happens to last into an event finds nothing: an alarm
    that is always on would find every attack.

    - `delay_median`, `delay_p90`: s from the start of a found event to the start of its alarm;
      0 where the alarm of an event before goes on.
    - `false_alarms_per_hour`: per hour of benign time, which is what the windows cover, less the
      events and their aftermath; None without any.
    - `duty`: share of the benign time under alarm, right or false.
    """
    found = raise_alarms(scores, at, k, n, hold)
    return _judge(_truth(_in_order(scores)), found)


def events_by_capture(scores: Scores, *rule: float) -> list[dict]:
    """`event_metrics`, which is given the `rule` (at, k, n), of each capture: a row for each, with
    its name, scenario and vehicle."""
    return each_capture(scores, lambda mine: event_metrics(mine, *rule))


def event_delays(scores: Scores, *rule: float) -> dict[int, list[float | None]]:
    """The delays that `event_metrics` sums up: of each capture (its number), seconds from the start
    of each event to its alarm, None where it is missed."""
    raised, found = raise_alarms(scores, *rule), {}
    for number, capture in _truth(_in_order(scores)).items():
        right = _right(capture, [a for a in raised if a.capture == number])
        found[number] = _delays(capture, right)
    return found


def recovery(scores: Scores, at: float, seconds: Sequence[float] = (1.0, 5.0, 20.0)) -> list[dict]:
    """What an attack leaves behind: of the benign windows that begin within so many `seconds`
    behind an event, and later than the limit before, the share that is called an attack; at last
    (`later`) that of all other benign windows.

    >>> windows = Scores(np.array([0.1, 0.9, 0.8, 0.1]), np.array([0, 1, 0, 0], bool),
    ...                  np.zeros(4), np.zeros(4, int), np.arange(4.0), np.arange(4.0) + 0.5, ())
    >>> [(row["within"], row["windows"], row["fpr"]) for row in recovery(windows, 0.5, [1.0, 5.0])]
    [('1 s', 1, 1.0), ('5 s', 1, 0.0), ('later', 1, 0.0)]
    """
    since = np.full(len(scores), np.inf)  # s since the last event of the capture
    for event in events(scores):
        behind = (scores.capture == event.capture) & (scores.start >= event.end)
        since[behind] = np.minimum(since[behind], scores.start[behind] - event.end)
    rows, before = [], -1.0
    for limit in (*seconds, np.inf):
        mine = ~scores.label & (since > before) & (since <= limit)
        called = int((scores.value[mine] >= at).sum())
        fpr = called / int(mine.sum()) if mine.any() else None
        within = f"{limit:g} s" if limit < np.inf else "later"
        rows.append({"within": within, "windows": int(mine.sum()), "called": called, "fpr": fpr})
        before = limit
    return rows


def alarm_curve(scores: Scores, k: int = 2, n: int = 3, hold: float = 1.0) -> list[dict]:
    """`event_metrics` at every threshold that matters, with it as `at`, from the highest down.

    They are those at which the windows of an event begin to raise an alarm, and one that raises
    none: only there more is found. (A lower one might join two false alarms; that is not sought.)
    """
    scores = _in_order(scores)
    evidence = _evidence(scores, k, n)
    truth = _truth(scores)
    levels = [float(np.nextafter(evidence.max(initial=-np.inf), np.inf))]  # raises no alarm
    for number, mine in _captures(scores):
        for known, (_, end) in zip(truth[number].known, truth[number].events, strict=True):
            about = (scores.end[mine] >= known) & (scores.end[mine] <= end + _AFTERMATH)
            levels.append(float(evidence[mine][about].max()))
    return [
        _judge(truth, _alarms(scores, evidence, at, n, hold)) | {"at": at}
        for at in sorted({level for level in levels if level > -np.inf}, reverse=True)
    ]


def recall_at_false_alarms(
    scores: Scores, per_hour: float = 5.0, duty: float = 0.05, hold: float = 1.0
) -> dict:
    """The best event recall with at most `per_hour` false alarms per hour of benign time and at
    most the share `duty` of it under alarm: the row of `alarm_curve` there, of any window or of 2
    of 3, whichever finds more.

    Duty is bounded because an alarm that sticks after the first attack finds all later ones and
    is never false. Of equal recalls the highest threshold counts. It is chosen with the labels of
    `scores`: a property of the ranking, not a threshold to use.
    """
    allowed = [
        row
        for k, n in ((2, 3), (1, 1))
        for row in alarm_curve(scores, k, n, hold)
        if (row["false_alarms_per_hour"] or 0.0) <= per_hour and (row["duty"] or 0.0) <= duty
    ]
    return max(allowed, key=lambda row: row["recall"] or 0.0, default={})
