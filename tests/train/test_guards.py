"""Runs that cannot come to anything are stopped, and say why."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.train.fit import fit, seed_everything
from cangraph.train.guards import CollapseError, finite
from cangraph.train.tasks import Detector, Reconstructor


@pytest.fixture(scope="module")
def data():
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    graphs = to_graphs([frames.label(scenario="train_02_with_attacks", name="drive")], 100, 100)
    return Split(graphs, np.repeat([0, 0, 0, 1], len(graphs) // 4 + 1)[: len(graphs)], ())


def detector(data):
    seed_everything(0)
    return Detector(GAT(data.graphs.spec, hidden=4, heads=2, layers=1))


def asked(epochs=4, **values):
    return load_params("demo", student={"epochs": epochs}, fit={"batch_size": 32} | values)


def test_a_feature_that_is_not_finite_is_named_with_its_window(data):
    x, edges = data.graphs.x.copy(), data.graphs.edge_attr.copy()
    x[data.graphs.node_ptr[7], 3], edges[data.graphs.edge_ptr[9] - 1, 1] = np.nan, -np.inf
    message = f"epoch 1: the node feature '{NODE_FEATURES[3].name}' is nan in the window from frame"
    broken = Split(replace(data.graphs, x=x), data.part, ())
    with pytest.raises(FloatingPointError, match=rf"{message} 700 of .*drive"):
        fit(detector(data), broken, asked(), "student")
    message = f"epoch 3: the edge feature '{EDGE_FEATURES[1].name}' is -inf in .* frame 800 of"
    with pytest.raises(FloatingPointError, match=message):
        finite(replace(data.graphs, edge_attr=edges), "epoch 3")


def test_a_term_that_is_not_finite_is_named_before_it_reaches_the_weights(data):
    task = detector(data)
    task.model.node_head[0].weight.data[0, 0] = float("inf")
    before = task.model.window_head[0].weight.clone()
    with pytest.raises(FloatingPointError, match=r"step 1, epoch 1: .* node and hard is not fin"):
        fit(task, data, asked(), "student")
    assert torch.equal(task.model.window_head[0].weight, before)


def silent(task):
    """A detector that says the same of every window, whatever it learns."""
    task.model.window_head[2].weight.requires_grad_(False).zero_()
    return task


def test_constant_outputs_stop_the_run_with_a_diagnosis(data):
    message = (
        r"Detector gives -?[\d.]+ for every one of the \d+ validation windows in epochs 1 and 2; "
        r"expected outputs that differ; the net says the base rate"
    )
    task = silent(detector(data))
    with pytest.raises(CollapseError, match=message):
        fit(task, data, asked(), "student")
    assert len(task.history) == 1


def test_a_saturated_net_is_told_from_one_that_learns_nothing(data):
    task = silent(detector(data))
    task.model.window_head[2].bias.data.fill_(50.0)
    with pytest.raises(CollapseError, match="the output is saturated"):
        fit(task, data, asked(), "student")


def test_a_collapse_is_seen_across_a_kill(data, tmp_path):
    def killed(epoch, progress=1.0):
        if epoch:
            raise KeyError("killed")
        return data.train

    broken = Split(data.graphs, data.part, ())
    broken.__dict__["draw"] = killed
    with pytest.raises(KeyError):
        fit(silent(detector(data)), broken, asked(), "student", tmp_path)
    with pytest.raises(CollapseError, match="epochs 1 and 2"):
        fit(silent(detector(data)), data, asked(), "student", tmp_path)


def test_a_decoder_that_says_the_same_of_every_window_is_a_collapse(data):
    seed_everything(0)
    task = Reconstructor(VGAE(data.graphs.spec, hidden=2, heads=1, layers=1, latent=2))
    task.model.features[2].weight.requires_grad_(False).zero_()
    with pytest.raises(CollapseError, match="Reconstructor gives"):
        fit(task, data, asked(), "student")


def test_the_history_holds_the_distribution_of_the_outputs(data):
    task = fit(detector(data), data, asked(epochs=2), "student")
    (kept,) = [row for row in task.history if row.get("kept")]
    logits = task.score(data.val).state[:, 0]
    for share in (5, 25, 50, 75, 95):
        expected = np.quantile(logits, share / 100)
        assert kept[f"val_output_p{share:02}"] == pytest.approx(expected, rel=1e-4)
