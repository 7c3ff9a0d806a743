"""Graphs whose edges are relations too: windows, and what their IDs say of each other.

Beside the successions, a window gets an edge for each relation (`features.relations`) between two
of its IDs, from the partner to the ID that it speaks about; a node says how far it contradicts its
partners, how many they are, and what is said against it. So message passing can tell who lies: the
one that disagrees with all, not all that disagree with one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.features.relations import Contradiction, Following, Relations
from cangraph.features.schema import Feature
from cangraph.frames import Frames

RELATED_NODE_FEATURES = (
    Feature(
        "contradiction",
        "octaves",
        "log2 of 1 + how far it contradicts its median partner, over the most of clean traffic",
        "relations",
    ),
    Feature("partners", "octaves", "log2 of 1 + the relations that speak about it", "relations"),
    Feature(
        "accused",
        "octaves",
        "log2 of 1 + how far the one contradicts it that does the most",
        "relations",
    ),
)
RELATED_EDGE_FEATURES = (
    Feature("relation", "0 or 1", "1 for a relation, 0 for a succession", "relations"),
    Feature("strength", "0..1", "1 - its largest miss over the range of its target", "relations"),
    Feature(
        "miss", "octaves", "log2 of 1 + its miss over the largest of clean traffic", "relations"
    ),
)
_CLIP = 16.0  # times as far as clean traffic ever: more says no more


def related(
    graphs: Graphs, captures: Sequence[Frames], relations: Sequence[Relations | None]
) -> Graphs:
    """The same windows with `RELATED_NODE_FEATURES` and `RELATED_EDGE_FEATURES` behind the others,
    and with edges for relations. `captures` are those that `to_graphs` was given, and of each the
    `relations` of its bus, learnt from clean traffic; None where there are none.

    Raises `ValueError` when the windows are of other captures, or the numbers differ.
    """
    graphs.require(captures, "related")
    return with_relations(
        graphs,
        [
            None if known is None else (known, Following(known).feed(capture))
            for capture, known in zip(captures, relations, strict=True)
        ],
    )


def with_relations(
    graphs: Graphs, told: Sequence[tuple[Relations, Contradiction] | None]
) -> Graphs:
    """What `related` gives, where it is known how far each capture contradicts its relations."""
    nodes = np.zeros((len(graphs.x), len(RELATED_NODE_FEATURES)), np.float32)
    none = np.zeros((0, len(RELATED_EDGE_FEATURES)), np.float32)
    found = [_Found(np.zeros(0, int), np.zeros((2, 0), np.int32), none)]
    for number, mine in enumerate(told):
        windows = np.flatnonzero(graphs.capture == number)
        if mine is not None and len(mine[0].relations) and len(windows):
            found.append(_of_capture(graphs, windows, *mine, nodes))
    return _joined(graphs, nodes, found)


class _Found(NamedTuple):
    """Edges of relations: the `window` of each, its `ends` (2, n) there, `attr` (n, 3)."""

    window: np.ndarray
    ends: np.ndarray
    attr: np.ndarray


def octaves(value: np.ndarray) -> np.ndarray:
    """log2(1 + value), of at most 16."""
    return np.log2(1 + np.minimum(value, _CLIP)).astype(np.float32)


def _of_capture(graphs, windows, relations: Relations, told: Contradiction, nodes) -> _Found:
    """Write the columns of the windows' `nodes`; their edges."""
    ids, (source, sink), strength, of_signal, of_relation = relations.pairs()
    partners = np.bincount(sink, minlength=len(ids))
    first, stop = _ticks(told, graphs.start[windows], graphs.end[windows])
    value = _grouped(_over(told.value, first, stop), of_signal, len(ids))
    miss = _grouped(_over(told.relation, first, stop), of_relation, len(strength))
    against = _grouped(miss, source, len(ids))
    place = np.full((len(windows), len(ids)), -1)
    for row, window in enumerate(windows.tolist()):
        mine = slice(*graphs.node_ptr[window : window + 2])
        slot = np.searchsorted(ids, graphs.node_id[mine]).clip(max=len(ids) - 1)
        known = np.flatnonzero(ids[slot] == graphs.node_id[mine])
        place[row, slot[known]] = known
        where, slot = mine.start + known, slot[known]
        nodes[where, 0] = octaves(value[row, slot])
        nodes[where, 1] = np.log2(1 + partners[slot])
        nodes[where, 2] = octaves(against[row, slot])
    at, pair = np.nonzero((place[:, source] >= 0) & (place[:, sink] >= 0))
    ends = np.stack([place[at, source[pair]], place[at, sink[pair]]]).astype(np.int32)
    attr = np.column_stack([np.ones(len(at)), strength[pair], octaves(miss[at, pair])])
    return _Found(windows[at], ends, attr.astype(np.float32))


def _ticks(told: Contradiction, start: np.ndarray, end: np.ndarray):
    """First and last tick, exclusive, of each window; the last one before, where it has none."""
    since = told.ticks - told.ticks[0]
    stop = np.maximum(np.searchsorted(since, end, "right"), 1)
    return np.minimum(np.searchsorted(since, start), stop - 1), stop


def _over(value: np.ndarray, first: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """The largest of `value` (T, n) in each span of ticks, (W, n)."""
    padded = np.concatenate([value, np.zeros((1, value.shape[1]), value.dtype)])
    edges = np.column_stack([first, stop]).ravel()
    return np.maximum.reduceat(padded, edges, axis=0)[::2]


def _grouped(value: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """The largest of the columns of each group, (W, groups)."""
    out = np.zeros((len(value), groups), np.float32)
    for column, k in enumerate(group.tolist()):
        np.maximum(out[:, k], value[:, column], out=out[:, k])
    return out


def _joined(graphs: Graphs, nodes: np.ndarray, found: Sequence[_Found]) -> Graphs:
    """The windows with more columns and edges."""
    size = np.diff(graphs.edge_ptr)
    window = np.concatenate([np.repeat(np.arange(len(graphs)), size), *(f.window for f in found)])
    order = np.argsort(window, kind="stable")
    ends = np.concatenate([graphs.edge_index, *(f.ends for f in found)], axis=1)
    n, more = len(graphs.edge_attr), len(window) - len(graphs.edge_attr)
    width = graphs.edge_attr.shape[1]
    attr = np.zeros((n + more, width + len(RELATED_EDGE_FEATURES)), np.float32)
    attr[:n, :width] = graphs.edge_attr
    attr[n:, width:] = np.concatenate([f.attr for f in found])
    return replace(
        graphs,
        x=np.concatenate([graphs.x, nodes], axis=1),
        edge_index=ends[:, order],
        edge_attr=attr[order],
        edge_ptr=np.searchsorted(window[order], np.arange(len(graphs) + 1)),
    )
