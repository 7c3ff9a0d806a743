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
    Feature("distrust", "0..1", "1 for an ID never seen, 0 for one that keeps its period"),
    Feature("flip_excess", "sigma", "payload bits flipped, more or fewer than the ID's flip rates"),
    Feature("flip_surprise", "octaves", "flips in bits that rest, or rest in bits that flip"),
    Feature("novel_bytes", "0..1", "share of payload bytes with a value new to the ID"),
    Feature("dlc_change", "0 or 1", "payload length other than the ID's last one"),
    Feature("rate", "1/ms", "frames the ID is expected to send, 0 while it is not trusted"),
)

_TICK = 1e-3  # s; gaps are quantised to it, finer ones tell the recording device, not the attack
_MEMORY = 20.0  # s; time constant of the running period
_STEP = 0.5  # octaves; a single gap pulls the period by no more than this
_YOUNG = 8  # gaps; an ID's first ones are averaged plainly
_EARLY = -1.0  # octaves; a frame after less than half a period teaches nothing about payloads
_REGULAR = 0.5  # octaves; a gap this near to the period earns trust
_WARM_UP = 5.0  # s; IDs first seen in it earn trust at once, later ones by `_PROBATION`
_PROBATION = 60.0  # s; time constant of the trust in an ID that turns up later
_FLIP_MEMORY = 64.0  # frames; time constant of the flip rates
_CLIP = 6.0  # octaves


