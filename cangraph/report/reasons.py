"""Why an ID is suspected: what is odd about its frames, in words that can be checked in the log.

The features of the detector say where to look; what is told is measured in the frames themselves,
and beside it how often the ID shows the same outside of all alarms.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cangraph.features.profile import profile
from cangraph.features.schema import FRAME_FEATURES
from cangraph.frames import Frames

# the features that speak for an attack, and from where on; the first ones speak the clearest
ODD = {
    "broken_rule": 1.0,
    "dlc_change": 0.5,
    "distrust": 0.9,
    "intruder": 0.1,
    "gap_surprise": 1.0,
    "novel_bytes": 1.0,
    "leap": 1.0,
    "stuck": 1.0,
    "flip_surprise": 1.5,
}
RARE = 0.01  # share of an ID's other frames that a telling reason is seen in at most
_MOST = 4  # reasons of an alarm
_SEVERAL = 3  # IDs that are new together
_PAST = 500  # frames before an alarm that rules are looked for in
_RULE = 0.95  # of them keep a rule
_WARM = 5.0  # s; an ID that comes later is new
_KNOWN = 8  # frames; with fewer nothing is usual
_AWAY = 3.0  # periods that an ID must be silent to be called so
_OFTEN, _FEW = 1.5, 5  # times its usual number of frames, and so many more


class Own(NamedTuple):
    """The frames of one ID: `at`, i8 (n,), their places in the log, `time`, f8 (n,), s since the
    log's first frame, `gap`, f8 (n,), ms since the one before (NaN of the first), the payloads
    `data` u1 (n, width) and their `used` bytes, and which frames show each of `ODD`, bool (n,)."""

    at: np.ndarray
    time: np.ndarray
    gap: np.ndarray
    data: np.ndarray
    used: np.ndarray
    odd: dict[str, np.ndarray]

    def payload(self, i: int) -> bytes:
        return self.data[i, : self.used[i]].tobytes()


def own_frames(frames: Frames) -> dict[int, Own]:
    """The frames of each ID, with what is odd about them."""
    features = profile(frames).features
    names = [feature.name for feature in FRAME_FEATURES]
    odd = {name: features[:, names.index(name)] > least for name, least in ODD.items()}
    time = frames.timestamp - frames.timestamp[:1]
    order = np.argsort(frames.arbitration_id, kind="stable")
    ids, first = np.unique(frames.arbitration_id[order], return_index=True)
    found = {}
    for number, at in zip(ids.tolist(), np.split(order, first[1:]), strict=True):
        gap = 1e3 * np.diff(time[at], prepend=np.nan)
        mine = {name: shown[at] for name, shown in odd.items()}
        found[number] = Own(at, time[at], gap, frames.data[at], frames.bytes_used[at], mine)
    return found


def why(own: Own, span: tuple[float, float], quiet: np.ndarray) -> dict[str, Any]:
    """Why an ID is suspected in a `span` (s):

    - `reasons`, the clearest first: the `feature` and the `time` (s) of the first frame that shows
      it, how many `frames` do, what it `says`, and the share of the ID's frames `elsewhere`, not
      in an alarm (`quiet`, bool (n,)), that show the same (None: nothing is usual of the ID).
      What is usual for the ID is only told if there is nothing else.
    - `period_ms`: the median of its gaps elsewhere.
    - `frame`: the one that shows most of them; `before` and `after` are the payload of the frame
      before it and its own in hexadecimal, `changed` the bytes that differ.
    """
    inside = np.flatnonzero((own.time >= span[0]) & (own.time <= span[1]))
    usual = own.gap[quiet & np.isfinite(own.gap)]
    period = float(np.median(usual)) if len(usual) >= _KNOWN else None
    reasons = [*_amounts(own, span, inside, period)]
    for name, shown in own.odd.items():
        mine = inside[shown[inside]]
        if name == "distrust" and own.time[0] < _WARM:
            continue  # it was there from the beginning, only irregular
        if len(mine) and (period is not None or name == "distrust"):  # else nothing is usual
            i = int(mine[0])
            elsewhere = float(shown[quiet].mean()) if period is not None else None
            said = _words(own, name, i, period)
            if name == "distrust" and len(mine) > 1:
                said += f"; {len(mine):,} frames of it here"
            reasons.append(_reason(name, float(own.time[i]), len(mine), said, elsewhere))
    telling = [reason for reason in reasons if (reason["elsewhere"] or 0.0) <= RARE]
    reasons = (telling or reasons)[:_MOST]
    return {
        "reasons": reasons,
        "period_ms": None if period is None else round(period, 3),
        "frame": _worst(own, inside, {reason["feature"] for reason in reasons}),
    }


def _amounts(own, span, inside, period) -> Iterator[dict[str, Any]]:
    """An ID that came far more often than usual, or not at all."""
    seconds = max(span[1] - span[0], 1e-3)
    if period is None:
        return
    expected = 1e3 * seconds / max(period, 1e-3)
    if len(inside) > _OFTEN * expected + _FEW:
        says = f"comes {len(inside):,} times in {seconds:.2f} s, where {expected:,.0f} are usual"
        yield _reason("count", span[0], len(inside), says)
    near = own.time[(own.time < span[1]) & (own.time > span[0] - _AWAY * period / 1e3)]
    edges = np.r_[near[:1] if len(near) else span[0], near, span[1]]
    k = int(np.diff(edges).argmax())
    away = 1e3 * float(edges[k + 1] - edges[k])
    if away > _AWAY * period:
        says = f"no frame for {away:,.0f} ms, where one comes every {period:,.1f} ms"
        yield _reason("silence", float(edges[k]), 0, says)


def newcomers(own: dict[int, Own], span: tuple[float, float]) -> list[dict[str, Any]]:
    """What IDs that are new on the bus send in a span (s), as a reason, if there are several."""
    sent = [
        int(one.odd["distrust"][slice(*np.searchsorted(one.time, span))].sum())
        for one in own.values()
        if one.time[0] > _WARM
    ]
    new, frames = sum(number > 0 for number in sent), sum(sent)
    says = f"new IDs: {new:,} of them send {frames:,} frames in {span[1] - span[0]:.2f} s"
    return [_reason("newcomers", span[0], frames, says)] if new >= _SEVERAL else []


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
        first = f"it first came {own.time[0]:,.2f} s into the log"
        return f"a new ID: {first}, and has not kept a period for long"
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
        return f"values that the ID did not have before: {values or 'of a frame before'}{more}"
    steps = np.abs(np.diff(np.vstack([past, now]).astype(np.int16), axis=0))
    steps = np.minimum(steps, 256 - steps)
    if name == "leap":
        most = steps[:-1].max(0, initial=0)
        j = int((steps[-1] / (1 + most)).argmax())
        return f"byte {j} steps by {steps[-1, j]}, where {most[j]} was the most"
    rest = np.array([np.argmax(np.r_[steps[::-1, j] > 0, True]) for j in range(used)])
    rest[~(steps > 0).any(0)] = 0  # one that never moved is not stuck
    j = int(rest.argmax())
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
