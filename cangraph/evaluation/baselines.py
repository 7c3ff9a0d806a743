"""Cheap detectors, over the same windows, to compare every learned one with.

Each takes `Graphs` and returns `Scores`, higher = more suspicious.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import xlogy

from cangraph.data.graphs import Graphs
from cangraph.evaluation.calibration import clean_stretch, clean_threshold
from cangraph.evaluation.scores import Scores
from cangraph.frames import Frames

COUNT_THRESHOLD = 1.5  # frames above the calibrated maximum: "above max + 1"
_AT_ONCE = 20_000  # windows whose nodes are in memory as f8
LEAK_GAP = 50e-6  # s; the shortest frame, 47 bits, takes 94 µs at 500 kbit/s


def calibrated_count(graphs: Graphs, seconds: float = 10.0) -> Scores:
    """How far a window exceeds the counts known as normal: the largest excess, in frames, of an
    ID's count over the most that it had in a normal window, and `graphs.window` for an unseen ID.
    From `COUNT_THRESHOLD` on it is an attack.

    What is normal is learnt from each capture's own `calibration.clean_stretch` of so many
    `seconds`; raises `ValueError` for a capture without one. These windows are scored too; they are
    benign and flatter the rule, so leave them out of its metrics."""
    clean, value = clean_stretch(graphs, seconds), np.zeros(len(graphs))
    for number in np.unique(graphs.capture):
        windows = graphs.capture == number
        if not (windows & clean).any():
            raise ValueError(
                f"calibrated_count: capture {graphs.captures[number].name!r} has no window before "
                f"an attack in its first {seconds} s; expected some; raise `seconds`, or leave it "
                "out"
            )
        mine, normal = graphs[windows], graphs[windows & clean]
        ids, code = np.unique(normal.node_id, return_inverse=True)
        most = np.zeros(len(ids), np.int64)
        np.maximum.at(most, code, normal.node_count)
        at = np.minimum(np.searchsorted(ids, mine.node_id), len(ids) - 1)
        known = ids[at] == mine.node_id
        excess = np.where(known, mine.node_count - most[at], graphs.window)
        excess[mine.node_count == 0] = -graphs.window  # an ID that is silent exceeds nothing
        value[windows] = np.maximum.reduceat(excess, mine.node_ptr[:-1])
    return Scores.of(graphs, value)


def _pieces(graphs: Graphs) -> Iterator[Graphs]:
    """The windows in order, so many at once that their nodes fill little memory."""
    for first in range(0, max(len(graphs), 1), _AT_ONCE):
        yield graphs[first : first + _AT_ONCE]


def _statistics(graphs: Graphs) -> np.ndarray:
    """f8 (B, 3·F + 2): mean, least and largest of each node feature, IDs, and the entropy of the
    IDs, H = −Σ p log₂ p in bits, where p are shares of frames."""
    first, p = graphs.node_ptr[:-1], graphs.node_count / graphs.window
    entropy = -np.add.reduceat(xlogy(p, p) / np.log(2), first)
    nodes = np.diff(graphs.node_ptr)[:, None].astype(np.float64)
    x = graphs.x.astype(np.float64)
    pooled = [np.add.reduceat(x, first) / nodes]
    pooled += [np.minimum.reduceat(x, first), np.maximum.reduceat(x, first)]
    return np.concatenate([*pooled, nodes, entropy[:, None]], axis=1)


class BoostedTrees:
    """Gradient-boosted trees on window statistics: mean, least and largest of each node feature,
    number of IDs, entropy of the IDs. No edges, no learned features.

    scikit-learn's `HistGradientBoostingClassifier` as it comes, after LightGBM (Ke et al., 2017),
    but for early stopping: its random validation windows would overlap training windows. Raises
    `ValueError` when `train` holds one class alone.
    """

    def __init__(self, train: Graphs, seed: int = 0):
        from sklearn.ensemble import HistGradientBoostingClassifier

        if train.label.all() or not train.label.any():
            raise ValueError(
                f"trees: {int(train.label.sum())} of {len(train)} training windows are attacks; "
                "expected both classes; give the train part of a split"
            )
        self.trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
        self.trees.fit(np.concatenate([*map(_statistics, _pieces(train))]), train.label)

    def score(self, graphs: Graphs) -> Scores:
        """Attack probability of each window."""
        values = [self.trees.predict_proba(_statistics(piece))[:, 1] for piece in _pieces(graphs)]
        return Scores.of(graphs, np.concatenate(values))


def leak_canary(captures: Sequence[Frames], graphs: Graphs) -> Scores:
    """Share of the gaps in a window that are shorter than `LEAK_GAP`: a detector of nothing.

    Where its AUROC is far from .5, on either side, timestamps reveal how the *file* was edited, and
    a detector that sees small gaps may rely on that. `captures` are those that `to_graphs` was
    given; raises `ValueError` when they are not.
    """
    graphs.require(captures, "leak_canary")
    value = np.zeros(len(graphs))
    for number in np.unique(graphs.capture):
        mine = graphs.capture == number
        short = np.diff(captures[number].timestamp) < LEAK_GAP
        before = np.concatenate([[0], np.cumsum(short)])  # short gaps before each frame
        begin = graphs.begin[mine]
        value[mine] = before[begin + graphs.window - 1] - before[begin]
    return Scores.of(graphs, value / (graphs.window - 1))


def decided(
    train: Graphs, graphs: Graphs, captures: Sequence[Frames] | None = None
) -> dict[str, tuple[Scores, float]]:
    """Every cheap detector over `graphs` by name, with a threshold that no test label influenced.

    Trees decide at an even chance. The count says nothing of a capture without a clean stretch. The
    leak canary takes the `clean_threshold` of the benign windows of `train`. Without attacks in
    `train` there are no trees, without `captures` no canary.
    """
    found: dict[str, tuple[Scores, float]] = {}
    if captures is not None:
        normal = leak_canary(captures, train)
        found["leak canary"] = leak_canary(captures, graphs), clean_threshold(normal)
    if train.label.any() and not train.label.all():
        found["boosted trees"] = BoostedTrees(train).score(graphs), 0.5
    ready = np.isin(graphs.capture, graphs.capture[clean_stretch(graphs)])
    graphs = graphs if ready.all() else graphs[ready]
    found["calibrated count"] = calibrated_count(graphs), COUNT_THRESHOLD
    return found