@dataclass
class Profiles:
    """The state of the kernel: one slot for each ID, in order of first appearance.

    Grows with the IDs met. Keep it and hand it to the next `profile` call to go on where
    the last one stopped.
    """

    slots: dict[int, int] = field(default_factory=dict)
    began: float = np.nan
    seen: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    last_time: np.ndarray = field(default_factory=lambda: np.zeros(0))
    log_period: np.ndarray = field(default_factory=lambda: np.zeros(0))
    jitter: np.ndarray = field(default_factory=lambda: np.zeros(0))
    trust: np.ndarray = field(default_factory=lambda: np.zeros(0))
    first_time: np.ndarray = field(default_factory=lambda: np.zeros(0))
    last_dlc: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    last_data: np.ndarray = field(default_factory=lambda: np.zeros((0, 8), np.uint8))
    flip_rate: np.ndarray = field(default_factory=lambda: np.zeros((0, 64), np.float32))
    values: np.ndarray = field(default_factory=lambda: np.zeros((0, 8, 32), np.uint8))

    def slots_of(self, frames: Frames) -> np.ndarray:
        """The slot of each frame's ID, i8 (n,); makes room for IDs met for the first time."""
        key = frames.arbitration_id | (frames.is_extended_id.astype(np.uint32) << 31)
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        for k in unique[np.argsort(first)].tolist():
            self.slots.setdefault(k, len(self.slots))
        if len(self.slots) > len(self.seen):
            room = 2 * len(self.slots)
            for name in (
                "seen",
                "last_time",
                "log_period",
                "jitter",
                "trust",
                "first_time",
                "last_dlc",
            ):
                self._grow(name, room)
            for name in ("last_data", "flip_rate", "values"):
                self._grow(name, room)
        self._widen(frames.data.shape[1])
        return np.array([self.slots[k] for k in unique.tolist()], np.int64)[inverse]

    def _widen(self, width: int) -> None:
        """Room for payloads of `width` bytes: 8, or more once CAN FD turns up."""
        more = width - self.last_data.shape[1]
        if more > 0:
            self.last_data = np.pad(self.last_data, ((0, 0), (0, more)))
            self.flip_rate = np.pad(self.flip_rate, ((0, 0), (0, 8 * more)))
            self.values = np.pad(self.values, ((0, 0), (0, more), (0, 0)))

    def _grow(self, name: str, room: int) -> None:
        old = getattr(self, name)
        new = np.zeros((room, *old.shape[1:]), old.dtype)
        new[: len(old)] = old
        setattr(self, name, new)


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
    >>> features[-1, 0].item(), features[0, 2].item()  # on time; never seen before
    (0.0, 1.0)
    """
    state = state or Profiles()
    slots = state.slots_of(frames)
    if len(frames) and np.isnan(state.began):
        state.began = float(frames.timestamp[0])
    out = np.empty((len(frames), len(FRAME_FEATURES)), np.float32)
    _profile(
        frames.timestamp,
        state.began,
        slots,
        frames.bytes_used,
        frames.data,
        state.seen,
        state.last_time,
        state.log_period,
        state.jitter,
        state.trust,
        state.first_time,
        state.last_dlc,
        state.last_data,
        state.flip_rate,
        state.values,
        out,
    )
    return out, slots


@numba.njit(cache=True, nogil=True)
def _profile(
    timestamp,
    began,
    slots,
    dlc,
    data,
    seen,
    last_time,
    log_period,
    jitter,
    trust,
    first_time,
    last_dlc,
    last_data,
    flip_rate,
    values,
    out,
):
    for i in range(len(timestamp)):
        s = slots[i]
        n = seen[s]
        gap = timestamp[i] - last_time[s]
        tick = np.log2(np.floor(max(gap, 0.0) / _TICK + 1e-6) + 1.0)
        ratio = 0.0
        if n >= 2:  # a period is known from the second frame on
            ratio = min(max(tick - log_period[s], -_CLIP), _CLIP)
        flips, expected, spread, chi, usual = 0.0, 0.0, 1.0, 1.0, 1.0
        novel = 0.0
        if n:
            for j in range(dlc[i]):
                changed = data[i, j] ^ last_data[s, j]
                for b in range(8):
                    q = flip_rate[s, 8 * j + b]
                    f = np.float32((changed >> b) & 1)
                    var = q * (np.float32(1) - q)
                    weight = np.float32(1) / (var + np.float32(0.02))
                    flips += f
                    expected += q
                    spread += var
                    chi += (f - q) * (f - q) * weight
                    usual += var * weight
                value = data[i, j]
                if not values[s, j, value >> 3] >> (value & 7) & 1:
                    novel += 1.0 / dlc[i]
        out[i, 0] = ratio
        out[i, 1] = jitter[s]
        out[i, 2] = 1.0 - trust[s]
        out[i, 3] = min(max((flips - expected) / np.sqrt(spread), -8.0), 8.0)
        out[i, 4] = min(max(np.log2(chi / usual), -_CLIP), _CLIP)
        out[i, 5] = novel
        out[i, 6] = 1.0 if n and dlc[i] != last_dlc[s] else 0.0
        out[i, 7] = trust[s] / 2.0 ** log_period[s]

        # learn
        if n == 0:
            first_time[s] = timestamp[i]
        else:
            weight = min(1.0, max(gap, 0.0) / _MEMORY)
            if n <= _YOUNG:
                weight = max(weight, 1.0 / n)
            if n == 1:
                log_period[s] = tick
            else:
                log_period[s] += weight * min(max(ratio, -_STEP), _STEP)
                jitter[s] += weight * (min(abs(ratio), 1.0) - jitter[s])
                if abs(ratio) < _REGULAR:
                    if first_time[s] - began <= _WARM_UP:
                        earned = max(1 / 16, min(1.0, gap / _WARM_UP))
                    else:
                        earned = min(1 / 16, gap / _PROBATION)
                    trust[s] += (1.0 - trust[s]) * earned
                else:
                    trust[s] -= trust[s] / 8
        if ratio > _EARLY or n <= _YOUNG:
            rate = np.float32(max(1.0 / (n + 1), 1.0 / _FLIP_MEMORY))
            for j in range(dlc[i]):
                changed = data[i, j] ^ last_data[s, j]
                value = data[i, j]
                if n:
                    for b in range(8):
                        f = np.float32((changed >> b) & 1)
                        flip_rate[s, 8 * j + b] += rate * (f - flip_rate[s, 8 * j + b])
                values[s, j, value >> 3] |= np.uint8(1 << (value & 7))
                last_data[s, j] = value
            last_dlc[s] = dlc[i]
        last_time[s] = timestamp[i]
        seen[s] = n + 1
