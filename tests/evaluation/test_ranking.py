"""Intervals against scipy and hand-computed values; simulations say that they hold."""

import numpy as np
import pytest
from scipy import stats

from cangraph.evaluation.ranking import interval


def test_the_interval_is_that_of_students_t():
    values = [0.91, 0.95, 0.90, 0.97, 0.93]
    mean, half = interval(values)
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((ends.low, ends.high))


def test_equal_seeds_have_an_interval_of_nothing_and_fewer_than_three_none():
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.0)
    assert interval([0.5, 0.7]) == (0.6, None)
    assert interval([0.5]) == (0.5, None)


def test_intervals_cover_the_mean_in_95_percent_of_simulations():
    rng = np.random.default_rng(0)
    for n in (3, 5):
        found = [interval(rng.normal(0.9, 0.02, n)) for _ in range(400)]
        covered = np.mean([abs(mean - 0.9) <= half for mean, half in found])
        assert 0.92 <= covered <= 0.98
