"""The report's figures draw what they were given, and their titles say what was found."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from artists import title, words
from pytest import approx

from cangraph.figures import charts

pytestmark = pytest.mark.filterwarnings("error")

PLACE = {"low": -9.0, "median": -8.0, "high": -7.0}


def row(detector, f1, low=None, high=None):
    return {"detector": detector, "f1": f1, "f1_low": low, "f1_high": high}


def heading(ax):
    return " ".join(ax.figure.get_suptitle().split())


def test_forest_puts_the_best_on_top_and_says_undefined():
    (ax,) = charts.forest([row("b", 0.2), row("a", 0.9, 0.8, 1.0), row("c", None)], ["f1"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert heading(ax) == "Best by F1: a, 0.900"
    assert words(ax) == ["0.900", "0.200", "undefined"]
    (whisker,) = (line for line in ax.lines if len(line.get_xdata()) == 2)
    assert list(whisker.get_xdata()) == [0.8, 1.0]


def test_heat_marks_what_is_wrong_on_either_side():
    rows = [
        {"capture": "a", "attack": "fuzzing", "share": 0.25, "windows": 4},
        {"capture": "a", "attack": "benign", "share": 0.1, "windows": 10},
        {"capture": "b", "attack": "benign", "share": 0.0, "windows": 10},
    ]
    ax = charts.heat(rows)
    drawn = ax.images[0].get_array()
    assert drawn[0].tolist() == approx([0.75, 0.1]) and drawn[1, 1] == 0
    assert np.ma.is_masked(drawn[1, 0]) or np.isnan(drawn[1, 0]), "no such attack there"
    assert words(ax) == ["25.0 %", "10.0 %", "0 %"]
    assert title(ax).replace("\n", " ") == "Missed most: 75.0 % of the fuzzing in a"
    assert "10.0 % of the benign windows of a" in title(charts.heat(rows[1:])).replace("\n", " ")
    assert title(charts.heat(rows[2:])) == "Every window is judged rightly"


def test_delays_mark_the_median_and_what_was_missed():
    ax = charts.delays({"DoS": [0.1, 0.3, np.nan], "fuzzing": [None, None]})
    assert words(ax) == ["1 missed", "2 missed"]
    said = title(ax).replace("\n", " ")
    assert (
        said
        == "Half of the 2 attacks found raise an alarm within 0.20 s, nine of ten within 0.28 s"
    )
    assert title(charts.delays({"DoS": [None]})) == "No attack was found"


def test_alarm_curves_never_fall_and_mark_the_threshold_in_use():
    rows = [
        {"false_alarms_per_hour": x, "recall": y} for x, y in [(0.0, 0.5), (3.0, 0.4), (50.0, 1.0)]
    ]
    ax = charts.alarm_curves({"GAT": rows}, {"GAT": rows[2]})
    assert ax.lines[0].get_xdata().tolist() == [0, 3, 50, 60], "to the edge"
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.5, 1.0, 1.0]
    assert (ax.lines[1].get_xdata(), ax.lines[1].get_ydata()) == ([50.0], [1.0])
    assert title(ax).replace("\n", " ").endswith("GAT finds 50.0 % of the attacks")
    none = [{"false_alarms_per_hour": 1.0, "recall": None}]
    assert title(charts.alarm_curves({"GAT": none}, {})) == "No attack to find"


def test_reliability_draws_the_shares_and_says_which_way_it_errs():
    value, label = np.repeat([0.1, 0.9], 10), np.r_[np.zeros(10), np.ones(5), np.zeros(5)]
    ax = charts.reliability({"as trained": (value, label)}, {"as trained": 0.25})
    assert ax.lines[1].get_ydata() == approx([0.0, 0.5])
    assert title(ax).replace("\n", " ") == (
        "Probabilities are off by 0.250, and promise too many attacks"
    )


def test_drift_names_what_has_moved_most():
    rows = [{"part": "train", "ks": None}, {"part": "a", "ks": 0.1}, {"part": "b", "ks": 0.4}]
    ax = charts.drift([row | PLACE for row in rows], 0.0)
    assert words(ax) == ["reference", "D = 0.10", "D = 0.40", "threshold"]
    assert title(ax).replace("\n", " ") == (
        "Benign scores move most in b: KS distance 0.40 from train"
    )
    assert title(charts.drift([rows[0] | PLACE], 0.0)) == "Nothing to compare"
