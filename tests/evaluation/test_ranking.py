"""Intervals and ranks against scipy and hand-computed values; simulations say that they hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cangraph.evaluation.ranking import interval, ranks


def rows(table, models="abc"):
    return [
        {"dataset": f"d{i}", "model": m, "mean": v}
        for i, line in enumerate(table)
        for m, v in zip(models, line, strict=True)
    ]


# intervals


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


# ranks


def test_ranks_are_means_of_ranks_within_datasets_and_ties_share():
    found = ranks(rows([[0.9, 0.8, 0.8], [0.9, 0.7, 0.8]]))
    assert found.models == ["a", "b", "c"]
    assert found.rank == [1.0, 2.75, 2.25]


def test_the_critical_difference_is_that_of_demsars_table():
    # Demšar (2006), table 5a: q = 2.343 for three models, 2.728 for five
    three = ranks(rows(np.random.default_rng(0).random((6, 3))))
    assert three.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 6)), abs=1e-3)
    five = ranks(rows(np.random.default_rng(0).random((30, 5)), "abcde"))
    assert five.critical == pytest.approx(2.728 * np.sqrt(5 * 6 / (6 * 30)), abs=1e-3)


def test_p_is_near_that_of_friedmans_chi_square_where_there_are_many_datasets():
    table = np.random.default_rng(3).random((20, 3)) + np.array([0.25, 0.1, 0])
    expected = stats.friedmanchisquare(*table.T).pvalue
    assert 0.1 < expected < 0.4
    assert ranks(rows(table)).p == pytest.approx(expected, abs=0.03)


def test_p_of_few_datasets_is_exact():
    # of the 36 pairs of orders of three models, six agree
    assert ranks(rows([[0.9, 0.8, 0.7]] * 2)).p == pytest.approx(6 / 36)


def test_few_datasets_are_said_to_mean_nothing():
    assert "3 datasets are too few" in ranks(rows([[0.9, 0.8, 0.7]] * 3)).words
    assert "too few" not in ranks(rows([[0.9, 0.8, 0.7]] * 6)).words


def test_models_that_a_dataset_lacks_are_left_out_and_datasets_without_any():
    found = ranks(rows([[0.9, 0.8, 0.7, None], [0.9, 0.8, 0.7, 1.0], [None] * 4], "abcd"))
    assert (found.models, found.datasets) == (["a", "b", "c"], ["d0", "d1"])


@pytest.mark.parametrize("table", [[], [[0.9, 0.8, 0.7]], [[None] * 3] * 3])
def test_nothing_is_ranked_over_fewer_than_two_datasets(table):
    found = ranks(rows(table))
    assert (found.rank, found.p, found.critical) == ([], None, None)
    assert found.words.startswith("Nothing to rank")


def test_models_that_tie_everywhere_have_no_p():
    found = ranks(rows([[0.9] * 3] * 4))
    assert found.p is None and found.rank == [2.0] * 3
    assert found.words.endswith("All models tie on every dataset.")


@given(st.lists(st.permutations([0.1, 0.2, 0.3, 0.4]), min_size=2, max_size=2))
def test_ranks_sum_to_what_ranks_sum_to(table):
    found = ranks(rows(table, "abcd"))
    assert sum(found.rank) == pytest.approx(10)
    assert 0 < found.p <= 1
