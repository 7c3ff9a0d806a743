"""What training does about few attacks: each way by hand, and what several amount to."""

import math
import warnings

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.nn.losses import Balance, balanced, binary_error
from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector


@pytest.fixture(scope="module")
def few():
    """Ten windows under attack and thirty benign ones."""
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    graphs = to_graphs([frames.label(scenario="train_02_with_attacks")], 100, 100)
    both = [np.flatnonzero(graphs.label == label) for label in (False, True)]
    return graphs[np.concatenate([both[0][:30], both[1][:10]])]


@pytest.mark.parametrize(
    "ways, weight, node_weight, offset, focus",
    [
        ([], 1, 1, 0, 0),
        (["weights"], 3, 5, 0, 0),
        (["sampler"], 1, 1, 0, 0),
        (["focal"], 1, 1, 0, 2),
        (["logits"], 1, 1, -math.log(3), 0),
    ],
)
def test_each_way_by_hand(few, ways, weight, node_weight, offset, focus):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        balance = Balance.of(few, ways)
    attacked = few.node_attack.mean()
    node_offset = math.log(attacked / (1 - attacked)) if "logits" in ways else 0
    assert balance == pytest.approx((weight, node_weight, offset, node_offset, focus))


def test_weights_are_capped(few):
    assert Balance.of(few[:31], ["weights"]).window_weight == 10  # thirty to one


def test_several_ways_warn_with_what_they_amount_to(few):
    message = (
        r"fit.imbalance = \[sampler, weights\] makes an attack window weigh as much as 9 benign "
        r"ones at the first step \(sampler 3 × weights 3\), where there are 3 of them; .*keep one"
    )
    with pytest.warns(UserWarning, match=message):
        Balance.of(few, ["sampler", "weights"])


@pytest.mark.parametrize(
    "ways, weight", [(["sampler", "logits"], 9), (["weights", "logits"], 9), (["weights"], 3)]
)
@pytest.mark.filterwarnings("ignore:.*makes an attack window weigh")
def test_the_weight_that_is_warned_of_is_that_of_the_first_gradient(few, ways, weight):
    balance = Balance.of(few, ways)
    share = 0.5 if "sampler" in ways else 0.25  # of the windows drawn that are under attack
    logit = torch.zeros(2, requires_grad=True)
    for k, label in enumerate([0.0, 1.0]):
        window_weight = torch.tensor(balance.window_weight)
        error = binary_error(
            logit[k : k + 1], torch.tensor([label]), window_weight, balance.window_offset
        )
        (error * (share if label else 1 - share)).backward()
    benign, attack = logit.grad.abs().tolist()
    # in sum over all windows, an attack weighs as much as this many benign ones
    assert attack / benign * 30 / 10 == pytest.approx(weight)


def test_the_sampler_draws_both_kinds_alike(few):
    drawn = balanced(few, np.random.default_rng(0))
    assert len(drawn) == len(few)
    many = [balanced(few, np.random.default_rng(k)).label.mean() for k in range(100)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="0 of 30 windows drawn are under attack; expected both"):
        balanced(few[:30], np.random.default_rng(0))


def test_windows_of_one_kind_are_refused(few):
    with pytest.raises(ValueError, match="all benign"):
        Balance.of(few[:30], ["weights"])
    with pytest.raises(ValueError, match=r"all under attack; .* for fit.imbalance = \[logits\]"):
        Balance.of(few[30:], ["logits"])


def test_an_offset_takes_the_base_rate_off_the_logit():
    label = torch.tensor([1.0, 0.0, 0.0, 0.0])
    logit = torch.full((4,), 0.0, requires_grad=True)  # knows nothing beyond the base rate
    binary_error(logit, label, torch.ones(()), offset=-math.log(3)).backward()
    assert logit.grad.sum().item() == pytest.approx(0, abs=1e-7)


def test_focal_counts_what_is_told_well_less():
    logit, label = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    p = torch.sigmoid(logit)
    expected = (-((1 - p) ** 2) * p.log() * 3).mean().item()
    assert binary_error(logit, label, torch.tensor(3.0), focus=2.0).item() == pytest.approx(
        expected
    )


def test_each_way_changes_what_is_learnt_and_an_epoch_of_each_has_as_many_steps(few):
    data = Split(few, np.zeros(len(few), np.uint8), ())
    data.__dict__["val"] = few
    seen = set()
    for way in ([], ["weights"], ["sampler"], ["focal"], ["logits"]):
        params = load_params("demo", teacher={"epochs": 1}, fit={"imbalance": way})
        seed_everything(0)
        task = fit(Detector(GAT(few.spec, hidden=2, heads=1, layers=1)), data, params)
        seen.add(task.history[0]["train_loss"])
    assert len(seen) == 5
