"""What augmentation leaves out, and what it leaves alone."""

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.batches import batch_of
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train.augmentation import augmented
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector


@pytest.fixture(scope="module")
def graphs():
    drive = simulate("aster", 16.0, attack="fuzzing", seed=3).label(scenario="train_02_attacks")
    return to_graphs([drive])


@pytest.fixture(scope="module")
def batch(graphs):
    return batch_of(graphs)


def left(batch, other):
    """Names of the columns that differ."""
    pairs = zip(batch._fields, batch, other, strict=True)
    return {name for name, a, b in pairs if not (a is b or torch.equal(a, b))}


def test_nothing_is_left_out_unless_asked_for(batch):
    assert augmented(batch, []) is batch


def test_a_tenth_of_the_edges_goes_with_their_features(batch):
    torch.manual_seed(1)
    other = augmented(batch, ["edges"])
    assert left(batch, other) == {"edge_index", "edge_attr"}
    n, m = batch.edge_index.shape[1], other.edge_index.shape[1]
    assert m / n == pytest.approx(0.9, abs=0.02)
    known, kept = (
        {(*e, *a) for e, a in zip(b.edge_index.T.tolist(), b.edge_attr.tolist(), strict=True)}
        for b in (batch, other)
    )
    assert kept < known


def test_a_tenth_of_the_nodes_loses_all_its_edges(batch):
    torch.manual_seed(1)
    other = augmented(batch, ["nodes"])
    assert left(batch, other) == {"edge_index", "edge_attr"}
    touched = [set(b.edge_index.flatten().tolist()) for b in (batch, other)]
    assert len(touched[1]) / len(touched[0]) == pytest.approx(0.9, abs=0.03)
    both = torch.isin(batch.edge_index, torch.tensor(sorted(touched[1]))).all(0)
    assert torch.equal(batch.edge_index[:, both], other.edge_index)


def test_a_tenth_of_the_features_becomes_0(batch):
    torch.manual_seed(1)
    other = augmented(batch, ["features"])
    assert left(batch, other) == {"x"}
    changed = batch.x != other.x
    assert not other.x[changed].any()
    assert changed.sum() / (batch.x != 0).sum() == pytest.approx(0.1, abs=0.02)


def test_each_step_leaves_out_something_else(batch):
    one, two = (augmented(batch, ["edges", "features"]) for _ in range(2))
    assert left(one, two) == {"x", "edge_index", "edge_attr"}


@pytest.mark.parametrize("ways", [["edges"], ["nodes"], ["features"]])
def test_it_changes_training_and_no_score(graphs, ways):
    data = Split(graphs, np.zeros(len(graphs), np.uint8), ())
    data.__dict__["val"] = data.train
    weights = []
    for augment in (ways, ways, []):
        params = load_params("demo", student={"epochs": 1}, fit={"augment": augment})
        seed_everything(0)
        task = fit(Detector(GAT(graphs.spec, 4, 2, 1)), data, params, "student")
        weights.append(torch.cat([w.flatten() for w in task.model.parameters()]))
        value = task.score(graphs).value
        assert np.array_equal(value, task.score(graphs).value)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
