"""Every loss against values worked out by hand."""

import math

import pytest
import torch

from cangraph.losses import feature_error, hint, kl_divergence, soft_targets, succession_error


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
    loss = soft_targets(torch.tensor([student]), torch.tensor([teacher]), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_soft_targets_do_not_mix_windows():
    student, teacher = torch.tensor([0.0, 2.0]), torch.tensor([4.0, -1.0])
    alone = [soft_targets(student[i : i + 1], teacher[i : i + 1], 4.0) for i in range(2)]
    both = soft_targets(student, teacher, 4.0)
    assert both.item() == pytest.approx((alone[0] + alone[1]).item() / 2)


def test_soft_targets_stay_finite_for_sure_models():
    loss = soft_targets(torch.tensor([-200.0]), torch.tensor([200.0]), 1.0)
    assert loss.item() == pytest.approx(200.0)


def test_soft_targets_pull_the_student_towards_the_teacher():
    student = torch.tensor([0.0], requires_grad=True)
    soft_targets(student, torch.tensor([4.0]), 4.0).backward()
    # d/ds T² KL = T (σ(s/T) − σ(t/T)) = 4 (½ − σ(1))
    assert student.grad.item() == pytest.approx(4 * (0.5 - sigmoid(1.0)), rel=1e-5)


def test_hint_by_hand():
    # layer_norm of (0, 2) is (−1, 1), of (0, −2) is (1, −1): squared differences 4 and 4
    assert hint(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, -2.0]])).item() == pytest.approx(
        4.0, rel=1e-3
    )


def test_hint_ignores_the_teachers_scale_but_not_its_direction():
    student = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    assert hint(student, 3 * student + 1).item() < 1e-4
    assert hint(student, student.flip(1)).item() > 0.1


def test_kl_divergence_by_hand():
    mu, logstd = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(2.0)]])
    # ½ [(1 + 1 − 1 − 0) + (4 + 4 − 1 − 2 ln 2)]
    assert kl_divergence(mu, logstd).item() == pytest.approx(0.5 * (1 + 7 - 2 * math.log(2)))
    assert kl_divergence(torch.zeros(3, 4), torch.zeros(3, 4)).tolist() == [0.0, 0.0, 0.0]


def test_feature_error_is_quadratic_near_and_linear_far():
    error = feature_error(torch.zeros(2, 2), torch.tensor([[0.5, 0.0], [10.0, 0.0]]))
    assert error.tolist() == pytest.approx([0.125 / 2, 9.5 / 2])


@pytest.mark.parametrize("logit", [-3.0, 0.0, 2.0])
def test_succession_error_is_the_log_likelihood(logit):
    occurs, absent = (succession_error(torch.tensor([logit]), y).item() for y in (1.0, 0.0))
    assert occurs == pytest.approx(-math.log(sigmoid(logit)), rel=1e-5)
    assert absent == pytest.approx(-math.log(1 - sigmoid(logit)), rel=1e-5)
