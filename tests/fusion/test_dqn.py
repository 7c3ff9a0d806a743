"""Policies of fusion: what an action earns, what is learnt from it, what is done in the end."""

import numpy as np
import pytest
import torch
from pytest import approx
from scorings import PARAMS, brier

from cangraph.fusion.dqn import DQNFusion, all_rules, rewards
from cangraph.fusion.rules import FusionRule

pytestmark = pytest.mark.filterwarnings("error")
ALPHAS = np.linspace(0, 1, 5)


@pytest.fixture(scope="module")
def fitted(calib):
    rules = {n: rule for n, rule in all_rules(PARAMS).items() if isinstance(rule, DQNFusion)}
    assert list(rules) == ["DQN fusion"]
    return {name: rule.fit(calib) for name, rule in rules.items()}


def test_rewards_by_hand():
    earned = rewards(np.array([[0.0, 1.0], [0.5, 0.5]]), np.array([True, False]), ALPHAS)
    assert earned[0] == approx([1 - 4 * (1 - a) ** 2 for a in ALPHAS])
    assert earned[1] == approx([0] * 5)
    label = np.arange(10) % 2 == 0
    assert rewards(np.stack([label, label], 1).astype(float), label, ALPHAS) == approx(1.0)


@pytest.mark.parametrize("always, expected", [(0.0, -1.0), (0.3, -0.16), (0.5, 0.0), (1.0, -1.0)])
def test_agreeing_on_one_answer_for_all_windows_does_not_pay(always, expected):
    """Of both classes in equal parts, as they are drawn to learn from."""
    earned = rewards(np.full((100, 2), always), np.arange(100) % 2 == 0, ALPHAS)
    assert np.ptp(earned, axis=1).max() < 1e-12
    assert earned.mean(0) == approx(expected)


def test_the_decision_comes_from_the_fused_score(fitted, held_out):
    scores = held_out[1]
    for name, rule in fitted.items():
        alpha = rule.alpha(scores)
        vgae, gat = rule.probabilities(scores).T
        assert rule.score(scores).value == approx(alpha * gat + (1 - alpha) * vgae), name
        chosen = rule.q(scores).argmax(1)
        assert np.array_equal(alpha, np.linspace(0, 1, PARAMS.actions)[chosen]), name
    for rule in all_rules(PARAMS).values():
        assert type(rule).score is FusionRule.score, "no rule has a decision of its own"


def test_a_policy_that_switches_beats_either_model(fitted, calib, held_out):
    side, scores = held_out
    alone = [brier(FusionRule(kind).fit(calib).score(scores)) for kind in ("vgae", "gat", "mean")]
    alpha = fitted["DQN fusion"].alpha(scores)
    assert alpha[side == 1].mean() > alpha[side == 0].mean() + 0.5
    assert brier(fitted["DQN fusion"].score(scores)) < 0.5 * min(alone)


def test_the_trace_tells_reward_loss_exploration_alpha_and_q(fitted):
    trace = fitted["DQN fusion"].trace
    assert trace.keys() == {"reward", "loss", "epsilon", "mean alpha", "mean Q"}
    assert {len(column) for column in trace.values()} == {PARAMS.steps}
    assert trace["reward"][-50:].mean() > trace["reward"][:10].mean() + 0.1
    assert trace["reward"].max() <= 1
    assert trace["mean Q"][-50:].mean() == approx(trace["reward"][-50:].mean(), abs=0.2)
    epsilon = trace["epsilon"]
    assert (epsilon[0], epsilon[-1]) == approx((1.0, 0.05))
    assert (np.diff(epsilon) <= 0).all()
    assert trace["mean alpha"][0] == approx(0.5, abs=0.15), "random actions at first"


def test_a_policy_starts_from_the_weights_of_their_seed_and_leave_the_dice_alone(calib):
    still = PARAMS.model_copy(update={"steps": 1, "learning_rate": 1e-30})
    before = torch.get_rng_state()
    one, same, other = (DQNFusion(still, seed).fit(calib).q(calib) for seed in (5, 5, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(one, same) and not np.array_equal(one, other)
