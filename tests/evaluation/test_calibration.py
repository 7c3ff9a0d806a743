"""A threshold from clean traffic promises what it says; probabilities are honest afterwards."""

import numpy as np
import pytest
from pytest import approx
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss

from cangraph.evaluation.calibration import (
    brier,
    calibrated,
    clean_stretch,
    clean_threshold,
    ece,
    recalibrated,
)
from cangraph.evaluation.scores import Scores, metrics
from cangraph.frames import Frames


def scores_of(value, label=None, capture=None, names=("a", "b", "c")):
    """Scores of windows of one second, the windows of each capture one after the other."""
    n = len(value)
    label = np.zeros(n, bool) if label is None else np.array(label, bool)
    capture = np.zeros(n, np.int32) if capture is None else np.array(capture, np.int32)
    start = np.array([(capture[:i] == c).sum() for i, c in enumerate(capture)], float)
    captures = tuple(Frames(np.zeros(1), np.zeros(1), name=name).info for name in names)
    of = np.zeros(n, np.uint8), capture, start, start + 1, captures
    return Scores(np.array(value, float), label, *of)


# one threshold


@pytest.mark.parametrize(
    "value, rate, just_above",
    [
        # ⌈10 · .9⌉ = 9, the highest of nine: 1/(n+1) is the least that is promised
        *((range(9, 0, -1), *of) for of in ((0.1, 9), (0.11, 9), (0.2, 8), (0.3, 7), (0.99, 1))),
        *((range(20), rate, 19) for rate in (0.04, 1e-3, 1e-9)),
        ([7] + [0] * 199, 1e-3, 7),  # a single odd window counts in full
        ([1] * 50, 1e-3, 1),  # nothing can be told from it
        ([1, 2, 3], 0.25, 3),
    ],
)
def test_the_conformal_quantile(value, rate, just_above):
    label = [0] * len(value) + [1, 1]  # attack windows set no threshold
    scores = scores_of([*value, 90, 99], label)
    assert clean_threshold(scores, rate) == np.nextafter(just_above, np.inf)


@pytest.mark.parametrize("rate, n", [(0.05, 200), (1e-3, 200), (1e-3, 2000)])
def test_new_clean_windows_are_called_at_the_rate_that_is_promised(rate, n):
    rng, seen = np.random.default_rng(0), []
    for _ in range(300):
        at = clean_threshold(scores_of(expit(rng.logistic(-9, 1.5, size=n))), rate)
        seen.append(expit((logit(at) + 9) / -1.5))  # the share of all windows above it
    assert np.mean(seen) == approx(max(rate, 1 / (n + 1)), rel=0.15)


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(ValueError, match="no benign window came; expected clean traffic"):
        clean_threshold(scores_of([1.0], [1]))
    for rate in (0, 1, -0.1):
        with pytest.raises(ValueError, match=r"false_alarm_rate is .*; expected a share"):
            clean_threshold(scores_of([1.0]), rate)


# one for each capture


@pytest.fixture
def two():
    """a: four clean windows in 4 s, then benign and attack; b: the same a hundred times higher,
    attacked in its fourth window."""
    value, label = np.array([1, 2, 3, 4, 5, 9]), [0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1]
    return scores_of([*value, *value * 100], label, [0] * 6 + [1] * 6, names=("a", "b"))


def test_the_clean_stretch_ends_in_time_and_with_the_first_attack(two):
    assert np.flatnonzero(clean_stretch(two, 4.0)).tolist() == [0, 1, 2, 3, 6, 7, 8]
    assert np.flatnonzero(clean_stretch(two, 3.9)).tolist() == [0, 1, 2, 6, 7, 8]
    assert np.flatnonzero(clean_stretch(two, 99)).tolist() == [0, 1, 2, 3, 4, 6, 7, 8]
    assert np.flatnonzero(clean_stretch(two[::-1], 2.0)).tolist() == [4, 5, 10, 11]


def test_each_capture_sets_its_own_threshold_and_zero_decides_in_every_one(two):
    scores = calibrated(two, seconds=4.0, false_alarm_rate=0.25)
    assert scores.capture.tolist() == [0, 0, 1, 1, 1], "what was calibrated on is no test"
    assert scores.value == approx([1, 5, 100, 200, 600])
    assert metrics(scores, at=0)["confusion"] == [[0, 2], [0, 3]]


@pytest.mark.parametrize(
    "at_least, otherwise, expected",
    [(None, 5.5, [2, 5.5]), (1.5, 5.5, [2, 5.5]), (2.5, None, [2.5, 2.5]), (1.0, None, [2, 1.0])],
)
def test_without_clean_traffic_a_threshold_falls_back_and_none_is_under_the_least(
    at_least, otherwise, expected
):
    # b has no window, c none before its attack
    late = scores_of([1, 2, 3, 4, 5, 6], [0, 0, 0, 1, 0, 0], [0, 0, 0, 2, 2, 2])
    found = calibrated(late, 2.0, 0.4, at_least, otherwise)
    assert [3, 4, 5, 6] - found.value == approx(np.repeat(expected, [1, 3]))
    with pytest.raises(ValueError, match=r"first 2\.0 s of c; expected clean .*`otherwise`"):
        calibrated(late, seconds=2.0)


def test_recalibrated_probabilities_have_the_odds_over_those_of_the_threshold():
    scores = scores_of([0.2, 0.8, 0.8, 0.96], [0, 0, 0, 1])
    at = 0.8  # just above it lies the threshold
    odds = scores.value[2:] / (1 - scores.value[2:]) / (at / (1 - at))
    found = recalibrated(scores, 0.5, seconds=2.0, false_alarm_rate=0.1)
    assert found.value == approx(odds / (1 + odds))
    assert found.value[0] < 0.5, "equal to the highest clean one"
    with pytest.raises(ValueError, match="recalibrated: values of 1 to 2 came"):
        recalibrated(scores_of([1, 2]), 0.5)


# probabilities


def test_ece_and_brier_by_hand():
    # bins of .2: (.1, .1) holds half attacks, (.7, .9 → two bins) one attack each
    scores = scores_of([0.1, 0.1, 0.7, 0.9], [0, 1, 1, 1])
    assert ece(scores, bins=5) == approx((2 * abs(0.5 - 0.1) + 0.3 + 0.1) / 4)
    assert ece(scores, bins=1) == approx(abs(0.75 - 0.45))
    assert brier(scores) == approx((0.01 + 0.81 + 0.09 + 0.01) / 4)
    assert brier(scores) == approx(brier_score_loss(scores.label, scores.value))


@pytest.mark.parametrize("function", [ece, brier])
def test_values_that_are_no_probabilities_are_refused(function):
    with pytest.raises(ValueError, match=r"values of -1 to 2 came; expected probabilities"):
        function(scores_of([-1, 2], [0, 1]))
    with pytest.raises(ValueError, match="no windows came; expected probabilities"):
        function(scores_of([]))
