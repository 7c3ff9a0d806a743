"""Figures of many runs show the figures, and titles say what they found."""

import numpy as np
import pytest
from artists import title, words

from cangraph.figures import runs as overviews

pytestmark = pytest.mark.usefixtures("closed_figures")
NAN = np.nan


def test_heat_shows_every_figure_and_names_the_hardest_row():
    value = np.array([[0.99, 0.9], [0.7, 0.8], [NAN, NAN]])
    state = [["", ""], ["", ""], ["absent", "undefined"]]
    ax = overviews.heat(value, ["easy", "hard", "gone"], ["GAT teacher", "count"], state)
    assert words(ax) == ["0.990", "0.900", "0.700", "0.800", "absent", "undefined"]
    assert title(ax).replace("\n", " ") == "Hardest: hard; the best AUROC is 0.800, by count"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["GAT\nteacher", "count"]


def test_weak_cells_are_darker_and_their_figures_white():
    ax = overviews.heat(np.array([[1.0, 0.4]]), ["one"], ["a", "b"])
    good, bad = ax.images[0].get_array().ravel()
    assert good < bad
    assert [text.get_color() for text in ax.texts][1] == "white"


def test_seeds_reach_as_far_as_their_interval():
    ax = overviews.seeds([[0.9, 0.8]], [[0.02, NAN]], ["demo"], ["GAT", "VGAE"], "F1")
    (line,) = ax.containers[0].lines[2][0].get_segments()
    assert line[:, 0] == pytest.approx([0.88, 0.92])
    assert title(ax) == "Seeds move GAT on demo the most: 0.880 to 0.920"


def test_single_seeds_have_no_interval():
    ax = overviews.seeds([[0.9]], [[NAN]], ["demo"], ["GAT"])
    assert title(ax).replace("\n", " ").startswith("AUROC of one seed")


def test_stages_add_up():
    ax = overviews.stages([[60, 120], [30, NAN]], ["one", "other"], ["prep", "train"])
    assert words(ax) == ["3.0 min", "0.5 min"]
    assert title(ax).replace("\n", " ") == (
        "one took 3 min; over all runs train takes 57% of the time"
    )


def test_margins_shade_what_seeds_do():
    ax = overviews.margins(["a", "b"], [0.01, NAN], [0.005, NAN], [0.015, NAN], [0.02, NAN], "F1")
    assert words(ax) == ["+0.0100", "undefined"]
    (shade,) = [c for c in ax.collections if c.get_zorder() == 0]
    ends = shade.get_paths()[0].get_extents()
    assert (ends.x0, ends.x1) == pytest.approx((-0.02, 0.02))
    assert title(ax) == "The interval leaves out 0 for 1 of 2 detectors"


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda: overviews.heat(np.zeros((0, 2)), [], ["a", "b"]), "No run has a report yet"),
        (lambda: overviews.seeds(np.zeros((0, 2)), np.zeros((0, 2)), [], ["a"]), "No run has"),
        (lambda: overviews.stages(np.zeros((0, 0)), [], []), "No run was timed"),
        (lambda: overviews.margins([], [], [], []), "Nothing to compare"),
    ],
)
def test_nothing_is_said_in_words(draw, said):
    assert title(draw()).startswith(said)
