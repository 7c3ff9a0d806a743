"""The running profile of each arbitration ID: what is normal for it, learnt frame by frame.

One numba kernel reads frames in order and says of each how it departs from what its ID did so
far. Nothing looks ahead, and nothing depends on which car it is: a gap is measured in the ID's
own periods, a payload against the ID's own bit flip rates. Fed in one piece or frame by frame
the kernel gives the same bits, so that training and a live monitor see the same features.

Learning is bounded, so that an attack cannot rewrite the profile (all constants below):
the period moves by at most `_STEP / _MEMORY` octaves a second however many frames are injected,
and payload statistics learn only from frames that did not come early.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numba
import numpy as np

from cangraph.frames import Frames

__all__ = ["FRAME_FEATURES", "Feature", "Profiles", "profile"]


class Feature(NamedTuple):
    """A feature's `name`, its `unit`, and what it `sees`."""

    name: str
    unit: str
    sees: str


FRAME_FEATURES = (
    Feature("gap_ratio", "octaves", "log2 of the gap over the ID's running period"),
    Feature("jitter", "octaves", "the ID's usual |gap_ratio|: small if periodic"),
    Feature("distrust", "0..1", "1 for an ID that turns up late, 0 for one that keeps its period"),
    Feature("flip_excess", "sigma", "payload bits flipped, more or fewer than the ID's flip rates"),
    Feature("flip_surprise", "octaves", "flips in bits that rest, or rest in bits that flip"),
    Feature(
        "novel_bytes",
        "0..1",
        "share of payload bytes with a value new to the ID; all of a late ID's first",
    ),
    Feature("dlc_change", "0 or 1", "payload length other than the ID's last one"),
    Feature("rate", "1/ms", "frames the ID is expected to send, 0 while it is not trusted"),
)

_HALF_MICROSECOND = 5e-4  # ticks; an epoch time in float64 is only exact to .24 µs
_TICK = 1e-3  # s; gaps are quantised to it, finer ones tell the recording device, not the attack
_MEMORY = 20.0  # s; time constant of the running period
_STEP = 0.5  # octaves; a single gap pulls the period by no more than this
_YOUNG = 8  # gaps; an ID's first ones are averaged plainly
_EARLY = -1.0  # octaves; a frame after less than half a period teaches nothing about payloads
_REGULAR = 0.5  # octaves; a gap this near to the period earns trust
_WARM_UP = 5.0  # s; IDs first seen in it are trusted: something has to be normal
_PROBATION = 60.0  # s; time constant of the trust in an ID that turns up later
_FLIP_MEMORY = 64.0  # frames; time constant of the flip rates
_REST = 1e-4  # a flip rate under it counts as 0, so that bytes at rest cost no time
_CLIP = 6.0  # octaves


def _slot(width: int) -> np.dtype:
    """What is remembered of one ID with payloads of up to `width` bytes.

    `rate` are the flip rates of each bit of each payload byte, `values` has one bit for each value
    that a byte took, `moves` says which bytes ever flip.
    """
    return np.dtype(
        [
            ("seen", np.int64),
            ("first_time", np.float64),
            ("last_time", np.float64),
            ("log_period", np.float64),
            ("jitter", np.float64),
            ("trust", np.float64),
            ("rate", np.float32, (width, 8)),
            ("values", np.uint8, (width, 32)),
            ("data", np.uint8, (width,)),
            ("moves", np.uint8, (width,)),
            ("dlc", np.uint8),
        ],
        align=True,
    )


# the bits of every byte value as float32, so that eight are compared at once
_BITS = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)


@dataclass
class Profiles:
    """The state of the kernel: one slot of `table` for each ID, in order of first appearance.

    Grows with the IDs met. Keep it and hand it to the next `profile` call to go on where
    the last one stopped. `began` is the time of the first frame in s.
    """

    slots: dict[int, int] = field(default_factory=dict)
    table: np.ndarray = field(default_factory=lambda: np.zeros(0, _slot(8)))
    began: float = np.nan

    def slots_of(self, frames: Frames) -> np.ndarray:
        """The slot of each frame's ID, i8 (n,); makes room for IDs met for the first time."""
        key = frames.arbitration_id | (frames.is_extended_id.astype(np.uint32) << 31)
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        for k in unique[np.argsort(first)].tolist():
            self.slots.setdefault(k, len(self.slots))
        self._make_room(frames.data.shape[1])
        return np.array([self.slots[k] for k in unique.tolist()], np.int64)[inverse]

    def _make_room(self, width: int) -> None:
        """Room for every ID met, and for payloads of `width` bytes once CAN FD turns up."""
        old = self.table
        wide = max(width, old["data"].shape[1])
        if len(self.slots) <= len(old) and wide == old["data"].shape[1]:
            return
        self.table = np.zeros(max(2 * len(self.slots), len(old)), _slot(wide))
        for name in old.dtype.names:
            column = old[name]
            part = tuple(slice(size) for size in column.shape)
            self.table[name][part] = column


