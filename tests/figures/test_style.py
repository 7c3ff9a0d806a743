"""Figures say what they show to those who cannot see them."""

import IPython
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.interactiveshell import InteractiveShell

from cangraph.figures import plots
from cangraph.figures.style import described


def test_titles_axes_and_panels_are_said():
    axes = plots.training_trace({"reward": np.arange(9.0), "epsilon": np.ones(9)})
    said = described(axes[0].figure)
    assert said == "At the end: reward 8.000, epsilon 1.000. reward. epsilon. Across: step."


def test_a_colour_bar_is_no_panel():
    figure, ax = plt.subplots()
    figure.colorbar(ax.imshow(np.eye(2)), ax=ax, label="weight")
    ax.set_title("A map")
    assert described(figure) == "A map."


def test_a_notebook_shows_figures_with_their_words(monkeypatch):
    shell = InteractiveShell.instance()
    try:
        monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
        plots.use_style()
        ax = plots.bars(["a", "b"], [0.9, 0.8])
        formatter = shell.display_formatter.formatters["image/png"]
        picture, metadata = formatter(ax.figure)
        assert picture[:4] == b"\x89PNG"
        assert metadata == {"alt": "From 0.800 to 0.900."}
    finally:
        InteractiveShell.clear_instance()
