"""The running profile of each arbitration ID: what is normal for it, learnt frame by frame.

One numba kernel reads frames in order and says of each how it departs from what its ID did so
far. Nothing looks ahead, and nothing depends on which car it is: a gap is measured in the ID's
own periods, a payload against the ID's own bit flip rates. Fed in one piece or frame by frame
the kernel gives the same bits, so that training and a live monitor see the same features.

Learning is bounded, so that an attack cannot rewrite the profile: the period moves by at most
.5 octaves in 20 s however many frames are injected, what is usual of gaps by the time they take,
and payload statistics learn only from frames that did not come early.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from cangraph.features.kernel import learn_and_judge
from cangraph.features.schema import FRAME_FEATURES
from cangraph.frames import Frames

__all__ = ["Profiles", "profile"]


def _slot(width: int) -> np.dtype:
    """What is remembered of one ID with payloads of up to `width` bytes.

    `base_time` is that of the last frame on time, which came at `base_ratio`, `clock_time` that of
    the one on time before it, which carried `clock_data`.
    `ahead` is how early the frames since then came, in octaves, `ahead_data` and `ahead_dlc` are of
    the last of them, `ahead_own` whether it had only values that the ID had before; `eager` is how
    early may be what the next frame on time repeats.
    Of each payload byte: `rate` are the flip rates of its bits, `values` has one bit for each value
    it took, `moves` says whether it ever flips, `changes` how often it did (up to 255), `rest` for
    how many frames it has not, `longest` the longest such rest and `step` the longest step so far.
    `turn` and `kept` are the step of each two-bit counter in it and how reliably it is kept,
    `lapsed` whether the last frame broke it, 2 if it was a rule, 3 if it was excused; `sums`,
    `sums_kept` and `sums_lapsed` the same of five checksums, judged `sums_seen` times;
    `sums_proven` those that were kept while bytes changed that do not cancel out.
    """
    return np.dtype(
        [
            ("seen", np.int64),
            ("first_time", np.float64),
            ("last_time", np.float64),
            ("base_time", np.float64),
            ("base_ratio", np.float64),
            ("clock_time", np.float64),
            ("ahead", np.float32),
            ("ahead_data", np.uint8, (width,)),
            ("ahead_dlc", np.uint8),
            ("ahead_own", np.uint8),
            ("eager", np.float32),
            ("log_period", np.float64),
            ("jitter", np.float64),
            ("trust", np.float64),
            ("rate", np.float32, (width, 8)),
            ("values", np.uint8, (width, 32)),
            ("data", np.uint8, (width,)),
            ("clock_data", np.uint8, (width,)),
            ("moves", np.uint8, (width,)),
            ("changes", np.uint8, (width,)),
            ("rest", np.float32, (width,)),
            ("longest", np.float32, (width,)),
            ("step", np.float32, (width,)),
            ("turn", np.uint8, (width, 4)),
            ("kept", np.float32, (width, 4)),
            ("lapsed", np.uint8, (width, 4)),
            ("sums", np.uint8, (5,)),
            ("sums_kept", np.float32, (5,)),
            ("sums_lapsed", np.uint8, (5,)),
            ("sums_proven", np.uint8, (5,)),
            ("sums_seen", np.int64),
            ("trend", np.float32),
            ("usual", np.float32, (5,)),
            ("dlc", np.uint8),
        ],
        align=True,
    )


@dataclass
class Profiles:
    """The state of the kernel: one slot of `table` for each ID, in order of first appearance.

    Grows with the IDs met. Keep it and hand it to the next `profile` call to go on where
    the last one stopped. `began` is the time of the first frame in s.
    """

    slots: dict[int, int] = field(default_factory=dict)
    table: np.ndarray = field(default_factory=lambda: np.zeros(0, _slot(8)))
    began: float = np.nan

    def slots_of(self, key: np.ndarray, width: int) -> np.ndarray:
        """The slot of each frame's ID, i8 (n,), from `key`, u4 (n,), the ID with bit 31 set if it
        is extended; makes room for IDs met for the first time and payloads of `width` bytes."""
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        for k in unique[np.argsort(first)].tolist():
            self.slots.setdefault(k, len(self.slots))
        self.make_room(width)
        return np.array([self.slots[k] for k in unique.tolist()], np.int64)[inverse]

    def make_room(self, width: int) -> None:
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


def profile(
    frames: Frames, state: Profiles | None = None, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Features of each frame relative to its ID's past, f4 (n, 14) in `FRAME_FEATURES` order,
    and the slot of its ID, i8 (n,). Updates `state`. The IDs are shared out among `threads`, which
    changes no bit.

    Gap g and period p are in ticks of 1 ms (g = ⌊Δt/1 ms⌋ + 1), Δt since the ID's last frame that
    was on time, δt since its last frame, both in whole ms, r = log2(g/p), n the ID's gaps so far;
    bit b flips (f_b = 1) or not, at the ID's rate q_b; u_b = q_b(1-q_b):

        log2 p ← log2 p + w·clip(r, ±½),  w = min(1, δt/20 s), and at least 1/n while n <= 8
        on time: r > -min(min(.25, 6/p) + 2·jitter, 1), or n <= 8, or, behind a frame that was late
                 by over .1 octaves, log2(g'/2p) > -min(.1, 6/p), g' from the one before that
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
    running mean m of what it was and the grain c(1 + 8/n), c in `kernel._GRAIN`, is what it has
    over what is usual: log2((grain + v)/(grain + m)), at least 0. Of a frame that is not on time,
    r is told as min(r + e, 0), e how early, in octaves, those before it were whose payload the next
    frame on time repeated: e rises by a quarter of what is missing, and loses three quarters at
    each that is not repeated, or where Σ q_b is 1.25 or more. One that says what was said before
    the last frame on time is no news, and one with values that the ID never had costs it nothing.

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
    >>> features, slots = profile(frames)
    >>> features[-1, 0].item(), features[0, 2].item()  # on time; seen for the first time
    (0.0, 0.0)
    """
    state = state or Profiles()
    key = frames.arbitration_id | (frames.is_extended_id.astype(np.uint32) << 31)
    slots = state.slots_of(key, frames.data.shape[1])
    if len(frames) and np.isnan(state.began):
        state.began = float(frames.timestamp[0])
    out = np.empty((len(frames), len(FRAME_FEATURES)), np.float32)
    columns = frames.timestamp, frames.bytes_used, frames.data

    def run(share: int) -> None:  # IDs know nothing of each other
        learn_and_judge(*columns, slots, state.began, state.table, out, share, threads)

    if threads == 1:  # frame by frame, a pool would cost more than the kernel
        run(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(threads)))
    return out, slots
