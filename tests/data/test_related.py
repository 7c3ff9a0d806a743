"""Windows with relations: columns, edges, and windows that know nothing of them."""

import numpy as np
import pytest

from cangraph.data.graphs import to_graphs
from cangraph.data.related import octaves, related, with_relations
from cangraph.features.relations import RELATION, SIGNAL, Contradiction, Relations
from cangraph.frames import Frames

A, B, C, D = 1, 2, 3, 9  # D is never heard


def relations():
    """B agrees with A, A with B and with C; a relation of A with D, which is absent."""
    signals = np.zeros(4, SIGNAL)
    signals["arbitration_id"] = A, B, C, D
    records = np.zeros(4, RELATION)
    records["target"], records["partner"] = (0, 0, 0, 1), (1, 2, 3, 0)
    records["miss"] = 0.1, 0.2, 0.0, 0.1
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
    found = with_relations(graphs, [(relations(), said())])
    first = slice(*found.node_ptr[:2])
    assert found.node_id[first].tolist() == [A, B, C]
    # itself; its partners; what its partners' partners say of others by it
    np.testing.assert_allclose(found.x[first, -3], np.log2([4, 2, 1]))
    np.testing.assert_allclose(found.x[first, -2], np.log2([4, 2, 1]))
    np.testing.assert_allclose(found.x[first, -1], np.log2([8, 4, 2]))
    np.testing.assert_array_equal(found.x[:, :-3], graphs.x)


def test_relations_are_edges_between_ids_of_the_window(graphs):
    found = with_relations(graphs, [(relations(), said())])
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
    found = with_relations(graphs, [(relations(), said())])
    old = found.edge_attr[:, -3] == 0
    np.testing.assert_array_equal(found.edge_index[:, old], graphs.edge_index)
    np.testing.assert_array_equal(found.edge_attr[old, :-3], graphs.edge_attr)


def test_where_nothing_is_known_there_are_empty_columns(graphs):
    found = with_relations(graphs, [None])
    assert (found.x[:, -3:] == 0).all()
    np.testing.assert_array_equal(found.edge_ptr, graphs.edge_ptr)


def test_part_of_the_windows_is_the_part_of_all(graphs):
    found = with_relations(graphs, [(relations(), said())])
    np.testing.assert_array_equal(found[[1]].x, found.x[found.node_ptr[1] :])


def test_the_captures_are_those_of_the_windows(graphs):
    with pytest.raises(ValueError, match="related"):
        related(graphs, [Frames(np.arange(5.0), np.arange(5))], [None])


def test_a_capture_is_followed():
    time = np.arange(12_000) * 0.005
    value = (20_000 + 9_000 * np.sin(time) + 9_000 * np.sin(time / 3)).astype(">u2")
    data = np.zeros((len(time), 8), np.uint8)
    data[:, :2] = value[:, None].view(np.uint8)
    clean = Frames(time, np.arange(len(time)) % 3, data=data)
    lie = data.copy()
    lie[6000:7000:3, 0] += 20  # ID 0 says more than the others
    log = Frames(time, clean.arbitration_id, data=lie)
    windows = to_graphs([log])
    found = related(windows, [log], [Relations.learn([clean])])
    lying = (found.node_id == 0) & np.repeat(found.start > 30.5, np.diff(found.node_ptr))
    early = np.repeat(found.end < 30, np.diff(found.node_ptr))
    assert found.x[lying, -3].max() > 1 > found.x[early, -3].max()
    assert found.x[lying, -3].max() > found.x[found.node_id != 0, -3].max()


def test_octaves_are_bounded():
    np.testing.assert_allclose(octaves(np.array([0.0, 1.0, 1e9])), [0, 1, np.log2(17)])
