"""Metrics agree with scikit-learn, say "undefined" where they are, and count captures alike."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pytest import approx
from sklearn import metrics as sklearn

from cangraph.data.graphs import to_graphs
from cangraph.evaluation.scores import (
    METRICS,
    Scores,
    attack_spans,
    by_capture,
    by_scenario,
    compare,
    metrics,
    overall,
    threshold,
    why_undefined,
)
from cangraph.frames import Frames, attack_code


def info(name="", scenario="", vehicle=""):
    return Frames(np.zeros(1), np.zeros(1), name=name, scenario=scenario, vehicle=vehicle).info


def scores_of(value, label, capture=None, captures=None, attack_type=None, start=None):
    """Scores of windows of one second each."""
    n = len(value)
    start = np.arange(float(n)) if start is None else np.array(start, float)
    attack_type = np.zeros(n, np.uint8) if attack_type is None else np.array(attack_type)
    capture = np.zeros(n, np.int32) if capture is None else np.array(capture)
    of = attack_type, capture, start, start + 1, captures or (info(),)
    return Scores(np.array(value, float), np.array(label, bool), *of)


def pairs(values, least, most):
    return st.lists(st.tuples(values, st.booleans()), min_size=least, max_size=most)


VALUES = pairs(st.integers(0, 40).map(lambda k: k / 40), 1, 60)
LEVELS = [0.0, 1e-12, 2e-12, 3e-9, 0.5, 1 - 3e-9, 1 - 2e-12, 1 - 1e-12, 1.0]
CLOSE = pairs(st.sampled_from(LEVELS), 2, 40)
LARGE = pairs(st.floats(-1e6, 1e6, allow_subnormal=False), 2, 40)


def at_one_in_a_thousand(label, value):
    fpr, tpr, _ = sklearn.roc_curve(label, value)
    return float(tpr[fpr <= 1e-3].max())


def by_scikit_learn(scores, at):
    """What `metrics` should say, with None where a denominator is zero."""
    label, called = scores.label, scores.value >= at
    (tn, fp), (fn, tp) = sklearn.confusion_matrix(label, called, labels=[False, True]).tolist()
    both, mixed = label.any() and not label.all(), called.any() and not called.all()
    return {
        "auroc": sklearn.roc_auc_score(label, scores.value) if both else None,
        "auprc": sklearn.average_precision_score(label, scores.value) if both else None,
        "f1": 2 * tp / (2 * tp + fp + fn) if label.any() else None,
        "precision": tp / (tp + fp) if label.any() and tp + fp else None,
        "recall": tp / (tp + fn) if label.any() else None,
        "recall_at_fpr": at_one_in_a_thousand(label, scores.value) if both else None,
        "fpr": fp / (fp + tn) if not label.all() else None,
        "mcc": sklearn.matthews_corrcoef(label, called) if both and mixed else None,
        "confusion": [[tn, fp], [fn, tp]],
        "windows": len(scores),
        "attack_windows": tp + fn,
        "prevalence": (tp + fn) / len(scores),
    }


# metrics


@pytest.mark.parametrize("name", ["even", "close", "large"])
def test_metrics_agree_with_scikit_learn(name):
    @given({"even": VALUES, "close": CLOSE, "large": LARGE}[name], st.integers(0, 100))
    def agree(pairs, position):
        scores = scores_of(*zip(*pairs, strict=True))
        at = float(np.quantile(scores.value, position / 100))
        result = metrics(scores, at)
        for metric, expected in by_scikit_learn(scores, at).items():
            if isinstance(expected, float):
                expected = approx(expected, abs=1e-5)
            assert result[metric] == expected, metric

    agree()


@given(VALUES, st.integers(0, 40))
def test_no_metric_is_undefined_without_a_reason(pairs, at):
    row = metrics(scores_of(*zip(*pairs, strict=True)), at / 40)
    undefined = {name for name in METRICS if row[name] is None}
    assert undefined == {name for name in METRICS if why_undefined(row, name)}
    if not row["attack_windows"]:
        assert undefined == set(METRICS) - {"fpr"}
    elif row["attack_windows"] == row["windows"]:
        assert undefined - {"precision"} == {"auroc", "auprc", "recall_at_fpr", "mcc", "fpr"}


# threshold


@pytest.mark.parametrize(
    "value, label, expected",
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5),
        ([0.0, 0.1, 0.2, 1.0], [0, 1, 0, 1], 0.15),  # one error at .05 and .6, two here
        ([0.0, 0.1, 0.2, 0.3, 0.9], [0, 1, 0, 0, 1], 0.25),  # of .05, .15, .25 and .6 the third
        ([0.0, 0.001, 0.9, 0.9, 1.0], [0, 1, 1, 1, 1], 0.4505),  # one odd window does not rule
        ([0.5, 0.5, 0.7], [0, 1, 1], 0.6),
        ([0.3, 0.3], [0, 1], 0.3),  # nothing to cut: everything is called
    ],
)
def test_threshold_by_hand(value, label, expected):
    assert threshold(scores_of(value, label)) == approx(expected)


@given(VALUES, st.randoms())
def test_threshold_is_the_median_of_the_cuts_that_are_as_good_in_any_order(pairs, random):
    mixed = scores_of(*zip(*random.sample(pairs, len(pairs)), strict=True))
    assert threshold(mixed) == threshold(scores_of(*zip(*pairs, strict=True)))
    value, label = map(np.array, zip(*pairs, strict=True))
    levels = np.unique(value)
    assume(label.any() and not label.all() and len(levels) > 1)

    def errors(at):
        return int(((value >= at) != label).sum())

    def f1(at):
        called = value >= at
        return 2 * (called & label).sum() / (called.sum() + label.sum())

    at = threshold(scores_of(value, label))
    best = max(f1(level) for level in levels[1:])
    fewest = min(errors(level) for level in levels[1:] if f1(level) > best - 1e-9)
    allowed = fewest + fewest**0.5 + 1
    assert errors(at) <= allowed
    below, above = levels[levels < at].max(), levels[levels >= at].min()
    assert at == approx((below + above) / 2)
    good = [level for level in levels[1:] if errors(level) <= allowed]
    assert abs(sum(level < above for level in good) - sum(level > above for level in good)) <= 1


def test_without_attacks_one_in_a_thousand_is_called():
    value = np.random.default_rng(0).permutation(10_000) / 10_000
    at = threshold(scores_of(value, np.zeros(10_000)))
    assert (value >= at).sum() == 10
    assert threshold(scores_of([0.2, 0.2], [0, 0])) > 0.2
    assert threshold(scores_of([0.2, 0.2], [1, 1])) > 0.2
    with pytest.raises(ValueError, match="no windows came; expected calibration windows"):
        threshold(scores_of([], []))


# tables over captures

CAPTURES = (info("x", "t1", "kia"), info("y", "t1", "sonata"), info("z", "t0", "kia"))


@pytest.fixture
def three():
    """x: auroc 1, recall 1/2; y: benign alone; z: auroc 0, recall 0."""
    return scores_of(
        [0.1, 0.4, 0.9, 0.2, 0.8, 0.7, 0.3],
        [0, 1, 1, 0, 0, 0, 1],
        [0, 0, 0, 1, 1, 2, 2],
        CAPTURES,
        attack_type=[0, attack_code("flooding"), attack_code("fuzzing"), 0, 0, 0, 3],
    )


def test_by_capture_has_a_row_for_each(three):
    rows = by_capture(three, 0.5)
    names = ("capture", "scenario", "vehicle", "auroc")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("z", "t0", "kia", 0),
        ("x", "t1", "kia", 1),
        ("y", "t1", "sonata", None),
    ]
    alone = metrics(three[three.capture == 0], 0.5)
    assert {name: rows[1][name] for name in alone} == alone


def test_a_scenario_is_the_mean_of_its_captures_where_defined(three):
    t0, t1 = by_scenario(three, 0.5)
    assert (t1["scenario"], t1["captures"], t1["windows"], t1["attack_windows"]) == ("t1", 2, 5, 2)
    assert t1["auroc"] == 1, "undefined in y"
    assert t1["recall"] == 0.5
    assert t1["fpr"] == approx((0 + 1 / 2) / 2)
    assert t1["confusion"] == [[2, 1], [1, 1]]
    assert (t0["auroc"], t0["recall"], t0["precision"], t0["fpr"]) == (0, 0, 0, 1)
    value, label = [0.9] * 98 + [0.1] * 2, [1] * 100
    scores = scores_of(value, label, [0] * 98 + [1] * 2, CAPTURES)
    assert by_scenario(scores, 0.5)[0]["recall"] == 0.5, "a long one does not outvote a short one"
    (row,) = by_scenario(scores_of([0.1, 0.9], [0, 0], [0, 1], CAPTURES), 0.5)
    assert row["auroc"] is None and row["f1"] is None and row["fpr"] == 0.5


def test_an_expected_scenario_without_windows_is_absent(three):
    rows = by_scenario(three, 0.5, expected=("t1", "t9"))
    assert [row["scenario"] for row in rows] == ["t0", "t1", "t9"]
    absent = rows[-1]
    assert (absent["captures"], absent["windows"]) == (0, 0) and set(absent) == set(rows[0])
    assert all(absent[name] is None for name in METRICS)


def test_compare_puts_detectors_below_each_other_and_overall_is_their_mean(three):
    rows = compare({"one": (three, 0.5), "all": (three, 0.0)}, expected=("t9",))
    assert [(row["detector"], row["scenario"]) for row in rows] == [
        (name, scenario) for name in ("one", "all") for scenario in ("t0", "t1", "t9")
    ]
    assert rows[0] == {"detector": "one"} | by_scenario(three, 0.5)[0]
    assert (rows[1]["recall"], rows[4]["recall"]) == (0.5, 1)
    assert overall(rows, "recall") == {"one": 0.25, "all": 1.0}
    assert overall(rows, "auroc") == {"one": 0.5, "all": 0.5}
    assert overall(rows, "no such metric") == {}


# spans


def test_attacks_close_in_time_are_one_span():
    starts = [0, 1, 3, 5.5, 6.5, 20]
    scores = scores_of(np.zeros(6), [1, 1, 1, 1, 0, 1], start=starts)
    assert attack_spans(scores) == [(0, 4), (5.5, 6.5), (20, 21)]
    assert attack_spans(scores, longest_gap=1.5) == [(0, 6.5), (20, 21)]
    assert attack_spans(scores[~scores.label]) == []


# the record


@pytest.mark.parametrize("name", ["value", "attack_type", "capture", "start", "end"])
def test_columns_of_another_length_and_values_that_are_not_finite_are_refused(name):
    names = ("value", "attack_type", "capture", "start", "end")
    columns = {key: np.zeros(3 + (key == name)) for key in names} | {"label": np.zeros(3, bool)}
    with pytest.raises(ValueError, match=f"Scores: {name} has 4 rows; expected 3 like label"):
        Scores(**columns, captures=())
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=rf"Scores: value {bad} at window 2; expected finite"):
            scores_of([0.1, 0.2, bad, bad], [0, 0, 1, 1])


def test_scores_of_graphs_carry_their_windows(drive):
    graphs = to_graphs([drive], 100, 100)
    state = np.arange(2 * len(graphs), dtype=np.float32).reshape(-1, 2)
    scores = Scores.of(graphs, np.arange(len(graphs)), state, ["a", "b"])
    assert scores.value.dtype == np.float64
    for name in ("label", "attack_type", "capture", "start", "end"):
        assert getattr(scores, name) is getattr(graphs, name)
    assert scores.captures == graphs.captures and scores.state_names == ("a", "b")
    part = scores[scores.label]
    assert np.array_equal(part.value, np.flatnonzero(graphs.label))
    assert np.array_equal(part.state, state[graphs.label])
    assert set(part.scenario) == {drive.scenario}
