"""What a window of frames says of its IDs and their successions: the kernels under `graphs`."""

from collections.abc import Iterable, Iterator

import numba
import numpy as np

from cangraph.frames import Frames, attack_code
from cangraph.profiles import FRAME_FEATURES, Feature, Profiles, profile

__all__ = ["EDGE_FEATURES", "NODE_FEATURES", "windows"]

_COLUMN = {feature.name: i for i, feature in enumerate(FRAME_FEATURES)}
# how a node sums up its frames: (frame feature, aggregate)
_MEAN, _MIN, _MAX = 0, 1, 2
_SUPPRESSION = attack_code("suppression")
_AGGREGATES = (
    ("gap_ratio", _MEAN),
    ("gap_ratio", _MIN),
    ("gap_ratio", _MAX),
    ("jitter", _MEAN),
    ("distrust", _MAX),
    ("flip_excess", _MEAN),
    ("flip_excess", _MIN),
    ("flip_excess", _MAX),
    ("flip_surprise", _MEAN),
    ("flip_surprise", _MAX),
    ("novel_bytes", _MEAN),
    ("novel_bytes", _MAX),
    ("dlc_change", _MEAN),
)

NODE_FEATURES = (
    Feature(
        "count_ratio",
        "octaves",
        "log2 of the frames seen over those its period predicts; "
        "an ID without trust is not expected at all",
    ),
    *(
        Feature(
            f"{name}_{('mean', 'min', 'max')[how]}",
            FRAME_FEATURES[_COLUMN[name]].unit,
            f"{('mean', 'smallest', 'largest')[how]} over the window: "
            + FRAME_FEATURES[_COLUMN[name]].sees,
        )
        for name, how in _AGGREGATES
    ),
)

EDGE_FEATURES = (
    Feature("log_count", "octaves", "log2 of 1 + how often the succession occurred"),
    Feature("share", "0..1", "share of the source's frames that this succession followed"),
    Feature(
        "log_gap", "octaves of 1 ms", "log2 of 1 + the mean whole milliseconds between the two"
    ),
)


def windows(chunks: Iterable[Frames], window: int, stride: int) -> Iterator[dict[str, np.ndarray]]:
    """The windows of one capture that comes in consecutive `chunks`, some after each chunk, as
    flat arrays like those of `graphs.Graphs`, with the `node_size` and `edge_size` of each window
    in place of pointers.

    The profile and the frames of unfinished windows are carried over, so that the cuts between
    chunks leave no trace. Frames behind the last whole window belong to no window.
    """
    state = Profiles()
    held: list[np.ndarray] = []  # columns of the frames that a window still needs
    spans: list[tuple[float, float]] = []  # of suppression, s since the first frame
    passed, origin = 0, 0.0  # frames before the held ones; time of the first frame in s
    for frames in chunks:
        if not len(frames):
            continue
        if not state.slots:
            origin = frames.timestamp[0]
        offset = frames.timestamp[0] - origin
        spans += [
            (offset + span.start, offset + span.end)
            for span in frames.attack_spans
            if span.attack_type == "suppression"
        ]
        features, slots = profile(frames, state)
        columns = [frames.timestamp, frames.arbitration_id, frames.attack_type, features, slots]
        if held:
            columns = [np.concatenate(pair) for pair in zip(held, columns, strict=True)]
        first = -passed % stride
        begin = np.arange(first, len(columns[0]) - window + 1, stride)
        if len(begin):
            yield _arrays(columns, begin, window, len(state.slots), passed, origin, spans)
        done = min(begin[-1] + stride if len(begin) else first, len(columns[0]))
        held = [column[done:] for column in columns]
        passed += done


def _arrays(columns, begin, window, n_slots, passed, origin, spans) -> dict[str, np.ndarray]:
    timestamp, slots = columns[0], columns[-1]
    node_size, edge_size = _count(slots, begin, window, n_slots)
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
    table = np.array([(_COLUMN[name], how) for name, how in _AGGREGATES])
    _fill(*columns, begin, window, n_slots, table, *out.values())
    start, end = timestamp[begin] - origin, timestamp[begin + window - 1] - origin
    for since, until in spans:  # frames that are missing leave no other trace
        missed = (start <= until) & (end >= since)
        out["attack_type"][missed] = np.maximum(out["attack_type"][missed], _SUPPRESSION)
    return out | {
        "node_size": node_size,
        "edge_size": edge_size,
        "label": out["attack_type"] > 0,
        "begin": begin + passed,
        "start": start,
        "end": end,
    }


@numba.njit(cache=True, nogil=True)
def _count(slots, begin, window, n_slots):
    """Distinct IDs and distinct successions of each window."""
    node_size = np.zeros(len(begin), np.int64)
    edge_size = np.zeros(len(begin), np.int64)
    stamp = np.full(n_slots, -1, np.int64)
    node = np.zeros(n_slots, np.int64)
    pair = np.full((window, window), -1, np.int64)
    for w in range(len(begin)):
        n, e, before = 0, 0, -1
        for i in range(begin[w], begin[w] + window):
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
    n_slots,
    table,
    x,
    node_id,
    node_count,
    node_attack,
    edge_index,
    edge_attr,
    window_attack,
):
    """Features of nodes (in order of appearance) and edges (in order of appearance)."""
    width = features.shape[1]
    stamp = np.full(n_slots, -1, np.int64)
    node = np.zeros(n_slots, np.int64)
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
                node[s] = n
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
        span = (timestamp[stop - 1] - timestamp[begin[w]]) * 1e3
        for v in range(n):
            count = node_count[first_node + v]
            rate = pooled[v, 0, width - 1] / count
            x[first_node + v, 0] = np.log2((count + 1) / (span * rate + 1))
            for c in range(len(table)):
                column, how = table[c]
                value = pooled[v, how, column]
                x[first_node + v, 1 + c] = value / count if how == _MEAN else value
        for k in range(first_edge, first_edge + e):
            times = edge_attr[k, 0]
            edge_attr[k, 0] = np.log2(1 + times)
            edge_attr[k, 1] = times / departures[edge_index[0, k]]
            edge_attr[k, 2] = np.log2(1 + edge_attr[k, 2] / times)
        first_node += n
        first_edge += e
