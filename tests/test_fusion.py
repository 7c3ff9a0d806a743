"""Rules that fuse two detectors: what they promise on scores made for the purpose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pytest import approx

from cangraph.frames import Frames
from cangraph.fusion import DQNFusion, Rule, Stacking, rules
from cangraph.params import FusionParams
from cangraph.scores import Scores

PARAMS = FusionParams(
    actions=11,
    hidden=32,
    steps=400,
    batch_size=64,
    replay=5000,
    learning_rate=0.003,
    epsilon_start=1.0,
    epsilon_end=0.05,
)
INFO = (Frames(np.zeros(1), np.zeros(1)).info,)


def scores_of(value, label, state):
    n = len(value)
    where = np.zeros((2, n), np.int32), np.arange(n, dtype=float), np.arange(n) + 1.0
    return Scores(
        np.asarray(value, float), label, *where[0], *where[1:], INFO, np.asarray(state, np.float32)
    )


def torn(n, seed):
    """Scores of a VGAE that is right where `side` is 0 and a GAT that is right where it is 1;
    elsewhere each is a guess."""
    rng = np.random.default_rng(seed)
    label, side = rng.random(n) < 0.3, rng.integers(0, 2, n)
    error = np.where(side == 0, 6.0 * label - 3, 0) + rng.normal(0, 0.3, n)
    gat = np.where(side == 1, 0.05 + 0.9 * label, rng.uniform(0, 1, n))
    noise = rng.normal(size=(n, 2))
    vgae_state = np.column_stack([error, noise[:, 0]])
    gat_state = np.column_stack([gat, side + 0.1 * noise[:, 1]])
    return side, [scores_of(error, label, vgae_state), scores_of(gat, label, gat_state)]


def brier(scores):
    return float(((scores.value - scores.label) ** 2).mean())


@pytest.fixture(scope="module")
def calib():
    return torn(2000, 0)[1]


@pytest.fixture(scope="module")
def held_out():
    return torn(1000, 1)


@pytest.fixture(scope="module")
def dqn(calib):
    return DQNFusion(PARAMS, seed=0).fit(calib)


@pytest.fixture(scope="module")
def fitted(calib):
    return {name: rule.fit(calib) for name, rule in rules(PARAMS).items()}


# every rule


def test_every_rule_gives_probabilities_of_the_same_windows(fitted, held_out):
    scores = held_out[1]
    for name, rule in fitted.items():
        fused = rule.score(scores)
        assert ((fused.value >= 0) & (fused.value <= 1)).all(), name
        assert np.array_equal(fused.label, scores[0].label), name
        assert fused.state.size == 0 and fused.state_names == (), name
        assert brier(fused) < 0.3 * 0.7, f"{name} is no better than the prevalence"


def test_no_rule_looks_at_the_labels_it_scores(fitted, held_out):
    scores = held_out[1]
    flipped = [replace(s, label=~s.label) for s in scores]
    for name, rule in fitted.items():
        assert np.array_equal(rule.combine(flipped), rule.combine(scores)), name


def test_every_window_is_scored_by_itself(fitted, held_out):
    scores = held_out[1]
    for name, rule in fitted.items():
        part = rule.combine([s[10:20] for s in scores])
        assert part == approx(rule.combine(scores)[10:20], abs=1e-6), name


@pytest.mark.parametrize("name", rules(PARAMS))
@pytest.mark.parametrize("attack", [False, True])
def test_calibration_windows_of_one_class_are_refused(calib, name, attack):
    one = [s[s.label == attack] for s in calib]
    with pytest.raises(ValueError, match=r"calibration windows are all of one class; expected"):
        rules(PARAMS)[name].fit(one)


# rules without learning


def test_max_and_mean_by_hand(calib, held_out):
    scores = held_out[1]
    rule = Rule("mean").fit(calib)
    vgae, gat = rule.probabilities(scores).T
    fused = {}
    for rule.kind in ("vgae", "gat", "mean", "max"):
        fused[rule.kind] = rule.combine(scores)
    assert np.array_equal(fused["vgae"], vgae)
    assert np.array_equal(fused["gat"], gat) and np.array_equal(gat, scores[1].value)
    assert fused["mean"] == approx((vgae + gat) / 2)
    assert np.array_equal(fused["max"], np.where(vgae > gat, vgae, gat))


def test_the_vgae_becomes_a_probability_in_its_own_order(calib):
    rule = Rule("vgae").fit(calib)
    vgae = rule.combine(calib)
    order = np.argsort(calib[0].value)
    assert (np.diff(vgae[order]) >= 0).all()
    assert vgae.mean() == approx(calib[0].label.mean(), abs=0.02), "calibrated in the large"
    right = np.abs(calib[0].value) > 2
    assert np.abs(vgae[right] - calib[0].label[right]).max() < 0.2


@pytest.mark.parametrize("make", [Rule, Stacking])
def test_an_unknown_kind_is_told_the_known(make):
    with pytest.raises(ValueError, match=rf"{make.__name__}: 'median' is unknown; expected "):
        make("median")


# stacking


def test_stacking_learns_from_the_state():
    rng = np.random.default_rng(0)
    label = rng.random(400) < 0.5
    useless = np.full(400, 0.5)
    scores = [
        scores_of(rng.normal(size=400), label, rng.normal(size=(400, 2))),
        scores_of(useless, label, (label + rng.normal(0, 0.1, 400))[:, None]),
    ]
    for kind in ("logistic", "mlp"):
        assert brier(Stacking(kind).fit(scores).score(scores)) < 0.05, kind


def test_only_the_mlp_bends():
    rng = np.random.default_rng(0)
    corner = rng.choice([-1.0, 1.0], (800, 2))
    label = corner.prod(axis=1) > 0  # exclusive or: no line parts it
    state = corner + rng.normal(0, 0.1, corner.shape)
    scores = [scores_of(state[:, i], label, state[:, [i]]) for i in (0, 1)]
    assert brier(Stacking("logistic").fit(scores).score(scores)) > 0.2
    assert brier(Stacking("mlp").fit(scores).score(scores)) < 0.05


# the DQN


def test_the_decision_comes_from_the_fused_score(dqn, held_out):
    scores = held_out[1]
    alpha = dqn.alpha(scores)
    vgae, gat = dqn.probabilities(scores).T
    fused = dqn.score(scores).value
    assert fused == approx(alpha * gat + (1 - alpha) * vgae, abs=1e-12)
    assert np.array_equal(alpha, np.linspace(0, 1, PARAMS.actions)[dqn.policy(scores)])


def test_a_fused_score_lies_between_both(dqn, held_out):
    both = dqn.probabilities(held_out[1])
    fused = dqn.combine(held_out[1])
    assert (both.min(1) - 1e-12 <= fused).all() and (fused <= both.max(1) + 1e-12).all()


def test_the_policy_trusts_whoever_is_right(dqn, held_out):
    side, scores = held_out
    alpha = dqn.alpha(scores)
    assert alpha[side == 1].mean() > alpha[side == 0].mean() + 0.5


def test_switching_beats_either_alone(dqn, fitted, held_out):
    scores = held_out[1]
    alone = [brier(fitted[name].score(scores)) for name in ("VGAE alone", "GAT alone", "mean")]
    assert brier(dqn.score(scores)) < 0.5 * min(alone)


def test_the_reward_rises(dqn):
    reward = dqn.trace["reward"]
    assert set(dqn.trace) == {"reward", "loss", "epsilon", "mean alpha"}
    assert all(len(column) == PARAMS.steps for column in dqn.trace.values())
    assert reward[-50:].mean() > reward[:50].mean() + 0.1
    assert reward.max() <= 1


def test_exploration_falls_from_start_to_end(dqn):
    epsilon = dqn.trace["epsilon"]
    assert (epsilon[0], epsilon[-1]) == approx((PARAMS.epsilon_start, PARAMS.epsilon_end))
    assert (np.diff(epsilon) <= 0).all()
    assert dqn.trace["mean alpha"][0] == approx(0.5, abs=0.15), "random actions at first"


def test_one_seed_gives_one_policy(calib, held_out):
    short = PARAMS.model_copy(update={"steps": 40})
    fits = []
    for seed in (3, 3, 4):
        torch.manual_seed(0)  # the VGAE's calibration starts from torch's own generator
        fits.append(DQNFusion(short, seed).fit(calib))
    one, same, other = fits
    assert np.array_equal(one.combine(held_out[1]), same.combine(held_out[1]))
    assert np.array_equal(one.trace["loss"], same.trace["loss"])
    assert not np.array_equal(one.trace["loss"], other.trace["loss"])


def test_two_actions_choose_one_model_or_the_other(calib, held_out):
    params = PARAMS.model_copy(update={"actions": 2, "steps": 40})
    rule = DQNFusion(params).fit(calib)
    both = rule.probabilities(held_out[1])
    fused = rule.combine(held_out[1])
    assert np.isclose(both, fused[:, None]).any(1).all()
