"""Which frames, IDs and captures a detector is right and wrong about."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.evaluation.scores import Scores
from cangraph.frames import ATTACK_TYPES, Frames

_APART = 1.0  # s; wrong windows closer than that are one fault


def _window_of(graphs) -> np.ndarray:
    """The window that each node is in, i8 (N,)."""
    return np.repeat(np.arange(len(graphs.node_ptr) - 1), np.diff(graphs.node_ptr))


def _most_blamed(graphs, blame: np.ndarray) -> np.ndarray:
    """The node of each window with the highest blame, i8 (B,); the first of equals."""
    return np.lexsort((-blame, _window_of(graphs)))[graphs.node_ptr[:-1]]


def frame_scores(
    scores: Scores, graphs: Graphs, captures: Sequence[Frames], blame: np.ndarray | None = None
) -> Scores:
    """What a detector says of each frame in the windows of `graphs`, as `Scores` of frames, so that
    every metric of windows is one of frames: `value` is the window's, or, with the `blame` of each
    node, f8 (N,), the smaller of its window's and its ID's. Where windows overlap, the highest
    value counts. Labels are those of the frames in `captures`, which the graphs were made of.

    Raises `ValueError` when they were not, or `blame` is not one value a node.

    >>> from cangraph.data.graphs import to_graphs
    >>> log = Frames(np.arange(4.0), np.array([1, 2, 1, 2]), attack=np.array([0, 1, 0, 0], bool))
    >>> graphs = to_graphs([log], 4, 4)
    >>> frame_scores(Scores.of(graphs, [0.9]), graphs, [log], np.array([0.2, 0.95])).value
    array([0.2, 0.9, 0.2, 0.9])
    """
    graphs.require(captures, "frame_scores")
    if blame is not None and len(blame) != len(graphs.node_id):
        raise ValueError(
            f"frame_scores: {len(blame)} values of blame came for {len(graphs.node_id)} nodes; "
            "expected one each; take them from Detector.blame of the same windows"
        )
    window = _window_of(graphs)
    node_value = scores.value[window]
    node_value = node_value if blame is None else np.minimum(node_value, blame)
    key = (window << 32) | graphs.node_id.astype(np.int64)
    by_key = np.argsort(key)
    parts = []
    for number in np.unique(graphs.capture):
        mine = np.flatnonzero(graphs.capture == number)
        frames, value = captures[number], np.full(len(captures[number]), -np.inf)
        places = graphs.begin[mine][:, None] + np.arange(graphs.window)
        sought = (mine[:, None] << 32) | frames.arbitration_id[places].astype(np.int64)
        nodes = by_key[np.searchsorted(key, sought, sorter=by_key)]
        np.maximum.at(value, places, node_value[nodes])
        seen = np.isfinite(value)  # frames behind the last whole window belong to none
        at = np.full(int(seen.sum()), number, np.int32)
        time = frames.timestamp[seen] - frames.timestamp[0]
        parts.append((value[seen], frames.attack[seen], frames.attack_type[seen], at, time))
    value, label, attack_type, capture, time = map(np.concatenate, zip(*parts, strict=True))
    return Scores(value, label, attack_type, capture, time, time, graphs.captures)


def localised(graphs, blame: np.ndarray) -> np.ndarray:
    """Whether the node that is blamed the most is an attacked one, bool (B,), for the windows of
    `graphs` and a value for each of their nodes, f8 (N,)."""
    return graphs.node_attack[_most_blamed(graphs, blame)].astype(bool)


def blamed_ids(scores: Scores, at: float, graphs: Graphs, blame: np.ndarray) -> list[dict]:
    """Which ID is blamed in the windows that are called: a row for each (capture, ID), most often
    first, with the number of `windows` in which its blame is the highest, and of those in which
    it is `attacked` indeed."""
    called = scores.value >= at
    node = _most_blamed(graphs, blame)[called]
    keys = list(zip(graphs.capture[called].tolist(), graphs.node_id[node].tolist(), strict=True))
    often = Counter(keys)
    right = Counter(key for key, hit in zip(keys, graphs.node_attack[node], strict=True) if hit)
    return [
        {
            "capture": graphs.captures[capture].label,
            "arbitration_id": f"{arbitration_id:03X}",
            "windows": count,
            "attacked": right[capture, arbitration_id],
        }
        for (capture, arbitration_id), count in often.most_common()
    ]


def worst(scores: Scores, at: float, number: int = 10) -> dict[str, np.ndarray]:
    """Positions of the worst `misses`, attack windows far below the threshold, and the worst
    `false_alarms`, benign windows far above it, at most `number` of each, the worst first. Of
    windows less than a second apart in one capture only the worst is taken, so that one long fault
    does not fill the list."""
    wrong, found = scores.label != (scores.value >= at), {}
    for name, kind, sign in (("misses", scores.label, 1), ("false_alarms", ~scores.label, -1)):
        places = np.flatnonzero(wrong & kind)
        apart = np.diff(scores.capture[places]) != 0
        apart |= scores.start[places[1:]] - scores.end[places[:-1]] > _APART
        runs = np.split(places, 1 + np.flatnonzero(apart)) if len(places) else []
        heads = np.array([run[np.argmin(sign * scores.value[run])] for run in runs], np.int64)
        found[name] = heads[np.argsort(sign * scores.value[heads], kind="stable")][:number]
    return found


def by_attack_and_capture(scores: Scores, at: float) -> list[dict]:
    """Share of windows called, for each capture and attack type in it, `benign` among them: a row
    for each, with `windows`, `called` and `share`."""
    kinds, rows = np.where(scores.label, scores.attack_type, 0), []
    for number, code in sorted({*zip(scores.capture.tolist(), kinds.tolist(), strict=True)}):
        called = scores.value[(scores.capture == number) & (kinds == code)] >= at
        row = {"capture": scores.captures[number].label, "attack": ATTACK_TYPES[code]}
        row |= {"windows": len(called), "called": int(called.sum())}
        rows.append(row | {"share": row["called"] / row["windows"]})
    return rows
