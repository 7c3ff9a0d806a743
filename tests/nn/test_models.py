"""The nets: batching, equivariance, what the scores rise with."""

import numpy as np
import pytest
import torch
from torch_geometric.utils import scatter

from cangraph.bus.simulator import simulate
from cangraph.data.batches import batch_of
from cangraph.data.graphs import to_graphs
from cangraph.frames import Frames
from cangraph.nn.models import GAT, VGAE, Standardize, n_parameters
from cangraph.params import load_params


@pytest.fixture(scope="module")
def graphs():
    return to_graphs([simulate("aster", 3.0, seed=1)], 50, 50)[:12]


@pytest.fixture(params=["gat", "vgae"])
def model(request, graphs):
    torch.manual_seed(0)
    if request.param == "gat":
        return GAT(graphs.spec, hidden=4, heads=2, layers=2, dropout=0.5).eval()
    return VGAE(graphs.spec, hidden=4, heads=2, layers=1, latent=3).eval()


def test_a_batch_holds_every_node_and_edge_of_its_windows(graphs):
    batch = batch_of(graphs)
    assert batch.num_graphs == len(graphs)
    assert len(batch.x) == len(graphs.x)
    assert batch.edge_index.shape[1] == len(graphs.edge_attr)
    source, target = batch.edge_index
    assert torch.equal(batch.batch[source], batch.batch[target])  # no edge leaves its window


@torch.no_grad()
def test_a_window_scores_the_same_alone_and_in_a_batch(model, graphs):
    together = model(batch_of(graphs))
    alone = torch.cat([model(batch_of(graphs[i])) for i in range(len(graphs))])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_score_does_not_depend_on_the_order_of_nodes(model, graphs):
    batch = batch_of(graphs[3])
    order = torch.randperm(len(batch.x), generator=torch.Generator().manual_seed(0))
    place = torch.argsort(order)
    shuffled = batch._replace(x=batch.x[order], edge_index=place[batch.edge_index])
    torch.testing.assert_close(model(batch), model(shuffled), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_window_of_one_repeated_id_has_a_score(model):
    frames = Frames(np.arange(50) * 0.01, np.full(50, 0x123))
    assert torch.isfinite(model(batch_of(to_graphs([frames], 50, 50)))).all()


def test_standardize_by_hand():
    scale = Standardize(2, clip=1.5)
    scale.fit(torch.tensor([[0.0, 7.0], [2.0, 7.0]]))
    assert scale(torch.tensor([[1.0, 8.0], [9.0, 7.0]])).tolist() == [[0.0, 1.0], [1.5, 0.0]]


@torch.no_grad()
def test_the_anomaly_score_is_not_drawn_and_rises_with_each_error_it_is_made_of(graphs):
    vgae = VGAE(graphs.spec, hidden=4, heads=2, layers=1, latent=3).eval()
    batch = batch_of(graphs)
    assert torch.equal(vgae(batch), vgae(batch))
    errors = torch.zeros(1, 4)
    for i in range(2):
        worse = errors.clone()
        worse[0, i] = 1.0
        assert vgae.score_of(worse) > vgae.score_of(errors)


@pytest.mark.parametrize("dataset", ["demo", "hcrl_sa", "set_04"])
@pytest.mark.parametrize(("name", "kind"), [("gat", GAT), ("vgae", VGAE)])
def test_students_have_at_most_a_twentieth_of_the_parameters(dataset, name, kind, graphs):
    params = load_params(dataset)
    teacher = kind(graphs.spec, **params.teacher[name])
    student = kind(graphs.spec, **params.student[name])
    assert 20 * n_parameters(student) <= n_parameters(teacher)


@torch.no_grad()
def test_the_heads_of_the_gat_agree_with_its_parts(graphs):
    gat = GAT(graphs.spec, hidden=4, heads=2, layers=2).eval()
    batch = batch_of(graphs)
    z, out = gat.embed(batch), gat.heads(batch)
    assert z.shape == (len(graphs), gat.embedding_width)
    torch.testing.assert_close(gat.classify(z), gat(batch))
    assert out.window.shape == (len(graphs),)
    assert out.node.shape == (len(graphs.x),)
    assert out.attack_type.shape == (len(graphs), 9)
    torch.testing.assert_close(out.window, gat(batch))
    states = gat.states(batch)
    first = states[: graphs.node_ptr[1]]
    torch.testing.assert_close(z[0], first.max(0).values)


def test_a_batch_carries_the_labels_of_nodes_and_windows(graphs):
    batch = batch_of(graphs)
    assert batch.node_label.tolist() == graphs.node_attack.astype(float).tolist()
    assert batch.attack_type.tolist() == graphs.attack_type.tolist()


def test_equal_largest_states_share_the_gradient_as_in_pyg():
    """Also of windows without a node, whose embedding is 0."""
    states = torch.tensor([[1.0, 2.0], [1.0, -1.0], [1.0, 2.0], [-3.0, -4.0]], requires_grad=True)
    window, outer = torch.tensor([0, 0, 0, 2]), torch.tensor([[3.0, 1.0], [7.0, 7.0], [2.0, 5.0]])
    plain = batch_of(to_graphs([Frames(np.arange(4.0), np.arange(4) % 2)], 4, 4))
    batch = plain._replace(batch=window, label=torch.zeros(3))
    pooled = GAT.pool(states, batch)
    assert pooled.tolist() == [[1.0, 2.0], [0.0, 0.0], [-3.0, -4.0]]
    (mine,) = torch.autograd.grad(pooled, states, outer)
    assert mine.tolist() == [[1.0, 0.5], [1.0, 0.0], [1.0, 0.5], [2.0, 5.0]]
    theirs = scatter(states, window, dim_size=3, reduce="max")
    assert torch.equal(mine, *torch.autograd.grad(theirs, states, outer))
