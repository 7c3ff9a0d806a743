"""What a window of frames says of its IDs and their successions: the kernels under `graphs`."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numba
import numpy as np

from cangraph.features.kernel import PARTS
from cangraph.features.profile import Profiles, profile
from cangraph.features.schema import AGGREGATES, EDGE_FEATURES, FRAME_FEATURES, NODE_FEATURES
from cangraph.frames import AttackSpan, Frames, attack_code

__all__ = ["Sliding", "constants", "windows"]

_COLUMN = {feature.name: i for i, feature in enumerate(FRAME_FEATURES)}
_MEAN = 0
# columns that the kernels use by name; arguments, since numba's cache would freeze a global
_USED = tuple(_COLUMN[name] for name in ("gap_ratio", "jitter", "distrust", "rate", "intruder"))
_SUPPRESSION = attack_code("suppression")


class Silence(NamedTuple):
    """When an ID is missed, and by how much."""

    known: int = 8  # frames; an ID seen less often is not missed,
    trust: float = 0.5  # nor one that is trusted less,
    steady: float = 0.3  # octaves; nor one with more jitter: events, each sent up to thrice
    gone: float = (
        60.0  # s; what stayed away so long is not expected back: the car does other things
    )
    patience: float = 2.0  # octaves over its period that any ID may stay away,
    unsteady: float = 4.0  # and as many more for each octave of its jitter
    clip: float = 6.0  # octaves


SILENCE = Silence()
# what the last frame of each ID said, for the windows that it is missing from
_LAST = np.dtype(
    [
        ("time", np.float64),
        ("period", np.float64),
        ("jitter", np.float64),
        ("trust", np.float64),
        ("seen", np.int64),
        ("arbitration_id", np.uint32),
    ],
    align=True,
)
# how a node sums up its frames: rows of (frame feature, mean 0, min 1 or max 2)
_TABLE = np.array([(_COLUMN[name], ("mean", "min", "max").index(how)) for name, how in AGGREGATES])


def constants() -> dict[str, float]:
    """The constants of all features, by part and name: what depends on windows depends on them.

    >>> constants()["clock.pull"], constants()["silence.patience"]
    (0.5, 2.0)
    """
    parts = PARTS | {"silence": SILENCE}
    return {f"{part}.{k}": v for part, of in parts.items() for k, v in of._asdict().items()}


class Sliding:
    """The windows of one capture that comes piece by piece: of `window` frames, one every `stride`.

    Between two pieces it keeps the `profiles`, what the `last` frame of each ID said, the frames
    of unfinished windows (columns `held`) and the `spans` of suppression, so that the cuts leave
    no trace. `passed` frames are behind the held ones; of these, `last` knows of `told`; `origin`
    is the time of the first frame in s.
    """

    def __init__(self, window: int, stride: int, threads: int = 1):
        self.window, self.stride, self.threads = window, stride, threads
        self.profiles = Profiles()
        self.last = np.zeros(0, _LAST)
        self.held: list[np.ndarray] = []
        self.spans: list[AttackSpan] = []  # s since the first frame
        self.passed, self.told, self.origin = 0, 0, 0.0

    def feed(self, frames: Frames) -> dict[str, np.ndarray] | None:
        """The windows that these frames complete, as flat arrays like those of `graphs.Graphs`,
        with the `node_size` and `edge_size` of each window in place of pointers; None without."""
        if not len(frames):
            return None
        if not self.profiles.slots:
            self.origin = float(frames.timestamp[0])
        offset = frames.timestamp[0] - self.origin
        self.spans += [
            span._replace(start=offset + span.start, end=offset + span.end)
            for span in frames.attack_spans
            if span.attack_type == "suppression"
        ]
        features, slots = profile(frames, self.profiles, self.threads)
        columns = [frames.timestamp, frames.arbitration_id, frames.attack_type, features, slots]
        if self.held:
            columns = [np.concatenate(pair) for pair in zip(self.held, columns, strict=True)]
        new = np.zeros(len(self.profiles.slots) - len(self.last), _LAST)
        last = self.last = np.concatenate([self.last, new])
        passed, told = self.passed, self.told
        first = -passed % self.stride
        begin = np.arange(first, len(columns[0]) - self.window + 1, self.stride)
        found = None
        if len(begin):
            found = _arrays(
                columns, begin, self.window, last, told, passed, self.origin, self.spans
            )
            told = begin[-1] + self.window
        done = min(begin[-1] + self.stride if len(begin) else first, len(columns[0]))
        if told < done:
            timestamp, arbitration_id, _, features, slots = columns
            _tell(last, timestamp, arbitration_id, features, slots, told, done, _USED)
            told = done
        self.held = [column[done:] for column in columns]
        self.passed, self.told = passed + int(done), int(told - done)
        return found


def windows(
    chunks: Iterable[Frames], window: int, stride: int, threads: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """The windows of one capture that comes in consecutive `chunks`, some after each chunk (see
    `Sliding.feed`). Frames behind the last whole window belong to no window."""
    sliding = Sliding(window, stride, threads)
    for frames in chunks:
        if (found := sliding.feed(frames)) is not None:
            yield found


def _arrays(columns, begin, window, last, told, passed, origin, spans) -> dict[str, np.ndarray]:
    timestamp, arbitration_id, _, features, slots = columns
    frames = timestamp, arbitration_id, features, slots
    node_size, edge_size = _count(*frames, begin, window, last.copy(), told, _USED)
    n, e = int(node_size.sum()), int(edge_size.sum())
    out = {
        "x": np.empty((n, len(NODE_FEATURES)), np.float32),
        "node_id": np.empty(n, np.uint32),
        "node_count": np.empty(n, np.int32),
        "node_attack": np.empty(n, np.bool_),
        "edge_index": np.empty((2, e), np.int32),
        "edge_attr": np.empty((e, len(EDGE_FEATURES)), np.float32),
        "attack_type": np.empty(len(begin), np.uint8),
    }
    _fill(*columns, begin, window, last, told, _USED, _TABLE, *out.values())
    start, end = timestamp[begin] - origin, timestamp[begin + window - 1] - origin
    node_window = np.repeat(np.arange(len(begin)), node_size)
    for span in spans:  # frames that are missing leave no other trace
        missed = (start <= span.end) & (end >= span.start)
        out["attack_type"][missed] = np.maximum(out["attack_type"][missed], _SUPPRESSION)
        out["node_attack"] |= missed[node_window] & (out["node_id"] == span.arbitration_id)
    return out | {
        "node_size": node_size,
        "edge_size": edge_size,
        "label": out["attack_type"] > 0,
        "begin": begin + passed,
        "start": start,
        "end": end,
    }


@numba.njit(cache=True, nogil=True)
def _tell(last, timestamp, arbitration_id, features, slots, begin, end, used):
    """Let `last` know of the frames from `begin` to `end`."""
    _, jitter, distrust, rates, _ = used
    for i in range(begin, end):
        p = last[slots[i]]
        trust, rate = 1.0 - features[i, distrust], features[i, rates]
        p.time = timestamp[i]
        p.period = np.log2(trust / rate) if rate > 0 else 0.0
        p.jitter = features[i, jitter]
        p.trust = trust
        p.seen += 1
        p.arbitration_id = arbitration_id[i]


@numba.njit(cache=True, nogil=True)
def _away(p, now):
    """Octaves of its period that the ID has stayed away at time `now`."""
    ticks = np.floor(max(now - p.time, 0.0) * 1e3 + 5e-4) + 1.0
    return min(max(np.log2(ticks) - p.period, -SILENCE.clip), SILENCE.clip)


@numba.njit(cache=True, nogil=True)
def _silence(p, now):
    """Octaves that the ID has stayed away beyond what is usual for it, 0 while it is not missed."""
    if (
        p.seen < SILENCE.known
        or p.trust < SILENCE.trust
        or p.jitter > SILENCE.steady
        or now - p.time > SILENCE.gone
    ):
        return 0.0
    return max(_away(p, now) - SILENCE.patience - SILENCE.unsteady * p.jitter, 0.0)


@numba.njit(cache=True, nogil=True)
def _count(timestamp, arbitration_id, features, slots, begin, window, last, told, used):
    """Distinct IDs, seen or missed, and distinct successions of each window."""
    n_slots = len(last)
    node_size = np.zeros(len(begin), np.int64)
    edge_size = np.zeros(len(begin), np.int64)
    stamp = np.full(n_slots, -1, np.int64)
    node = np.zeros(n_slots, np.int64)
    pair = np.full((window, window), -1, np.int64)
    for w in range(len(begin)):
        n, e, before = 0, 0, -1
        stop = begin[w] + window
        for i in range(begin[w], stop):
            s = slots[i]
            if stamp[s] != w:
                stamp[s] = w
                node[s] = n
                n += 1
            v = node[s]
            if before >= 0 and pair[before, v] != w:
                pair[before, v] = w
                e += 1
            before = v
        _tell(last, timestamp, arbitration_id, features, slots, told, stop, used)
        told = stop
        for s in range(n_slots):
            n += stamp[s] != w and _silence(last[s], timestamp[stop - 1]) > 0
        node_size[w], edge_size[w] = n, e
    return node_size, edge_size


@numba.njit(cache=True, nogil=True)
def _fill(
    timestamp,
    arbitration_id,
    attack_type,
    features,
    slots,
    begin,
    window,
    last,
    told,
    used,
    table,
    x,
    node_id,
    node_count,
    node_attack,
    edge_index,
    edge_attr,
    window_attack,
):
    """Features of nodes (in order of appearance, then those missed) and edges (in order of
    appearance)."""
    width, n_slots = features.shape[1], len(last)
    gap, jitter, distrust, rates, intruder = used
    stamp = np.full(n_slots, -1, np.int64)
    node = np.zeros(n_slots, np.int64)
    slot = np.zeros(window, np.int64)
    # sum, least and largest of each frame feature over the frames of a node
    pooled = np.zeros((window, 3, width), np.float32)
    departures = np.zeros(window, np.int64)
    pair = np.full((window, window), -1, np.int64)
    edge = np.zeros((window, window), np.int64)
    first_node, first_edge = 0, 0
    for w in range(len(begin)):
        n, e, u = 0, 0, -1
        stop = begin[w] + window
        worst = np.uint8(0)
        for i in range(begin[w], stop):
            s = slots[i]
            if stamp[s] != w:
                stamp[s] = w
                node[s], slot[n] = n, s
                departures[n] = 0
                pooled[n, 0], pooled[n, 1], pooled[n, 2] = 0.0, np.inf, -np.inf
                node_id[first_node + n] = arbitration_id[i]
                node_count[first_node + n] = 0
                node_attack[first_node + n] = False
                n += 1
            v = node[s]
            for c in range(width):
                value = features[i, c]
                pooled[v, 0, c] += value
                pooled[v, 1, c] = min(pooled[v, 1, c], value)
                pooled[v, 2, c] = max(pooled[v, 2, c], value)
            if not node_count[first_node + v]:  # its intruder is in a window before
                pooled[v, :, intruder] = 0.0
            node_count[first_node + v] += 1
            if attack_type[i]:
                node_attack[first_node + v] = True
                worst = max(worst, attack_type[i])
            if u >= 0:
                departures[u] += 1
                if pair[u, v] != w:
                    pair[u, v] = w
                    k = first_edge + e
                    edge[u, v] = k
                    edge_index[0, k], edge_index[1, k] = u, v
                    edge_attr[k, 0], edge_attr[k, 2] = 0.0, 0.0
                    e += 1
                k = edge[u, v]
                edge_attr[k, 0] += 1
                edge_attr[k, 2] += np.floor((timestamp[i] - timestamp[i - 1]) * 1e3 + 5e-4)
            u = v
        window_attack[w] = worst
        now = timestamp[stop - 1]
        span = (now - timestamp[begin[w]]) * 1e3
        _tell(last, timestamp, arbitration_id, features, slots, told, stop, used)
        told = stop
        for v in range(n):
            count = node_count[first_node + v]
            rate = pooled[v, _MEAN, rates] / count
            x[first_node + v, 0] = np.log2((count + 1) / (span * rate + 1))
            for c in range(len(table)):
                column, how = table[c]
                value = pooled[v, how, column]
                x[first_node + v, 1 + c] = value / count if how == _MEAN else value
            x[first_node + v, -1] = _silence(last[slot[v]], now)
        for s in range(n_slots):
            p = last[s]
            silence = _silence(p, now)
            if stamp[s] == w or silence == 0:
                continue
            row = first_node + n
            node_id[row], node_count[row], node_attack[row] = p.arbitration_id, 0, False
            x[row] = 0.0
            x[row, 0] = np.log2(1.0 / (span * p.trust / 2.0**p.period + 1.0))
            for c in range(len(table)):
                if table[c, 0] == gap:
                    x[row, 1 + c] = _away(p, now)  # the gap so far
                elif table[c, 0] == jitter:
                    x[row, 1 + c] = p.jitter
                elif table[c, 0] == distrust:
                    x[row, 1 + c] = 1.0 - p.trust
            x[row, -1] = silence
            n += 1
        for k in range(first_edge, first_edge + e):
            times = edge_attr[k, 0]
            edge_attr[k, 0] = np.log2(1 + times)
            edge_attr[k, 1] = times / departures[edge_index[0, k]]
            edge_attr[k, 2] = np.log2(1 + edge_attr[k, 2] / times)
        first_node += n
        first_edge += e
