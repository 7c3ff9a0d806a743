"""Rules that fuse two detectors: what they promise on scores made for the purpose."""

from dataclasses import replace

import numpy as np
import pytest
from pytest import approx
from scorings import PARAMS, brier, scores_of

from cangraph.fusion.dqn import all_rules
from cangraph.fusion.rules import BOTH, STATE, FusionRule, Stacking
from cangraph.train.tasks import Detector, Reconstructor

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def fitted(calib):
    return {name: rule.fit(calib) for name, rule in all_rules(PARAMS).items()}


# the state


def test_the_state_is_documented_entry_by_entry():
    derived = tuple(entry.name for entry in BOTH)
    names = (*Reconstructor.state_names, *Detector.state_names, *derived)
    assert tuple(entry.name for entry in STATE) == names
    assert len({*names}) == len(names) and all(e.unit and e.says for e in STATE)


def test_what_both_models_say_together_by_hand(calib):
    rule = FusionRule().fit(calib)
    few = [s[:3] for s in calib]
    vgae, gat = rule.probabilities(few).T
    state = rule.states(few)
    assert np.array_equal(state[:, :-4], np.concatenate([s.state for s in few], axis=1))
    assert state[:, -4:] == approx(
        np.column_stack([vgae, abs(2 * vgae - 1), abs(2 * gat - 1), abs(vgae - gat)])
    )


# every rule


def test_every_rule_gives_probabilities_of_the_same_windows(fitted, held_out):
    scores = held_out[1]
    for name, rule in fitted.items():
        fused = rule.score(scores)
        assert ((fused.value >= 0) & (fused.value <= 1)).all(), name
        assert np.array_equal(fused.label, scores[0].label), name
        assert fused.state.size == 0 and fused.state_names == (), name
        if name != "noisy-or":  # two witnesses that guess are no witness
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
        assert len(rule.score([s[:0] for s in scores])) == 0, name


def test_one_seed_gives_one_fusion(calib, held_out):
    short = PARAMS.model_copy(update={"steps": 30})
    for name in all_rules(short):
        one, same = (all_rules(short, seed=3)[name].fit(calib) for _ in range(2))
        assert np.array_equal(one.combine(held_out[1]), same.combine(held_out[1])), name


@pytest.mark.parametrize("name", all_rules(PARAMS))
@pytest.mark.parametrize("attack", [False, True])
def test_calibration_windows_of_one_class_are_refused(calib, name, attack):
    one = [s[s.label == attack] for s in calib]
    with pytest.raises(ValueError, match=r"calibration windows are all of one class; expected"):
        all_rules(PARAMS)[name].fit(one)


def test_windows_that_are_not_the_same_are_refused(calib):
    with pytest.raises(ValueError, match="1000 windows of the VGAE and 999 of the GAT have other"):
        FusionRule().fit([calib[0], calib[1][1:]])


# rules without learning


def test_rules_by_hand(calib, held_out):
    scores = held_out[1]
    rule = FusionRule("mean").fit(calib)
    vgae, gat = rule.probabilities(scores).T
    fused = {}
    for rule.kind in ("vgae", "gat", "mean", "max", "noisy-or"):
        fused[rule.kind] = rule.combine(scores)
    assert np.array_equal(fused["vgae"], vgae)
    assert np.array_equal(fused["gat"], gat) and np.array_equal(gat, scores[1].value)
    assert fused["mean"] == approx((vgae + gat) / 2)
    assert np.array_equal(fused["max"], np.where(vgae > gat, vgae, gat))
    assert (fused["noisy-or"] >= fused["max"] - 1e-15).all(), "a second witness never acquits"


def test_two_witnesses_at_an_even_chance_make_three_quarters():
    label = np.array([False, True] * 20)
    value = np.tile([-1.0, 1.0], 20)
    scores = [scores_of(value, label, value[:, None]), scores_of(label * 0.5, label, np.eye(40))]
    rule = FusionRule("noisy-or").fit(scores)
    even = replace(scores[0][:2], value=np.zeros(2))  # midway between the classes
    fused = rule.combine([even, replace(scores[1][:2], value=np.array([0.5, 0.0]))])
    assert fused == approx([0.75, 0.5])


def test_the_vgae_becomes_a_probability_in_its_own_order(calib):
    rule = FusionRule("vgae").fit(calib)
    vgae = rule.combine(calib)
    order = np.argsort(calib[0].value)
    assert (np.diff(vgae[order]) >= 0).all()
    assert vgae.mean() == approx(calib[0].label.mean(), abs=0.02), "calibrated in the large"
    right = np.abs(calib[0].value) > 2
    assert np.abs(vgae[right] - calib[0].label[right]).max() < 0.2


def test_the_gat_alone_decides_at_an_even_chance_and_what_is_fitted_where_held_out_windows_say():
    scores = scores_of([0.1, 0.2, 0.8, 0.9], np.array([0, 0, 1, 1], bool), np.eye(4))
    high = replace(scores, value=scores.value / 10 + 0.8)
    assert FusionRule("gat").zero_shot(high) == 0.5
    assert FusionRule("mean").zero_shot(high) == approx(0.85)
    assert Stacking().zero_shot(high) == approx(0.85)


@pytest.mark.parametrize("make", [FusionRule, Stacking])
def test_an_unknown_kind_is_told_the_known(make):
    with pytest.raises(ValueError, match=rf"{make.__name__}: 'median' is unknown; expected "):
        make("median")


# stacking


@pytest.mark.parametrize("kind", ["logistic", "boosting", "mlp"])
def test_stacking_learns_from_the_state(kind):
    rng = np.random.default_rng(0)
    label = rng.random(400) < 0.5
    useless = np.full(400, 0.5)
    scores = [
        scores_of(rng.normal(size=400), label, rng.normal(size=(400, 2))),
        scores_of(useless, label, (label + rng.normal(0, 0.1, 400))[:, None]),
    ]
    assert brier(Stacking(kind).fit(scores).score(scores)) < 0.05


def test_a_line_does_not_bend():
    rng = np.random.default_rng(0)
    corner = rng.choice([-1.0, 1.0], (600, 2))
    label = corner.prod(axis=1) > 0  # exclusive or: no line parts it
    state = corner + rng.normal(0, 0.1, corner.shape)
    # values that know nothing: what is derived from them must not part it either
    scores = [scores_of(rng.random(600), label, state[:, [i]]) for i in (0, 1)]
    assert brier(Stacking("logistic").fit(scores).score(scores)) > 0.2
    assert brier(Stacking("mlp").fit(scores).score(scores)) < 0.05
    assert brier(Stacking("boosting").fit(scores).score(scores)) < 0.05


def test_an_input_far_out_counts_as_ten_standard_deviations(calib):
    rule = Stacking("logistic").fit(calib)
    far, farther = (
        [replace(calib[0][:1], state=calib[0].state[:1] + shift), calib[1][:1]]
        for shift in (1e3, 1e6)
    )
    assert rule.combine(far) == rule.combine(farther)
