"""The habits of real buses, for the vehicles that are drawn: who is awake when, who sends when.

Drawn from what clean logs of strangers' vehicles showed: nodes that wake up late, together or one
by one, and go to sleep; messages with two periods, or sent on change; gateways that pass frames on
in batches; testers; control units that send zeros until they know better.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Spans = list[tuple[float, float]]  # s, (start, end), ascending

PERIODS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)  # ms
IDS = (5, 150)  # of a vehicle
_RESTARTS = 0.04  # share of the nodes that restart once
_FASTEST = 5e-3  # s; half of the shortest period
_TESTERS = ((0x7DF, 0x7E8), (0x7E0, 0x7E8), (0x7E1, 0x7E9), (0x7E4, 0x7EC), (0x745, 0x765))
_LONG_TESTER = (0x18DA10F1, 0x18DAF110)  # the same with 29 bits (ISO 15765-4)
RELATED = ("yaw", "torque", "wheel_fl", "wheel_fr", "wheel_rl", "wheel_rr")  # follow from others
_ERRORS = (0.001, 0.05), (0.15, 5.0)  # relative to what is told, in near copies and in all others
_ALONE = 0.6  # share of the others


class Rhythm(NamedTuple):
    """When a message is sent, if not simply once a period: `spread` (octaves) of the gaps of one
    that is sent on change; `factor` by which a message that is sent at two paces is slower at
    times; `blank` (s) for which it carries `blanks` after its node woke up; how many frames it
    sends in a `burst`."""

    spread: float = 0.0
    factor: int = 1
    blank: float = 0.0
    blanks: int = 0
    burst: int = 1


def rhythm(rng: np.random.Generator) -> Rhythm:
    """The rhythm of a message that is drawn: most are simply periodic.

    >>> rhythm(np.random.default_rng(0)).factor
    1
    """
    drawn, blank = rng.random(), 0.0
    if rng.random() < 0.15:
        blank = float(rng.uniform(0.2, 4))
    spread = float(rng.uniform(0.3, 3)) if drawn < 0.08 else 0.0
    factor = int(rng.choice([2, 4, 5, 10])) if 0.08 <= drawn < 0.14 else 1
    burst = int(rng.integers(2, 13)) if 0.14 <= drawn < 0.2 else 1
    return Rhythm(spread, factor, blank, int(rng.choice([0, 255])), burst)


def waking(seconds: float, nodes: int, rng: np.random.Generator) -> list[Spans]:
    """Of each node the spans of a drive in which it is awake: all of it, or from late on, one by
    one or all at once, or until the bus goes to sleep.

    >>> waking(60.0, 2, np.random.default_rng(1))
    [[(0.6, 60.0)], [(0.0, 60.0)]]
    """
    drawn, always = rng.random(), [(0.0, seconds)]
    late = _when(0.5, 0.8 * seconds, rng)
    if drawn < 0.3:
        spans = [always] * nodes
    elif drawn < 0.6:  # stragglers
        starts = [_when(0.3, 0.9 * seconds, rng) for _ in range(nodes)]
        spans = [[(s, seconds)] if rng.random() < 0.4 else always for s in starts]
    elif drawn < 0.8:  # the bus wakes up around those few who are awake
        first = int(rng.integers(1, 3))
        starts = (late + rng.exponential(0.5, nodes)).tolist()
        spans = [always if k < first else [(s, seconds)] for k, s in enumerate(starts)]
    else:  # some or nearly all go to sleep, and perhaps wake up again
        awake, again = rng.uniform(0, 0.9), late + float(np.exp(rng.uniform(0, 4)))
        spans = [
            always
            if k == 0 or rng.random() < awake
            else [(0.0, late + rng.exponential(0.3)), (again + rng.exponential(0.4), seconds)]
            for k in range(nodes)
        ]
    return [_restarting(node, rng) if rng.random() < _RESTARTS else node for node in spans]


def _restarting(spans: Spans, rng: np.random.Generator) -> Spans:
    """The spans of a node that restarts in the last of them, as some do while an engine starts."""
    *before, (start, end) = spans
    if end - start < 1:
        return spans
    stop = rng.uniform(start, end)
    again = min(stop + float(np.exp(rng.uniform(*np.log((0.1, 3))))), end)
    return [*before, (start, stop), (again, end)]


def _when(least: float, most: float, rng: np.random.Generator) -> float:
    """A moment, sooner rather than later."""
    return round(float(np.exp(rng.uniform(*np.log((least, max(most, 2 * least)))))), 1)


def inside(times: np.ndarray, spans: Spans) -> np.ndarray:
    """Which times lie in any of the spans, bool (n,).

    >>> inside(np.arange(4.0), [(0.5, 1.5), (3, 9)])
    array([False,  True, False,  True])
    """
    return np.any([(times >= start) & (times < end) for start, end in spans], axis=0)


def on_change(period: float, seconds: float, spread: float, rng) -> np.ndarray:
    """Times of a message that is sent when its content changes, s: gaps of a half-normal number
    of octaves over the shortest, a quarter of the `period`."""
    shortest = max(period / 4, _FASTEST)
    count = int(seconds / shortest) + 1
    gaps = shortest * 2 ** np.abs(rng.normal(0, spread, count))
    times = np.cumsum(gaps)
    return times[times < seconds]


def slower(times: np.ndarray, factor: int, seconds: float, rng) -> np.ndarray:
    """The times of which only every `factor`-th is left, but in a few spans."""
    borders = np.sort(rng.uniform(0, seconds, 2 * int(rng.integers(1, 4))))
    fast = np.searchsorted(borders, times) % 2 == 1
    return times[fast | (np.arange(len(times)) % factor == 0)]


def bursts(times: np.ndarray, frames: int, period: float, rng) -> np.ndarray:
    """So many frames at each time, within a tenth to a half of the period."""
    pace = period * rng.uniform(0.1, 0.5) / frames
    return (times[:, None] + pace * np.arange(frames)).ravel()


def batched(times: np.ndarray, grid: float) -> np.ndarray:
    """Times at which a gateway passes on what came since it last looked, every `grid` s."""
    return np.ceil(times / grid) * grid


def diagnosis(seconds: float, extended: bool, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A tester that asks for some seconds, and a control unit that answers: single frames and
    segmented ones (ISO 15765-2). Times (s), arbitration ID, DLC, payload u1 (n, 8)."""
    request, answer = _LONG_TESTER if extended else _TESTERS[rng.integers(len(_TESTERS))]
    start = rng.uniform(0, 0.9 * seconds)
    end = min(seconds, start + np.exp(rng.uniform(np.log(0.2), np.log(30))))
    asked = np.arange(start, end, np.exp(rng.uniform(np.log(0.03), np.log(2))))
    rows: list[tuple[float, int, list[int]]] = []
    for moment in asked.tolist():
        service, item = int(rng.choice([0x01, 0x09, 0x19, 0x22, 0x3E])), int(rng.integers(256))
        rows.append((moment, request, [2, service, item, 0, 0, 0, 0, 0]))
        moment += rng.uniform(0.003, 0.03)
        if rng.random() < 0.7:
            word = rng.integers(0, 256, 3).tolist()
            rows.append((moment, answer, [6, service | 0x40, item, *word, 0xAA, 0xAA]))
            continue
        parts = int(rng.integers(2, 12))
        rows.append((moment, answer, [0x10, 7 * parts, service | 0x40, *rng.integers(0, 256, 5)]))
        rows.append((moment + 0.002, request, [0x30, 0, 0, 0, 0, 0, 0, 0]))
        pace = rng.uniform(0.0005, 0.01)
        for part in range(1, parts):
            word = rng.integers(0, 256, 7).tolist()
            rows.append((moment + 0.004 + part * pace, answer, [0x20 | part % 16, *word]))
    rows = sorted(row for row in rows if row[0] < seconds)
    times, ids, data = zip(*rows, strict=True) if rows else ((), (), ())
    payload = np.array(data, np.uint8).reshape(-1, 8)
    return np.array(times), np.array(ids, np.int64), np.full(len(times), 8), payload


