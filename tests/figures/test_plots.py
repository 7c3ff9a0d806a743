"""Each figure draws what it was given: the assertions are on artists, not on pixels."""

import inspect

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from artists import bars_of, count, title, words
from matplotlib.axes import Axes
from matplotlib.colors import same_color

from cangraph.figures import plots

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.usefixtures("closed_figures"),
]

VALUE, LABEL = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
EPOCHS = [{"epoch": i, "train_loss": 1 / (i + 1), "val_loss": abs(i - 2) + 0.1} for i in range(5)]
SECONDS = np.arange(6.0)
GRID = np.array([[0.0, 0.5], [1.0, 0.25]])

# every function with a plain call
CALLS = {
    "learning_curves": lambda **k: plots.learning_curves({"GAT": EPOCHS}, **k),
    "score_distributions": lambda **k: plots.score_distributions(VALUE, LABEL, 0.37, **k),
    "roc": lambda **k: plots.roc({"GAT": (VALUE, LABEL)}, **k),
    "precision_recall": lambda **k: plots.precision_recall({"GAT": (VALUE, LABEL)}, **k),
    "confusion": lambda **k: plots.confusion(np.array([[90, 10], [5, 95]]), **k),
    "timeline": lambda **k: plots.timeline(SECONDS, SECONDS + 1, SECONDS, 3.5, [(4, 6)], **k),
    "pareto": lambda **k: plots.pareto([27e3, 512e3], [0.97, 0.99], ["student", "teacher"], **k),
    "mixing": lambda **k: plots.mixing(GRID, VALUE, VALUE, VALUE[::-1], **k),
    "training_trace": lambda **k: plots.training_trace({"reward": SECONDS}, **k),
    "trials": lambda **k: plots.trials([0.7, 0.9, 0.4], [True, True, False], **k),
    "bars": lambda **k: plots.bars(["a", "b"], [0.9, 0.8], [0.1, 0.1], 0.85, **k),
}


def test_every_public_function_is_called_here_and_takes_ax_and_title():
    assert set(CALLS) == set(plots.__all__) - {"use_style"}
    for name in CALLS:
        names = inspect.signature(getattr(plots, name)).parameters
        assert names["ax"].default is None and names["title"].default is None, name
        assert getattr(plots, name).__doc__


@pytest.mark.parametrize("style", [True, False])
@pytest.mark.parametrize("name", CALLS)
def test_returns_axes_that_render(name, style):
    if style:
        plots.use_style()
    drawn = np.ravel(CALLS[name]())
    assert len(drawn) and all(isinstance(ax, Axes) for ax in drawn)
    assert len(plt.get_fignums()) == 1
    drawn[0].figure.draw_without_rendering()


@pytest.mark.parametrize("name", CALLS)
def test_draws_into_the_given_axes_under_the_given_title(name):
    figure, axes = plt.subplots(1, 2, layout="constrained")
    drawn = np.ravel(CALLS[name](ax=axes[1], title="A finding"))
    assert drawn[0] is axes[1] and len(plt.get_fignums()) == 1
    suptitle = figure._suptitle.get_text() if figure._suptitle else ""
    assert "A finding" in (title(axes[1]), suptitle)
    assert not axes[0].has_data()
    figure.draw_without_rendering()


def test_a_long_title_is_broken_into_lines_that_fit():
    ax = plots.bars(["a"], [1.0], title="The student keeps what the teacher knows " * 3)
    figure = ax.figure
    figure.draw_without_rendering()
    text = ax._left_title
    assert "\n" in text.get_text()
    assert text.get_window_extent().x1 <= figure.bbox.x1


def test_style_leaves_vermillion_to_attacks():
    plots.use_style()
    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert not any(same_color(color, plots.ATTACK) for color in cycle)


def test_learning_curves_mark_the_best_epoch():
    only_train = [
        {"epoch": 0, "train_loss": 3.0},
        {"epoch": 1, "train_loss": np.nan, "val_loss": None},
    ]
    axes = plots.learning_curves({"GAT": EPOCHS, "VGAE": only_train, "none": []})
    assert len(axes) == 3
    train, val, best = axes[0].lines
    assert len(train.get_xdata()) == len(val.get_xdata()) == 5
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (2, 0.1)
    assert sorted(words(axes[0])) == ["train", "val"] and words(axes[1]) == ["train"]
    assert axes[0].figure._suptitle.get_text() == "Best epoch: GAT 2, VGAE 0"


def test_score_distributions_count_every_window():
    scenario = np.array(["t1", "t2", "t1", "t2"])
    axes = plots.score_distributions(VALUE, LABEL, 0.37, scenario)
    assert [title(ax) for ax in axes] == ["t1", "t2"]
    for ax in axes:
        assert "benign" in words(ax) and "attack" in words(ax)
        assert ax.get_yscale() == "log" and ax.lines[0].get_xdata()[0] == 0.37
        assert count(ax.patches, plots.ATTACK) == 1
    (ax,) = plots.score_distributions(np.full(9, 0.5), np.zeros(9))  # collapsed, one class
    assert not ax.lines and words(ax) == ["benign"]
    ax.figure.draw_without_rendering()


def test_roc_by_hand():
    ax = plots.roc({"GAT": (VALUE, LABEL)})
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert "GAT" in words(ax)


def test_roc_takes_ties_in_one_step():
    ax = plots.roc({"tied": (np.ones(4), LABEL)})
    assert ax.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]


def test_roc_on_a_log_axis_starts_at_one_in_ten_thousand():
    ax = plots.roc({"GAT": (VALUE, LABEL)}, log=True)
    assert ax.get_xscale() == "log" and ax.get_xlim() == (1e-4, 1)
    assert ax.lines[0].get_xdata().tolist() == [1e-4, 1e-4, 0.5, 0.5, 1]


