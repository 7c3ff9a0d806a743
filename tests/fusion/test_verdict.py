"""The verdict on fusion: what is held out, how differences and intervals come about, the words."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx
from scorings import PARAMS, scores_of, torn

from cangraph.evaluation.scores import by_capture
from cangraph.fusion import verdict
from cangraph.fusion.dqn import rules
from cangraph.fusion.rules import Rule
from cangraph.fusion.verdict import (
    ALL,
    HeldOut,
    best_single,
    default_rule,
    held_out,
    margins,
    words,
)

pytestmark = pytest.mark.filterwarnings("error")

SIMPLE = ("VGAE alone", "GAT alone", "mean", "gradient boosting")
LABEL = np.array([0, 0, 1, 1], bool)
RIGHT, HALF, WRONG = [0.1, 0.2, 0.8, 0.9], [0.1, 0.85, 0.8, 0.9], [0.8, 0.9, 0.1, 0.2]


def simple():
    return {name: rules(PARAMS)[name] for name in SIMPLE}


def captures_of(*values, scenarios):
    """A capture of four windows for each list of values."""
    n = len(values)
    where = np.repeat(np.arange(n), 4), scenarios
    return scores_of(np.concatenate(values), np.tile(LABEL, n), np.zeros((4 * n, 0)), *where)


def folds(**columns):
    return HeldOut({}, {name.replace("_", " "): np.array(c) for name, c in columns.items()})


# held out


def test_no_recording_is_fitted_on_and_scored():
    scores = torn(400, 0, captures=5)[1]
    met = []

    class Watching(Rule):
        def fit(self, given):
            self.seen = {*given[0].capture.tolist()}
            return super().fit(given)

        def combine(self, given):
            met.append((self.seen, {*given[0].capture.tolist()}))
            return super().combine(given)

    held = held_out(lambda: {"mean": Watching("mean")}, scores, folds=3)
    assert len(met) == 3 and all(not seen & scored for seen, scored in met)
    assert set.union(*(scored for _, scored in met)) == {0, 1, 2, 3, 4}
    assert len(held.auprc["mean"]) == 3


def test_captures_of_one_recording_are_held_out_together():
    scores = torn(400, 0, captures=4)[1]
    infos = tuple(c._replace(recording="drive") for c in scores[0].captures)
    with pytest.raises(ValueError, match="1 recordings of 1 with calibration windows hold benign"):
        held_out(simple, [replace(s, captures=infos) for s in scores], 3)
    nameless = tuple(c._replace(recording="") for c in scores[0].captures)
    held = held_out(simple, [replace(s, captures=nameless) for s in scores], 9)
    assert len(held.auprc["mean"]) == 4, "each for itself, and no more folds than there are"


def test_what_is_held_out_is_what_the_rule_says():
    scores = torn(300, 0, captures=2)[1]
    held = held_out(simple, scores, 2)
    first, second = (scores[0].capture == k for k in (0, 1))
    rule = rules(PARAMS)["mean"].fit([s[second] for s in scores])
    expected = rule.combine([s[first] for s in scores])
    assert np.array_equal(held.scores["mean"].value[first], expected)


# the choice


FAR = {"VGAE_alone": [0.5] * 5, "GAT_alone": [0.90, 0.84, 0.93, 0.80, 0.88]}
FAR["DQN"] = [0.94, 0.87, 0.96, 0.84, 0.92]


def test_the_single_model_stays_until_a_fused_rule_leads_beyond_chance():
    close = folds(VGAE_alone=[0.5, 0.5, 0.5], GAT_alone=[0.90, 0.88, 0.95], DQN=[0.94, 0.87, 0.95])
    # .01 ahead, deviation .0265, t = .01 / (.0265 √(1/3 + 1/2)) = .414: p .36 of two degrees
    assert default_rule(close) == "GAT alone"
    assert verdict._chance(close, "DQN", "GAT alone") == approx(0.359, abs=1e-3)
    far = folds(**FAR)  # .036 ahead, deviation .00548, t = .036 / (.00548 √(1/5 + 1/4)) = 9.8
    assert default_rule(far) == "DQN"
    assert verdict._chance(far, "DQN", "GAT alone") == approx(3.05e-4, rel=0.01)
    assert best_single(far) == "GAT alone"


def test_the_more_rules_there_are_the_more_a_lead_must_be():
    lead = {"DQN": [0.94, 0.85, 0.96, 0.82, 0.89]}  # .022 ahead, deviation .0130: t 2.52, p .033
    assert default_rule(folds(**FAR | lead)) == "DQN"
    assert default_rule(folds(**FAR | lead, mean=[0.5] * 5)) == "GAT alone"


def test_of_proven_rules_the_simplest_that_is_not_beaten_is_used():
    columns = {"VGAE_alone": [0.5] * 4, "GAT_alone": [0.80, 0.81, 0.79, 0.80]}
    columns |= {"mean": [0.90, 0.91, 0.90, 0.90], "DQN": [0.91, 0.90, 0.90, 0.91]}
    held = folds(**columns)
    assert default_rule(held) == "mean"  # DQN is .0025 ahead, deviation .0096
    assert words(held, [row("mean", ALL, 0.0, 0.0, 0.0)])[0].endswith(
        "is 0.9025; beyond chance ahead of GAT alone (0.8000), p = 0.00011; DQN (0.9050) does not "
        "lead it beyond chance, and is less simple."
    )
    columns["mean"] = [0.82, 0.83, 0.81, 0.825]
    assert default_rule(folds(**columns)) == "DQN"  # both lead the GAT, and DQN leads the mean


def test_leads_that_are_rounding_are_none():
    gat = np.array([0.991, 0.992, 0.993, 0.994, 0.995])
    ahead = gat + np.array([1.2, 0.9, 1.1, 1.3, 0.8]) * 1e-7
    assert default_rule(folds(VGAE_alone=[0.5] * 5, GAT_alone=gat, mean=ahead)) == "GAT alone"


def test_leads_without_spread():
    same = folds(VGAE_alone=[0.5] * 3, GAT_alone=[0.8, 0.7, 0.6], mean=[0.8, 0.7, 0.6])
    assert default_rule(same) == "GAT alone"
    ahead = folds(VGAE_alone=[0.5] * 3, GAT_alone=[0.8, 0.7, 0.6], mean=[0.9, 0.8, 0.7])
    assert default_rule(ahead) == "mean"
    alone = folds(VGAE_alone=[0.5, np.nan], GAT_alone=[0.75, np.nan], mean=[0.875, np.nan])
    assert default_rule(alone) == "GAT alone", "of one fold nothing follows"


def test_a_fold_of_one_class_has_no_say():
    some = {name: [*column, np.nan] for name, column in FAR.items()}
    assert default_rule(folds(**some)) == "DQN"
    assert best_single(folds(**some)) == "GAT alone"


def test_trees_that_are_no_better_than_the_mean_are_not_chosen():
    held = held_out(simple, torn(900, 0, captures=3)[1], 3)
    assert held.auprc["gradient boosting"].mean() > held.auprc["mean"].mean() > 0.99
    assert default_rule(held) == "mean"


# the margins


def test_margins_by_hand():
    scenarios = ["test_01_a", "test_01_a", "test_02_b"]
    base = captures_of(RIGHT, WRONG, HALF, scenarios=scenarios)
    other = captures_of(RIGHT, RIGHT, RIGHT, scenarios=scenarios)
    at = {"GAT alone": 0.5, "mean": 0.5}
    rows = {
        (row["detector"], row["scenario"]): row
        for row in margins({"GAT alone": base, "mean": other}, at, "GAT alone")
    }
    wrong, half = (by_capture(base, 0.5)[k]["auprc"] for k in (1, 2))
    first = rows["mean", "test_01_a"]
    assert first["captures"] == 2 and first["f1"] == approx(0.5)  # 0 and 1
    assert first["auprc"] == approx((1 - wrong) / 2, abs=1e-6)
    assert (first["f1_low"], first["f1_high"]) == (0, 1)
    second = rows["mean", "test_02_b"]
    assert second["auprc"] == approx(1 - half, abs=1e-6) and second["auprc_low"] is None, (
        "one capture"
    )
    total = rows["mean", ALL]
    assert total["captures"] == 3 and total["auprc"] == approx((2 - wrong - half) / 3, abs=1e-6)
    assert 0 <= total["auprc_low"] <= total["auprc"] <= total["auprc_high"]
    itself = rows["GAT alone", ALL]
    assert itself["auprc"] == itself["auprc_low"] == itself["auprc_high"] == 0


def test_a_scenario_of_one_class_is_undefined():
    scores = captures_of(RIGHT, RIGHT, scenarios=["test_01_a", "test_05_b"])
    label = scores.label & (scores.capture == 0)
    scores = replace(scores, label=label)
    rows = margins({"GAT alone": scores}, {"GAT alone": 0.5}, "GAT alone")
    (row,) = (row for row in rows if row["scenario"] == "test_05_b")
    assert row["auprc"] is None and row["f1"] is None and row["auprc_low"] is None
    (total,) = (row for row in rows if row["scenario"] == ALL)
    assert total["captures"] == 2 and total["auprc"] == 0 and total["auprc_low"] is None


def test_the_interval_resamples_captures_and_not_windows():
    scenarios = ["test_01_a"] * 4
    base = captures_of(*[RIGHT] * 3, HALF, scenarios=scenarios)
    many = captures_of(*[RIGHT] * 4, scenarios=scenarios)
    at = dict.fromkeys(("GAT alone", "mean"), 0.5)
    narrow = margins({"GAT alone": base, "mean": many}, at, "GAT alone")[1]
    assert narrow["auprc_low"] == 0, "in a third of the draws the odd capture is missing"
    repeated = np.repeat(np.arange(16), 50)
    wide = margins({"GAT alone": base[repeated], "mean": many[repeated]}, at, "GAT alone")[1]
    assert wide["auprc_high"] == approx(narrow["auprc_high"], abs=0.02), "windows are no witnesses"
    again = margins({"GAT alone": base, "mean": many}, at, "GAT alone")[1]
    assert again == narrow, "the same draws"


def test_whiskers_reach_from_the_value_and_are_absent_where_undefined():
    rows = [
        {"f1": 0.5, "f1_low": 0.2, "f1_high": 0.6},
        {"f1": 0.5, "f1_low": None, "f1_high": None},
        {"f1": None, "f1_low": None, "f1_high": None},
    ]
    assert verdict.whiskers(rows, "f1") == approx(np.array([[0.3, 0, 0], [0.1, 0, 0]]))


def test_cells_hold_value_and_interval():
    rows = [row("DQN", "test_01_known", 0.02, 0.01, 0.03), row("DQN", ALL, None, None, None)]
    second, first = verdict.cells(rows, "f1")  # all captures come first
    assert first == {
        "detector": "DQN",
        "scenario": "test_01",
        "margin": "+0.020 (+0.010, +0.030)",
    }
    assert second["margin"] == "undefined"


# the words


def row(detector, scenario, value, low, high, captures=2):
    numbers = {"auprc": value, "auprc_low": low, "auprc_high": high}
    numbers |= {name.replace("auprc", "f1"): number for name, number in numbers.items()}
    return {"detector": detector, "scenario": scenario, "captures": captures} | numbers


def test_the_words_follow_the_numbers():
    rows = [
        row("DQN", "test_01_known", 0.02, 0.01, 0.03),
        row("DQN", "test_02_unknown", -0.02, -0.03, -0.01),
        row("DQN", "test_03_known", 0.0, -0.01, 0.01),
        row("DQN", "test_04_unknown", 0.1, None, None, captures=1),
        row("DQN", "test_05_suppress", None, None, None),
        row("DQN", ALL, 0.0125, -0.01, 0.04, captures=9),
        row("GAT alone", ALL, 0.0, 0.0, 0.0, captures=9),
    ]
    assert words(folds(**FAR), rows) == [
        "The default rule is DQN: with recordings held out in turn (5 folds), its mean AUPRC on "
        "calibration windows is 0.9060; beyond chance ahead of GAT alone (0.8700), p = 0.0003.",
        "On 9 test captures, against GAT alone, the better single model on calibration windows: "
        "AUPRC +0.0125 (-0.0100, +0.0400), F1 +0.0125 (-0.0100, +0.0400).",
        "AUPRC by scenario, beyond the interval: better in test_01; worse in test_02; open in "
        "test_03; undefined in test_04, test_05.",
        "F1 by scenario, beyond the interval: better in test_01; worse in test_02; open in "
        "test_03; undefined in test_04, test_05.",
    ]


def test_the_words_say_when_nothing_is_gained_and_what_hindsight_would_choose():
    close = folds(VGAE_alone=[0.5, 0.5, 0.5], GAT_alone=[0.90, 0.88, 0.95], DQN=[0.94, 0.87, 0.95])
    rows = [row("GAT alone", ALL, 0.0, 0.0, 0.0), row("DQN", ALL, 0.01, -0.01, 0.02)]
    first, second, third = words(close, rows)
    assert first.endswith("is 0.9100; DQN (0.9200) does not lead it beyond chance, p = 0.36.")
    assert second == "It is the better single model itself: nothing to gain from fusion was found."
    assert third == (
        "With hindsight, DQN does best on the test windows: AUPRC +0.0100 (-0.0100, +0.0200). "
        "They do not choose."
    )


def test_one_capture_and_none_are_said():
    rows = [row("DQN", ALL, 0.01, None, None, captures=1)]
    assert "AUPRC +0.0100 (no interval)" in words(folds(**FAR), rows)[1]
    rows = [row("DQN", ALL, None, None, None, captures=1)]
    assert "AUPRC undefined, F1 undefined." in words(folds(**FAR), rows)[1]
