"""The bus as a queue: which frame is sent when, and how a log takes up more frames."""

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numba
import numpy as np

from cangraph.frames import Frames, attack_code

BIT_RATE = 500_000  # bit/s, of the high-speed bus of a car


def frame_duration(dlc, is_extended_id=False) -> np.ndarray:
    """How long frames of `dlc` data bytes occupy the bus, ns, with one stuffed bit to about ten.

    >>> int(frame_duration(8))  # 122 bits at 500 kbit/s
    244000
    """
    # 44 bits and 3 of interframe space; 29 bit IDs take 20 more (ISO 11898-1)
    bits = 47 + 20 * np.asarray(is_extended_id, np.int64) + 8 * np.asarray(dlc, np.int64)
    return bits * 11 // 10 * (10**9 // BIT_RATE)


@numba.njit(cache=True, nogil=True)
def arbitrate(
    release: np.ndarray, arbitration_id: np.ndarray, duration: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which frame is sent when: (`order`, `end`), both i8 (n,), in the order on the bus.

    Whenever the bus is free, the lowest ID among the frames released by then wins; of equal IDs,
    the first. `release` (ascending), `duration` and `end` are integers, such as ns.

    >>> arbitrate(np.array([0, 1, 2]), np.array([5, 9, 7]), np.array([10, 10, 10]))
    (array([0, 2, 1]), array([10, 20, 30]))
    """
    # each node offers its lowest ID first, so one queue for the bus gives the same order
    n = len(release)
    order, end = np.empty(n, np.int64), np.empty(n, np.int64)
    pending = [np.int64(0) for _ in range(0)]
    clock, arrived = np.int64(-(2**62)), 0
    for k in range(n):
        if len(pending) == 0:
            clock = max(clock, release[arrived])
        while arrived < n and release[arrived] <= clock:
            heapq.heappush(pending, np.int64(arbitration_id[arrived]) * n + arrived)
            arrived += 1
        order[k] = heapq.heappop(pending) % n
        clock += duration[order[k]]
        end[k] = clock
    return order, end


class Queued(NamedTuple):
    """Frames that wait for the bus: n rows of columns of `Frames`."""

    release: np.ndarray  # s since the first frame of the log that takes them up
    arbitration_id: np.ndarray
    dlc: np.ndarray
    data: np.ndarray
    is_extended_id: np.ndarray
    is_remote_frame: np.ndarray

    @classmethod
    def like(cls, frames: Frames, rows: np.ndarray, release: np.ndarray, data: np.ndarray):
        """Frames like those of `rows`, but for their time and payload."""
        flags = frames.is_extended_id[rows], frames.is_remote_frame[rows]
        return cls(release, frames.arbitration_id[rows], frames.dlc[rows], data, *flags)


def transmit(frames: Frames, added: Sequence[Queued], attack_type: str) -> Frames:
    """The log with the added frames, labelled, each sent when it wins the bus.

    Genuine frames are released at their recorded time minus their duration. Those that no added
    frame delays keep their exact timestamps; all others are rounded to the log's resolution.

    >>> log = Frames(np.array([0.0, 0.010001]), np.array([5, 9]))
    >>> more = Queued.like(log, np.array([0]), np.array([0.0097]), np.zeros((1, 8)))
    >>> transmit(log, [more], "spoofing").timestamp
    array([0.      , 0.009944, 0.010188])
    """
    if not any(len(part.release) for part in added):
        return frames
    digits, n = _digits(frames.timestamp), len(frames)
    # ns, strictly ascending, so that the log alone would pass the arbitration unchanged
    rank = np.arange(n)
    recorded = np.rint(np.round(frames.timestamp - frames.timestamp[0], digits) * 1e9)
    recorded = np.maximum.accumulate(recorded.astype(np.int64) - rank) + rank
    release = np.round(np.concatenate([a.release for a in added]), max(digits, 6))
    release = np.rint(release * 1e9).astype(np.int64)
    label = np.full(len(release), attack_code(attack_type))
    columns: dict = {
        name: np.concatenate([getattr(part, name) for part in (frames, *added)])
        for name in Queued._fields[1:]
    }
    columns["attack_type"] = np.concatenate([frames.attack_type, label])
    columns["attack"] = np.concatenate([frames.attack, label > 0])
    columns["bus"] = np.concatenate([frames.bus, np.full(len(label), frames.bus[0])])
    extended = columns["is_extended_id"].astype(np.bool_)
    used = np.where(columns["is_remote_frame"], 0, columns["dlc"])
    moment = np.concatenate([recorded, release])
    duration = _typical(recorded, moment, frame_duration(used, extended))
    first, last = release.min(), release.max()
    release = np.concatenate([recorded - duration[:n], release])
    # 29 bit IDs compete with their first 11 bits, and lose to an 11 bit ID that equals them
    priority = columns["arbitration_id"].astype(np.int64) << np.where(extended, 1, 19) | extended
    # only what waited or was added gets a new time
    planned = np.concatenate([recorded, np.full(len(label), -1)])
    old = np.concatenate([frames.timestamp, np.zeros(len(label))])
    # what comes before, and when the bus is free again, passes unchanged
    begin, stop = np.searchsorted(release[:n], [first, last]).tolist()
    reach, fits = 64, False
    while not fits:
        begin, stop, reach = max(begin - reach, 0), min(stop + reach, n), 4 * reach
        queue = np.concatenate([np.arange(begin, stop), np.arange(n, len(release))])
        queue = queue[np.argsort(release[queue], kind="stable")]
        order, end = arbitrate(release[queue], priority[queue], duration[queue])
        sent = queue[order]
        new = np.round(frames.timestamp[0] + end * 1e-9, digits)
        timestamp = np.where(end == planned[sent], old[sent], new)
        # a rounded time may fall behind one that was not rounded
        in_time = np.argsort(timestamp, kind="stable")
        sent, timestamp = sent[in_time], timestamp[in_time]
        fits = begin == 0 or old[begin - 1] <= timestamp[0]
        fits &= stop == n or (end[-1] <= release[stop] and timestamp[-1] <= old[stop])
    timestamp = np.concatenate([old[:begin], timestamp, old[stop:n]])
    columns = {k: np.concatenate([c[:begin], c[sent], c[stop:n]]) for k, c in columns.items()}
    return replace(frames, timestamp=timestamp, **columns)


def _typical(recorded, moment, longest) -> np.ndarray:
    """How long frames take, ns: the log's own first, then the added ones.

    A frame recorded directly after another took the time between their ends. Every other takes the
    share of its `longest` that the last such frame took: equal gaps would reveal who waited.
    """
    n = len(recorded)
    gap = np.diff(recorded, prepend=recorded[0] - longest[0])
    share = gap / longest[:n]
    known = np.flatnonzero((share > 10 / 11) & (share < 1))  # below is no frame, without stuffing
    duration = longest
    if len(known):
        nearest = known[np.searchsorted(recorded[known], moment, "right") - 1]
        duration = np.rint(longest * share[nearest]).astype(np.int64)
    duration[:n] = np.minimum(duration[:n], gap)
    return duration


def _digits(timestamp: np.ndarray) -> int:
    """Decimal places of a log's timestamps, 4 to 9: added frames must not have more."""
    slack = 2 * np.spacing(timestamp)
    fits = ((np.abs(np.round(timestamp, d) - timestamp) <= slack).all() for d in range(4, 9))
    return next((digits for digits, fit in enumerate(fits, 4) if fit), 9)
