"""Batches are cut right: against the windows themselves."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cangraph.bus.simulator import simulate
from cangraph.data.batches import Batches, Windows, batch_of
from cangraph.data.graphs import to_graphs
from cangraph.frames import Frames


@pytest.fixture(scope="module")
def graphs():
    return to_graphs([simulate("aster", 16.0, attack="fuzzing", seed=1)])


def same(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
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


def test_the_first_draw_is_asked_for_once(graphs):
    asked = []
    batches = Batches(lambda epoch: asked.append(epoch) or graphs[: 20 + epoch], 8, seed=0)
    assert len(batches) == 3
    lengths = [[batch.num_graphs for batch in batches] for _ in range(3)]
    assert lengths == [[8, 8, 4]] * 3 and asked == [0, 1, 2]
