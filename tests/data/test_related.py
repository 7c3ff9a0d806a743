"""Windows with relations: columns, edges, and windows that know nothing of them."""

import numpy as np
import pytest

from cangraph.data.graphs import to_graphs
from cangraph.data.related import octaves, related
from cangraph.features.relations import RELATION, SIGNAL, Contradiction, Relations
from cangraph.frames import Frames

A, B, C, D = 1, 2, 3, 9  # D is never heard


def relations():
    """B agrees with A, A with B and with C; a relation of A with D, which is absent."""
    signals = np.zeros(4, SIGNAL)
    signals["arbitration_id"] = A, B, C, D
    records = np.zeros(4, RELATION)
    records["target"], records["partner"] = (0, 0, 0, 1), (1, 2, 3, 0)
    records["strength"] = 0.1, 0.2, 0.0, 0.1
    return Relations(signals, records)


@pytest.fixture
def graphs():
    log = Frames(np.arange(8) * 0.1, np.array([A, B, C, A, A, B, A, B]))
    return to_graphs([log], window=4, stride=4)


def said():
    """Two ticks in the first window, at 0 and .2 s, and one in the second, at .5 s."""
    value = np.array([[1, 0, 0, 0], [3, 1, 0, 0], [0, 0, 0, 0]], np.float32)
    relation = np.array([[0, 0, 0, 7], [3, 1, 0, 0], [0, 0, 0, 1]], np.float32)
    return Contradiction(np.array([0.0, 0.2, 0.5]), value, relation)


def test_nodes_say_how_far_they_contradict(graphs):
    found = related(graphs, [(relations(), said())])
    first = slice(*found.node_ptr[:2])
    assert found.node_id[first].tolist() == [A, B, C]
    # itself; its partners; what its partners' partners say of others by it
    np.testing.assert_allclose(found.x[first, -3], np.log2([4, 2, 1]))
    np.testing.assert_allclose(found.x[first, -2], np.log2([4, 2, 1]))
    np.testing.assert_allclose(found.x[first, -1], np.log2([8, 4, 2]))
    np.testing.assert_array_equal(found.x[:, :-3], graphs.x)


def test_relations_are_edges_between_ids_of_the_window(graphs):
    found = related(graphs, [(relations(), said())])
    for window, pairs in ((0, {(1, 0), (2, 0), (0, 1)}), (1, {(1, 0), (0, 1)})):
        mine = slice(*found.edge_ptr[window : window + 2])
        new = found.edge_attr[mine, -3] == 1
        ends = found.edge_index[:, mine][:, new]
        assert set(zip(*ends.tolist(), strict=True)) == pairs
        assert (found.edge_attr[mine][new, :-3] == 0).all()
    first = found.edge_attr[: found.edge_ptr[1]]
    np.testing.assert_allclose(sorted(first[first[:, -3] == 1, -1]), np.log2([2, 4, 8]))
    np.testing.assert_allclose(sorted(first[first[:, -3] == 1, -2]), [0.8, 0.9, 0.9])


def test_successions_stay(graphs):
    found = related(graphs, [(relations(), said())])
    old = found.edge_attr[:, -3] == 0
    np.testing.assert_array_equal(found.edge_index[:, old], graphs.edge_index)
    np.testing.assert_array_equal(found.edge_attr[old, :-3], graphs.edge_attr)


def test_where_nothing_is_known_there_are_empty_columns(graphs):
    found = related(graphs, [None])
    assert (found.x[:, -3:] == 0).all()
    np.testing.assert_array_equal(found.edge_ptr, graphs.edge_ptr)


def test_part_of_the_windows_is_the_part_of_all(graphs):
    found = related(graphs, [(relations(), said())])
    np.testing.assert_array_equal(found[[1]].x, found.x[found.node_ptr[1] :])


def test_as_many_relations_as_captures(graphs):
    with pytest.raises(ValueError, match="2 captures came for the 1"):
        related(graphs, [None, None])


def test_octaves_are_bounded():
    np.testing.assert_allclose(octaves(np.array([0.0, 1.0, 1e9])), [0, 1, np.log2(17)])
