"""What the callbacks do to a small run."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from cangraph.train.callbacks import Averages


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


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def walked(kind, epochs, steps):
    walk = Walk()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[Averages(kind, epochs, steps)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(walk, DataLoader(range(steps)), DataLoader(range(1)))
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


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_averages_leave_constants_as_they_are(kind):
    assert torch.equal(walked(kind, 4, 5).scale, torch.tensor(0.1))
