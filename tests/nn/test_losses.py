"""Every loss against values worked out by hand, and what training does about few attacks."""

import math

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.nn.losses import (
    Balance,
    balanced,
    binary_error,
    hint,
    kl_divergence,
    relation,
    soft_classes,
    soft_targets,
)


def bernoulli_kl(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize(("student", "teacher"), [(0.0, 4.0), (-1.0, 2.5), (3.0, -3.0)])
def test_soft_targets_are_the_bernoulli_kl_at_temperature(student, teacher, temperature):
    expected = temperature**2 * bernoulli_kl(
        sigmoid(teacher / temperature), sigmoid(student / temperature)
    )
    # a window whose student says what the teacher says has none
    windows = torch.tensor([student, teacher]), torch.tensor([teacher, teacher])
    assert soft_targets(*windows, temperature).item() == pytest.approx(expected / 2, rel=1e-5)


def test_soft_targets_pull_the_student_towards_the_teacher_and_stay_finite():
    student = torch.tensor([0.0], requires_grad=True)
    soft_targets(student, torch.tensor([4.0]), 4.0).backward()
    # d/ds T² KL = T (σ(s/T) − σ(t/T)) = 4 (½ − σ(1))
    assert student.grad.item() == pytest.approx(4 * (0.5 - sigmoid(1.0)), rel=1e-5)
    loss = soft_targets(torch.tensor([-200.0]), torch.tensor([200.0]), 1.0)
    assert loss.item() == pytest.approx(200.0)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_classes_are_the_kl_at_temperature(temperature):
    rows = [([1.0, -2.0, 0.5], [3.0, 0.0, -1.0]), ([0.0, 0.0, 0.0], [-5.0, 2.0, 1.0])]
    expected = 0.0
    for student, teacher in rows:
        q, p = ([math.exp(x / temperature) for x in logits] for logits in (student, teacher))
        expected += sum(
            x / sum(p) * math.log(x / sum(p) * sum(q) / y) for x, y in zip(p, q, strict=True)
        )
    student, teacher = (torch.tensor(logits) for logits in zip(*rows, strict=True))
    loss = soft_classes(student, teacher, temperature)
    assert loss.item() == pytest.approx(temperature**2 * expected / 2, rel=1e-5)


def test_soft_classes_pull_the_student_towards_the_teacher_and_stay_finite():
    student = torch.tensor([[0.0, 0.0]], requires_grad=True)
    soft_classes(student, torch.tensor([[4.0, 0.0]]), 4.0).backward()
    # d/ds T² KL = T (softmax(s/T) − softmax(t/T)) = 4 (½ − σ(1)), and its negative
    pull = 4 * (0.5 - sigmoid(1.0))
    assert student.grad[0].tolist() == pytest.approx([pull, -pull], rel=1e-5)
    sure = torch.tensor([[200.0, -200.0]])
    assert soft_classes(-sure, sure, 1.0).item() == pytest.approx(400.0)


def test_relation_by_hand():
    # on a line at 0, 1, 3: distances 1, 3, 2, mean 2; at 0, 1, 2: 1, 2, 1, mean 4/3
    student, teacher = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    apart = (0.5 - 0.75, 1.5 - 1.5, 1.0 - 0.75)
    expected = sum(d**2 / 2 for d in apart) / 3
    assert relation(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_relation_is_linear_for_pairs_that_are_far_off():
    # eight windows of which one lies apart: of 28 pairs, 7 at 1; mean ¼, so 4 of 1 and 21 of 0
    # against a teacher for which all lie equally apart: 1; Huber of 3 is 2½, of 1 is ½
    student = torch.zeros(8, 1)
    student[0] = 1.0
    expected = (7 * 2.5 + 21 * 0.5) / 28
    assert relation(student, torch.eye(8)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("windows", [1, 3])
def test_relation_without_distances_is_zero_and_so_is_its_gradient(windows):
    student = torch.ones(windows, 2, requires_grad=True)
    loss = relation(student, torch.ones(windows, 4))
    loss.backward()
    assert loss.item() == 0.0 and not student.grad.any()


def test_hint_by_hand():
    # layer_norm of (0, 2) is (−1, 1), of (0, −2) is (1, −1): squared differences 4 and 4
    loss = hint(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, -2.0]]))
    assert loss.item() == pytest.approx(4.0, rel=1e-3)
    # the teacher's scale counts for nothing, its direction does
    student = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    assert hint(student, 3 * student + 1).item() < 1e-4
    assert hint(student, student.flip(1)).item() > 0.1


def test_kl_divergence_by_hand():
    mu, logstd = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(2.0)]])
    # ½ [(1 + 1 − 1 − 0) + (4 + 4 − 1 − 2 ln 2)]
    assert kl_divergence(mu, logstd).item() == pytest.approx(0.5 * (1 + 7 - 2 * math.log(2)))
    assert kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).tolist() == [0.0, 0.0, 0.0]


# rare attacks


@pytest.fixture(scope="module")
def few():
    """Ten windows under attack and thirty benign ones."""
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    graphs = to_graphs([frames.label(scenario="train_02_with_attacks")], 100, 100)
    both = [np.flatnonzero(graphs.label == label) for label in (False, True)]
    return graphs[np.concatenate([both[0][:30], both[1][:10]])]


@pytest.mark.parametrize(
    "way, balance",
    [("none", (1, 1, 0)), ("weights", (3, 5, 0)), ("sampler", (1, 1, 0)), ("focal", (1, 1, 2))],
)
def test_each_way_by_hand(few, way, balance):
    assert Balance.of(few, way) == balance
    if way == "weights":
        assert Balance.of(few[:31], way).window_weight == 10, "thirty to one, capped"
    with pytest.raises(ValueError, match="all benign"):
        Balance.of(few[:30], way)


def test_the_sampler_draws_both_kinds_alike(few):
    drawn = balanced(few, np.random.default_rng(0))
    assert len(drawn) == len(few)
    many = [balanced(few, np.random.default_rng(k)).label.mean() for k in range(100)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="0 of 30 windows drawn are under attack; expected both"):
        balanced(few[:30], np.random.default_rng(0))


def test_focal_counts_what_is_told_well_less():
    logit, label = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    p = torch.sigmoid(logit)
    expected = (-((1 - p) ** 2) * p.log() * 3).mean().item()
    assert binary_error(logit, label, 3.0, focus=2.0).item() == pytest.approx(expected)
