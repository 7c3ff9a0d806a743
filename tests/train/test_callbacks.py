"""What the callbacks do to a small run: averages, guards."""

from dataclasses import replace

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from trainers import plain_trainer

from cangraph.data.splits import Split
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.nn.models import VGAE
from cangraph.train.callbacks import Averages, CollapseError, finite
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Reconstructor

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Walk(L.LightningModule):
    """A weight that goes one up with every step; each validation tells what it sees of it."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(()))
        self.register_buffer("scale", torch.tensor(0.1))
        self.seen = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def training_step(self, batch, _):
        return -self.w

    def validation_step(self, batch, _):
        self.seen.append(self.w.item())


def walked(epochs, steps):
    walk, average = Walk(), Averages(epochs, steps)
    trainer = plain_trainer(max_epochs=epochs, callbacks=[average], num_sanity_val_steps=0)
    trainer.fit(walk, DataLoader(range(steps)), DataLoader(range(1)))
    assert torch.equal(walk.scale, torch.tensor(0.1)), "constants stay as they are"
    return walk


def test_ema_forgets_over_a_tenth_of_the_steps():
    expected, seen = 1.0, []  # the first update takes the weight as it is
    for n in range(1, 200):
        expected += (n + 1 - expected) * max(1 / 20, 9 / (10 + n))
        if n % 50 == 49:
            seen.append(expected)
    assert walked(4, 50).seen == pytest.approx(seen)


# guards


def test_a_feature_that_is_not_finite_is_named_with_its_window(data, detector, asked):
    x, edges = data.graphs.x.copy(), data.graphs.edge_attr.copy()
    x[data.graphs.node_ptr[7], 3], edges[data.graphs.edge_ptr[9] - 1, 1] = np.nan, -np.inf
    message = f"epoch 1: the node feature '{NODE_FEATURES[3].name}' is nan in the window from frame"
    broken = Split(replace(data.graphs, x=x), data.part, ())
    with pytest.raises(FloatingPointError, match=rf"{message} 700 of .*drive"):
        fit(detector(), broken, asked(4), "student")
    message = f"epoch 3: the edge feature '{EDGE_FEATURES[1].name}' is -inf in .* frame 800 of"
    with pytest.raises(FloatingPointError, match=message):
        finite(replace(data.graphs, edge_attr=edges), "epoch 3")


def test_a_term_that_is_not_finite_is_named_before_it_reaches_the_weights(data, detector, asked):
    task = detector()
    task.model.node_head[0].weight.data[0, 0] = float("inf")
    before = task.model.window_head[0].weight.clone()
    with pytest.raises(FloatingPointError, match=r"step 1, epoch 1: .*'node': (inf|nan)"):
        fit(task, data, asked(4), "student")
    assert torch.equal(task.model.window_head[0].weight, before)


def silent(task):
    """A detector that says the same of every window, whatever it learns."""
    task.model.window_head[2].weight.requires_grad_(False).zero_()
    return task


@pytest.mark.parametrize("level, why", [(0.0, "predicts the base rate"), (50.0, "is saturated")])
def test_constant_outputs_stop_the_run_with_a_diagnosis(data, detector, asked, level, why):
    task = silent(detector())
    task.model.window_head[2].bias.data.fill_(level)
    message = rf"Detector gives -?[\d.]+ for every one of .* in epochs 1 and 2; .* {why}"
    with pytest.raises(CollapseError, match=message):
        fit(task, data, asked(4), "student")
    assert len(task.history) == 1


def test_a_collapse_is_seen_across_a_kill(data, detector, asked, tmp_path):
    def killed(epoch, progress=1.0):
        if epoch:
            raise KeyError("killed")
        return data.train

    broken = Split(data.graphs, data.part, ())
    broken.__dict__["draw"] = killed
    with pytest.raises(KeyError):
        fit(silent(detector()), broken, asked(4), "student", tmp_path)
    with pytest.raises(CollapseError, match="epochs 1 and 2"):
        fit(silent(detector()), data, asked(4), "student", tmp_path)


def test_a_decoder_that_says_the_same_of_every_window_is_a_collapse(data, detector, asked):
    seed_everything(0)
    task = Reconstructor(VGAE(data.graphs.spec, hidden=2, heads=1, layers=1, latent=2))
    task.model.features[2].weight.requires_grad_(False).zero_()
    with pytest.raises(CollapseError, match="Reconstructor gives"):
        fit(task, data, asked(4), "student")


def test_the_history_holds_the_distribution_of_the_outputs(data, detector, asked):
    task = fit(detector(), data, asked(2), "student")
    (kept,) = [row for row in task.history if row.get("kept")]
    logits = task.score(data.val).state[:, 0]
    for share in (5, 25, 50, 75, 95):
        expected = np.quantile(logits, share / 100)
        assert kept[f"val_output_p{share:02}"] == pytest.approx(expected, rel=1e-4)