def test_roc_names_stand_best_first_without_overlap():
    ax = plots.roc({"worse": (-VALUE, LABEL), "better": (VALUE, LABEL)})
    ax.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert boxes["better"].y0 > boxes["worse"].y1
    assert title(ax) == "Best: better"


def test_precision_recall_by_hand():
    ax = plots.precision_recall({"GAT": (VALUE, LABEL)})
    expected = [[0, 1], [0.5, 1], [0.5, 0.5], [1, 2 / 3], [1, 0.5]]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), expected)


@pytest.mark.parametrize("draw", [plots.roc, plots.precision_recall])
@pytest.mark.parametrize("label", [np.zeros(4), np.ones(4), np.zeros(0)])
def test_one_class_is_undefined(draw, label):
    ax = draw({"GAT": (VALUE[: len(label)], label)})
    assert not ax.lines
    assert any("undefined: one class only" in text for text in words(ax))
    both = draw({"none": (VALUE[: len(label)], label), "GAT": (VALUE, LABEL)})
    assert len(both.lines) == 1 and "none undefined: one class only" in words(both)


def test_confusion_gives_counts_and_shares():
    ax = plots.confusion(np.array([[9990, 10], [0, 0]]), labels=("clean", "hit"))
    assert words(ax)[:4] == ["9,990", "99.90 % of clean", "10", "0.10 % of clean"]
    assert words(ax)[5] == "undefined of hit"
    assert ax.images[0].get_array().shape == (2, 2, 3)


def test_timeline_counts_found_attacks_and_false_alarms():
    time = np.arange(100.0)
    value = np.where((time >= 20) & (time < 30), 1.0, 0.1)
    value[[60, 61]] = 0.9, 50.0
    ax = plots.timeline(time, time + 1, value, 0.5, [(20, 30), (80, 90)])
    assert title(ax) == "1 of 2 attacks found, 2 false alarms in 99 s"
    assert len(ax.patches) == 2 and count(ax.patches, plots.ATTACK) == 2
    line, alarms, threshold = ax.lines
    assert len(alarms.get_xdata()) == 12 and same_color(alarms.get_color(), plots.ATTACK)
    assert threshold.get_linestyle() == "--" and threshold.get_ydata()[0] == 0.5
    assert line.get_ydata().max() < 2  # the outlier is cut


def test_timeline_without_attacks_or_threshold():
    ax = plots.timeline(SECONDS, SECONDS + 1, SECONDS)
    assert not ax.patches and len(ax.lines[1].get_xdata()) == 0


def test_pareto_joins_the_frontier_only():
    names = ["student", "teacher", "bloated", "weak"]
    ax = plots.pareto([27e3, 512e3, 1e6, 27e3], [0.97, 0.99, 0.98, 0.5], names, "F1")
    assert ax.lines[0].get_xdata().tolist() == [27e3, 512e3]
    assert sorted(words(ax)) == sorted(names) and ax.get_xscale() == "log"
    assert ax.get_ylabel() == "F1"


def test_mixing_is_a_map_under_the_windows():
    ax = plots.mixing(GRID, vgae=[0.1, 0.9, 0.8], gat=[0.2, 0.1, 0.9], alpha=[0.5, 0.75, 0.25])
    (image,), (dots,) = ax.images, ax.collections
    assert np.array_equal(image.get_array(), GRID) and image.origin == "lower"
    assert tuple(image.get_extent()) == (0, 1, 0, 1)
    assert dots.get_offsets().tolist() == [[0.1, 0.2], [0.9, 0.1], [0.8, 0.9]]
    assert dots.get_array().tolist() == [0.5, 0.75, 0.25]
    assert image.get_clim() == dots.get_clim() == (0, 1), "one scale of colours"
    bar = next(other for other in ax.figure.axes if other is not ax)
    assert "α" in bar.get_ylabel()
    found = "The GAT weighs 0.375 where both agree, 0.750 elsewhere"
    assert title(ax).replace("\n", " ") == found


def test_mixing_says_nothing_of_windows_that_are_not_there():
    ax = plots.mixing(GRID, [0.5], [0.5], [1.0])
    assert title(ax).replace("\n", " ").endswith("1.000 where both agree, – elsewhere")


def test_training_trace_draws_a_panel_a_name():
    axes = plots.training_trace({"reward": np.arange(100.0), "epsilon": np.ones(100), "a": [1.0]})
    assert [title(ax) for ax in axes] == ["reward", "epsilon", "a"]
    raw, mean = axes[0].lines
    np.testing.assert_allclose(
        np.interp(mean.get_xdata(), np.arange(100), raw.get_ydata()), mean.get_ydata()
    )


def test_bars_write_values_and_reference():
    ax = plots.bars(["a", "b", "c"], [0.9, 12345, np.nan], reference=0.8)
    assert bars_of(ax, plots.BENIGN) == [0.9, 12345, 0]
    assert words(ax) == ["0.900", "12,345", "undefined", "reference 0.800"]
    assert title(ax) == "From 0.900 to 12,345"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]


def test_trials_that_were_given_up_are_hollow_and_win_nothing():
    ax = plots.trials([0.7, 0.8, 0.95, np.nan], [True, True, False, False])
    assert title(ax) == "Best: trial 2, 0.100 above the first"
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [0.7, 0.8, 0.8, 0.8])
    colors = ax.collections[0].get_facecolors()
    assert [same_color(c, "white") for c in colors] == [False, False, True, True]
