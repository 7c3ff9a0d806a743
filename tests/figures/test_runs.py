"""Figures of many runs draw what they were given."""

import numpy as np
import pytest
from artists import numbers, words

from cangraph.figures import runs

pytestmark = pytest.mark.usefixtures("closed_figures")
NAN = np.nan


def test_heat_shows_every_figure_and_finds_the_hardest_row():
    value = np.array([[0.99, 0.9], [0.7, 0.8], [NAN, NAN]])
    state = [["", ""], ["", ""], ["absent", "undefined"]]
    ax = runs.heat(value, ["easy", "hard", "gone"], ["GAT teacher", "count"], state)
    assert words(ax) == ["0.990", "0.900", "0.700", "0.800", "absent", "undefined"]
    assert numbers(ax) == ["0.800"]
    ax = runs.heat(np.array([[1.0, 0.4]]), ["one"], ["a", "b"])
    good, bad = ax.images[0].get_array().ravel()
    assert good < bad
    assert [text.get_color() for text in ax.texts][1] == "white"


def test_seeds_reach_as_far_as_their_interval():
    ax = runs.seeds([[0.9, 0.8]], [[0.02, NAN]], ["demo"], ["GAT", "VGAE"], "F1")
    (line,) = ax.containers[0].lines[2][0].get_segments()
    assert line[:, 0] == pytest.approx([0.88, 0.92])
    assert numbers(ax) == ["0.880", "0.920"]
    assert numbers(runs.seeds([[0.9]], [[NAN]], ["demo"], ["GAT"])) == []
