"""Figures of results draw what they were given: the assertions are on artists, not on pixels."""

import numpy as np
import pytest
from artists import EPOCHS, LABEL, VALUE, bars_of, count, numbers, words
from matplotlib.colors import same_color
from pytest import approx

from cangraph.figures import results
from cangraph.figures.style import ATTACK, BENIGN

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("closed_figures")]

GRID = np.array([[0.0, 0.5], [1.0, 0.25]])
WINDOW = {
    "caption": "DoS 3.2 s",
    "arbitration_id": [0x1A0, 0, 0x7FF],
    "edge_index": [[0, 1, 2], [1, 2, 0]],
    "score": [0.05, 0.9, 0.2],
    "attack": [False, True, False],
}


def test_learning_curves_mark_the_best_epoch():
    only_train = [{"epoch": 0, "train_loss": 3.0}, {"epoch": 1, "train_loss": np.nan}]
    axes = results.learning_curves({"GAT": EPOCHS, "VGAE": only_train, "none": []})
    assert len(axes) == 3
    train, val, best = axes[0].lines
    assert len(train.get_xdata()) == len(val.get_xdata()) == 5
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 0.1)
    assert sorted(words(axes[0])) == ["train", "val"] and words(axes[1]) == ["train"]
    assert numbers(axes[-1]) == ["2", "0"]


def test_score_distributions_count_every_window():
    scenario = np.array(["t1", "t2", "t1", "t2"])
    axes = results.score_distributions(VALUE, LABEL, 0.37, scenario)
    assert [ax.get_title(loc="left") for ax in axes] == ["t1", "t2"]
    for ax in axes:
        assert "benign" in words(ax) and "attack" in words(ax)
        assert ax.get_yscale() == "log" and ax.lines[0].get_xdata()[0] == 0.37
        assert count(ax.patches, ATTACK) == 1
    one = np.full(9, 0.5), np.zeros(9), 0.5, np.full(9, "t1")  # collapsed, one class
    (ax,) = results.score_distributions(*one)
    assert words(ax) == ["benign", "threshold 0.500"]
    ax.figure.draw_without_rendering()


def test_roc_and_precision_recall_by_hand():
    ax = results.roc({"worse": (-VALUE, LABEL), "better": (VALUE, LABEL)})
    assert ax.get_xscale() == "log" and ax.get_xlim() == (1e-4, 1)
    assert ax.lines[1].get_xdata().tolist() == [1e-4, 1e-4, 0.5, 0.5, 1]
    assert ax.lines[1].get_ydata().tolist() == [0, 0.5, 0.5, 1, 1]
    ax.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert boxes["better"].y0 > boxes["worse"].y1, "best first, without overlap"
    ax = results.precision_recall({"GAT": (VALUE, LABEL)})
    expected = [[0, 1], [0.5, 1], [0.5, 0.5], [1, 2 / 3], [1, 0.5]]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), expected)


@pytest.mark.parametrize("draw", [results.roc, results.precision_recall])
@pytest.mark.parametrize("label", [np.zeros(4), np.ones(4), np.zeros(0)])
def test_one_class_is_undefined(draw, label):
    none = {"none": (VALUE[: len(label)], label)}
    for others in ({}, {"GAT": (VALUE, LABEL)}):
        ax = draw(none | others)
        assert len(ax.lines) == len(others) and "none undefined: one class only" in words(ax)


def test_pareto_joins_the_frontier_only():
    names = ["student", "teacher", "bloated", "weak"]
    ax = results.pareto([27e3, 512e3, 1e6, 27e3], [0.97, 0.99, 0.98, 0.5], names, "F1")
    assert ax.lines[0].get_xdata().tolist() == [27e3, 512e3]
    assert sorted(words(ax)) == sorted(names) and ax.get_xscale() == "log"


def test_mixing_is_a_map_under_the_windows():
    ax = results.mixing(GRID, vgae=[0.1, 0.9, 0.8], gat=[0.2, 0.1, 0.9], alpha=[0.5, 0.75, 0.25])
    (image,), (dots,) = ax.images, ax.collections
    assert np.array_equal(image.get_array(), GRID) and image.origin == "lower"
    assert tuple(image.get_extent()) == (0, 1, 0, 1)
    assert dots.get_offsets().tolist() == [[0.1, 0.2], [0.9, 0.1], [0.8, 0.9]]
    assert dots.get_array().tolist() == [0.5, 0.75, 0.25]
    assert image.get_clim() == dots.get_clim() == (0, 1), "one scale of colours"
    assert numbers(ax) == ["0.375", "0.750"]


def test_training_trace_draws_a_panel_a_name():
    axes = results.training_trace({"reward": np.arange(100.0), "epsilon": np.ones(100), "a": [1.0]})
    assert len(axes) == 3
    raw, mean = axes[0].lines
    assert np.interp(mean.get_xdata(), np.arange(100), raw.get_ydata()) == approx(mean.get_ydata())


def test_bars_write_values_and_reference():
    ax = results.bars(["a", "b", "c"], [0.9, 12345, np.nan], reference=0.8)
    assert bars_of(ax, BENIGN) == [0.9, 12345, 0] and numbers(ax) == ["0.900", "12,345"]
    assert words(ax) == ["0.900", "12,345", "undefined", "reference 0.800"]


