"""Rules that fuse two detectors: what they promise on scores made for the purpose."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx
from scorings import PARAMS, brier, scores_of

from cangraph.fusion.dqn import all_rules
from cangraph.fusion.rules import PLAIN, FusionRule, Stacking

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def fitted(calib):
    return {name: rule.fit(calib) for name, rule in all_rules(PARAMS).items()}


def test_what_both_models_say_together_by_hand(calib):
    rule = FusionRule().fit(calib)
    few = [s[:3] for s in calib]
    vgae, gat = rule.probabilities(few).T
    state = rule.states(few)
    assert np.array_equal(state[:, :-4], np.concatenate([s.state for s in few], axis=1))
    derived = [vgae, abs(2 * vgae - 1), abs(2 * gat - 1), abs(vgae - gat)]
    assert state[:, -4:] == approx(np.column_stack(derived))


@pytest.mark.parametrize("name", all_rules(PARAMS))
def test_every_rule_gives_probabilities_of_the_same_windows(name, fitted, held_out):
    scores, rule = held_out[1], fitted[name]
    fused = rule.score(scores)
    assert ((fused.value >= 0) & (fused.value <= 1)).all()
    assert np.array_equal(fused.label, scores[0].label) and not fused.state.size
    if name != "noisy-or":  # two witnesses that guess are no witness
        assert brier(fused) < 0.3 * 0.7, "no better than the prevalence"
    flipped = [replace(s, label=~s.label) for s in scores]
    assert np.array_equal(rule.combine(flipped), fused.value), "labels are not looked at"
    part = rule.combine([s[10:20] for s in scores])
    assert part == approx(fused.value[10:20], abs=1e-6), "each window by itself"
    assert len(rule.score([s[:0] for s in scores])) == 0


@pytest.mark.parametrize("name", all_rules(PARAMS))
def test_one_seed_gives_one_fusion_and_one_class_none(name, calib, held_out):
    short = PARAMS.model_copy(update={"steps": 30})
    one, same = (all_rules(short, seed=3)[name].fit(calib) for _ in range(2))
    assert np.array_equal(one.combine(held_out[1]), same.combine(held_out[1]))
    for attack in (False, True):
        with pytest.raises(ValueError, match="calibration windows are all of one class"):
            one.fit([s[s.label == attack] for s in calib])


def test_rules_by_hand(fitted, held_out):
    scores = held_out[1]
    vgae, gat = fitted["mean"].probabilities(scores).T
    assert np.array_equal(gat, scores[1].value)
    expected = {"VGAE alone": vgae, "GAT alone": gat, "mean": (vgae + gat) / 2}
    expected |= {"max": np.where(vgae > gat, vgae, gat), "noisy-or": 1 - (1 - vgae) * (1 - gat)}
    for name, value in expected.items():
        assert fitted[name].combine(scores) == approx(value), name
    two = PLAIN["noisy-or"](np.array([0.5, 0.5]), np.array([0.5, 0.0]))
    assert two == approx([0.75, 0.5]), "two witnesses at an even chance make three quarters"


def test_the_vgae_becomes_a_probability_in_its_own_order(calib, fitted):
    vgae = fitted["VGAE alone"].combine(calib)
    assert (np.diff(vgae[np.argsort(calib[0].value)]) >= 0).all()
    assert vgae.mean() == approx(calib[0].label.mean(), abs=0.02), "calibrated in the large"
    right = np.abs(calib[0].value) > 2
    assert np.abs(vgae[right] - calib[0].label[right]).max() < 0.2


def test_the_gat_alone_decides_at_an_even_chance_and_what_is_fitted_where_held_out_windows_say():
    scores = scores_of([0.1, 0.2, 0.8, 0.9], np.array([0, 0, 1, 1], bool), np.eye(4))
    high = replace(scores, value=scores.value / 10 + 0.8)
    assert FusionRule("gat").zero_shot(high) == 0.5
    assert FusionRule("mean").zero_shot(high) == Stacking().zero_shot(high) == approx(0.85)


def test_stacking_learns_from_the_state_and_a_line_does_not_bend():
    rng = np.random.default_rng(0)
    corner = rng.choice([-1.0, 1.0], (600, 2))
    noisy = corner + rng.normal(0, 0.1, corner.shape)

    def learnt(label):
        # values that know nothing: what is derived from them must not part it either
        scores = [scores_of(rng.random(600), label, noisy[:, [i]]) for i in (0, 1)]
        return brier(Stacking().fit(scores).score(scores))

    assert learnt(corner[:, 0] > 0) < 0.05
    assert learnt(corner.prod(axis=1) > 0) > 0.2, "exclusive or: no line parts it"


def test_an_input_far_out_counts_as_ten_standard_deviations(calib, fitted):
    first, other = (s[:1] for s in calib)
    states = (replace(first, state=first.state + shift) for shift in (1e3, 1e6))
    far, farther = (fitted["logistic stacking"].combine([s, other]) for s in states)
    assert far == farther
