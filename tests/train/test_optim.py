"""Learning rates: how they move, and whom they move."""

import pytest

from cangraph.params import load_params
from cangraph.train.optim import optimisation


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


def test_there_is_one_group_in_the_order_of_the_model(task):
    _, optimizer = rates(task, 5)
    (group,) = optimizer.param_groups
    assert [id(w) for w in group["params"]] == [id(w) for w in task.parameters()]
