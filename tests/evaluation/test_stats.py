"""Intervals over captures and seeds: what they cover, and when they are silent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from scipy.stats import bootstrap, ttest_1samp

from cangraph.evaluation.stats import _expanded, clustered, interval, poisson, with_rate


def test_the_mean_is_plain_undefined_captures_do_not_count_and_trainings_make_it_wider():
    found = clustered(np.array([[0.5, np.nan, 1.0], [0.7, np.nan, 0.8]]))
    assert found.mean == approx(0.75)
    assert clustered(np.ones(4)) == (1, 1, 1), "captures that agree leave nothing open"
    same = np.tile([0.5, 0.6, 0.7, 0.8], (3, 1))
    narrow, wide = clustered(same), clustered(same + np.array([[-0.2], [0.0], [0.2]]))
    assert wide.mean == approx(narrow.mean)
    assert wide.high - wide.low > narrow.high - narrow.low


def test_with_one_seed_it_is_scipys_percentile_interval():
    values, rng = np.array([0.2, 0.5, 0.9, 0.7, 0.4, 0.8]), np.random.default_rng(0)
    options = {"n_resamples": 2000, "confidence_level": _expanded(6, 0.95), "rng": rng}
    expected = bootstrap([values], np.mean, method="percentile", **options).confidence_interval
    found = clustered(values)
    assert (found.low, found.high) == approx((expected.low, expected.high))
    # few captures are drawn wider than by percentiles alone
    assert _expanded(3, 0.95) > _expanded(7, 0.95) > _expanded(50, 0.95) > 0.95
    assert _expanded(10_000, 0.95) == approx(0.95, abs=1e-4)


@pytest.mark.parametrize(("captures", "seeds"), [(7, 1), (12, 1), (8, 4)])
def test_it_covers_the_truth_as_often_as_it_says(captures, seeds):
    """Captures differ, seeds differ, and windows of a capture say the same thing again."""
    rng, hits, trials = np.random.default_rng(1), 0, 150
    for trial in range(trials):
        drive, training = rng.normal(0.5, 0.1, captures), rng.normal(0, 0.03, (seeds, 1))
        grid = drive + training * (seeds > 1) + rng.normal(0, 0.02, (seeds, captures))
        found = clustered(grid, draws=600, seed=trial)
        hits += found.low <= 0.5 <= found.high
    assert 0.89 <= hits / trials <= 0.995


@pytest.mark.parametrize("values", [[np.nan, np.nan], [], [0.5, np.nan]])
def test_one_capture_has_no_interval(values):
    found = clustered(np.array(values))
    assert found == (0.5 if 0.5 in values else None, None, None)


@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=8),
    st.integers(1, 3),
)
def test_the_mean_lies_inside_and_the_same_call_says_the_same(values, seeds):
    grid = np.tile(values, (seeds, 1))
    found = clustered(grid, draws=50)
    assert found == clustered(grid, draws=50)
    if found.low is not None:
        assert 0 <= found.low <= found.mean <= found.high <= 1


def test_the_interval_is_that_of_students_t():
    values = [0.91, 0.95, 0.90, 0.97, 0.93]
    mean, half = interval(values)
    ends = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == approx((ends.low, ends.high))
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.0)
    assert interval([0.5, 0.7]) == (0.6, None), "fewer than three"


def test_the_interval_of_a_rate_is_garwoods():
    assert poisson(0, 1.0) == (0.0, approx(-np.log(0.025)))
    assert poisson(10, 2.0) == approx((4.795 / 2, 18.39 / 2), rel=1e-3)


def test_a_row_of_alarms_gets_the_interval_of_its_rate():
    row = with_rate({"false_alarms": 1, "benign_hours": 0.5})
    ends = [row[f"false_alarms_per_hour_{end}"] for end in ("low", "high")]
    assert ends == approx([-np.log(0.975) / 0.5, 5.5716 / 0.5], rel=1e-4)
    none = with_rate({"false_alarms": 0, "benign_hours": 0.0})
    assert none["false_alarms_per_hour_high"] is None
