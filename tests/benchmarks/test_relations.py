"""The yardstick of relations, on hand-made input."""

import sys
from pathlib import Path

import numpy as np
import pytest

import cangraph as cg
from cangraph.data.graphs import to_graphs
from cangraph.features.relations import Contradiction

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import relations
    import surprise


@pytest.fixture(scope="module")
def case():
    logs = [cg.simulate("twin-1", 20.0, seed=2)]
    return relations.Case.of(logs, [relations.known_of([cg.simulate("twin-1", 20.0, seed=1)])])


def test_variants_leave_out_what_they_do_not_see(case):
    both, nothing = case.graphs, relations.without(case.graphs, "nothing")
    before = cg.features.Baseline.learn([cg.simulate("twin-1", 20.0, seed=1)])
    plain = to_graphs(case.logs, baselines=[before])
    for name in ("x", "edge_attr", "edge_index", "edge_ptr"):
        np.testing.assert_array_equal(getattr(nothing, name), getattr(plain, name))
    assert relations.without(both, "nodes").x.shape == both.x.shape
    assert relations.without(both, "edges").edge_attr.shape == both.edge_attr.shape
    assert relations.without(both, "both") is not None


def test_alarms_within_five_seconds_are_one():
    ticks = np.array([0.0, 1.0, 4.0, 12.0, 13.0])
    value = np.array([[3], [0], [3], [3], [1]], np.float32)
    said = Contradiction(ticks, value, np.zeros((5, 0), np.float32))
    assert relations.alarms_of(said, 2.0) == 2
    assert relations.alarms_of(said, 4.0) == 0


def test_a_lie_is_told_where_there_is_a_victim():
    log = cg.simulate("twin-1", 20.0, seed=2)
    lie = relations.lied(log, "offset", [(5.0, 9.0)], 0)
    time = lie.timestamp[lie.attack] - lie.timestamp[0]
    assert time.min() >= 5
    assert time.max() < 9
    assert (lie.data != log.data).any(1).sum() > 0


def test_the_past_of_a_payload_is_that_before_it():
    payloads = np.array([[1], [3], [3], [2]], np.uint8).repeat(8, axis=1)
    past, flips = surprise.past_and_flips(payloads)
    assert flips.sum(1).tolist() == [0, 8, 0, 8]
    assert past[:, :64].sum(1).tolist() == [0, 0, 8, 0]
    assert past[:, 64:128].sum(1).tolist() == [0, 0, 0, 8]


def test_running_is_the_average_before():
    value = surprise.running(np.array([32.0, 32.0, 0.0]))
    np.testing.assert_allclose(value, [0, 1, 1 + 31 / 32])
