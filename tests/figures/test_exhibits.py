"""Witnesses: captures over time, IDs blamed, and windows as graphs."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from artists import title, words
from pytest import approx

from cangraph.figures import exhibits
from cangraph.figures.style import ATTACK

pytestmark = pytest.mark.filterwarnings("error")

WINDOW = {
    "caption": "DoS 3.2 s",
    "arbitration_id": np.array([0x1A0, 0, 0x7FF]),
    "edge_index": np.array([[0, 1, 2], [1, 2, 0]]),
    "score": np.array([0.05, 0.9, 0.2]),
    "attack": np.array([False, True, False]),
}


def heading(ax):
    return " ".join(ax.figure.get_suptitle().split())


def test_timelines_are_thinned_but_keep_every_peak():
    time, value = np.arange(5000.0), np.zeros(5000)
    value[1234] = 0.9
    panel = {"name": "a", "start": time, "end": time + 1, "value": value, "spans": [(1200, 1300)]}
    quiet = panel | {"name": "b", "value": np.zeros(5000), "spans": []}
    axes = exhibits.timelines([panel, quiet], 0.5)
    assert len(axes[0].lines[0].get_xdata()) == 1 and axes[0].lines[0].get_ydata() == approx([0.9])
    assert len(axes[1].lines[0].get_xdata()) == 0
    assert heading(axes[0]) == (
        "1 of 1 attacks are called in some window, all of them in 2 of 2 captures"
    )


def test_blamed_counts_right_and_wrong():
    rows = [
        {"capture": "a", "arbitration_id": "000", "windows": 8, "attacked": 6},
        {"capture": "b", "arbitration_id": "1A0", "windows": 2, "attacked": 0},
    ]
    ax = exhibits.blamed(rows)
    assert [patch.get_width() for patch in ax.patches] == [6, 0, 2, 2]
    assert words(ax) == ["6 of 8", "0 of 2"]
    assert title(ax).replace("\n", " ") == (
        "The ID blamed was attacked in 60.0 % of 10 windows called"
    )
    assert "no ID is blamed" in title(exhibits.blamed([])).replace("\n", " ")


def test_portraits_name_the_highest_and_the_attacked():
    axes = exhibits.portraits([WINDOW])
    assert sorted(words(axes[0])) == ["000 0.90", "7FF 0.20"]
    attacked = [text for text in axes[0].texts if text.get_color() == ATTACK]
    assert [text.get_text() for text in attacked] == ["000 0.90"]
    assert heading(axes[0]) == "In 1 of 1 windows the ID with the highest score is under attack"
    assert words(exhibits.portraits([])[0]) == ["none"]


def test_explanation_draws_what_matters_thick():
    graph = {name: WINDOW[name] for name in ("arbitration_id", "edge_index", "attack")}
    axes = exhibits.explanation(
        **graph, edge_share=np.array([1.0, 0.1, 0.2]), features={"000 distrust": 1.0, "x": 0.5}
    )
    widths = axes[0].collections[0].get_linewidths()
    assert widths[0] > 3 > 0.5 > widths[1]
    assert words(axes[1]) == ["000 distrust", "x"]
    assert "2 of the 3 successions that matter most" in heading(axes[0])
