"""IDs that are blamed, and the windows that went worst."""

from dataclasses import replace

import numpy as np
import pytest

from cangraph.data.graphs import to_graphs
from cangraph.evaluation.blame import (
    blamed_ids,
    by_attack_and_capture,
    localised,
    worst,
)
from cangraph.evaluation.scores import Scores
from cangraph.frames import ATTACK_TYPES, Frames

SPOOFED = ATTACK_TYPES.index("spoofing")


@pytest.fixture(scope="module")
def captures():
    """Two captures of nine frames and three IDs; in the first, ID 7 is forged once."""
    ids = np.array([7, 1, 3, 7, 1, 3, 7, 1, 3])
    attack = np.array([0, 0, 0, SPOOFED, 0, 0, 0, 0, 0], np.uint8)
    time = np.arange(9) * 0.01
    first = Frames(time, ids, attack_type=attack, name="a", scenario="test_01_x")
    return [first, Frames(time, ids, name="b", scenario="test_02_y")]


@pytest.fixture(scope="module")
def graphs(captures):
    return to_graphs(captures, 4, 4)


def test_ids_are_blamed_in_the_windows_that_are_called(graphs):
    scores = Scores.of(graphs, np.array([0.9, 0.1, 0.8, 0.7]))
    blame = np.where(graphs.node_id == 7, 0.9, 0.1)
    rows = blamed_ids(scores, 0.5, graphs, blame)
    assert [list(row.values()) for row in rows] == [
        ["test_02 b", "007", 2, 0],
        ["test_01 a", "007", 1, 1],
    ]
    assert localised(graphs, blame).tolist() == [True, False, False, False]
    assert blamed_ids(scores, 2.0, graphs, blame) == []


def test_the_worst_of_each_fault_is_shown_and_the_worst_first(graphs):
    time = np.array([0.0, 1, 2, 10, 11, 20, 30, 40])
    label = np.array([1, 1, 1, 1, 1, 0, 0, 0], bool)
    value = np.array([0.3, 0.1, 0.2, 0.05, 0.9, 0.6, 0.8, 0.1])
    scores = Scores(value, label, *np.zeros((2, 8), int), time, time + 1, graphs.captures)
    found = worst(scores, 0.5)
    assert found["misses"].tolist() == [3, 1], "of windows 0, 1, 2 the worst stands for all"
    assert found["false_alarms"].tolist() == [6, 5]
    assert worst(scores, 0.5, number=1)["misses"].tolist() == [3]
    two = replace(scores, capture=np.array([0, 1, 1, 1, 1, 1, 1, 1], np.int32))
    assert worst(two, 0.5)["misses"].tolist() == [3, 1, 0], "captures are faults apart"
    right = worst(scores[[4, 7]], 0.5)
    assert not len(right["misses"]) and not len(right["false_alarms"])


def test_shares_by_capture_and_attack(graphs):
    rows = by_attack_and_capture(Scores.of(graphs, np.array([0.9, 0.6, 0.2, 0.9])), 0.5)
    assert [(r["capture"], r["attack"], r["windows"], r["share"]) for r in rows] == [
        ("test_01 a", "benign", 1, 1.0),
        ("test_01 a", "spoofing", 1, 1.0),
        ("test_02 b", "benign", 2, 0.5),
    ]
