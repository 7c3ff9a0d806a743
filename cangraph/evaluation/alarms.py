"""From windows to alarms and events: what an operator at the bus would see and hear.

`Watch` takes windows one by one, as the monitor does; `raise_alarms` shows it all of them. Loads
numpy alone.
"""

import math
from collections import deque
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from cangraph.evaluation.scores import Scores, attack_spans, each_capture

SURE = 5.0  # evidence that raises an alarm, log-odds: 148 to 1
_MOST = 2 * SURE  # evidence that is kept at most, so that an alarm ends soon after the attack
_LEAST = 1e-300  # the least distance of a probability from 0 and 1
_WARM = 5.0  # s; until it was heard so long, nothing is usual of a stream
_MEMORY = 20.0  # s; time constant of what is usual
_SPREADS = 5.0  # mean deviations over the usual log-odds that are no evidence yet,
_LOWEST = -1.5  # nor are log-odds as low as this
_SUSPECT = 0.3  # how much slower what is usual is learnt while there is evidence
_STEP = 1.0  # s; two windows further apart count as this
_BY_EVIDENCE = ("GAT", "fusion (gat)", "trees")  # kinds of detectors whose values are probabilities
# s; windows further apart belong to two stretches, attacks to two events, and so long is what
# comes behind an event neither attack nor benign
_APART = 1.0


class AlarmRule(NamedTuple):
    """k of the last n windows with `value >= at` raise an alarm; with k = n = 0, the `Evidence` of
    the last windows, which are probabilities, of which `at` never adds any."""

    at: float
    k: int = 2
    n: int = 3


def alarm_rule(kind: str, at: float) -> AlarmRule:
    """The rule of a detector that calls windows at the threshold `at`: by evidence where the
    values of its `kind` are probabilities (GAT, boosted trees), 2 windows of 3 otherwise.

    >>> alarm_rule("GAT", 0.5), alarm_rule("VGAE", 3.0)
    (AlarmRule(at=0.5, k=0, n=0), AlarmRule(at=3.0, k=2, n=3))
    """
    return AlarmRule(at, 0, 0) if kind in _BY_EVIDENCE else AlarmRule(at)


def check_threshold(kind: str, at: float) -> None:
    """Raises `ValueError` for a threshold that no window of such a detector could reach.

    >>> check_threshold("GAT", 1.0)
    Traceback (most recent call last):
    ValueError: threshold 1.0 for a GAT; expected a number from 0 to under 1; leave it out
    """
    if kind == "VGAE":  # standard deviations, 0 is usual
        right, expected = -1e6 < at < 1e6, "standard deviations"
    elif kind in _BY_EVIDENCE:  # a certain window has the odds of the threshold 1, and adds none
        right, expected = 0 <= at < 1, "a number from 0 to under 1"
    else:
        right, expected = 0 <= at <= 1, "a number from 0 to 1"
    if not right:
        raise ValueError(f"threshold {at} for a {kind}; expected {expected}; leave it out")


def _log_odds(value: float) -> float:
    return math.log(max(value, _LEAST)) - math.log(max(1.0 - value, _LEAST))


