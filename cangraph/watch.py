"""Alarms as they happen: `alarms.raise_alarms` window by window."""

from collections import deque
from typing import NamedTuple

__all__ = ["Seen", "Turn", "Watch", "check"]


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
    """Raises `ValueError` unless k of the last n windows can raise an alarm."""
    if not 1 <= k <= n:
        raise ValueError(
            f"alarms: k is {k} and n is {n}; expected k of the last n windows with 1 ≤ k ≤ n; "
            "use 2 of 3"
        )


class Watch:
    """k of the last n windows with `value >= at` raise an alarm, which lasts until fewer do. What
    is raised within `hold` s of the end of the last alarm goes on with it.

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
        self.last: deque[Seen] = deque(maxlen=n)
        self.on = False
        self.alarm: Turn | None = None  # the last one
        self.between: Seen | None = None  # the window with the highest value since it was over

    def see(self, window: Seen) -> Turn | None:
        """What this window, the next one, does to the alarm."""
        self.last.append(window)
        suspects = [seen for seen in self.last if seen.value >= self.at]
        was, self.on = self.on, len(suspects) >= self.k
        if self.on and was:
            self._higher(window)
        elif self.on:
            self._rise(window, suspects)
            return self.alarm
        elif was:
            self.alarm = self.alarm._replace(what="over", end=window.end)
            self.between = window
            return self.alarm
        elif self.between is not None:
            self.between = max(self.between, window, key=lambda seen: seen.value)
        return None

    def _rise(self, window: Seen, suspects: list[Seen]) -> None:
        if self.alarm is not None and window.end - self.alarm.end <= self.hold:
            self.alarm = self.alarm._replace(what="raised", end=window.end, again=True)
            for seen in (self.between, *self.last):
                self._higher(seen)
            return
        worst = max(self.last, key=lambda seen: seen.value)
        delay = window.end - suspects[0].start
        self.alarm = Turn("raised", window.end, window.end, worst.value, worst, delay, False)

    def _higher(self, seen: Seen) -> None:
        if seen.value > self.alarm.peak:
            self.alarm = self.alarm._replace(peak=seen.value, suspect=seen)

    def state(self) -> dict:
        """What must be remembered to go on, as JSON holds it."""
        alarm = self.alarm and self.alarm._replace(suspect=list(self.alarm.suspect))
        return {
            "last": [list(seen) for seen in self.last],
            "on": self.on,
            "alarm": alarm and list(alarm),
            "between": self.between and list(self.between),
        }

    def restore(self, state: dict) -> None:
        """Go on from a `state`."""
        self.last = deque((Seen(*seen) for seen in state["last"]), maxlen=self.n)
        self.on, alarm = state["on"], state["alarm"]
        self.alarm = alarm and Turn(*alarm)._replace(suspect=Seen(*alarm[4]))
        self.between = state["between"] and Seen(*state["between"])
