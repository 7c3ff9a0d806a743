"""A batch learnt from in parts, and what happens when memory runs out: by faults put into steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from trainers import plain_trainer

from cangraph.data.batches import Batches
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.train.fit import fit, seed_everything
from cangraph.train.optim import optimisation
from cangraph.train.tasks import Detector, Reconstructor


@pytest.fixture(scope="module")
def some(attacked):
    """96 windows, a third of them under attack."""
    chosen = [np.flatnonzero(attacked.label)[:32], np.flatnonzero(~attacked.label)[:64]]
    return attacked[np.random.default_rng(0).permutation(np.concatenate(chosen))]


def small(graphs, kind=Detector):
    seed_everything(0)
    return kind(GAT(graphs.spec, hidden=4, heads=2, layers=1))


class Narrow(Detector):
    """A device on which a step of more than `room` nodes runs out of memory, in its forward or in
    its backward pass, as `where` says."""

    room, where = 10**9, "forward"

    def loss(self, batch):
        terms = super().loss(batch)
        if self.training and len(batch.x) > self.room:
            if self.where == "forward":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            terms["loss"].register_hook(self.fail)
        return terms

    def fail(self, gradient):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def trained(task, graphs, epochs=2, size=32, **options):
    """A few steps under Lightning; the windows go in their own order."""
    run, batches = load_params("demo", fit={"weight_decay": 0.0}).fit, Batches(graphs, size)
    steps = epochs * -(-len(batches) // options.get("accumulate_grad_batches", 1))
    task.optimisation = lambda task: optimisation(task, 0.01, run, steps)
    task.prepare(graphs)
    trainer = plain_trainer(max_epochs=epochs, **options)
    trainer.fit(task, batches)
    return trainer


def weights(task):
    return torch.cat([w.detach().flatten() for w in task.model.parameters()])


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
    "ignore:.*[Tt]ensorboard.*",
)


def test_the_gradient_of_parts_is_that_of_the_batch_but_for_means_over_nodes(attacked, some):
    """Of windows of the same size, to rounding; in general, near."""
    size = np.diff(attacked.node_ptr)
    same = attacked[size == np.bincount(size).argmax()]
    same = replace(same, label=np.arange(len(same)) % 3 == 0)
    for windows, near in ((same, 1e-4), (some, 2e-2)):
        whole, cut = small(windows), small(windows)
        cut.at_once = 5
        steps = [trained(task, windows, epochs=1).global_step for task in (whole, cut)]
        assert steps[0] == steps[1] == -(-len(windows) // 32)
        apart = (weights(whole) - weights(cut)).norm() / weights(whole).norm()
        assert 0 < apart < near


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}])
def test_out_of_memory_halves_the_parts_and_trains_the_same(some, capsys, where, options):
    whole, narrow = small(some), small(some, Narrow)
    narrow.room, narrow.where = 300, where
    one, other = trained(whole, some, **options), trained(narrow, some, **options)
    assert one.global_step == other.global_step > 0
    assert (weights(whole) - weights(narrow)).norm() / weights(whole).norm() < 2e-2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fit: ")]
    largest = max(len(batch.x) for batch in Batches(some, 32))
    assert 0 < len(lines) <= np.ceil(np.log2(largest / 300)) + 1
    assert "epoch 1, step 1: 32 windows" in lines[0] and "at most" in lines[0]
    assert narrow.at_once * 2 * largest / 32 > 200
    plain, logged = one.callback_metrics, other.callback_metrics
    assert logged["at_once"] == narrow.at_once and "at_once" not in plain
    assert logged["train_loss"].item() == pytest.approx(plain["train_loss"].item(), rel=0.05)


def test_values_of_a_failed_attempt_are_not_logged_twice(some):
    rows = []
    for room in (10**9, 500):
        task = small(some, Narrow)
        task.room, task.where, task.counted = room, "backward", 0
        log_means = task.log_means

        def counting(stage, batch, task=task, log_means=log_means, **values):
            task.counted += batch.num_graphs
            log_means(stage, batch, **values)

        task.log_means = counting
        trained(task, some, epochs=1)
        rows.append(task.counted)
    assert rows == [96, 96]


def test_the_same_seed_gives_the_same_weights_in_parts(some):
    made = []
    for _ in range(2):
        seed_everything(0)
        task = Reconstructor(VGAE(some.spec, hidden=4, heads=2, layers=1, latent=2))
        task.at_once = 3
        trained(task, some, epochs=1)
        made.append(weights(task))
    assert torch.equal(*made)


def test_a_window_that_does_not_fit_is_an_error(some):
    task = small(some, Narrow)
    task.room = 5
    message = r"epoch 1, step 1: 1 windows \(\d+ nodes, .* smaller model"
    with pytest.raises(torch.OutOfMemoryError, match=message):
        trained(task, some)


def test_other_errors_are_handed_on(some):
    task = small(some)
    task.loss = lambda batch: (_ for _ in ()).throw(RuntimeError("another matter"))
    with pytest.raises(RuntimeError, match="another matter"):
        trained(task, some)


def test_fit_takes_the_limit_from_the_parameters_and_records_it(data, detector, asked):
    task = fit(detector(), data, asked(at_once=9), "student")
    assert [row["at_once"] for row in task.history] == [task.at_once] * 2 == [9, 9]