class Evidence:
    """What the windows of a stream say together: the sum of their log-odds over those that are
    usual in it (Page's test, Biometrika 1954), at least 0. It is 0 again once the windows since are
    more likely benign. One confident window detects an injected frame, many weakly suspicious ones
    a suppressed message.

    With l the log-odds of a window, d s behind the last one, and usual m ± s (mean deviation):

        level = min(max(m + 5 s, -1.5), log-odds of `at`), in the first 5 s the latter
        evidence ← min(max(evidence + l - level, 0), 10)
        m ← m + w·(min(l, level) - m),  s ← s + w·(|min(l, level) - m| - s),
        w = d / min(time heard, 20 s), .3 of it while there is evidence

    So a calm stream is judged by what it is like itself, and no stream more strictly than by `at`:
    an attack cannot become usual, as it is learnt as far as the level alone.
    """

    def __init__(self) -> None:
        self.amount, self.usual, self.spread = 0.0, 0.0, 1.0
        self.heard, self.end = 0.0, 0.0  # s
        self.level = 0.0  # log-odds over which the last window was evidence

    def add(self, value: float, end: float, at: float) -> float:
        """The evidence after a window of probability `value` that ends at `end`, s."""
        odds, level = _log_odds(value), _log_odds(at)
        if self.heard > _WARM:
            level = min(max(self.usual + _SPREADS * self.spread, _LOWEST), level)
        self.amount = min(max(self.amount + odds - level, 0.0), _MOST)
        self.level, odds = level, min(odds, level)
        if not self.heard:
            self.usual = odds
        passed = min(max(end - self.end, 0.0), _STEP)
        self.heard, self.end = self.heard + passed, end
        weight = passed / min(max(self.heard, _LEAST), _MEMORY)
        if self.amount:
            weight *= _SUSPECT
        away = odds - self.usual
        self.usual += weight * away
        self.spread += weight * (abs(away) - self.spread)
        return self.amount


def evidence_constants() -> dict[str, float]:
    """The constants of `Evidence` by name, for what computes it in another language.

    >>> evidence_constants()["sure"]
    5.0
    """
    return {"sure": SURE, "most": _MOST, "least": _LEAST, "warm": _WARM, "memory": _MEMORY,
            "spreads": _SPREADS, "lowest": _LOWEST, "suspect": _SUSPECT, "step": _STEP}  # fmt: skip


# window by window


class Seen(NamedTuple):
    """A window that was judged: its `value`, its `start` and `end` in s since the first frame, the
    ID that it blames (-1: none), how much, and the attack type it looks like ("": not known)."""

    value: float
    start: float
    end: float
    blamed: int = -1
    blame: float = 0.0
    attack_type: str = ""


class Turn(NamedTuple):
    """What a window did to the alarm: `raised` it, or was the one after which it was `over`.

    `start` is when the alarm was raised and `end` when the window ended, in s since the first
    frame; `peak` is the highest value among the windows that the alarm rests on, `suspect` the
    window that has it, and `delay` the s from the start of the first of them until the alarm.
    `again`: the previous alarm ended less than `hold` s ago and is reopened.
    """

    what: str
    start: float
    end: float
    peak: float
    suspect: Seen
    delay: float
    again: bool