def test_trials_that_were_given_up_are_hollow_and_win_nothing():
    ax = results.trials([0.7, 0.8, 0.95, np.nan], [True, True, False, False])
    assert numbers(ax) == ["2", "0.100"]
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [0.7, 0.8, 0.8, 0.8])
    hollow = [same_color(c, "white") for c in ax.collections[0].get_facecolors()]
    assert hollow == [False, False, True, True]


def test_forest_puts_the_best_on_top_and_says_undefined():
    cells = [("b", 0.7, 0.5, 0.85), ("a", 0.9, 0.8, 1.0), ("c", None, None, None)]
    names = ("detector", "f1", "f1_low", "f1_high")
    (ax,) = results.forest([dict(zip(names, row, strict=True)) for row in cells], ["f1"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert words(ax) == ["0.900", "0.700", "undefined"]
    whiskers = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert whiskers == [[0.8, 1.0], [0.5, 0.85]]
    assert numbers(ax)[1:] == ["0.900", "1", "2"], "how many overlap with the best"


def test_heat_shows_every_figure_and_finds_the_hardest_row():
    value = np.array([[0.99, 0.9], [0.7, 0.8], [np.nan, np.nan]])
    state = [["", ""], ["", ""], ["absent", "undefined"]]
    ax = results.heat(value, ["easy", "hard", "gone"], ["GAT teacher", "count"], state)
    assert words(ax) == ["0.990", "0.900", "0.700", "0.800", "absent", "undefined"]
    assert numbers(ax) == ["0.800"]
    ax = results.heat(np.array([[1.0, 0.4]]), ["one"], ["a", "b"], [["", ""]])
    good, bad = ax.images[0].get_array().ravel()
    assert good < bad
    assert [text.get_color() for text in ax.texts][1] == "white"


def test_mistakes_are_what_is_wrong_on_either_side():
    rows = [
        {"capture": "a", "attack": "fuzzing", "share": 0.25, "windows": 4},
        {"capture": "a", "attack": "benign", "share": 0.1, "windows": 10},
        {"capture": "b", "attack": "benign", "share": 0.0, "windows": 10},
    ]
    ax = results.mistakes(rows)
    drawn = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert drawn == approx(np.array([[0.75, 0.1], [np.nan, 0]]), nan_ok=True)
    assert words(ax) == ["25.0 %", "10.0 %", "0 %"]
    found = [numbers(results.mistakes(rows[first:])) for first in range(3)]
    assert found == [["75.0"], ["10.0"], []]


def test_alarm_curves_never_fall_and_mark_the_threshold_in_use():
    points = [(0.0, 0.5), (3.0, 0.4), (50.0, 1.0)]
    rows = [{"false_alarms_per_hour": x, "recall": y} for x, y in points]
    ax = results.alarm_curves({"GAT": rows}, {"GAT": rows[2]})
    assert ax.lines[0].get_xdata().tolist() == [0, 3, 50, 60], "to the edge"
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.5, 1.0, 1.0]
    assert (ax.lines[1].get_xdata(), ax.lines[1].get_ydata()) == ([50.0], [1.0])
    assert words(ax)[0] == "GAT 50.0 %"


def test_reliability_draws_the_shares():
    value, label = np.repeat([0.1, 0.9], 10), np.r_[np.zeros(10), np.ones(5), np.zeros(5)]
    ax = results.reliability({"as trained": (value, label)}, {"as trained": 0.25})
    assert ax.lines[1].get_ydata() == approx([0.0, 0.5])
    assert numbers(ax) == ["0.250"]


def test_timelines_are_thinned_but_keep_every_peak():
    time, value = np.arange(5000.0), np.zeros(5000)
    value[1234] = 0.9
    panel = {"name": "a", "start": time, "end": time + 1, "value": value, "spans": [(1200, 1300)]}
    quiet = panel | {"name": "b", "value": np.zeros(5000), "spans": []}
    axes = results.timelines([panel, quiet], 0.5)
    assert axes[0].lines[0].get_ydata() == approx([0.9]) and not len(axes[1].lines[0].get_ydata())
    assert numbers(axes[0]) == ["1", "1", "2", "2"]


def test_portraits_name_the_highest_and_the_attacked():
    axes = results.portraits([WINDOW], "Found")
    assert sorted(words(axes[0])) == ["000 0.90", "7FF 0.20"]
    attacked = [text.get_text() for text in axes[0].texts if text.get_color() == ATTACK]
    assert attacked == ["000 0.90"]


def test_explanation_draws_what_matters_thick():
    graph = {name: WINDOW[name] for name in ("arbitration_id", "edge_index", "attack")}
    axes = results.explanation(
        **graph, edge_share=np.array([1.0, 0.1, 0.2]), features={"000 distrust": 1.0, "x": 0.5}
    )
    widths = axes[0].collections[0].get_linewidths()
    assert widths[0] > 3 > 0.5 > widths[1]
    assert words(axes[1]) == ["000 distrust", "x"]
    assert numbers(axes[0])[:2] == ["2", "3"]
