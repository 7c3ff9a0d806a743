"""What a detector leans on: hidden features are at their benign mean, and cost what they gave."""

import numpy as np
import pytest

from cangraph.features.schema import FAMILIES, NODE_FEATURES
from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train.explain import ablation, hidden
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector


@pytest.fixture(scope="module")
def trained(whole):
    graphs = whole.graphs
    params = load_params("demo", student={"epochs": 6, "learning_rate": 0.01})
    seed_everything(1)  # before the weights are drawn: six epochs are few
    return fit(Detector(GAT(graphs.spec, **params.student.gat)), whole, params, "student"), graphs


def test_a_hidden_family_is_at_its_benign_mean_and_nothing_else_is_touched(trained):
    task, graphs = trained
    without = hidden(task, graphs, "identity")
    columns = np.array([feature.family == "identity" for feature in NODE_FEATURES])
    assert np.array_equal(without.x[:, ~columns], graphs.x[:, ~columns])
    mean = graphs.x[:, columns][np.repeat(~graphs.label, np.diff(graphs.node_ptr))].mean(0)
    np.testing.assert_allclose(without.x[:, columns], np.tile(mean, (len(graphs.x), 1)), atol=1e-4)
    assert np.array_equal(without.edge_attr, graphs.edge_attr)
    edges = hidden(task, graphs, "succession")
    assert np.array_equal(edges.x, graphs.x) and np.ptp(edges.edge_attr, axis=0).max() < 1e-5


def test_fuzzing_is_told_by_ids_that_nobody_knows(trained):
    losses = ablation(*trained)
    assert list(losses) == list(FAMILIES)
    assert losses["identity"] > 0 and "identity" in sorted(losses, key=losses.get)[-2:]
