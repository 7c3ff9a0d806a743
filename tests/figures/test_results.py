"""Figures of results draw what they were given: the assertions are on artists, not on pixels."""

import numpy as np
import pytest
from artists import EPOCHS, LABEL, VALUE, bars_of, numbers, words
from pytest import approx

from cangraph.figures import results
from cangraph.figures.style import BENIGN

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("closed_figures")]


def test_learning_curves_mark_the_best_epoch():
    only_train = [{"epoch": 0, "train_loss": 3.0}, {"epoch": 1, "train_loss": np.nan}]
    axes = results.learning_curves({"GAT": EPOCHS, "VGAE": only_train, "none": []})
    assert len(axes) == 3
    train, val, best = axes[0].lines
    assert len(train.get_xdata()) == len(val.get_xdata()) == 5
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 0.1)
    assert sorted(words(axes[0])) == ["train", "val"] and words(axes[1]) == ["train"]
    assert numbers(axes[-1]) == ["2", "0"]


def test_roc_by_hand():
    ax = results.roc({"worse": (-VALUE, LABEL), "better": (VALUE, LABEL)})
    assert ax.get_xscale() == "log" and ax.get_xlim() == (1e-4, 1)
    assert ax.lines[1].get_xdata().tolist() == [1e-4, 1e-4, 0.5, 0.5, 1]
    assert ax.lines[1].get_ydata().tolist() == [0, 0.5, 0.5, 1, 1]
    ax.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert boxes["better"].y0 > boxes["worse"].y1, "best first, without overlap"


@pytest.mark.parametrize("label", [np.zeros(4), np.ones(4), np.zeros(0)])
def test_one_class_is_undefined(label):
    none = {"none": (VALUE[: len(label)], label)}
    for others in ({}, {"GAT": (VALUE, LABEL)}):
        ax = results.roc(none | others)
        assert len(ax.lines) == len(others) and "none undefined: one class only" in words(ax)


def test_training_trace_draws_a_panel_a_name():
    axes = results.training_trace({"reward": np.arange(100.0), "epsilon": np.ones(100), "a": [1.0]})
    assert len(axes) == 3
    raw, mean = axes[0].lines
    assert np.interp(mean.get_xdata(), np.arange(100), raw.get_ydata()) == approx(mean.get_ydata())


def test_bars_write_values_and_reference():
    ax = results.bars(["a", "b", "c"], [0.9, 12345, np.nan], reference=0.8)
    assert bars_of(ax, BENIGN) == [0.9, 12345, 0] and numbers(ax) == ["0.900", "12,345"]
    assert words(ax) == ["0.900", "12,345", "undefined", "reference 0.800"]
    assert words(results.bars(["a", "b"], [3, 0])) == ["3", "0"], "counts are whole"


def test_forest_puts_the_best_on_top_and_says_undefined():
    cells = [("b", 0.7, 0.5, 0.85), ("a", 0.9, 0.8, 1.0), ("c", None, None, None)]
    names = ("detector", "f1", "f1_low", "f1_high")
    (ax,) = results.forest([dict(zip(names, row, strict=True)) for row in cells], ["f1"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    assert words(ax) == ["0.900", "0.700", "undefined"]
    whiskers = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert whiskers == [[0.8, 1.0], [0.5, 0.85]]
    assert numbers(ax)[1:] == ["0.900", "1", "2"], "how many overlap with the best"


def test_timelines_are_thinned_but_keep_every_peak():
    time, value = np.arange(5000.0), np.zeros(5000)
    value[1234] = 0.9
    panel = {"name": "a", "start": time, "end": time + 1, "value": value, "spans": [(1200, 1300)]}
    quiet = panel | {"name": "b", "value": np.zeros(5000), "spans": []}
    axes = results.timelines([panel, quiet], 0.5)
    assert axes[0].lines[0].get_ydata() == approx([0.9]) and not len(axes[1].lines[0].get_ydata())
    assert numbers(axes[0]) == ["1", "1", "2", "2"]
