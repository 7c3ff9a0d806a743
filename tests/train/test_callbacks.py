"""What the callbacks do to a small run: averages, freezing, pruning, guards."""

from dataclasses import replace

import lightning as L
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from trainers import plain_trainer

from cangraph.data.splits import Split
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.nn.models import GAT, VGAE
from cangraph.train.callbacks import Averages, CollapseError, GradientFreezing, finite
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


def walked(kind, epochs, steps):
    walk, average = Walk(), Averages(kind, epochs, steps)
    trainer = plain_trainer(max_epochs=epochs, callbacks=[average], num_sanity_val_steps=0)
    trainer.fit(walk, DataLoader(range(steps)), DataLoader(range(1)))
    assert torch.equal(walk.scale, torch.tensor(0.1)), "constants stay as they are"
    return walk


def test_swa_is_the_mean_of_the_last_epochs_and_before_that_the_weight_itself():
    walk = walked("swa", 8, 5)  # w = 5, 10, … 40 at the ends of the epochs
    assert walk.seen == pytest.approx([5, 10, 15, 20, 25, 30, 35, (35 + 40) / 2])
    assert walk.w.item() == pytest.approx(37.5)
    assert walked("swa", 2, 5).seen == pytest.approx([5, 7.5]), "two epochs at least"


def test_ema_forgets_over_a_tenth_of_the_steps():
    expected, seen = 1.0, []  # the first update takes the weight as it is
    for n in range(1, 200):
        expected += (n + 1 - expected) * max(1 / 20, 9 / (10 + n))
        if n % 50 == 49:
            seen.append(expected)
    assert walked("ema", 4, 50).seen == pytest.approx(seen)


class Gradients(L.LightningModule):
    """Two layers and a head whose gradients are constants."""

    def __init__(self, slopes):
        super().__init__()
        sizes, self.slopes = (4, 9, 1), slopes
        self.parts = torch.nn.ModuleList(torch.nn.Linear(n, 1, bias=False) for n in sizes)

    @property
    def layers(self):
        return [*self.parts[:2]]

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)

    def training_step(self, batch, _):
        return sum(s * part.weight.sum() for s, part in zip(self.slopes, self.parts, strict=True))


@pytest.mark.parametrize(
    "slopes, share, frozen",
    [
        # every weight of a part has its slope as gradient, so g = (1, 4, 6), whatever the sizes;
        # 1 is a fifth of the mean of the others, (4 + 6) / 2; 4 is more than (1 + 6) / 2
        ((1.0, 4.0, 6.0), 0.19, []),
        ((1.0, 4.0, 6.0), 0.21, [0]),
        # both are small in the first epoch; a head never freezes
        ((1.0, 1.0, 9.0), 0.25, [0, 1]),
        ((9.0, 9.0, 1.0), 0.25, []),
    ],
)
def test_a_layer_whose_gradient_is_small_beside_the_others_freezes(slopes, share, frozen):
    task, freezing, seen = Gradients(slopes), GradientFreezing(share), []
    task.on_train_epoch_end = lambda: seen.append([p.weight.detach().clone() for p in task.parts])
    plain_trainer(max_epochs=3, callbacks=[freezing]).fit(task, DataLoader(range(4)))
    assert freezing.frozen == frozen
    for number in range(3):
        assert torch.equal(seen[0][number], seen[-1][number]) == (number in frozen)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_pruning_leaves_the_share_of_zeros_that_was_asked_for(data, detector, asked, share):
    task = fit(detector(), data, asked(3, prune=share, average="none"), "student")
    named = task.model.named_parameters()
    matrices = [w for name, w in named if name.endswith("weight") and w.ndim > 1]
    zeros = sum(int((w == 0).sum()) for w in matrices)
    assert zeros == round(share * sum(w.numel() for w in matrices))
    again = GAT(**task.model.config)
    again.load_state_dict(task.model.state_dict())  # no mask is left
    with pytest.raises(ValueError, match=r"fit.average = 'ema', .*; set fit.average to none"):
        asked(prune=share)


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
