"""The operator's rule by hand, and published numbers as published."""

import numpy as np
import pytest

from cangraph.baselines import COUNT_THRESHOLD, PUBLISHED, calibrated_count, published
from cangraph.datasets import DATASETS, SCENARIOS
from cangraph.frames import Frames
from cangraph.graphs import to_graphs
from cangraph.simulator import simulate

# windows of 4 frames, two seconds each; A at most 3 times in the first two
CALM = "AABC AAAB"
BUSY = "AAAA BBBC DABC ABCC CABA"


def windows(*texts, attack=()):
    """Captures of 4-frame windows written as letters, a frame each half second."""
    captures = []
    for text in texts:
        letters = text.replace(" ", "")
        marked = np.isin(np.arange(len(letters)) // 4, attack)
        captures.append(
            Frames(
                np.arange(len(letters)) * 0.5,
                np.array([ord(letter) for letter in letters]),
                attack=marked,
                name=text.split()[0],
            )
        )
    return to_graphs(captures, 4, 4)


def test_the_score_is_the_largest_excess_over_the_calibrated_maximum():
    scores = calibrated_count(windows(f"{CALM} {BUSY}"), seconds=4.0)
    # AAAA: 4 - 3; BBBC: 3 - 1; D is new: the window; ABCC: 2 - 1; CABA: C and B at their most
    assert scores.value.tolist() == [0, 0, 1, 2, 4, 1, 0]


def test_above_max_plus_one_is_an_attack():
    scores = calibrated_count(windows(f"{CALM} {BUSY}"), seconds=4.0)
    assert (scores.value >= COUNT_THRESHOLD).tolist() == [False] * 3 + [True, True] + [False] * 2


def test_a_window_calibrates_if_it_ends_in_time():
    graphs = windows("AABC AAAB AAAB")
    assert graphs.end.tolist() == [1.5, 3.5, 5.5]
    assert calibrated_count(graphs, seconds=3.5).value.tolist() == [0, 0, 0]
    assert calibrated_count(graphs, seconds=3.4).value.tolist() == [0, 1, 1]


def test_attack_windows_do_not_calibrate():
    scores = calibrated_count(windows("AABC DAAA AABD", attack=[1]), seconds=4.0)
    assert scores.value.tolist() == [0, 4, 4]
    assert scores.label.tolist() == [False, True, False]


def test_each_capture_calibrates_itself():
    both = calibrated_count(windows("AABB CABA", BUSY), seconds=2.0)
    assert both.value[:2].tolist() == [0, 4]
    alone = calibrated_count(windows(BUSY), seconds=2.0)
    assert both.value[2:].tolist() == alone.value.tolist()


def test_later_windows_change_no_earlier_score():
    long = calibrated_count(windows(f"{CALM} {BUSY}"), seconds=4.0)
    short = calibrated_count(windows(f"{CALM} {BUSY[:9]}"), seconds=4.0)
    assert short.value.tolist() == long.value[:4].tolist()


def test_a_capture_without_calm_is_refused_by_name():
    with pytest.raises(ValueError, match=r"capture 'ABAB' has no benign window in its first 10"):
        calibrated_count(windows("AABC AAAB AAAB", "ABAB ABAB", attack=[0, 1]))
    with pytest.raises(ValueError, match=r"in its first 1\.0 s; .*raise `seconds`"):
        calibrated_count(windows(CALM), seconds=1.0)


def test_a_flood_is_found():
    graphs = to_graphs([simulate("aster", 20.0, attack="flooding", bursts=1)], 100, 100)
    scores = calibrated_count(graphs)
    called = scores.value >= COUNT_THRESHOLD
    assert called[graphs.label].mean() > 0.99
    assert called[~graphs.label].mean() < 0.1


# published results


def test_published_rows_are_complete():
    for row in PUBLISHED:
        assert row["dataset"] in DATASETS
        assert any(scenario.startswith(row["scenario"]) for scenario in SCENARIOS)
        assert row["metric"] in ("f1", "auroc")
        assert 0 < row["value"] <= 1
        assert row["source"]


def test_published_rows_stand_under_their_scenarios():
    rows = published("hcrl_sa", SCENARIOS)
    gat = [r for r in rows if r["detector"].startswith("GAT (")]
    assert [(r["scenario"], r["f1"]) for r in gat if "f1" in r] == list(
        zip(SCENARIOS, (0.999, 0.577, 0.685, 0.563), strict=True)
    )
    assert [r["auroc"] for r in gat if "auroc" in r] == [0.999, 0.265, 1.0, 0.894]
    assert {r["scenario"] for r in published("hcrl_sa", SCENARIOS[:1])} == {SCENARIOS[0]}
    assert published("demo", SCENARIOS) == published("hcrl_sa", []) == []
