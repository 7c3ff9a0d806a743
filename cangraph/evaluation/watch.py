"""Alarms as they happen: `alarms.raise_alarms` window by window."""

import math
from collections import deque
from typing import NamedTuple

__all__ = ["SURE", "Rule", "Seen", "Turn", "Watch", "added", "alarm_rule", "check"]

SURE = math.log(19.0)  # evidence that raises an alarm: odds of 19 to 1
_MOST = 2 * SURE  # evidence that is remembered, so that an alarm ends soon after the attack
_LEAST = 1e-300  # a probability of 0 or 1 is as good as this near to it
_PROBABLE = ("GAT", "fusion (gat)")  # kinds of detectors whose values are probabilities


class Rule(NamedTuple):
    """What raises an alarm: k of the last n windows with `value >= at`; or, with k = n = 0, the
    evidence of the last windows (`added`), of which `at` is a window with none."""

    at: float
    k: int = 2
    n: int = 3


def alarm_rule(kind: str, at: float) -> Rule:
    """What raises an alarm of a detector that calls windows at the threshold `at`: of a GAT, whose
    values are probabilities, evidence; of any other `kind`, 2 windows of 3.

    >>> alarm_rule("GAT", 0.5), alarm_rule("VGAE", 3.0)
    (Rule(at=0.5, k=0, n=0), Rule(at=3.0, k=2, n=3))
    """
    return Rule(at, 0, 0) if kind in _PROBABLE else Rule(at)


def added(evidence: float, value: float, at: float) -> float:
    """The evidence for an attack after another window, whose probability is `value`: the sum of
    the log-odds over those of `at`, never under 0 (Page's test, Biometrika 1954), at most 2 `SURE`.

    One window that is sure tells of a single frame; many that lean to one side tell of a message
    that is missing. k of n windows can be set for the one or for the other.

    >>> round(added(0.0, 0.95, 0.5) / SURE, 6), added(1.0, 0.1, 0.5)
    (1.0, 0.0)
    """
    return min(max(evidence + _log_odds(value) - _log_odds(at), 0.0), _MOST)


def _log_odds(value: float) -> float:
    return math.log(max(value, _LEAST)) - math.log(max(1.0 - value, _LEAST))


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
    frame; `peak` the highest value so far, `suspect` the window that had it, among those that the
    alarm rests on, and `delay` the s from the start of the first of them until the alarm.
    `again`: the alarm goes on that was over within the hold.
    """

    what: str
    start: float
    end: float
    peak: float
    suspect: Seen
    delay: float
    again: bool


def check(k: int, n: int) -> None:
    """Raises `ValueError` unless k of the last n windows can raise an alarm, or both are 0."""
    if not 1 <= k <= n and (k, n) != (0, 0):
        raise ValueError(
            f"alarms: k is {k} and n is {n}; expected k of the last n windows with 1 ≤ k ≤ n, or "
            "0 of 0 for evidence; use 2 of 3"
        )


class Watch:
    """k of the last n windows with `value >= at`, or their evidence (k = n = 0), raise an alarm,
    which lasts until they would raise none. What is raised within `hold` s of the end of the last
    alarm goes on with it.

    The turns that it tells add up to the alarms of `alarms.raise_alarms`, to the bit.

    Raises `ValueError` for k and n that are none.

    >>> watch = Watch(at=5.0)
    >>> windows = [Seen(v, t, t + 1.0) for t, v in enumerate([0.0, 9.0, 9.0, 0.0, 0.0, 0.0])]
    >>> [(turn.what, turn.start, turn.end) for w in windows if (turn := watch.see(w))]
    [('raised', 3.0, 3.0), ('over', 3.0, 5.0)]
    """

    def __init__(self, at: float, k: int = 2, n: int = 3, hold: float = 1.0):
        check(k, n)
        self.at, self.k, self.n, self.hold = at, k, n, hold
        self.last: deque[Seen] = deque(maxlen=n or 2)  # by evidence: the first and the highest
        self.evidence = 0.0
        self.time = 0.0  # s, the end of the last window
        self.on = False
        self.alarm: Turn | None = None  # the last one
        self.between: Seen | None = None  # the window with the highest value since it was over

    def see(self, window: Seen) -> Turn | None:
        """What this window, the next one, does to the alarm."""
        self.time = window.end
        was, (self.on, since) = self.on, self._judged(window)
        if self.on and was:
            self._higher(window)
        elif self.on:
            self._rise(window, since)
            return self.alarm
        elif was:
            self.alarm = self.alarm._replace(what="over", end=window.end)
            self.between = window
            return self.alarm
        elif self.between is not None:
            self.between = max(self.between, window, key=lambda seen: seen.value)
        return None

    def _judged(self, window: Seen) -> tuple[bool, float]:
        """Whether there is an alarm, and the start of the first window that it rests on."""
        if self.n:
            self.last.append(window)
            suspects = [seen for seen in self.last if seen.value >= self.at]
            return len(suspects) >= self.k, suspects[0].start if suspects else window.start
        if not self.evidence:  # what was before counts no more
            self.last.extend([window, window])
        self.evidence = added(self.evidence, window.value, self.at)
        self.last[1] = max(self.last[1], window, key=lambda seen: seen.value)
        return self.evidence >= SURE, self.last[0].start

    def _rise(self, window: Seen, since: float) -> None:
        if self.alarm is not None and window.end - self.alarm.end <= self.hold:
            self.alarm = self.alarm._replace(what="raised", end=window.end, again=True)
            for seen in (self.between, *self.last):
                self._higher(seen)
            return
        worst = max(self.last, key=lambda seen: seen.value)
        delay = window.end - since
        self.alarm = Turn("raised", window.end, window.end, worst.value, worst, delay, False)

    def _higher(self, seen: Seen) -> None:
        if seen.value > self.alarm.peak:
            self.alarm = self.alarm._replace(peak=seen.value, suspect=seen)

    def state(self) -> dict:
        """What must be remembered to go on, as JSON holds it."""
        alarm = self.alarm and self.alarm._replace(suspect=list(self.alarm.suspect))
        return {
            "last": [list(seen) for seen in self.last],
            "evidence": [self.evidence, self.time],
            "on": self.on,
            "alarm": alarm and list(alarm),
            "between": self.between and list(self.between),
        }

    def restore(self, state: dict) -> None:
        """Go on from a `state`."""
        self.last = deque((Seen(*seen) for seen in state["last"]), maxlen=self.n or 2)
        self.evidence, self.time = state["evidence"]
        self.on, alarm = state["on"], state["alarm"]
        self.alarm = alarm and Turn(*alarm)._replace(suspect=Seen(*alarm[4]))
        self.between = state["between"] and Seen(*state["between"])
