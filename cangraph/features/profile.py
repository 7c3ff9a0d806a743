"""The running profile of each arbitration ID: what is normal for it, learnt frame by frame.

One numba kernel reads frames in order and says of each how it departs from what its ID did so
far, in the ID's own periods and flip rates. Nothing looks ahead; fed in one piece or frame by
frame it gives the same bits, so that training and a live monitor see the same features.

Learning is bounded, so that an attack cannot rewrite the profile: the period moves by at most
.5 octaves in 20 s however many frames are injected, what is usual of gaps by the time they take,
and payload statistics learn only from frames that did not come early.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cangraph.features.kernel import (
    FRAME,
    HEARD,
    Columns,
    hear,
    judge_and_learn,
    slot_record,
    work_record,
)
from cangraph.features.schema import FRAME_FEATURES
from cangraph.frames import Frames


@dataclass
class Profiles:
    """The state of the kernel: one slot of `table` for each ID, in order of first appearance. Hand
    it to the next `profile` call to go on. `heard` is what is known of pauses, and how many of the
    IDs the vehicle's baseline holds: none that comes later is trusted for being early."""

    slots: dict[int, int] = field(default_factory=dict)
    table: np.ndarray = field(default_factory=lambda: np.zeros(0, slot_record(8)))
    heard: np.ndarray = field(default_factory=lambda: np.zeros(1, HEARD))

    def slots_of(self, key: np.ndarray, width: int) -> np.ndarray:
        """The slot of each frame's ID, i8 (n,), from `key`, u4 (n,), the ID with bit 31 set if it
        is extended; makes room for IDs met for the first time and payloads of `width` bytes."""
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        for k in unique[np.argsort(first)].tolist():
            self.slots.setdefault(k, len(self.slots))
        self.make_room(width)
        return np.array([self.slots[k] for k in unique.tolist()], np.int64)[inverse]

    def copy(self) -> "Profiles":
        return Profiles(dict(self.slots), self.table.copy(), self.heard.copy())

    def make_room(self, width: int) -> None:
        """Room for every ID met, and for payloads of `width` bytes once CAN FD turns up."""
        old = self.table
        wide = max(width, old["data"].shape[1])
        if len(self.slots) <= len(old) and wide == old["data"].shape[1]:
            return
        self.table = np.zeros(max(2 * len(self.slots), len(old)), slot_record(wide))
        _copy(old, self.table)


def _copy(old: np.ndarray, new: np.ndarray) -> None:
    """Put a table of slots into the beginning of one that is longer or wider."""
    if old.dtype.names is None:
        new[tuple(slice(size) for size in old.shape)] = old
    for name in old.dtype.names or ():
        _copy(old[name], new[name])


class Told(NamedTuple):
    """What `profile` says of each of n frames: its `features`, f4 (n, 14) in `FRAME_FEATURES`
    order, the `slot` of its ID, i8 (n,), log2 of the ID's period in ticks before it, f8 (n,), and
    `since` when (s) the bus was heard without a pause, and its usual `rate` (frames/s), f8 (n,)."""

    features: np.ndarray
    slot: np.ndarray
    log_period: np.ndarray
    since: np.ndarray
    rate: np.ndarray