class Watch:
    """Raises alarms by an `AlarmRule`, given as at, k, n. An alarm lasts until the rule is no
    longer met; one that is raised within `hold` s of the end of the last reopens it.

    Raises `ValueError` unless 1 ≤ k ≤ n, or both are 0.

    >>> watch = Watch(at=5.0)
    >>> windows = [Seen(v, t, t + 1.0) for t, v in enumerate([0.0, 9.0, 9.0, 0.0, 0.0, 0.0])]
    >>> [(turn.what, turn.start, turn.end) for w in windows if (turn := watch.see(w))]
    [('raised', 3.0, 3.0), ('over', 3.0, 5.0)]
    """

    def __init__(self, at: float, k: int = 2, n: int = 3, hold: float = 1.0):
        if not 1 <= k <= n and (k, n) != (0, 0):
            expected = "expected k of the last n windows with 1 ≤ k ≤ n, or 0 of 0 for evidence"
            raise ValueError(f"alarms: k is {k} and n is {n}; {expected}; use 2 of 3")
        self.at, self.k, self.n, self.hold = at, k, n, hold
        self.last: deque[Seen] = deque(maxlen=n or 2)  # by evidence: the first and the highest
        self.evidence = Evidence()
        self.time = 0.0  # s, the end of the last window
        self.on = False
        self.alarm: Turn | None = None  # the last one
        self.between: Seen | None = None  # the window with the highest value since it was over

    @property
    def level(self) -> float:
        """The value from which on the last window was suspicious."""
        return self.at if self.n else 1 / (1 + math.exp(-self.evidence.level))

    def see(self, window: Seen) -> Turn | None:
        """What this window, the next one, does to the alarm."""
        self.time = window.end
        was, (self.on, since) = self.on, self._judged(window)
        if self.on and was:
            self._higher(window)
        elif self.on:
            return self._rise(window, since)
        elif self.alarm is not None and was:
            self.alarm, self.between = self.alarm._replace(what="over", end=window.end), window
            return self.alarm
        elif self.between is not None:
            self.between = max(self.between, window, key=attrgetter("value"))
        return None

    def _judged(self, window: Seen) -> tuple[bool, float]:
        """Whether there is an alarm, and the start of the first window that it rests on."""
        if self.n:
            self.last.append(window)
            suspects = [seen for seen in self.last if seen.value >= self.at]
            return len(suspects) >= self.k, suspects[0].start if suspects else window.start
        if not self.evidence.amount:  # the alarm can rest on this window and later ones alone
            self.last.extend([window, window])
        amount = self.evidence.add(window.value, window.end, self.at)
        self.last[1] = max(self.last[1], window, key=attrgetter("value"))
        return amount >= SURE, self.last[0].start

    def _rise(self, window: Seen, since: float) -> Turn:
        if self.alarm is not None and window.end - self.alarm.end <= self.hold:
            self.alarm = self.alarm._replace(what="raised", end=window.end, again=True)
            for seen in (self.between or window, *self.last):
                self._higher(seen)
            return self.alarm
        worst, delay = max(self.last, key=attrgetter("value")), window.end - since
        self.alarm = Turn("raised", window.end, window.end, worst.value, worst, delay, False)
        return self.alarm

    def _higher(self, seen: Seen) -> None:
        if self.alarm is not None and seen.value > self.alarm.peak:
            self.alarm = self.alarm._replace(peak=seen.value, suspect=seen)

    def state(self) -> dict:
        """All that is needed to go on later, as JSON holds it."""
        return {
            "last": [list(seen) for seen in self.last],
            "evidence": vars(self.evidence),
            "time": self.time,
            "on": self.on,
            "alarm": self.alarm and [*self.alarm[:4], list(self.alarm.suspect), *self.alarm[5:]],
            "between": self.between and list(self.between),
        }

    def restore(self, state: dict) -> None:
        """Go on from a `state`."""
        self.last = deque((Seen(*seen) for seen in state["last"]), maxlen=self.n or 2)
        vars(self.evidence).update(state["evidence"])
        self.time, self.on, alarm = state["time"], state["on"], state["alarm"]
        self.alarm = alarm and Turn(*alarm)._replace(suspect=Seen(*alarm[4]))
        self.between = state["between"] and Seen(*state["between"])


# all windows at once


class Alarm(NamedTuple):
    """An alarm in a capture (its number): raised at `start`, over at `end`, in s since the
    capture's first frame; `peak` is the highest value in the windows it rests on."""

    capture: int
    start: float
    end: float
    peak: float


def _in_order(scores: Scores) -> Scores:
    return scores[np.lexsort((scores.end, scores.capture))]


def _captures(scores: Scores) -> list[tuple[int, slice]]:
    """The windows of each capture, of scores in order."""
    of = scores.capture
    return [(int(c), slice(*np.searchsorted(of, [c, c + 1]))) for c in np.unique(of)]


def raise_alarms(
    scores: Scores, at: float, k: int = 2, n: int = 3, hold: float = 1.0
) -> list[Alarm]:
    """The alarms of each capture by the rule (at, k, n), see `AlarmRule`.

    A window is known when its last frame has come, so an alarm starts at the end of the window
    that raises it, and lasts until the end of the first window that would raise none. An alarm
    raised within `hold` seconds of the end of the last one reopens it.
    """
    scores, found = _in_order(scores), dict[tuple[int, float], Alarm]()
    for number, mine in _captures(scores):
        watch = Watch(at, k, n, hold)
        columns = (getattr(scores, name)[mine].tolist() for name in ("value", "start", "end"))
        for row in zip(*columns, strict=True):
            if (watch.see(Seen(*row)) or watch.on) and (turn := watch.alarm):
                found[number, turn.start] = Alarm(number, turn.start, watch.time, turn.peak)
    return [*found.values()]


