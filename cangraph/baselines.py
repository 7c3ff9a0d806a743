"""The cheap detectors that every learned result stands beside."""

import numpy as np

from cangraph.graphs import Graphs
from cangraph.scores import Scores

__all__ = ["COUNT_THRESHOLD", "calibrated_count"]

COUNT_THRESHOLD = 1.5  # frames above the calibrated maximum: "above max + 1"


def calibrated_count(graphs: Graphs, seconds: float = 10.0) -> Scores:
    """How far a window exceeds what its capture's first seconds showed.

    An operator's rule: from the benign windows in the first `seconds` of each capture note the
    IDs and the most frames of each in a window. The score of a window is the largest excess of
    an ID's count over that maximum, and `graphs.window` for an unseen ID; from
    `COUNT_THRESHOLD` on it is an attack. The calibration windows are scored too: they are benign,
    so they can only flatter this rule.

    Raises `ValueError` for a capture without a benign window in its first `seconds`.
    """
    value = np.zeros(len(graphs))
    for number in np.unique(graphs.capture):
        windows = np.flatnonzero(graphs.capture == number)
        mine = graphs[windows]
        known = (mine.end <= seconds) & ~mine.label
        if not known.any():
            raise ValueError(
                f"calibrated_count: capture {graphs.captures[number].name!r} has no benign window "
                f"in its first {seconds} s; expected clean traffic to calibrate on; raise `seconds`"
            )
        ids, code = np.unique(mine.node_id, return_inverse=True)
        most = np.full(len(ids), -1, np.int64)
        nodes = np.repeat(known, np.diff(mine.node_ptr))
        np.maximum.at(most, code[nodes], mine.node_count[nodes])
        excess = np.where(most[code] < 0, graphs.window, mine.node_count - most[code])
        value[windows] = np.maximum.reduceat(excess, mine.node_ptr[:-1])
    return Scores.of(graphs, value)
