"""Windows of frames as graphs: nodes are arbitration IDs, edges are successions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numba
import numpy as np

from cangraph.frames import CaptureInfo, Frames
from cangraph.profiles import FRAME_FEATURES, Feature, profile

__all__ = ["EDGE_FEATURES", "NODE_FEATURES", "GraphSpec", "Graphs", "to_graphs"]

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


class GraphSpec(NamedTuple):
    """The sizes that a model needs to know: features of a node and of an edge."""

    node_features: int = len(NODE_FEATURES)
    edge_features: int = len(EDGE_FEATURES)


@dataclass(frozen=True, eq=False)
class Graphs:
    """Many window graphs as flat arrays. B windows, N nodes and E edges in total.

    | array | dtype, shape | unit, meaning |
    |---|---|---|
    | x | f4 (N, 14) | `NODE_FEATURES` |
    | edge_index | i4 (2, E) | source and target, counted within the window |
    | edge_attr | f4 (E, 3) | `EDGE_FEATURES` |
    | node_ptr, edge_ptr | i8 (B+1,) | window b owns nodes node_ptr[b]:node_ptr[b+1] |
    | node_id | u4 (N,) | arbitration ID of the node |
    | node_count | i4 (N,) | frames of the window that carry the ID |
    | node_attack | bool (N,) | an attack frame of this window carries the ID |
    | label, attack_type | bool, u1 (B,) | the window holds an attack frame; of which type |
    | capture | i4 (B,) | index into `captures` |
    | begin | i8 (B,) | position of the window's first frame in its capture |
    | start, end | f8 (B,) | s since the capture's first frame, of the first and last frame |

    `graphs[index]` (slice, mask or positions) is again `Graphs`.
    """

    x: np.ndarray
    edge_index: np.ndarray
    edge_attr: np.ndarray
    node_ptr: np.ndarray
    edge_ptr: np.ndarray
    node_id: np.ndarray
    node_count: np.ndarray
    node_attack: np.ndarray
    label: np.ndarray
    attack_type: np.ndarray
    capture: np.ndarray
    begin: np.ndarray
    start: np.ndarray
    end: np.ndarray
    captures: tuple[CaptureInfo, ...]
    window: int

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return (
            f"Graphs({len(self):,} windows of {self.window} frames, {len(self.x):,} nodes, "
            f"{len(self.edge_attr):,} edges, {int(self.label.sum()):,} windows under attack)"
        )

    @property
    def spec(self) -> GraphSpec:
        """Feature counts of nodes and edges."""
        return GraphSpec(self.x.shape[1], self.edge_attr.shape[1])

    @property
    def scenario(self) -> np.ndarray:
        """Scenario of each window's capture, str (B,)."""
        return np.array([c.scenario for c in self.captures])[self.capture]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(f.name for f in fields(cls) if f.name not in ("captures", "window"))

    def __getitem__(self, index) -> "Graphs":
        index = np.atleast_1d(np.arange(len(self))[index])
        nodes, node_ptr = _positions(self.node_ptr, index)
        edges, edge_ptr = _positions(self.edge_ptr, index)
        return Graphs(
            x=self.x[nodes],
            edge_index=self.edge_index[:, edges],
            edge_attr=self.edge_attr[edges],
            node_ptr=node_ptr,
            edge_ptr=edge_ptr,
            node_id=self.node_id[nodes],
            node_count=self.node_count[nodes],
            node_attack=self.node_attack[nodes],
            label=self.label[index],
            attack_type=self.attack_type[index],
            capture=self.capture[index],
            begin=self.begin[index],
            start=self.start[index],
            end=self.end[index],
            captures=self.captures,
            window=self.window,
        )


def _positions(ptr: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat positions of the items that the windows `index` own, and the pointer over them."""
    size = ptr[index + 1] - ptr[index]
    new = np.zeros(len(index) + 1, np.int64)
    np.cumsum(size, out=new[1:])
    return np.arange(new[-1]) + np.repeat(ptr[index] - new[:-1], size), new


def to_graphs(captures: Sequence[Frames], window: int = 100, stride: int = 100) -> Graphs:
    """Cut captures into windows of `window` frames, one every `stride`, and make each a graph.

    The profile of every ID runs through each capture from its first frame, so a window knows
    its own past and nothing else. Frames behind the last whole window belong to no window.

    Raises `ValueError` when no capture is given, or one is shorter than a window.

    >>> frames = Frames(np.arange(4) * 0.01, np.array([1, 2, 1, 2]))
    >>> graphs = to_graphs([frames], window=4, stride=4)
    >>> graphs.node_id, graphs.edge_index.tolist(), graphs.edge_attr[:, 0].round(2)
    (array([1, 2], dtype=uint32), [[0, 1], [1, 0]], array([1.58, 1.  ], dtype=float32))
    """
    if not len(captures):
        raise ValueError("to_graphs: no capture came; expected at least one; read a dataset first")
    for name, value in {"window": window, "stride": stride}.items():
        if value < 2 - (name == "stride"):
            raise ValueError(f"to_graphs: {name} is {value}; expected frames; use the default 100")
    parts = []
    for number, frames in enumerate(captures):
        if len(frames) < window:
            raise ValueError(
                f"capture {frames.name!r}: it has {len(frames)} frames; expected at least one "
                f"window of {window}; leave it out or lower the window"
            )
        parts.append(_capture_graphs(frames, number, window, stride))
    joined = {
        name: np.concatenate([part[name] for part in parts], -1 if name == "edge_index" else 0)
        for name in parts[0]
        if not name.endswith("_size")
    }
    for kind in ("node", "edge"):
        size = np.concatenate([part[f"{kind}_size"] for part in parts])
        joined[f"{kind}_ptr"] = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    return Graphs(**joined, captures=tuple(f.info for f in captures), window=window)


def _capture_graphs(frames: Frames, number: int, window: int, stride: int) -> dict:
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
    return out | {
        "node_size": node_size,
        "edge_size": edge_size,
        "label": np.lib.stride_tricks.sliding_window_view(frames.attack, window)[::stride].any(1),
        "attack_type": attacked.max(1),
        "capture": np.full(len(begin), number, np.int32),
        "begin": begin,
        "start": since[begin],
        "end": since[begin + window - 1],
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
