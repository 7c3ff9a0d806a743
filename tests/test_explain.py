"""What a detector leans on: hidden features are at their benign mean, and cost what they gave."""

import numpy as np
import pytest

from cangraph.explain import ablation, hidden
from cangraph.features import FAMILIES, NODE_FEATURES
from cangraph.graphs import to_graphs
from cangraph.models import GAT
from cangraph.params import load_params
from cangraph.simulator import simulate
from cangraph.splits import Split
from cangraph.tasks import Detector
from cangraph.training import fit, seed_everything


@pytest.fixture(scope="module")
def trained():
    drive = simulate("aster", 16.0, attack="fuzzing", seed=3).label(scenario="train_02_attacks")
    graphs = to_graphs([drive])
    data = Split(graphs, np.zeros(len(graphs), np.uint8), ())
    data.__dict__["val"] = data.train
    params = load_params("demo", fit={"epochs": 6}, student={"learning_rate": 0.01})
    seed_everything(1)  # before the weights are drawn: six epochs are few
    return fit(Detector(GAT(graphs.spec, **params.student.gat)), data, params, "student"), graphs


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


def test_a_family_that_no_detector_sees_is_refused(trained):
    with pytest.raises(ValueError, match="'smell' is unknown; expected one of timing"):
        hidden(*trained, "smell")


def test_fuzzing_is_told_by_ids_that_nobody_knows(trained):
    losses = ablation(*trained)
    assert list(losses) == list(FAMILIES)
    assert losses["identity"] > 0 and "identity" in sorted(losses, key=losses.get)[-2:]
