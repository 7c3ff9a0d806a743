"""What a window of frames says of its IDs and their successions: the kernels under `graphs`."""

import numba
import numpy as np

from cangraph.frames import Frames, attack_code
from cangraph.profiles import FRAME_FEATURES, Feature, profile

__all__ = ["EDGE_FEATURES", "NODE_FEATURES", "windows"]

_COLUMN = {feature.name: i for i, feature in enumerate(FRAME_FEATURES)}
# how a node sums up its frames: (frame feature, aggregate)
_MEAN, _MIN, _MAX = 0, 1, 2
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


def windows(frames: Frames, window: int, stride: int) -> dict[str, np.ndarray]:
    """The windows of one capture as flat arrays, as `graphs.Graphs` documents them, with the
    `node_size` and `edge_size` of each window in place of pointers."""
    features, slots = profile(frames)
    begin = np.arange(0, len(frames) - window + 1, stride)
    columns = np.array([_COLUMN[name] for name, _ in _AGGREGATES])
    hows = np.array([how for _, how in _AGGREGATES])
    scratch = int(slots.max()) + 1
    node_size, edge_size = _count(slots, begin, window, scratch)
    n, e = int(node_size.sum()), int(edge_size.sum())
    out = {
        "x": np.zeros((n, len(NODE_FEATURES)), np.float32),
        "node_id": np.zeros(n, np.uint32),
        "node_count": np.zeros(n, np.int32),
        "node_attack": np.zeros(n, np.bool_),
        "edge_index": np.zeros((2, e), np.int32),
        "edge_attr": np.zeros((e, len(EDGE_FEATURES)), np.float32),
    }
    _fill(
        frames.timestamp,
        frames.arbitration_id,
        frames.attack,
        features,
        slots,
        begin,
        window,
        scratch,
        columns,
        hows,
        *out.values(),
    )
    attacked = np.lib.stride_tricks.sliding_window_view(frames.attack_type, window)[::stride]
    since = frames.timestamp - frames.timestamp[0]
    start, end = since[begin], since[begin + window - 1]
    label = np.lib.stride_tricks.sliding_window_view(frames.attack, window)[::stride].any(1)
    attack_type = attacked.max(1)
    for span in frames.attack_spans:
        if span.attack_type == "suppression":  # all others leave frames that tell
            missed = (start <= span.end) & (end >= span.start)
            label |= missed
            attack_type[missed] = np.maximum(attack_type[missed], attack_code("suppression"))
    return out | {
        "node_size": node_size,
        "edge_size": edge_size,
        "label": label,
        "attack_type": attack_type,
        "begin": begin,
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
        for i in range(begin[w], begin[w] + window):
            s = slots[i]
            if stamp[s] != w:
                stamp[s] = w
                node[s] = node_size[w]
                node_size[w] += 1
            if i > begin[w]:
                a, b = node[slots[i - 1]], node[s]
                if pair[a, b] != w:
                    pair[a, b] = w
                    edge_size[w] += 1
    return node_size, edge_size


@numba.njit(cache=True, nogil=True)
def _fill(
    timestamp,
    arbitration_id,
    attack,
    features,
    slots,
    begin,
    window,
    n_slots,
    columns,
    hows,
    x,
    node_id,
    node_count,
    node_attack,
    edge_index,
    edge_attr,
):
    """Features of nodes (in order of appearance) and edges (in order of appearance)."""
    stamp = np.full(n_slots, -1, np.int64)
    node = np.zeros(n_slots, np.int64)
    rate = np.zeros(window)
    departures = np.zeros(window, np.int64)
    pair = np.full((window, window), -1, np.int64)
    edge = np.zeros((window, window), np.int64)
    first_node, first_edge = 0, 0
    for w in range(len(begin)):
        n, e = 0, 0
        stop = begin[w] + window
        for i in range(begin[w], stop):
            s = slots[i]
            if stamp[s] != w:
                stamp[s] = w
                node[s] = n
                departures[n], rate[n] = 0, 0.0
                node_id[first_node + n] = arbitration_id[i]
                n += 1
            v = node[s]
            count = node_count[first_node : first_node + n]
            row = x[first_node + v]
            for c in range(len(columns)):
                value = features[i, columns[c]]
                if count[v] == 0:
                    row[1 + c] = value
                elif hows[c] == _MEAN:
                    row[1 + c] += value
                elif hows[c] == _MIN:
                    row[1 + c] = min(row[1 + c], value)
                else:
                    row[1 + c] = max(row[1 + c], value)
            count[v] += 1
            rate[v] += features[i, len(FRAME_FEATURES) - 1]
            if attack[i]:
                node_attack[first_node + v] = True
            if i > begin[w]:
                u = node[slots[i - 1]]
                departures[u] += 1
                if pair[u, v] != w:
                    pair[u, v] = w
                    edge[u, v] = first_edge + e
                    edge_index[0, first_edge + e] = u
                    edge_index[1, first_edge + e] = v
                    e += 1
                k = edge[u, v]
                edge_attr[k, 0] += 1
                edge_attr[k, 2] += np.floor((timestamp[i] - timestamp[i - 1]) * 1e3 + 1e-6)
        span = (timestamp[stop - 1] - timestamp[begin[w]]) * 1e3
        for v in range(n):
            row = x[first_node + v]
            row[0] = np.log2((count[v] + 1) / (span * rate[v] / count[v] + 1))
            for c in range(len(columns)):
                if hows[c] == _MEAN:
                    row[1 + c] /= count[v]
        for k in range(first_edge, first_edge + e):
            times = edge_attr[k, 0]
            edge_attr[k, 0] = np.log2(1 + times)
            edge_attr[k, 1] = times / departures[edge_index[0, k]]
            edge_attr[k, 2] = np.log2(1 + edge_attr[k, 2] / times)
        first_node += n
        first_edge += e
