"""Batches are cut right: against the windows themselves, and within their limit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cangraph.bus.simulator import simulate
from cangraph.data.batches import Batches, Windows, batch_of, parts
from cangraph.data.graphs import to_graphs
from cangraph.frames import Frames


@pytest.fixture(scope="module")
def graphs():
    return to_graphs([simulate("aster", 16.0, attack="fuzzing", seed=1)])


def same(one, other):
    assert one.share == other.share == 1.0
    for name, a, b in zip(one._fields, one[:-1], other[:-1], strict=False):
        assert a.dtype == b.dtype and torch.equal(a, b), name


def test_two_windows_by_hand():
    """IDs 0 1 2 0 | 1 2 0 1: three nodes each, successions 0→1 1→2 2→0 | 1→2 2→0 0→1."""
    graphs = to_graphs([Frames(np.arange(8.0), np.arange(8) % 3)], window=4, stride=4)
    batch = Windows.of(graphs).take(torch.tensor([1, 0]))
    assert batch.batch.tolist() == [0, 0, 0, 1, 1, 1]
    ids = torch.from_numpy(graphs[[1, 0]].node_id.astype(int))
    source, target = ids[batch.edge_index]
    assert batch.batch[batch.edge_index].tolist() == [[0, 0, 0, 1, 1, 1]] * 2
    assert [*zip(source.tolist(), target.tolist(), strict=True)] == [
        (1, 2), (2, 0), (0, 1), (0, 1), (1, 2), (2, 0),
    ]  # fmt: skip


@given(st.integers(1, 2100), st.integers(0, 3))
def test_batches_are_the_windows_in_the_order_of_the_seed(graphs, size, seed):
    order = np.random.default_rng(seed).permutation(len(graphs))
    cut = list(Batches(graphs, size, seed))
    assert len(cut) == len(Batches(graphs, size))
    for begin, batch in zip(range(0, len(graphs), size), cut, strict=True):
        same(batch, batch_of(graphs[order[begin : begin + size]]))


@given(st.integers(1, 90), st.integers(1, 5))
def test_shares_of_the_processes_make_up_each_batch(graphs, size, processes):
    some = graphs[:70]
    shares = []
    for process in range(processes):
        mine = Batches(some, size, seed=0)
        mine.process, mine.processes = process, processes
        shares.append(list(mine))
    for whole, own in zip(Batches(some, size, seed=0), zip(*shares, strict=True), strict=True):
        assert sum(part.num_graphs for part in own if part.share) == whole.num_graphs
        mean = sum(part.share * part.attack_type.double().mean() for part in own) / processes
        assert float(mean) == pytest.approx(float(whole.attack_type.double().mean()))
        nodes = sum(part.x.double().sum() for part in own if part.share)
        assert float(nodes) == pytest.approx(float(whole.x.double().sum()))


def test_the_first_draw_is_asked_for_once(graphs):
    asked = []
    batches = Batches(lambda epoch: asked.append(epoch) or graphs[: 20 + epoch], 8, seed=0)
    assert len(batches) == 3
    lengths = [[batch.num_graphs for batch in batches] for _ in range(3)]
    assert lengths == [[8, 8, 4]] * 3 and asked == [0, 1, 2]


@given(st.integers(1, 40))
def test_parts_keep_windows_and_limit(graphs, most):
    cut = parts(batch_of(graphs), most)
    at = 0
    for part in cut:
        same(part, batch_of(graphs[at : at + part.num_graphs]))
        at += part.num_graphs
    assert at == len(graphs) and [part.num_graphs for part in cut[:-1]] == [most] * (len(cut) - 1)


def test_a_batch_within_the_limit_is_handed_on_as_it_is(graphs):
    batch = batch_of(graphs)
    for most in (None, len(graphs)):
        (only,) = parts(batch, most)
        assert only is batch


def test_dropped_edges_do_not_confuse_the_parts(graphs):
    batch = batch_of(graphs[:6])
    rest = batch._replace(edge_index=batch.edge_index[:, ::2], edge_attr=batch.edge_attr[::2])
    cut = parts(rest, 2)
    assert len(cut) == 3
    assert sum(len(part.edge_attr) for part in cut) == len(rest.edge_attr)
    for part in cut:
        source, target = part.batch[part.edge_index]
        assert torch.equal(source, target), "an edge joins two windows"
