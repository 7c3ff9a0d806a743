"""Frames, graphs and splits draw what they were given: the assertions are on artists."""

import numpy as np
import pytest
from artists import EDGES, IDS, count, numbers, words
from matplotlib.colors import same_color
from matplotlib.patches import FancyArrowPatch

from cangraph.figures import bus
from cangraph.figures.style import ATTACK

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("closed_figures")]

SECONDS = np.arange(6.0)


def test_frames_marks_attacks_and_sorts_ids():
    ax = bus.frames(SECONDS / 100, IDS[[0, 1, 2, 3, 1, 0]], SECONDS > 3)
    benign, attack = ax.collections[-2:]
    assert len(benign.get_offsets()) == 4 and len(attack.get_offsets()) == 2
    assert same_color(attack.get_facecolor()[0], ATTACK)
    labels = ax.get_yticklabels()
    assert [label.get_text() for label in labels] == ["000", "1A0", "2B0", "316"]
    lit = [same_color(label.get_color(), ATTACK) for label in labels]
    assert lit == [True, True, False, False]
    assert attack.get_offsets()[:, 0].tolist() == [40, 50]  # ms
    ax = bus.frames(SECONDS, np.full(6, 0x18FF1234), np.zeros(6, bool))
    assert len(ax.collections[-1].get_offsets()) == 0
    assert ax.get_yticklabels()[0].get_text() == "18FF1234"


def test_frames_keeps_sixty_rows_attacked_ones_first():
    ids = np.arange(100)
    ax = bus.frames(ids / 1e3, ids, ids >= 95)
    shown = [label.get_text() for label in ax.get_yticklabels()]
    assert len(shown) == 60 and shown[-5:] == ["05F", "060", "061", "062", "063"]
    assert "60 of 100" in ax.get_ylabel()


def test_graph_lights_what_is_attacked_and_widths_follow_counts():
    ax = bus.graph(IDS, EDGES, [9, 1, 1, 4, 1], IDS == 0, [False, True, True, False, False])
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(arrows) == 4 and count(arrows, ATTACK) == 2
    widths = [arrow.get_linewidth() for arrow in arrows]
    assert np.argsort(widths)[-2:].tolist() == [3, 0]
    ring, discs = ax.collections
    assert len(ring.get_offsets()) == 1
    assert np.argsort(discs.get_sizes()).tolist() == [2, 3, 0, 1]
    hot = [same_color(c, ATTACK) for c in discs.get_facecolor()]
    assert hot == [True, False, False, False]
    assert sorted(words(ax)) == ["000", "1A0", "2B0", "316"]
    assert numbers(ax) == ["2", "16"]


@pytest.mark.parametrize("n", [1, 2, 60, 100])
def test_graph_of_any_size(n):
    ids = np.arange(n) * 7
    steps = np.array([np.arange(n), (np.arange(n) + 1) % n])
    ax = bus.graph(ids, steps, np.ones(n), ids == 0, ids == 0)
    ax.figure.draw_without_rendering()
    assert len(ax.texts) == (n if n <= 60 else 40) and "000" in words(ax)
    assert len(ax.collections[1].get_offsets()) == n


def test_a_second_of_an_id_has_its_gaps_beside_the_usual_one_and_its_bytes():
    time = np.arange(40) * 0.01
    mine, odd = np.arange(40) % 2 == 0, np.arange(20) == 11
    data = np.arange(160, dtype=np.uint8).reshape(20, 8)
    top, middle, bottom = bus.second(time, mine, data, odd, 20.0, "0x1A0")
    dots = [line for line in middle.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in dots] == [18, 1]
    assert dots[1].get_ydata() == pytest.approx([20.0]) and same_color(dots[1].get_color(), ATTACK)
    assert "20.0 ms" in " ".join(words(middle)) and top.patches
    assert bottom.collections[0].get_array().size == data.size
    assert "20 of 40 frames" in top.figure.get_suptitle()


def test_watched_shades_the_alarms_and_dots_what_reaches_the_threshold():
    start = np.arange(1000) * 0.1
    value = np.where((start >= 40) & (start < 50), 0.9, 0.1)
    ax = bus.watched(start, start + 0.1, value, [(40, 50)], 0.5)
    (dots,) = [line for line in ax.lines if line.get_marker() == "."]
    assert dots.get_xdata().min() >= 40 and dots.get_xdata().max() < 50
    assert [patch.get_x() for patch in ax.patches] == [40] and numbers(ax) == ["1", "10.0", "100.0"]
    assert numbers(bus.watched([], [], [], [], 0.5)) == ["0.0", "0.000"]
