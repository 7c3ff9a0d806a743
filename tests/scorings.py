"""Scores of two models, made for the tests of fusion."""

import numpy as np

from cangraph.evaluation.scores import Scores
from cangraph.frames import Frames
from cangraph.params import FusionParams

SIZES = {"actions": 11, "folds": 3, "hidden": 32, "steps": 400, "batch_size": 64, "replay": 5000}
PARAMS = FusionParams(**SIZES, learning_rate=0.003)
INFO = Frames(np.zeros(1), np.zeros(1)).info


def scores_of(value, label, state, capture=None, scenarios=("",)):
    """Scores of windows, by default all of one capture; capture k is of scenario k."""
    start = np.arange(len(value), dtype=float)
    capture = np.zeros(len(value)) if capture is None else capture
    infos = tuple(
        INFO._replace(name=f"c{k}", scenario=scenario, recording=f"r{k}")
        for k, scenario in enumerate(scenarios)
    )
    value, label = np.asarray(value, float), np.asarray(label, bool)
    capture, state = np.asarray(capture, np.int32), np.asarray(state, np.float32)
    return Scores(
        value, label, np.zeros(len(value), np.uint8), capture, start, start + 1, infos, state
    )


def torn(n, seed, captures=1):
    """Scores of a VGAE that is right where `side` is 0 and a GAT that is right where it is 1;
    elsewhere each is a guess."""
    rng = np.random.default_rng(seed)
    label, side = rng.random(n) < 0.3, rng.integers(0, 2, n)
    error = np.where(side == 0, 6.0 * label - 3, 0) + rng.normal(0, 0.3, n)
    gat = np.where(side == 1, 0.05 + 0.9 * label, rng.uniform(0, 1, n))
    noise = rng.normal(size=(n, 2))
    where = np.arange(n) * captures // n, [f"test_0{k}_x" for k in range(captures)]
    states = np.column_stack([error, noise[:, 0]]), np.column_stack([gat, side + 0.1 * noise[:, 1]])
    values = zip((error, gat), states, strict=True)
    return side, [scores_of(value, label, state, *where) for value, state in values]


def brier(scores):
    """Mean squared distance of value and label."""
    return float(((scores.value - scores.label) ** 2).mean())
