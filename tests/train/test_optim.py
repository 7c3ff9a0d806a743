"""Learning rates: how they move, whom they move, and where they may begin."""

import json
import re

import numpy as np
import pytest
import torch

from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train.fit import fit, seed_everything
from cangraph.train.optim import optimisation, steepest
from cangraph.train.tasks import Detector


@pytest.fixture
def task(detector):
    return detector(layers=2)


def rates(task, steps, **values):
    """The learning rate of each step, and the optimiser."""
    run = load_params("demo", fit=values).fit
    (optimizer,), (plan,) = optimisation(task, 0.1, run, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        plan["scheduler"].step()
    return seen, optimizer


def test_one_cycle_peaks_after_the_warm_up(task):
    for warmup in (0.2, 0.6):
        seen, _ = rates(task, 100, warmup=warmup)
        assert seen[int(100 * warmup) - 1] == max(seen) == pytest.approx(0.1)


def test_a_warm_up_of_one_step_begins_at_the_peak(task):
    for steps, warmup in ((2, 0.5), (10, 0.1), (5, 0.2)):
        seen, _ = rates(task, steps, warmup=warmup)
        assert seen[0] == max(seen) == pytest.approx(0.1)


def test_lower_layers_are_slower_than_those_above(task):
    (optimizer,), _ = optimisation(task, 0.1, load_params("demo").fit, 10, slowing=0.5)
    rate = {id(w): g["max_lr"] for g in optimizer.param_groups for w in g["params"]}
    parts = {0.025: task.layers[0], 0.05: task.layers[1], 0.1: [task.model.window_head]}
    for expected, modules in parts.items():
        of = [rate[id(w)] for module in modules for w in module.parameters()]
        assert of == pytest.approx([expected] * len(of))
    assert len(rate) == len(list(task.parameters()))


def test_by_default_there_is_one_group_in_the_order_of_the_model(task):
    _, optimizer = rates(task, 5)
    (group,) = optimizer.param_groups
    assert [id(w) for w in group["params"]] == [id(w) for w in task.parameters()]


def found(data, task, folder, **values):
    values = {"rate": "found", "batch_size": 16} | values
    params = load_params("demo", student={"epochs": 1}, fit=values)
    return fit(task, data, params, "student", folder)


def test_a_found_rate_is_followed_as_far_as_ten_times_the_given(data, task, tmp_path, capfd):
    found(data, task, tmp_path)
    out, err = capfd.readouterr()
    rate, steepest_at = map(float, re.search(r"learning rate (\S+), found (\S+)", out).groups())
    assert rate == pytest.approx(min(max(steepest_at, 0.0002), 0.02), rel=0.01)
    told = json.loads((tmp_path / "diagnostics.json").read_text())
    assert told["learning_rate"] == pytest.approx(rate, rel=0.01)
    assert "Finding" not in err


def test_a_loss_that_never_falls_has_no_rate():
    with pytest.raises(ValueError, match=r"falls at no learning rate from 1e-06 to .*; set fit.ra"):
        steepest(np.geomspace(1e-6, 1, 30), np.linspace(1, 2, 30))


def test_looking_for_a_rate_leaves_the_run_as_it_was(data, task, monkeypatch):
    monkeypatch.setattr("cangraph.train.optim._CAP", 1.0)
    found(data, task, None)
    seed_everything(0)
    plain = found(data, Detector(GAT(**task.model.config)), None, rate="given")
    for name, weights in plain.state_dict().items():
        assert torch.equal(weights, task.state_dict()[name]), name