def profile(frames: Frames, state: Profiles | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features of each frame relative to its ID's past, f4 (n, 8) in `FRAME_FEATURES` order,
    and the slot of its ID, i8 (n,). Updates `state`.

    Gap g and period p are in ticks of 1 ms (g = ⌊Δt/1 ms⌋ + 1), r = log2(g/p), n the ID's gaps so
    far; bit b flips (f_b = 1) or not, at the ID's rate q_b; u_b = q_b(1-q_b):

        log2 p ← log2 p + w·clip(r, ±½),  w = min(1, Δt/20 s), and at least 1/n while n <= 8
        flip_excess   = (Σ f_b - Σ q_b) / sqrt(1 + Σ u_b)
        flip_surprise = log2((1 + Σ (f_b-q_b)²/(u_b+.02)) / (1 + Σ u_b/(u_b+.02)))

    >>> frames = Frames(np.arange(40) * 0.01, np.full(40, 0x1A0))
    >>> features, slots = profile(frames)
    >>> features[-1, 0].item(), features[0, 2].item()  # on time; seen for the first time
    (0.0, 0.0)
    """
    state = state or Profiles()
    slots = state.slots_of(frames)
    if len(frames) and np.isnan(state.began):
        state.began = float(frames.timestamp[0])
    out = np.empty((len(frames), len(FRAME_FEATURES)), np.float32)
    columns = frames.timestamp, frames.bytes_used, frames.data
    _profile(*columns, slots, state.began, state.table, out)
    return out, slots


@numba.njit(cache=True, nogil=True)
def _profile(timestamp, bytes_used, data, slots, began, table, out):
    # one lane for each bit of a byte: sums of f, q, u, (f-q)²/(u+.02), u/(u+.02)
    flips, expected, spread = np.empty(8), np.empty(8), np.empty(8)
    chi, usual = np.empty(8, np.float32), np.empty(8, np.float32)
    one, floor, rest = np.float32(1.0), np.float32(0.02), np.float32(_REST)
    for i in range(len(timestamp)):
        s = slots[i]
        p = table[s]
        n, dlc = p.seen, bytes_used[i]
        gap = max(timestamp[i] - p.last_time, 0.0)
        tick = np.log2(np.floor(gap / _TICK + _HALF_MICROSECOND) + 1.0)
        ratio = 0.0
        if n >= 2:  # a period is known from the second frame on
            ratio = min(max(tick - p.log_period, -_CLIP), _CLIP)

        if n == 0:
            p.first_time = timestamp[i]
            p.trust = 1.0 if timestamp[i] - began <= _WARM_UP else 0.0

        novel = 0
        flips[:], expected[:], spread[:], chi[:], usual[:] = 0, 0, 0, 0, 0
        learns = ratio > _EARLY or n <= _YOUNG
        step = np.float32(max(1.0 / (n + 1), 1.0 / _FLIP_MEMORY)) if learns else np.float32(0.0)
        for j in range(dlc):
            value = data[i, j]
            changed = value ^ p.data[j]
            if n and (changed or p.moves[j]):
                bits = _BITS[changed]
                moves = False
                for b in range(8):
                    f, q = bits[b], p.rate[j, b]
                    u = q * (one - q)
                    weight = one / (u + floor)
                    flips[b] += f
                    expected[b] += q
                    spread[b] += u
                    chi[b] += (f - q) * (f - q) * weight
                    usual[b] += u * weight
                    q += step * (f - q)
                    q = q if q > rest else np.float32(0.0)
                    p.rate[j, b] = q
                    moves |= q > 0
                p.moves[j] = np.uint8(moves)
            if changed or n == 0:
                bit = np.uint8(1 << (value & 7))
                # while everything is new, nothing is odd for being new
                if not p.values[j, value >> 3] & bit and (n or p.trust == 0):
                    novel += 1
                if learns:
                    p.values[j, value >> 3] |= bit
                    p.data[j] = value
        flipped, likely = flips.sum(), expected.sum()
        out[i, 0] = ratio
        out[i, 1] = p.jitter
        out[i, 2] = 1.0 - p.trust
        out[i, 3] = min(max((flipped - likely) / np.sqrt(1.0 + spread.sum()), -8.0), 8.0)
        surprise = np.log2((1.0 + np.float64(chi.sum())) / (1.0 + np.float64(usual.sum())))
        out[i, 4] = min(max(surprise, -_CLIP), _CLIP)
        out[i, 5] = novel / dlc if dlc else 0.0
        out[i, 6] = 1.0 if n and dlc != p.dlc else 0.0
        out[i, 7] = p.trust / 2.0**p.log_period if n >= 2 else 0.0

        if n:
            weight = min(1.0, gap / _MEMORY)
            if n <= _YOUNG:
                weight = max(weight, 1.0 / n)
            if n == 1:
                p.log_period = tick
            else:
                p.log_period += weight * min(max(ratio, -_STEP), _STEP)
                p.jitter += weight * (min(abs(ratio), 1.0) - p.jitter)
                if abs(ratio) < _REGULAR:
                    if p.first_time - began <= _WARM_UP:
                        earned = max(1 / 16, min(1.0, gap / _WARM_UP))
                    else:
                        earned = min(1 / 16, gap / _PROBATION)
                    p.trust += (1.0 - p.trust) * earned
                else:
                    p.trust -= p.trust / 8
        if learns:
            p.dlc = dlc
        p.last_time = timestamp[i]
        p.seen = n + 1
