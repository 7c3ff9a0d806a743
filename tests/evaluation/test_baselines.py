"""The cheap detectors by hand."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx

from cangraph.bus.simulator import simulate
from cangraph.data.datasets import read
from cangraph.data.graphs import to_graphs
from cangraph.evaluation import baselines
from cangraph.evaluation.baselines import (
    COUNT_THRESHOLD,
    BoostedTrees,
    calibrated_count,
    decided,
    leak_canary,
)
from cangraph.evaluation.calibration import clean_stretch
from cangraph.evaluation.scores import by_capture, metrics
from cangraph.frames import Frames

# windows of 4 frames, two seconds each; A at most 3 times in the first two
CALM = "AABC AAAB"
BUSY = "AAAA BBBC DABC ABCC CABA"


def windows(*texts, attack=()):
    """Captures of 4-frame windows written as letters, a frame each half second."""
    captures = []
    for text in texts:
        ids = np.array([ord(letter) for letter in text.replace(" ", "")])
        when, marked = np.arange(len(ids)) * 0.5, np.isin(np.arange(len(ids)) // 4, attack)
        captures.append(Frames(when, ids, attack=marked, name=text.split()[0]))
    return to_graphs(captures, 4, 4)


def test_the_score_is_the_largest_excess_over_the_calibrated_maximum():
    scores = calibrated_count(windows(f"{CALM} {BUSY}"), seconds=4.0)
    # AAAA: 4 - 3; BBBC: 3 - 1; D is new: the window; ABCC: 2 - 1; CABA: C and B at their most
    assert scores.value.tolist() == [0, 0, 1, 2, 4, 1, 0]
    short = calibrated_count(windows(f"{CALM} {BUSY[:9]}"), seconds=4.0)
    assert short.value.tolist() == scores.value[:4].tolist(), "later windows change no earlier one"


def test_a_window_calibrates_if_it_ends_in_time_and_is_no_attack():
    graphs = windows("AABC AAAB AAAB")
    assert graphs.end.tolist() == [1.5, 3.5, 5.5]
    assert calibrated_count(graphs, seconds=3.5).value.tolist() == [0, 0, 0]
    assert calibrated_count(graphs, seconds=3.4).value.tolist() == [0, 1, 1]
    scores = calibrated_count(windows("AABC DAAA AABD", attack=[1]), seconds=4.0)
    assert scores.value.tolist() == [0, 4, 4]
    assert scores.label.tolist() == [False, True, False]


def test_a_silent_id_has_no_part_in_the_rules_on_frames():
    loud = windows("AABB AAAA ABCD AAAB AABB")
    silent = np.insert(np.arange(len(loud.node_id)), loud.node_ptr[1:], 0)  # one node more in each
    more = replace(
        loud,
        x=loud.x[silent],
        node_attack=loud.node_attack[silent],
        node_id=np.insert(loud.node_id, loud.node_ptr[1:], ord("E")),
        node_count=np.insert(loud.node_count, loud.node_ptr[1:], 0),
        node_ptr=loud.node_ptr + np.arange(len(loud) + 1),
    )
    assert calibrated_count(more, 4.0).value == approx(calibrated_count(loud, 4.0).value)


def test_each_capture_calibrates_itself_and_without_calm_is_refused():
    both, alone = windows("AABB CABA ABCD", BUSY), windows(BUSY)
    assert (
        calibrated_count(both, 2.0).value[3:].tolist() == calibrated_count(alone, 2).value.tolist()
    )
    with pytest.raises(ValueError, match="calibrated_count: capture 'AABB' has no window"):
        calibrated_count(both, 0.5)
    with pytest.raises(ValueError, match="ABAB"):  # what comes after an attack does not count
        calibrated_count(windows("ABAB ABAB AABC", attack=[0]))


def test_the_count_finds_a_flood():
    graphs = to_graphs([simulate("aster", 20.0, attack="flooding", bursts=1)], 100, 100)
    assert metrics(calibrated_count(graphs), 0)["auroc"] > 0.9


# boosted trees


@pytest.fixture(scope="module")
def flooded():
    """Two captures, and the windows of the first and of the second."""
    captures = [simulate(car, 20.0, attack="flooding", bursts=3) for car in ("aster", "borage")]
    graphs = to_graphs(captures, 100, 100)
    return captures, graphs[graphs.capture == 0], graphs[graphs.capture == 1]


def test_boosted_trees_learn_a_flood_and_repeat_themselves(flooded, monkeypatch):
    _, train, test = flooded
    scores = BoostedTrees(train).score(test)
    assert metrics(scores, 0.5)["auroc"] > 0.99
    assert scores.value.min() > 0 and scores.value.max() < 1
    monkeypatch.setattr(baselines, "_AT_ONCE", 7)  # pieces bound the memory and nothing else
    assert np.array_equal(BoostedTrees(train).score(test).value, scores.value)
    with pytest.raises(ValueError, match=r"trees: 0 of \d+ training windows are attacks"):
        BoostedTrees(train[~train.label])


# the canary


def test_the_canary_counts_gaps_under_fifty_microseconds():
    gaps = [40e-6, 60e-6, 40e-6, 1e-6, 1e-3, 1e-3, 0.0]
    frames = Frames(np.concatenate([[0], np.cumsum(gaps)]), np.arange(8), name="a")
    graphs = to_graphs([frames, frames], 4, 2)
    scores = leak_canary([frames, frames], graphs)  # windows from frames 0, 2 and 4
    assert scores.value == approx([2 / 3, 2 / 3, 1 / 3] * 2)
    assert leak_canary([frames, frames], graphs[[4, 2]]).value == approx([2 / 3, 1 / 3])
    with pytest.raises(ValueError, match="leak_canary: 1 captures came, which are not the 2 of"):
        leak_canary([frames], graphs)


# all of them


def test_cheap_detectors_score_the_same_windows_at_thresholds_of_training_and_authors(flooded):
    captures, train, test = flooded
    found = decided(train, test, captures)
    assert list(found) == ["leak canary", "boosted trees", "calibrated count"]
    for scores, _ in found.values():
        assert scores.label is test.label and len(scores) == len(test)
    assert list(decided(train[~train.label], test)) == ["calibrated count"]
    assert found["boosted trees"][1] == 0.5
    assert found["calibrated count"][1] == COUNT_THRESHOLD
    normal, at = leak_canary(captures, train), found["leak canary"][1]
    assert not (normal.value[~normal.label] >= at).any(), "below 1,000 windows: above them all"


def test_on_the_survival_captures_the_rules_reach_what_is_known(real_data, monkeypatch):
    monkeypatch.setenv("CANGRAPH_DATA", str(real_data))
    captures = read("hcrl_sa")
    graphs = to_graphs(captures, 100, 100)
    training = np.array([c.scenario.startswith("train") for c in captures])[graphs.capture]
    found = decided(graphs[training], graphs[~training], captures)
    later = ~clean_stretch(graphs[~training])

    def auroc(name):
        return {row["capture"]: row["auroc"] for row in by_capture(found[name][0][later], 0)}

    assert min(auroc("calibrated count").values()) > 0.99
    assert list(auroc("leak canary").values()) == approx([0.5] * 7, abs=1e-3)
