"""The last frames of a bus, and what is odd about each: reasons are measured in them, and excerpts
are made of them."""

from typing import Any, NamedTuple

import numpy as np

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
_COLUMNS = [[feature.name for feature in FRAME_FEATURES].index(name) for name in ODD]
_LEAST = np.array([*ODD.values()], np.float32)
_KEPT = {"timestamp": "f8", "arbitration_id": "u4", "dlc": "u1"}  # columns beside the payload
_KEPT |= {"is_extended_id": "?", "is_remote_frame": "?"}


def odd_of(features: np.ndarray) -> np.ndarray:
    """Which of n frames show each of `ODD`, bool (n, 9), from their features, f4 (n, 14)."""
    return features[:, _COLUMNS] > _LEAST


class Heard(NamedTuple):
    """Consecutive frames of a bus: which of them show each of `ODD`, bool (n, 9), their `time`,
    f8 (n,), s since its first frame, and when each ID was `first` heard, s."""

    frames: Frames
    odd: np.ndarray
    time: np.ndarray
    first: dict[int, float]


def _record(width: int) -> np.dtype:
    return np.dtype([*_KEPT.items(), ("odd", "?", (len(ODD),)), ("data", "u1", (width,))])


class Recent:
    """The last frames of a bus, at least `most` of them (if so many came), in memory that is taken
    once: for twice as many, of 32 bytes each (CAN FD: 88). Frames are counted from 0 on."""

    def __init__(self, most: int):
        self.most = most
        self._table = np.zeros(0, _record(8))
        self._used, self.passed = 0, 0  # rows of the table, and frames before its first one

    @property
    def came(self) -> int:
        """How many frames came so far."""
        return self.passed + self._used

    def add(self, frames: Frames, odd: np.ndarray) -> None:
        """Take the next frames, and which of them show each of `ODD`."""
        left = max(len(frames) - 2 * self.most, 0)
        width, n = frames.data.shape[1], len(frames) - left
        self._make_room(n, width)
        rows = self._table[self._used : self._used + n]
        for name in _KEPT:
            rows[name] = getattr(frames, name)[left:]
        rows["data"][:, :width], rows["data"][:, width:] = frames.data[left:], 0
        rows["odd"] = odd[left:]
        self._used, self.passed = self._used + n, self.passed + left

    def _make_room(self, n: int, width: int) -> None:
        old = self._table
        before = old.dtype["data"].shape[0]
        if self._used + n <= len(old) and width <= before:
            return
        left = max(self._used - self.most, self._used + n - 2 * self.most, 0)
        kept = old[left : self._used].copy()
        self.passed, self._used = self.came - len(kept), len(kept)
        if len(kept) + n > len(old) or width > before:
            size = max(len(old), min(2 * (len(kept) + n), 2 * self.most))
            self._table = np.zeros(size, _record(max(width, before)))
        for name in (*_KEPT, "odd"):
            self._table[name][: len(kept)] = kept[name]
        self._table["data"][: len(kept), :before] = kept["data"]

    def place(self, time: float) -> int:
        """The number of the first frame that is held and came after `time` (s)."""
        times = self._table["timestamp"][: self._used]
        return self.passed + int(np.searchsorted(times, time, "right"))

    def frames(self, begin: int, end: int) -> tuple[Frames, np.ndarray]:
        """Those with the numbers from `begin` to before `end` that are held, and what is odd."""
        rows = self._table[: self._used][max(begin - self.passed, 0) : max(end - self.passed, 0)]
        columns: dict[str, Any] = {name: rows[name] for name in (*_KEPT, "data")}
        return Frames(**columns), rows["odd"].copy()
