"""The verdict on fusion: what is held out, how differences and intervals come about, the words."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx
from scorings import PARAMS, scores_of, torn

from cangraph.evaluation.scores import by_capture
from cangraph.fusion import verdict
from cangraph.fusion.dqn import all_rules
from cangraph.fusion.rules import FusionRule
from cangraph.fusion.verdict import ALL, HeldOut, default_rule, gains, held_out, verdict_in_words

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


def rows_of(base, other):
    """Rows of `gains` by detector and scenario, of a rule "mean" over "GAT alone"."""
    at = {"GAT alone": 0.5, "mean": 0.5}
    found = gains({"GAT alone": base, "mean": other}, at, "GAT alone")
    return {(row["detector"], row["scenario"]): row for row in found}


def test_gains_by_hand():
    scenarios = ["test_01_a", "test_01_a", "test_02_b"]
    base = captures_of(RIGHT, WRONG, HALF, scenarios=scenarios)
    rows = rows_of(base, captures_of(RIGHT, RIGHT, RIGHT, scenarios=scenarios))
    wrong, half = (by_capture(base, 0.5)[k]["auprc"] for k in (1, 2))
    first, second, total = (rows["mean", name] for name in ("test_01_a", "test_02_b", ALL))
    assert first["captures"] == 2 and first["f1"] == approx(0.5)  # 0 and 1
    assert first["auprc"] == approx((1 - wrong) / 2, abs=1e-6)
    assert (first["f1_low"], first["f1_high"]) == (0, 1)
    assert second["auprc"] == approx(1 - half, abs=1e-6)
    assert second["auprc_low"] is None, "one capture"
    assert total["captures"] == 3 and total["auprc"] == approx((2 - wrong - half) / 3, abs=1e-6)
    assert 0 <= total["auprc_low"] <= total["auprc"] <= total["auprc_high"]
    itself = rows["GAT alone", ALL]
    assert itself["auprc"] == itself["auprc_low"] == itself["auprc_high"] == 0


def test_a_scenario_of_one_class_is_undefined():
    scores = captures_of(RIGHT, RIGHT, scenarios=["test_01_a", "test_05_b"])
    scores = replace(scores, label=scores.label & (scores.capture == 0))
    rows = rows_of(scores, scores)
    none = rows["mean", "test_05_b"]
    assert none["auprc"] is None and none["f1"] is None and none["auprc_low"] is None
    total = rows["mean", ALL]
    assert total["captures"] == 2 and total["auprc"] == 0 and total["auprc_low"] is None


def test_the_interval_resamples_captures_and_not_windows():
    scenarios = ["test_01_a"] * 4
    base = captures_of(*[RIGHT] * 3, HALF, scenarios=scenarios)
    many = captures_of(*[RIGHT] * 4, scenarios=scenarios)
    narrow = rows_of(base, many)["mean", ALL]
    assert narrow["auprc_low"] == 0, "in a third of the draws the odd capture is missing"
    repeated = np.repeat(np.arange(16), 50)
    wide = rows_of(base[repeated], many[repeated])["mean", ALL]
    assert wide["auprc_high"] == approx(narrow["auprc_high"], abs=0.02), "windows are no witnesses"
    assert rows_of(base, many)["mean", ALL] == narrow, "the same draws"


def row(detector, scenario, value, low, high, captures=2):
    numbers = {"auprc": value, "auprc_low": low, "auprc_high": high}
    numbers |= {name.replace("auprc", "f1"): number for name, number in numbers.items()}
    return {"detector": detector, "scenario": scenario, "captures": captures} | numbers


def test_the_words_name_the_default_and_its_numbers():
    rows = [row("DQN", "test_01_known", 0.02, 0.01, 0.03)]
    rows += [row("DQN", ALL, 0.0125, -0.01, 0.04, captures=9), row("GAT alone", ALL, 0, 0, 0)]
    first, ahead, gain = verdict_in_words(folds(**FAR), rows)
    assert "is DQN: " in first and "5 folds" in first and "0.9060" in first
    assert "GAT alone (0.8700)" in ahead and "p = 0.0003" in ahead
    assert "9 test captures" in gain and gain.count("+0.0125 (-0.0100, +0.0400)") == 2
    for value, said in ((0.01, "AUPRC +0.0100 (no interval)"), (None, "AUPRC undefined")):
        rows = [row("DQN", ALL, value, None, None, captures=1)]
        assert said in verdict_in_words(folds(**FAR), rows)[-1]


def test_the_words_say_which_rules_did_better_and_were_not_chosen():
    first, _, lead = verdict_in_words(folds(**CLOSE), [row("GAT alone", ALL, 0.0, 0.0, 0.0)])
    assert "is GAT alone: " in first and "0.9100" in first
    assert lead.startswith("DQN (0.9200) leads GAT alone with p = 0.36")
    columns = folds(**{"VGAE": [], "GAT": [], "mean": [0.90, 0.91, 0.90, 0.90]} | TWO)
    _, ahead, beaten, _ = verdict_in_words(columns, [row("mean", ALL, 0, 0, 0)])
    assert "GAT alone (0.8000) beyond chance, p = 0.00011" in ahead
    assert "DQN (0.9050) leads mean with p = 0.75" in beaten