def channels(
    drive: dict[str, np.ndarray], names: Sequence[str], number: int, rate: int, rng
) -> dict[str, np.ndarray]:
    """A channel for each signal of a vehicle, f8 (n,): `names` are those of a channel of the drive
    or one of `RELATED`, a space, and what tells the signal.

    A control unit knows a quantity late and filtered, and each sensor has errors of its own: slow
    ones, relative to how much the quantity varies. Some signals are near copies of each other, most
    share little. The `number` of the vehicle draws how much, `rng` the errors of this drive.
    `rate` is in samples per s.
    """
    n, speed, turn = len(drive["speed"]), drive["speed"], drive["steering"] - 0.5
    known = drive | {"yaw": 0.5 + speed * turn, "torque": (drive["pedal"] + 0.3 * speed) / 1.3}
    for k, wheel in enumerate(RELATED[2:]):  # the outer wheels turn faster, those in front as well
        known[wheel] = speed * (1 + (0.06 if k % 2 else -0.06) * turn + (k < 2) * 0.02 * turn**2)
    found = {}
    for k, name in enumerate(names):
        habits = np.random.default_rng([number, k])
        value = known[name.rpartition(" ")[0]]
        late, width = (int(rate * 0.3 * habits.random() ** 4) for _ in range(2))
        width += 1
        value = np.convolve(np.pad(value, (width - 1, 0), "edge"), np.ones(width) / width, "valid")
        value = value[np.maximum(np.arange(n) - late, 0)]
        share = np.exp(habits.uniform(*np.log(_ERRORS[int(habits.random() < _ALONE)])))
        window = np.hanning(int(habits.uniform(1, 8) * rate))
        error = np.convolve(rng.standard_normal(n + len(window) - 1), window, "valid")
        size = share * max(value.std(), 0.02) / np.sqrt((window**2).sum())
        found[name] = np.clip(value + size * error * drive["driven"], 0, 1.2)
    return found
