"""Why an ID is suspected: what is odd about its frames, in words that can be checked in the log.

The features of the detector say where to look; what is told is measured in the frames themselves,
and beside it how often the ID shows the same outside of all alarms. `cangraph scan` tells it of a
whole log, the monitor of the last seconds.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from cangraph.deploy.recent import ODD, Heard
from cangraph.io.diagnosis import part_of

Event = dict[str, Any]  # as the monitor tells it, see there


class Cause(StrEnum):
    """What an alarm rests on, as the frames show it."""

    FOREIGN = "foreign ID"
    SILENCE = "silence"
    COUNTER = "counter"  # or a checksum
    TIMING = "timing"
    PAYLOAD = "payload"
    LOAD = "load"
    UNKNOWN = "unknown"


CAUSES = {  # of each reason, the clearest first
    "flood": Cause.LOAD,
    "newcomers": Cause.FOREIGN,
    "distrust": Cause.FOREIGN,
    "silence": Cause.SILENCE,
    "broken_rule": Cause.COUNTER,
    "count": Cause.TIMING,
    "intruder": Cause.TIMING,
    "gap_surprise": Cause.TIMING,
    "dlc_change": Cause.PAYLOAD,
    "novel_bytes": Cause.PAYLOAD,
    "leap": Cause.PAYLOAD,
    "stuck": Cause.PAYLOAD,
    "flip_surprise": Cause.PAYLOAD,
    "load": Cause.LOAD,
}
RARE = 0.01  # share of an ID's other frames that a telling reason is seen in at most
_SURE = 3  # suspicious windows of an alarm that is sure
_IDS = 1000  # that an alarm counts; fuzzing makes up any number
_MOST, _SAID = 4, 3  # reasons of an alarm, and of its sentence
_SEVERAL, _BEFORE = 3, 1.0  # IDs that are new together, at most so many s before the alarm
_PAST = 500  # frames before an alarm that rules are looked for in
_RULE = 0.95  # of them keep a rule
WARM = 5.0  # s; an ID that comes later is new
_KNOWN = 8  # frames; with fewer nothing is usual
_AWAY = 3.0  # periods that an ID must be silent to be called so
_OFTEN, _FEW = 1.5, 5  # times its usual number of frames, and so many more
_BIN = 0.05  # s in which the load of the bus is measured
_BUSY = 1.3  # times its usual load
_FLOOD = 1000.0  # frames a second of an ID that floods the bus


@dataclass
class Tally:
    """The windows of an alarm: how many, how many of them were `called`, how many `frames` of the
    blamed IDs these held, and how often each ID was `blamed` for each attack type, among the many
    IDs of fuzzing the most frequent ones alone. JSON can hold its fields."""

    windows: int = 0
    called: int = 0
    frames: int = 0
    blamed: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, windows: Iterable[Event]) -> "Tally":
        tally = cls()
        for window in windows:
            tally.add(window)
        return tally

    def add(self, window: Event) -> None:
        self.windows += 1
        if window["value"] < window["level"]:
            return
        self.called += 1
        self.frames += window["count"]
        attacks = self.blamed.setdefault(window["id"], {})
        attacks[window["attack"]] = attacks.get(window["attack"], 0) + 1
        if len(self.blamed) > _IDS:
            kept = dict(self.ids.most_common(_IDS // 2))
            self.blamed = {name: of for name, of in self.blamed.items() if name in kept}

    @property
    def ids(self) -> Counter[str]:
        """How often each ID was blamed."""
        return Counter({name: sum(attacks.values()) for name, attacks in self.blamed.items()})

    @property
    def often(self) -> bool:
        """Whether half of its windows are suspicious."""
        return 2 * self.called >= self.windows

    @property
    def many(self) -> int:
        """How many IDs it is about: 1, or all that are blamed where none is most of the time."""
        times = max(self.ids.values(), default=0)
        return max(len(self.blamed), 1) if 3 * times <= self.called else 1

    def suspect(self, event: Event) -> tuple[str, str]:
        """The ID that an alarm is about, and the attack that it looks like: the ID of most of the
        suspicious windows or, where each has another, of the one with the highest value."""
        if self.many != 1 or not self.blamed:
            return event["id"], event["attack"]
        ((name, _),) = self.ids.most_common(1)
        return name, Counter(self.blamed[name]).most_common(1)[0][0]


class Own(NamedTuple):
    """The frames of one ID: `at`, i8 (n,), their places in what was heard, `time`, f8 (n,), s since
    the bus's first frame, `gap`, f8 (n,), ms since the one before (NaN of the first), the payloads
    `data` u1 (n, width) and their `used` bytes, which frames show each of `ODD`, bool (n,), and
    when (s) the ID was `first` heard."""

    at: np.ndarray
    time: np.ndarray
    gap: np.ndarray
    data: np.ndarray
    used: np.ndarray
    odd: dict[str, np.ndarray]
    first: float

    def payload(self, i: int) -> bytes:
        return self.data[i, : self.used[i]].tobytes()


def own_frames(heard: Heard) -> dict[int, Own]:
    """The frames of each ID."""
    ids = heard.frames.arbitration_id
    order = np.argsort(ids, kind="stable")
    numbers, first = np.unique(ids[order], return_index=True)
    places = np.split(order, first[1:]) if len(numbers) else []
    return {n: _own(heard, n, at) for n, at in zip(numbers.tolist(), places, strict=True)}


def _own(heard: Heard, number: int, at: np.ndarray) -> Own:
    time, frames = heard.time[at], heard.frames
    gap = 1e3 * np.diff(time, prepend=np.nan)
    odd = dict(zip(ODD, heard.odd[at].T, strict=True))
    first = heard.first.get(number, float(time[0]) if len(time) else 0.0)
    return Own(at, time, gap, frames.data[at], frames.bytes_used[at], odd, first)


class Spans(NamedTuple):
    """The times of all alarms, sorted f8 (n,): what lies between them is usual."""

    begins: np.ndarray
    ends: np.ndarray

    def quiet(self, time: np.ndarray) -> np.ndarray:
        """Which times lie in no alarm, bool (n,)."""
        begun = np.searchsorted(self.begins, time, "right")
        return begun == np.searchsorted(self.ends, time)


def explain(
    heard: Heard, event: Event, tally: Tally, span: tuple[float, float], spans: Spans, windows: int
) -> dict[str, Any]:
    """What an alarm of a bus is about, from the `event` that tells it, its `tally`, and what was
    `heard` around its `span` (s); so many `windows` of the bus were judged:

    - `id`, hexadecimal, the attack `kind` that it looks like, its `part` in diagnosis (see
      `part_of`), `blamed`, the four IDs that are blamed most, and how `many` are.
    - `reasons`, those of the cause first: the `feature`, the `time` (s) of the first frame that
      shows it, how many `frames` do, what it `says`, and the share of the ID's frames `elsewhere`,
      in no alarm, that show the same (None: nothing is usual of the ID). What is usual for the ID
      is only told if there is nothing else.
    - `cause`, a `Cause`, and `why`, a sentence of the first reasons.
    - `sure`: `high` if half of the windows are suspicious, `_SURE` at least, not most of the bus's
      windows lie in it, and a reason is seen in at most 1 % of the ID's other frames; `medium` if
      half of them are or there is such a reason; or else `low`.
    - `period_ms`: the median of the ID's gaps elsewhere.
    - `frame`: the one that shows most reasons; `before` and `after` are the payload of the frame
      before it and its own in hexadecimal, `changed` the bytes that differ.
    """
    name, kind = tally.suspect(event)
    number, many = int(name, 16), tally.many
    own = _own(heard, number, np.flatnonzero(heard.frames.arbitration_id == number))
    found = why(own, span, spans.quiet(own.time))
    more = [*_newcomers(heard, span), *_load(heard, span, spans)]
    found["reasons"], cause = _ordered(found["reasons"] + more)
    telling = any((reason["elsewhere"] or 0.0) <= RARE for reason in found["reasons"])
    most = 2 * tally.windows > windows
    sure = "medium" if telling or tally.often else "low"
    if telling and tally.often and tally.called >= _SURE and not most:
        sure = "high"
    who = f"{many:,} IDs, such as 0x{name}" if many > 1 else f"0x{name}"
    says = [reason["says"] for reason in found["reasons"][:_SAID]]
    said = f"{who}: {'; '.join(says) or 'no frame of it is odd by itself'}"
    facts = {"id": name, "kind": kind, "part": part_of(number), "most": most, "many": many}
    facts |= {"blamed": dict(tally.ids.most_common(4)), "cause": cause.value, "why": said}
    return facts | {"sure": sure} | found


def why(own: Own, span: tuple[float, float], quiet: np.ndarray) -> dict[str, Any]:
    """The `reasons`, `period_ms` and `frame` of one ID (see `explain`); `quiet`, bool (n,), are its
    frames outside of alarms."""
    inside = np.flatnonzero((own.time >= span[0]) & (own.time <= span[1]))
    usual = own.gap[quiet & np.isfinite(own.gap)]
    period = float(np.median(usual)) if len(usual) >= _KNOWN else None
    reasons = [*_amounts(own, span, inside, usual)] if period is not None else []
    for name, shown in own.odd.items():
        mine = inside[shown[inside]]
        if name == "distrust" and own.first < WARM:
            continue  # it was there from the beginning, only irregular
        if len(mine) and (period is not None or name == "distrust"):  # else nothing is usual
            i = int(mine[0])
            elsewhere = float(shown[quiet].mean()) if period is not None else None
            said = _words(own, name, i, period)
            if name == "distrust" and len(mine) > 1:
                said += f"; {len(mine):,} frames of it here"
            reasons.append(_reason(name, float(own.time[i]), len(mine), said, elsewhere))
    telling = [reason for reason in reasons if (reason["elsewhere"] or 0.0) <= RARE]
    reasons = telling or reasons
    return {
        "reasons": reasons,
        "period_ms": None if period is None else round(period, 3),
        "frame": _worst(own, inside, {reason["feature"] for reason in reasons}),
    }


def _ordered(reasons: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Cause]:
    """Reasons, those of the cause first, and the cause: that of the clearest one."""
    clear = sorted(reasons, key=lambda reason: [*CAUSES].index(reason["feature"]))
    cause = CAUSES[clear[0]["feature"]] if clear else Cause.UNKNOWN
    clear.sort(key=lambda reason: CAUSES[reason["feature"]] is not cause)
    return clear[:_MOST], cause


def _amounts(own, span, inside, usual) -> Iterator[dict[str, Any]]:
    """An ID that came far more often than usual, or not at all."""
    seconds, period = max(span[1] - span[0], 1e-3), float(np.median(usual))
    expected = 1e3 * seconds / max(period, 1e-3)
    if len(inside) > _OFTEN * expected + _FEW:
        many = f"{expected:,.0f} are" if expected >= 1 else "none is"
        says = f"comes {len(inside):,} times in {seconds:.2f} s, where {many} usual"
        yield _reason("count", span[0], len(inside), says)
    before = own.time[own.time < span[0]][-1:]
    edges = np.r_[before if len(before) else span[0], own.time[inside], span[1]]
    k = int(np.diff(edges).argmax())
    away = 1e3 * float(edges[k + 1] - edges[k])
    if away > _AWAY * max(period, float(usual.mean())):
        says = f"no frame for {away:,.0f} ms, where one comes every {period:,.1f} ms"
        yield _reason("silence", float(edges[k]), 0, says, float((usual >= away).mean()))


def _new(span: tuple[float, float]) -> float:
    """From when on (s) an ID came that is new with an alarm."""
    return max(span[0] - _BEFORE, WARM)


def _newcomers(heard: Heard, span: tuple[float, float]) -> Iterator[dict[str, Any]]:
    """What IDs send in a span (s) that came with it, as a reason, if there are several: others, as
    of a car that wakes up, were there before."""
    inside = slice(*np.searchsorted(heard.time, span))
    shown = heard.odd[inside, [*ODD].index("distrust")]
    ids, sent = np.unique(heard.frames.arbitration_id[inside][shown], return_counts=True)
    new = [k for k, n in enumerate(ids.tolist()) if heard.first.get(n, 0.0) > _new(span)]
    frames = int(sent[new].sum())
    if len(new) >= _SEVERAL:
        says = f"new IDs: {len(new):,} of them send {frames:,} frames in {span[1] - span[0]:.2f} s"
        yield _reason("newcomers", span[0], frames, says)


def _load(heard: Heard, span: tuple[float, float], spans: Spans) -> Iterator[dict[str, Any]]:
    """A bus that is busier than outside of alarms; `flood` where one ID makes it so that is new, or
    sends a thousand frames a second."""
    time, width = heard.time, min(_BIN, span[1] - span[0])
    edges = np.arange(time[0], span[0], _BIN) if len(time) else time
    usual = np.diff(np.searchsorted(time, edges))[spans.quiet(edges[:-1]) & spans.quiet(edges[1:])]
    usual = usual[usual > 0]
    if len(usual) < _KNOWN or width <= 0:
        return
    begins = np.r_[np.arange(span[0], span[1] - width, _BIN / 2), span[1] - width]
    came = np.searchsorted(time, begins + width, "right") - np.searchsorted(time, begins)
    k = int(came.argmax())
    rate, often = came[k] / width, float(np.median(usual)) / _BIN
    elsewhere = float((usual >= rate * _BIN).mean())
    if rate < _BUSY * often or elsewhere > RARE:
        return
    inside = heard.frames.arbitration_id[slice(*np.searchsorted(time, span))]
    numbers, sent = np.unique(inside, return_counts=True)
    number, most = int(numbers[sent.argmax()]), int(sent.max())
    mine = time[heard.frames.arbitration_id == number]
    many = _FLOOD * width < np.diff(np.searchsorted(mine, [begins[k], begins[k] + width]))[0]
    flood = many or heard.first.get(number, 0.0) > _new(span)
    flood = flood and 2 * most > len(inside) - often * (span[1] - span[0])
    says = f"{rate:,.0f} frames a second on the bus, where {often:,.0f} are usual"
    says += f"; 0x{number:03X} sends {most / len(inside):.0%} of all frames here" if flood else ""
    yield _reason("flood" if flood else "load", float(begins[k]), int(came[k]), says, elsewhere)


def _reason(
    feature: str, time: float, frames: int, says: str, elsewhere: float | None = None
) -> dict[str, Any]:
    found = {"feature": feature, "time": round(time, 6), "frames": frames}
    return found | {"says": says, "elsewhere": elsewhere}


def _words(own: Own, name: str, i: int, period: float | None) -> str:
    """What is odd about frame i of an ID."""
    gap = f"{own.gap[i]:,.1f} ms behind the one before"
    usual = f", where {period:,.1f} ms are usual" if period else ""
    now, ago = own.payload(i), own.payload(max(i - 1, 0))
    if name == "broken_rule":
        return broken(own.data[max(i - _PAST, 0) : i + 1], len(now))
    if name == "dlc_change":
        return f"payload of {len(now)} bytes instead of {len(ago)}"
    if name == "distrust":
        return "an ID that is new on the bus"
    if name == "intruder":
        return f"two frames for one turn: {gap}{usual}; this one keeps the clock, not that before"
    if name == "gap_surprise":
        return f"too {'early' if period and own.gap[i] < period else 'late'}: {gap}{usual}"
    if name in ("novel_bytes", "leap", "stuck"):
        return _byte_words(own, name, i)
    flipped = [j for j, (a, b) in enumerate(zip(ago, now, strict=False)) if a != b]
    places = ", ".join(map(str, flipped)) or "none"
    return f"payload bits change that rest otherwise, or the reverse (bytes that changed: {places})"


def _byte_words(own: Own, name: str, i: int) -> str:
    used = int(own.used[i])
    past, now = own.data[max(i - 20 * _PAST, 0) : i, :used], own.data[i, :used]
    if name == "novel_bytes":
        new = [j for j in range(used) if not (past[:, j] == now[j]).any()]
        values = ", ".join(f"byte {j} = {now[j]:02X}" for j in new[:3])
        more = f" and {len(new) - 3} more bytes" if len(new) > 3 else ""
        return f"values that the ID did not have before: {values or 'of early frames'}{more}"
    steps = np.abs(np.diff(np.vstack([past, now]).astype(np.int16), axis=0))
    steps = np.minimum(steps, 256 - steps)
    if name == "leap":
        most = steps[:-1].max(0, initial=0)
        j = int((steps[-1] / (1 + most)).argmax())
        if steps[-1, j] <= most[j]:
            return "a byte steps farther than it does in frames on time"
        return f"byte {j} steps by {steps[-1, j]}, where {most[j]} was the most"
    rest = np.array([np.argmax(np.r_[steps[::-1, j] > 0, True]) for j in range(used)])
    rest[~(steps > 0).any(0)] = 0  # one that never moved is not stuck
    j = int(rest.argmax())
    if not rest[j]:
        return "bytes rest that move otherwise"
    return f"byte {j} has not moved for {rest[j]:,} frames"


_PARTS = (  # of a byte that may count: bits, shift, name
    (8, 0, "byte"),
    (4, 0, "the lower half of byte"),
    (4, 4, "the upper half of byte"),
    (2, 0, "the lowest bits of byte"),
)
_SUMS = {  # checksums over the bytes of a payload, as the kernel knows them
    "the XOR of all bytes": lambda data: np.bitwise_xor.reduce(data, 1),
    "the sum of all bytes": lambda data: data.sum(1, dtype=np.uint8),
    "the last byte less the sum of the others": lambda data: (
        data[:, -1] * np.uint8(2) - data.sum(1, dtype=np.uint8)
    ),
}


def broken(data: np.ndarray, used: int) -> str:
    """Which counter or checksum the last payload breaks that those before it kept, u1 (n, width).

    >>> count = np.arange(40, dtype=np.uint8)
    >>> data = np.c_[count, count * 0 + 7, count[::-1]]
    >>> data[-1, 0] = 5
    >>> broken(data, 3)
    'the counter in byte 0 goes from 26 to 05; its step was 1 in 100 % of the frames before'
    """
    data = data[:, :used]
    for bits, shift, where in _PARTS:
        part = data >> shift & (1 << bits) - 1
        steps = np.diff(part, axis=0) & (1 << bits) - 1
        for j in range(used if len(steps) > _KNOWN else 0):
            step = int(np.bincount(steps[:-1, j]).argmax())
            kept = float((steps[:-1, j] == step).mean())
            if step and kept >= _RULE and steps[-1, j] != step:
                turned = f"goes from {part[-2, j]:02X} to {part[-1, j]:02X}; its step was {step}"
                often = f"{100 * kept:.0f} % of the frames before"
                return f"the counter in {where} {j} {turned} in {often}"
    for name, total in _SUMS.items() if used > 1 and len(data) > _KNOWN else ():
        values = total(data)
        constant = int(np.bincount(values[:-1]).argmax())
        kept = float((values[:-1] == constant).mean())
        if kept >= _RULE and values[-1] != constant:
            return (
                f"a checksum breaks: {name} is {values[-1]:02X}, and was {constant:02X} in "
                f"{100 * kept:.0f} % of the frames before"
            )
    return "a counter or checksum breaks that the frames before kept"


def _worst(own: Own, inside: np.ndarray, features: set[str]) -> dict[str, Any] | None:
    """The frame that shows the most of the reasons, and the one before it."""
    if not len(inside):
        return None
    shown = [own.odd[name][inside] for name in ODD if name in features]
    i = int(inside[np.sum(shown, 0).argmax() if shown else 0])
    now, ago = own.payload(i), own.payload(i - 1) if i else b""
    changed = [j for j in range(len(now)) if j >= len(ago) or now[j] != ago[j]]
    frame = {"time": round(float(own.time[i]), 6), "gap_ms": None, "changed": changed if i else []}
    if i:
        frame["gap_ms"] = round(float(own.gap[i]), 3)
    return frame | {"before": ago.hex(" ").upper(), "after": now.hex(" ").upper()}