def profile(frames: Frames, state: Profiles | None = None, threads: int = 1) -> Told:
    """What each frame says relative to its ID's past. Updates `state`. The IDs are shared out
    among `threads`, which changes no bit.

    Gap g and period p are in ticks of 1 ms (g = ⌊Δt/1 ms⌋ + 1), Δt since the ID's last frame that
    was on time, δt since its last frame, both in whole ms, r = log2(g/p), n the ID's gaps so far;
    bit b flips (f_b = 1) or not, at the ID's rate q_b; u_b = q_b(1-q_b):

        log2 p ← log2 p + w·clip(r, ±½),  w = min(1, δt/20 s), and at least 1/n while n <= 8
        on time: r > -min(min(.25, 6/p) + 2·jitter, 1), or r > h - min(.25, 6/p), or n <= 8, or,
                 behind a frame that was late by over .1 octaves, log2(g'/2p) > -min(.1, 6/p),
                 g' from the one before that; h = log2(s/p), at most 0
        log2 s, s the shortest gap that is usual, moves by at most .02 octaves a second; in the
                 ID's first 5 s by an eighth of the way to a shorter gap, a 32nd to a longer one
        rate ← rate + (1 - exp(-Δt/20 s))·(1/Δt - rate), if on time, or the time heard for 20 s
        intruder = -r if early, but 2·|log2(g'/p)| < -r' and r' < -min(.1, 6/p), where r' is that
                   of the last frame on time and g' the gap since the one before it: that one was
                   out of turn, and r and flips count from the one before it
        q_b ← q_b + max(1/(n+1), min(Δt/20 s, 1/64))·(f_b - q_b), if on time
        flip_excess   = (Σ f_b - Σ q_b) / sqrt(1 + Σ u_b)
        flip_surprise = log2((1 + Σ (f_b-q_b)²/(u_b+.02)) / (1 + Σ u_b/(u_b+.02)))
        stuck = max over bytes of log2((1 + rest)/(1 + longest rest)), at least 0
        leap  = max over bytes of log2((1 + step)/(1 + longest step)), at least 0
        broken_rule = max over broken rules of -log2(1 - k + max(1/256, 1/(n+1))), k > .95 how
                      often it was kept, n how often it was judged; broken again and again, k fades
                      with 60 s until .9, while a single break costs it k/64

    What is told of |r|, flip_surprise, novel_bytes, leap and broken_rule, a raw value v with the
    running mean m of what it was and the grain c(1 + 8/n), c in `kernel.GRAIN`, is what it has
    over what is usual: log2((grain + v)/(grain + m)), at least 0. A negative r is told as
    min(r - h, 0): within its bursts an ID is not early.

    Behind a pause, longer than .2 s and than 32 usual gaps of the bus, all clocks start anew: the
    first frame of an ID is on time and surprises nobody, and IDs of the next 5 s are trusted.

    Rules are two-bit counters (the lower bits of wider ones too) that turn by the same step at each
    frame, learnt or not, or by as many steps as frames are missing, or from 14 to 0 as in AUTOSAR's
    E2E profile 1, and checksums: XOR or sum of all bytes, or the last byte minus the sum of the
    others, sums also without the byte before the last (the upper one of a sum of 16 bits), that
    stay the same while the payload changes, once they did so while bytes changed that do not cancel
    out in pairs. While such a checksum is kept, others that break are none, and neither is a
    counter in the last byte. While a counter is kept and a byte without any changes, others that
    break are excused until they are kept again: they may only have counted along, as a checksum
    does while the payload rests.

    >>> frames = Frames(np.arange(40) * 0.01, np.full(40, 0x1A0))
    >>> features, slots, *_ = profile(frames)
    >>> features[-1, 0].item(), features[0, 2].item()  # on time; seen for the first time
    (0.0, 0.0)
    """
    state = state or Profiles()
    key = frames.arbitration_id | (frames.is_extended_id.astype(np.uint32) << 31)
    slots = state.slots_of(key, frames.data.shape[1])
    since, rate = np.empty((2, len(frames)))
    hear(frames.timestamp, state.heard[0], since, rate)
    out, log_period = np.empty(len(frames), FRAME), np.empty(len(frames))
    work = np.zeros(threads, work_record(frames.data.shape[1]))
    known = int(state.heard["known"][0])
    columns = Columns(frames.timestamp, frames.bytes_used, frames.data, slots, since, known)

    def run(share: int) -> None:  # IDs know nothing of each other
        judge_and_learn(columns, state.table, work, out, log_period, share, threads)

    if threads == 1:  # frame by frame, a pool would cost more than the kernel
        run(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(threads)))
    features = out.view(np.float32).reshape(len(frames), len(FRAME_FEATURES))
    return Told(features, slots, log_period, since, rate)
