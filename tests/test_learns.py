"""Do they learn? A small enough set must be memorised, and a teacher must help, not hurt."""

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.batches import batch_of
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.evaluation.scores import metrics, threshold
from cangraph.nn.losses import feature_error
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.train.distillation import distill
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector, Reconstructor


def lasting(epochs):
    return load_params(
        "demo",
        fit={"batch_size": 16, "average": "none"},
        teacher={"epochs": epochs, "learning_rate": 0.005},
        student={"epochs": 30},
    )


@pytest.fixture(scope="module")
def params():
    return lasting(30)


@pytest.fixture(scope="module")
def graphs():
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    return to_graphs([frames.label(scenario="train_02_with_attacks")], 100, 100)


def whole(graphs):
    """Every window trains, stops, calibrates and tests: for memorising only."""
    data = Split(graphs, np.zeros(len(graphs), np.uint8), ())
    for name in ("val", "calib", "test"):
        data.__dict__[name] = data.train
    return data


@pytest.fixture(scope="module")
def few(graphs):
    """32 windows, half of them under attack."""
    some = [np.flatnonzero(graphs.label == label)[:16] for label in (False, True)]
    return whole(graphs[np.concatenate(some)])


def test_32_windows_are_memorised(few, params):
    seed_everything(0)
    task = fit(Detector(GAT(few.graphs.spec, **params.teacher.gat)), few, params)
    scores = task.score(few.train)
    assert metrics(scores, threshold(scores))["f1"] == 1.0
    assert task.history[-1]["train_loss"] < 0.05 < task.history[0]["train_loss"]


def test_the_vgae_learns_to_rebuild(few, params):
    seed_everything(0)
    task = fit(Reconstructor(VGAE(few.graphs.spec, **params.teacher.vgae)), few, lasting(100))
    assert task.history[-1]["train_node"] < task.history[0]["train_node"]
    batch = batch_of(few.train[~few.train.label])
    with torch.inference_mode():
        x, _ = task.model.encode_batch(batch, None)
        _, terms = task.rebuild(batch)
        of_the_mean = feature_error(x.mean(0, keepdim=True).expand_as(x), x).mean()
    # an untrained net stands at the mean of each feature
    assert terms["node"] < 0.7 * of_the_mean
    benign = task.score(few.train[~few.train.label])
    # the score is scaled on these windows, so that 0 is their mean
    assert benign.value.mean() == pytest.approx(0.0, abs=1e-4)
    assert task.score(few.train).value[few.train.label].mean() > 1.0


def test_the_vgae_sees_benign_windows_only(few, params):
    """Other attack windows, the same weights: what it trains on are the benign ones."""
    altered = few.graphs[np.arange(32)]
    altered.x[np.repeat(altered.label, np.diff(altered.node_ptr))] += 5.0
    weights = []
    for data in (few, whole(altered)):
        seed_everything(0)
        task = fit(Reconstructor(VGAE(data.graphs.spec, **params.student.vgae)), data, lasting(2))
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))
    assert torch.equal(*weights)


def test_a_distilled_student_is_no_worse_than_one_without_a_teacher(graphs, params):
    fresh = to_graphs([simulate("aster", 16.0, attack="fuzzing", seed=4)], 100, 100)
    seed_everything(0)
    data = whole(graphs)
    teacher = fit(Detector(GAT(graphs.spec, **params.teacher.gat)), data, params)
    quality = {}
    for name in ("distilled", "alone"):
        seed_everything(0)
        student = GAT(graphs.spec, **params.student.gat)
        distilled = distill(teacher, student, params.distillation)
        task = distilled if name == "distilled" else Detector(student)
        quality[name] = metrics(fit(task, data, params, "student").score(fresh), 0.5)["auprc"]
    assert quality["distilled"] >= quality["alone"] - 0.01
    assert quality["distilled"] > 0.9


def test_the_same_seed_gives_the_same_scores_to_the_last_bit(few, params):
    values = []
    for _ in range(2):
        seed_everything(5)
        task = Detector(GAT(few.graphs.spec, **params.student.gat))
        values.append(fit(task, few, lasting(3)).score(few.train).value)
    assert np.array_equal(*values)
