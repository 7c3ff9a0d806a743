"""Students learn from their teacher, term by term."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from cangraph.data.batches import batch_of
from cangraph.data.splits import Split
from cangraph.nn.models import GAT, VGAE
from cangraph.params import DistillationParams, load_params
from cangraph.train.distillation import distill
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector, Reconstructor

BUILD = {"gat": (GAT, Detector), "vgae": (VGAE, Reconstructor)}
SIZE = {
    "gat": {"hidden": 4, "heads": 2, "layers": 2},
    "vgae": {"hidden": 4, "heads": 2, "layers": 1, "latent": 3},
}
ALL = DistillationParams(temperature=4.0, soft=1.0, types=1.0, hint=1.0, relation=1.0)
TERMS = {"gat": ("soft", "types", "hint", "relation"), "vgae": ("soft", "hint", "relation")}


def asked(**fit):
    return load_params("demo", student={"epochs": 2}, fit={"batch_size": 8, **fit})


@pytest.fixture(scope="module")
def data(attacked):
    """48 windows to train on and to choose the epoch by."""
    few = [np.flatnonzero(attacked.label == label)[:24] for label in (False, True)]
    split = Split(attacked[np.concatenate(few)], np.zeros(48, np.uint8), ())
    split.__dict__["val"] = split.train
    return split


@pytest.fixture(scope="module")
def batch(data):
    return batch_of(data.train)


def built(kind, data, seed, **size):
    """A task with a scaler and random weights."""
    seed_everything(seed)
    model, task = BUILD[kind]
    made = task(model(data.graphs.spec, **SIZE[kind] | size))
    made.prepare(data.train)
    return made.eval()


@pytest.mark.parametrize("kind", BUILD)
def test_every_term_and_its_gradient_are_not_zero(kind, data, batch):
    student = distill(built(kind, data, 1, hidden=6), built(kind, data, 0).model, ALL).train()
    student.prepare(data.train)
    for term in TERMS[kind]:
        student.zero_grad()
        value = student.loss(batch)[term]
        assert value.item() > 1e-4
        value.backward()
        reached = [p.grad for p in student.model.parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in reached) > 1e-4
    assert all(p.grad is None for p in student.teacher.parameters())


@pytest.mark.parametrize("kind", BUILD)
def test_the_loss_is_the_sum_of_what_the_terms_weigh(kind, data, batch):
    given = DistillationParams(temperature=2.0, soft=0.5, types=0.25, hint=0.75, relation=2.0)
    student = distill(built(kind, data, 1), built(kind, data, 0).model, given).eval()
    terms = student.loss(batch)
    if kind == "gat":
        own = terms["hard"]
    else:
        own = terms["node"] + terms["succession"] + student.beta * terms["kl"]
    expected = own + sum(given[term] * terms[term] for term in TERMS[kind])
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("kind", BUILD)
def test_a_term_of_weight_zero_is_left_out(kind, data, batch):
    none = DistillationParams(temperature=4.0, soft=0.0, types=0.0, hint=0.0, relation=0.0)
    student = distill(built(kind, data, 1), built(kind, data, 0).model, none).eval()
    assert not {"soft", "types", "hint", "relation"} & {*student.loss(batch)}
    alone = BUILD[kind][1](student.model).eval()
    assert student.loss(batch)["loss"].item() == alone.loss(batch)["loss"].item()
    trained = {n for n, p in student.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in alone.named_parameters()}


def test_rebuilt_features_are_compared_in_one_unit(data, batch):
    """A teacher with another scaler than the student has."""
    teacher, student = built("vgae", data, 1), built("vgae", data, 0)
    scale, mine = (task.model.scaled.node_scale for task in (teacher, student))
    scale.std.mul_(1.25)
    scale.mean.add_(1)
    distilled = distill(teacher, student.model, ALL).eval()
    with torch.no_grad():
        rebuilt = teacher.model.features(teacher.model.encode_batch(batch)[1])
        expected = (rebuilt * scale.std + scale.mean - mine.mean) / mine.std
        x_hat = student.model.features(student.model.encode_batch(batch)[1])
        soft = distilled.loss(batch)["soft"]
    torch.testing.assert_close(soft, functional.huber_loss(x_hat, expected))


def test_a_teacher_is_not_changed_by_teaching(data):
    teacher = built("gat", data, 1, dropout=0.5)
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    task = fit(distill(teacher, built("gat", data, 0).model, ALL), data, asked(), "student")
    assert not any(module.training for module in task.train().teacher.modules())
    for copy in (teacher.model, task.teacher.model):
        assert all(torch.equal(before[k], v) for k, v in copy.state_dict().items())


def test_teacher_and_student_must_be_of_one_kind(data):
    gat, vgae = built("gat", data, 0), built("vgae", data, 0)
    with pytest.raises(ValueError, match="distill: VGAE came to teach a GAT; expected"):
        distill(vgae, gat.model, ALL)
