"""Every figure renders, with the style and without, into the Axes that it is given."""

import inspect

import matplotlib.pyplot as plt
import numpy as np
import pytest
from artists import EDGES, EPOCHS, IDS, LABEL, VALUE
from matplotlib.axes import Axes

from cangraph import figures

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("closed_figures")]

SECONDS = np.arange(6.0)
PANEL = {"name": "a", "start": SECONDS, "end": SECONDS + 1, "value": SECONDS, "spans": [(4, 6)]}
CALLS = {
    "frames": (SECONDS / 100, IDS[[0, 1, 2, 3, 1, 0]], SECONDS > 3),
    "graph": (IDS, EDGES, np.ones(5), IDS == 0, np.zeros(5, bool)),
    "second": (SECONDS / 9, SECONDS > 1, np.full((4, 8), 7), SECONDS[2:] > 4, 9.5, "0x1A0"),
    "watched": (SECONDS, SECONDS + 1, SECONDS / 9, [(3, 5)], 0.4),
    "learning_curves": ({"GAT": EPOCHS},),
    "training_trace": ({"reward": SECONDS},),
    "roc": ({"GAT": (VALUE, LABEL)},),
    "bars": (["a", "b"], [0.9, 0.8], 0.85),
    "forest": ([{"detector": "GAT", "f1": 0.9, "f1_low": 0.8, "f1_high": 1.0}], ["f1"]),
    "timelines": ([PANEL], 3.5),
}
PLAIN = [name for name in CALLS if "ax" in inspect.signature(getattr(figures, name)).parameters]


def test_every_figure_is_called_here():
    assert set(CALLS) == set(figures.__all__) - {"use_style", "described"}


@pytest.mark.parametrize("name", CALLS)
def test_returns_axes_that_render_in_the_style(name):
    figures.use_style()
    drawn = np.ravel(getattr(figures, name)(*CALLS[name]))
    assert len(drawn) and all(isinstance(ax, Axes) for ax in drawn)
    assert len(plt.get_fignums()) == 1
    drawn[0].figure.draw_without_rendering()


@pytest.mark.parametrize("name", PLAIN)
def test_draws_into_the_given_axes_under_the_given_title(name):
    figure, axes = plt.subplots(1, 2, layout="constrained")
    drawn = np.ravel(getattr(figures, name)(*CALLS[name], ax=axes[1], title="A finding"))
    assert drawn[0] is axes[1] and len(plt.get_fignums()) == 1
    assert "A finding" in (axes[1].get_title(loc="left"), figure.get_suptitle())
    assert not axes[0].has_data()
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("name", "nothing"),
    [
        ("bars", ([], [])),
        ("timelines", ([], 0.5)),
        ("bars", (["a"], [np.nan])),
        ("frames", (np.zeros(0), np.zeros(0, int), np.zeros(0, bool))),
        ("graph", (IDS[:1], np.zeros((2, 0), int), [], [False], [])),
    ],
)
def test_nothing_to_show_is_no_error(name, nothing):
    ax = np.ravel(getattr(figures, name)(*nothing))[0]
    ax.figure.draw_without_rendering()
    assert ax.get_title(loc="left") or ax.figure.get_suptitle()
