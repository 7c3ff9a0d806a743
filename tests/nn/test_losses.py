"""Every loss against values worked out by hand, and what training does about few attacks."""

import math

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.nn.losses import attack_weight, hint, kl_divergence, soft_targets


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


def test_attacks_weigh_as_much_more_as_they_are_rarer(few):
    assert attack_weight(few) == 3
    assert attack_weight(few[:31]) == 10, "thirty to one, capped"
    with pytest.raises(ValueError, match="all benign"):
        attack_weight(few[:30])
