"""What is remembered of each arbitration ID: the state that `profiles` carries along."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["Profiles"]


def _slot(width: int) -> np.dtype:
    """What is remembered of one ID with payloads of up to `width` bytes.

    `base_time` is that of the last frame on time, which came at `base_ratio`, `clock_time` that of
    the one on time before it, which carried `clock_data`.
    Of each payload byte: `rate` are the flip rates of its bits, `values` has one bit for each value
    it took, `moves` says whether it ever flips, `changes` how often it did (up to 255), `rest` for
    how many frames it has not, `longest` the longest such rest and `step` the longest step so far.
    `turn` and `kept` are the step of each two-bit counter in it and how reliably it is kept,
    `lapsed` whether the last frame broke it; `sums`, `sums_kept` and `sums_lapsed` the same of
    three checksums over all bytes, judged `sums_seen` times.
    """
    return np.dtype(
        [
            ("seen", np.int64),
            ("first_time", np.float64),
            ("last_time", np.float64),
            ("base_time", np.float64),
            ("base_ratio", np.float64),
            ("clock_time", np.float64),
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
            ("sums", np.uint8, (3,)),
            ("sums_kept", np.float32, (3,)),
            ("sums_lapsed", np.uint8, (3,)),
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
        self._make_room(width)
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