_Spans = list[tuple[float, float]]  # begin and end, s


def _common(one: _Spans, other: _Spans) -> _Spans:
    """What spans have in common."""
    pairs = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return [(a, b) for a, b in pairs if a < b]


def _seconds(spans: _Spans) -> float:
    return sum(b - a for a, b in spans)


def _median_delay(found: list[float], missed: list[float]) -> float | None:
    """The delay after which half of the events are found; those `missed` were watched so long."""
    left, waiting = len(found) + len(missed), 1.0  # share of the events that are not found yet
    for delay, gone in sorted([*((d, False) for d in found), *((d, True) for d in missed)]):
        waiting *= 1.0 if gone else 1 - 1 / left
        left -= 1
        if waiting < 0.5 + 1e-9:
            return delay
    return None


def event_metrics(scores: Scores, at: float, k: int = 2, n: int = 3, hold: float = 1.0) -> dict:
    """What the alarms at a threshold are worth, all captures pooled; None where undefined.

    An event is an attack: attack windows at most a second apart. It starts with its first attack
    window, up to a window before the first attack frame, so that no delay is understated. An alarm
    is right if it is raised from the end of an event's first window until a second after the
    event, and false otherwise. An event is `found` if a right alarm is raised in that time or is
    still on; a false alarm that lasts into an event finds nothing.

    - `delay_median`, `delay_p90`: s from the start of a found event to the start of its alarm;
      0 where the alarm of an event before goes on.
    - `delay_of_all`: the median over all events by the product-limit estimate (Kaplan and
      Meier, JASA 53, 1958): one that is not found is censored where its aftermath ends. None where
      less than half are found.
    - `false_alarms_per_hour`: per hour of benign time: what windows cover, less the events and
      their aftermath. `duty`: share of the benign time under alarm, right or false.
    """
    scores, alarms = _in_order(scores), raise_alarms(scores, at, k, n, hold)
    delays, missed, right, benign, on_duty = list[float](), list[float](), 0, 0.0, 0.0
    for number, mine in _captures(scores):
        part, raised = scores[mine], [alarm for alarm in alarms if alarm.capture == number]
        covered = attack_spans(replace(part, label=np.ones(len(part), bool)), _APART)
        events = [(start, end + _APART) for start, end in attack_spans(part, _APART)]
        # the end of the first attack window of each, and the alarms that an event explains
        known = [float(part.end[part.label & (part.start >= start)][0]) for start, _ in events]
        spans = [(first, end) for first, (_, end) in zip(known, events, strict=True)]
        told = [a for a in raised if any(first <= a.start <= end for first, end in spans)]
        right += len(told)
        for first, (start, end) in zip(known, events, strict=True):
            here = [a.start for a in told if a.start <= end and (a.start >= first or a.end > first)]
            if here:
                delays.append(max(0.0, here[0] - start))
            else:
                missed.append(end - start)
        under = _common([(alarm.start, alarm.end) for alarm in raised], covered)
        on_duty += _seconds(under) - _seconds(_common(under, events))
        benign += _seconds(covered) - _seconds(_common(covered, events))
    found, false = len(delays), len(alarms) - right
    return {
        "events": found + len(missed),
        "found": found,
        "recall": found / (found + len(missed)) if delays or missed else None,
        "delay_median": float(np.median(delays)) if delays else None,
        "delay_p90": float(np.quantile(delays, 0.9)) if delays else None,
        "delay_of_all": _median_delay(delays, missed),
        "alarms": len(alarms),
        "false_alarms": false,
        "benign_hours": benign / 3600,
        "false_alarms_per_hour": false / benign * 3600 if benign > 0 else None,
        "duty": on_duty / benign if benign > 0 else None,
    }


def events_by_capture(scores: Scores, at: float, k: int = 2, n: int = 3) -> list[dict]:
    """`event_metrics` of each capture: a row for each, with its name, scenario and vehicle."""
    return each_capture(scores, lambda mine: event_metrics(mine, at, k, n))
