"""Titles fit, and figures say what they show to those who cannot see them."""

import IPython
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.colors import same_color

from cangraph.figures import results
from cangraph.figures.style import ATTACK, described, use_style

pytestmark = pytest.mark.usefixtures("closed_figures")


def test_style_leaves_vermillion_to_attacks():
    use_style()
    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert not any(same_color(color, ATTACK) for color in cycle)


def test_titles_axes_and_panels_are_said_and_a_colour_bar_is_no_panel():
    axes = results.training_trace({"a": np.arange(9.0), "b": np.ones(9)}, title="Found")
    assert described(axes[0].figure) == "Found. a. b. Across: step."
    figure, ax = plt.subplots()
    figure.colorbar(ax.imshow(np.eye(2)), ax=ax, label="weight")
    ax.set_title("A map")
    assert described(figure) == "A map."


def test_a_notebook_shows_figures_with_their_words(monkeypatch):
    shell = InteractiveShell.instance()
    try:
        monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
        use_style()
        ax = results.bars(["a", "b"], [0.9, 0.8], title="Found")
        formatter = shell.display_formatter.formatters["image/png"]
        picture, metadata = formatter(ax.figure)
        assert picture[:4] == b"\x89PNG"
        assert metadata == {"alt": "Found."}
    finally:
        InteractiveShell.clear_instance()
