"""The verdict on fusion: what is held out, and which rule leads beyond chance."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx
from scorings import PARAMS, scores_of, torn

from cangraph.fusion import verdict
from cangraph.fusion.dqn import all_rules
from cangraph.fusion.rules import FusionRule
from cangraph.fusion.verdict import HeldOut, default_rule, held_out

pytestmark = pytest.mark.filterwarnings("error")

SIMPLE = ("VGAE alone", "GAT alone", "mean")
LABEL = np.array([0, 0, 1, 1], bool)
RIGHT, HALF, WRONG = [0.1, 0.2, 0.8, 0.9], [0.1, 0.85, 0.8, 0.9], [0.8, 0.9, 0.1, 0.2]


def simple():
    return {name: all_rules(PARAMS)[name] for name in SIMPLE}


def captures_of(*values, scenarios):
    """A capture of four windows for each list of values."""
    n = len(values)
    where = np.repeat(np.arange(n), 4), scenarios
    return scores_of(np.concatenate(values), np.tile(LABEL, n), np.zeros((4 * n, 0)), *where)


def folds(**columns):
    names = {"VGAE": "VGAE alone", "GAT": "GAT alone"}
    return HeldOut({}, {names.get(name, name): np.array(c) for name, c in columns.items()})


def test_no_recording_is_fitted_on_and_scored():
    scores = torn(400, 0, captures=5)[1]
    met = []

    class Watching(FusionRule):
        def fit(self, given):
            self.seen = {*given[0].capture.tolist()}
            return super().fit(given)

        def combine(self, given):
            met.append((self.seen, {*given[0].capture.tolist()}))
            return super().combine(given)

    held = held_out({"mean": Watching("mean")}, scores, folds=3)
    assert len(met) == len(held.auprc["mean"]) == 3
    assert all(seen ^ scored == seen | scored == {*range(5)} for seen, scored in met)


def test_captures_of_one_recording_are_held_out_together():
    scores = torn(400, 0, captures=4)[1]
    infos = tuple(c._replace(recording="drive") for c in scores[0].captures)
    with pytest.raises(ValueError, match="1 recordings of 1 with calibration windows hold benign"):
        held_out(simple(), [replace(s, captures=infos) for s in scores], 3)
    nameless = tuple(c._replace(recording="") for c in scores[0].captures)
    held = held_out(simple(), [replace(s, captures=nameless) for s in scores], 9)
    assert len(held.auprc["mean"]) == 4, "each for itself, and no more folds than there are"
    first = scores[0].capture == 0
    rule = all_rules(PARAMS)["mean"].fit([s[~first] for s in scores])
    expected = rule.combine([s[first] for s in scores])
    assert np.array_equal(held.scores["mean"].value[first], expected)


FAR = {"VGAE": [0.5] * 5, "GAT": [0.90, 0.84, 0.93, 0.80, 0.88]}
FAR |= {"DQN": [0.94, 0.87, 0.96, 0.84, 0.92]}
CLOSE = {"VGAE": [0.5] * 3, "GAT": [0.90, 0.88, 0.95], "DQN": [0.94, 0.87, 0.95]}
LESS = FAR | {"DQN": [0.94, 0.85, 0.96, 0.82, 0.89]}
TWO = {"VGAE": [0.5] * 4, "GAT": [0.80, 0.81, 0.79, 0.80], "DQN": [0.91, 0.90, 0.90, 0.91]}
FLAT = {"VGAE": [0.5] * 3, "GAT": [0.8, 0.7, 0.6]}


def test_the_lead_of_a_rule_by_hand():
    # .01 ahead, deviation .0265, t = .01 / (.0265 √(1/3 + 1/2)) = .414: p .36 of two degrees
    assert verdict._chance(folds(**CLOSE), "DQN", "GAT alone") == approx(0.359, abs=1e-3)
    # .036 ahead, deviation .00548, t = .036 / (.00548 √(1/5 + 1/4)) = 9.8
    assert verdict._chance(folds(**FAR), "DQN", "GAT alone") == approx(3.05e-4, rel=0.01)
    assert verdict.best_single(folds(**FAR)) == "GAT alone"


@pytest.mark.parametrize(
    "columns, default",
    [
        (CLOSE, "GAT alone"),
        (FAR, "DQN"),
        (LESS, "DQN"),  # .022 ahead, deviation .0130: t 2.52, p .033
        (LESS | {"mean": [0.5] * 5}, "GAT alone"),  # of two rules a lead must be larger
        (TWO | {"mean": [0.90, 0.91, 0.90, 0.90]}, "mean"),  # DQN .0025 ahead, deviation .0096
        (TWO | {"mean": [0.82, 0.83, 0.81, 0.825]}, "DQN"),  # both lead the GAT, and DQN the mean
        (FLAT | {"mean": [0.8 + 1.2e-7, 0.7 + 0.9e-7, 0.6 + 1.1e-7]}, "GAT alone"),  # rounding
        (FLAT | {"mean": [0.8, 0.7, 0.6]}, "GAT alone"),
        (FLAT | {"mean": [0.9, 0.8, 0.7]}, "mean"),  # without spread
        ({"VGAE": [0.5, np.nan], "GAT": [0.75, np.nan], "mean": [0.875, np.nan]}, "GAT alone"),
        ({name: [*column, np.nan] for name, column in FAR.items()}, "DQN"),  # a fold of one class
    ],
)
def test_the_simplest_rule_that_leads_beyond_chance_and_is_not_beaten_is_used(columns, default):
    simplest_first = sorted(columns, key=["VGAE", "GAT", "mean", "DQN"].index)
    assert default_rule(folds(**{name: columns[name] for name in simplest_first})) == default
