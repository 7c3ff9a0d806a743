"""Lightning callbacks, only what Lightning lacks."""

import time
from typing import Literal

import numpy as np
import torch
from lightning.pytorch.callbacks import BaseFinetuning, Callback, WeightAveraging
from torch import Tensor

__all__ = ["Averages", "EpochLines", "FineTuning", "OwnDice"]

_REACH = 0.1  # share of the steps that an exponential average looks back
_SWA = 0.75  # share of the epochs before a stochastic weight average begins
_SLOWER = 2.6  # times, of a layer than the one above it (Howard and Ruder 2018)


class EpochLines(Callback):
    """One printed line an epoch, and `task.history`: a dict of the means of each epoch."""

    def on_train_epoch_start(self, trainer, task):
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer, task):
        row = {"epoch": trainer.current_epoch + 1}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        task.history.append(row)
        if not trainer.is_global_zero:
            return
        shown = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k.endswith(("loss", "auprc")))
        took = time.perf_counter() - self.began
        print(f"epoch {row['epoch']:>3}/{trainer.max_epochs}  {shown}  {took:.1f} s", flush=True)


class OwnDice(Callback):
    """Processes that share the batches hide and drop at random, each on its own: in every epoch
    process r > 0 begins with dice of (`seed`, epoch, r). The first one's are as without others, and
    are what a checkpoint holds; so a run that goes on falls as one that was not killed."""

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_epoch_start(self, trainer, task) -> None:
        if trainer.global_rank:
            of = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank])
            torch.manual_seed(int(of.generate_state(1)[0]))


class Averages(WeightAveraging):
    """Validate and keep an average of the weights instead of the weights themselves.

    `ema`, after every step: w̄ ← w̄ + (w − w̄) · max(1/h, 9/(10 + n)), n steps so far, h a tenth of
    all steps: an exponential average that forgets the first weights faster while it is young.
    `swa`, after every epoch: the mean of the weights at the end of the last quarter of the epochs,
    of two at least (Izmailov et al. 2018); before that the weights themselves.

    Lightning's StochasticWeightAveraging would replace the schedule, and its average is neither
    validated nor in a checkpoint; this one is both.

    Parameters: `epochs` and optimiser `steps` of one epoch.
    """

    def __init__(self, kind: Literal["ema", "swa"], epochs: int, steps: int):
        self.every = 1 if kind == "ema" else steps
        reach, start = max(_REACH * epochs * steps, 1.0), min(int(_SWA * epochs), epochs - 2)

        def ema(average: Tensor, now: Tensor, n: Tensor) -> Tensor:
            return average + (now - average) * (9 / (10 + n)).clamp(min=1 / reach)

        def swa(average: Tensor, now: Tensor, n: Tensor) -> Tensor:
            return torch.where(n <= start, now, average + (now - average) / (n - start + 1))

        super().__init__(avg_fn=ema if kind == "ema" else swa)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        # with the last step of an epoch, not after the epoch: validation comes in between
        return step_idx is not None and (step_idx + 1) % self.every == 0


class FineTuning(BaseFinetuning):
    """Which layers of `task.encoder` learn in which epoch; the heads always do.

    `frozen`: none. `gradual`: none at first, then one more from the heads down in each of equal
    shares of the epochs, all in the last (Howard and Ruder 2018, §3.3). `discriminative`: all, each
    at 1/2.6 of the learning rate of the one above it, the heads on top (ibid., §3.2).

    All weights are in the optimiser from the start, so that any schedule knows its groups; those
    that do not learn have no gradient, and AdamW leaves them as they are. What learns depends on
    the epoch alone, so a run that was killed goes on the same.

    Raises `ValueError` for a `how` that is none.
    """

    def __init__(self, how: Literal["frozen", "gradual", "discriminative"], epochs: int):
        super().__init__()
        if how not in ("frozen", "gradual", "discriminative"):
            raise ValueError(
                f"FineTuning: how = {how!r}; expected frozen, gradual or discriminative; use one"
            )
        self.how, self.epochs = how, epochs
        self.slowing = 1 / _SLOWER if how == "discriminative" else 1.0

    def learning(self, epoch: int, layers: int) -> int:
        """How many of so many layers learn in an epoch (from 0), counted from the heads down.

        >>> [FineTuning("gradual", 8).learning(epoch, 2) for epoch in range(8)]
        [0, 0, 0, 1, 1, 1, 2, 2]
        """
        if self.how == "gradual":
            return epoch * (layers + 1) // self.epochs
        return 0 if self.how == "frozen" else layers

    def freeze_before_training(self, task) -> None:
        """Nothing yet: the optimiser takes what can learn, and that is all of it."""

    def finetune_function(self, task, epoch: int, optimizer) -> None:
        layers = task.layers
        first = len(layers) - self.learning(epoch, len(layers))
        for number, layer in enumerate(layers):
            (self.freeze if number < first else self.make_trainable)(layer)

    def on_fit_end(self, trainer, task) -> None:
        self.make_trainable([module for layer in task.layers for module in layer])
