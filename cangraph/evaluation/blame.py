"""Which IDs and captures a detector is right and wrong about."""

from collections import Counter

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.evaluation.scores import Scores
from cangraph.frames import ATTACK_TYPES

_APART = 1.0  # s; wrong windows closer than that are one fault


def _most_blamed(graphs, blame: np.ndarray) -> np.ndarray:
    """The node of each window with the highest blame, i8 (B,); the first of equals."""
    window = np.repeat(np.arange(len(graphs.node_ptr) - 1), np.diff(graphs.node_ptr))
    return np.lexsort((-blame, window))[graphs.node_ptr[:-1]]


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
