"""Lightning callbacks: history, guards against runs that cannot succeed, averages of the weights,
and which layers learn."""

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelPruning, WeightAveraging
from torch import Tensor, nn

from cangraph.data.graphs import Graphs
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.files import put

_REACH = 0.1  # share of the steps that an exponential average looks back
_SWA = 0.75  # share of the epochs before a stochastic weight average begins
_SLOWER = 2.6  # times, of a layer than the one above it (Howard and Ruder 2018)
_CONSTANT = 1e-3  # standard deviation of the outputs below which they count as constant
_PATIENCE = 2  # epochs with constant outputs that stop a run
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class EpochLines(Callback):
    """Print one line an epoch, append the epoch's means to `task.history`, and write that anew to
    `history.csv` in the `folder`, so that a run that goes on after a kill leaves no row twice."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_epoch_start(self, trainer, task) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer, task) -> None:
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row |= {name: float(value) for name, value in trainer.callback_metrics.items()}
        task.history.append(row)
        if not trainer.is_global_zero:
            return
        shown = "  ".join(f"{k} {v:.4f}" for k, v in row.items() if k.endswith(("loss", "auprc")))
        took = time.perf_counter() - self.began
        print(f"epoch {row['epoch']:>3}/{trainer.max_epochs}  {shown}  {took:.1f} s", flush=True)
        table = pl.from_dicts(task.history, infer_schema_length=None).write_csv()
        put(self.folder / "history.csv", table.encode())


# guards: what stops a run that cannot succeed


class CollapseError(RuntimeError):
    """A run whose outputs no longer depend on the window."""


def finite(graphs: Graphs, what_for: str) -> Graphs:
    """`graphs`; raises `FloatingPointError` that names the first feature that is not finite."""
    for what, values, ptr, names in (
        ("node", graphs.x, graphs.node_ptr, NODE_FEATURES),
        ("edge", graphs.edge_attr, graphs.edge_ptr, EDGE_FEATURES),
    ):
        if np.isfinite(values).all():
            continue
        row, column = np.argwhere(~np.isfinite(values))[0]
        window = int(np.searchsorted(ptr, row, "right")) - 1
        info = graphs.captures[graphs.capture[window]]
        raise FloatingPointError(
            f"fit: {what_for}: the {what} feature {names[column].name!r} is "
            f"{values[row, column]} in the window from frame {graphs.begin[window]} of "
            f"{info.label}; expected finite features; drop the window"
        )
    return graphs


class FiniteLoss(Callback):
    """Stop at a loss that is not finite, before it changes the weights, and name the term."""

    def on_before_backward(self, trainer, task, loss: Tensor) -> None:
        if not torch.isfinite(task.latest["loss"]):
            terms = {name: value.item() for name, value in task.latest.items()}
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            raise FloatingPointError(
                f"fit: step {trainer.global_step + 1}, epoch {trainer.current_epoch + 1}: the loss "
                f"is made of {terms}, learning rate {rate:.3g}; expected finite terms; use a lower "
                "learning_rate or fit.clip"
            )


class Collapse(Callback):
    """Log quantiles of the outputs on validation windows, `val_output_p05` … `val_output_p95`, and
    stop when they have been constant in two epochs in a row. An output is one number for each
    window: the logit of a detector, the mean rebuilt feature of a reconstructor."""

    constant = 0  # epochs in a row

    def on_validation_epoch_end(self, trainer, task) -> None:
        outputs = torch.cat(task.outputs).double()
        task.outputs.clear()
        at = torch.quantile(outputs, outputs.new_tensor(_QUANTILES))
        task.log_dict(
            {f"val_output_p{q * 100:02.0f}": v for q, v in zip(_QUANTILES, at.float(), strict=True)}
        )
        self.constant = self.constant + 1 if outputs.std(correction=0) < _CONSTANT else 0
        if self.constant == _PATIENCE:
            epoch = trainer.current_epoch + 1
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            level = outputs.mean().item()
            raise CollapseError(
                f"fit: {type(task).__name__} gives {level:.4g} for every one of the {len(outputs)} "
                f"validation windows in epochs {epoch - 1} and {epoch}; expected outputs that "
                f"differ; {self._why(task, level, rate)}"
            )

    @staticmethod
    def _why(task, level: float, rate: float) -> str:
        losses = [row["train_loss"] for row in task.history]
        if len(losses) > 1 and losses[-1] > losses[0]:
            return f"the loss rose: use a learning_rate below {rate:.3g}, or a longer fit.warmup"
        if abs(level) > 10:
            return "the output is saturated: use a lower learning_rate, or another fit.imbalance"
        return (
            "the net predicts the base rate: features are constant, the learning_rate of "
            f"{rate:.3g} is too low, or fit.weight_decay too high"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"constant": self.constant}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.constant = state_dict["constant"]


# what becomes of the weights


class Averages(WeightAveraging):
    """Validate and keep an average of the weights instead of the weights themselves.

    `ema`, after every step: w̄ ← w̄ + (w − w̄) · max(1/h, 9/(10 + n)), with n steps so far and h a
    tenth of all steps: an exponential average that forgets the first weights faster while it is
    young. (Lightning's EMAWeightAveraging has one fixed decay.) `swa`, after every epoch: the mean
    of the weights at the end of the last quarter of the `epochs`, of two if there are (Izmailov et
    al. 2018). Lightning's own replaces the schedule, and validates no average.
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


class FineTuning(Callback):
    """Which layers of `task.encoder` learn in which epoch; the heads always do.

    `frozen`: none. `gradual`: none at first, then one more from the heads down in each of equal
    shares of the epochs (Howard and Ruder 2018, §3.3). `discriminative`: all, each at 1/2.6 of the
    learning rate of the one above it, the heads on top (ibid., §3.2).

    All weights are in the optimiser from the start; those that do not learn have no gradient, and
    AdamW leaves them as they are.

    Raises `ValueError` for another `how`.
    """

    def __init__(self, how: Literal["frozen", "gradual", "discriminative"], epochs: int):
        if how not in ("frozen", "gradual", "discriminative"):
            raise ValueError(f"adapt: how = {how!r}; use frozen, gradual or discriminative")
        self.how, self.epochs = how, epochs
        self.slowing = 1 / _SLOWER if how == "discriminative" else 1.0

    def learning(self, epoch: int, layers: int) -> int:
        """How many of `layers` learn in an epoch (from 0), counted from the heads down.

        >>> [FineTuning("gradual", 8).learning(epoch, 2) for epoch in range(8)]
        [0, 0, 0, 1, 1, 1, 2, 2]
        """
        if self.how == "gradual":
            return epoch * (layers + 1) // self.epochs
        return 0 if self.how == "frozen" else layers

    def on_train_epoch_start(self, trainer, task) -> None:
        layers = task.layers
        first = len(layers) - self.learning(trainer.current_epoch, len(layers))
        for number, layer in enumerate(layers):
            layer.requires_grad_(number >= first)


class GradientFreezing(Callback):
    """Freeze a layer of the encoder when its gradient has become small beside the others'.

    The gradient of a layer in an epoch is g = mean over steps of ‖∇w‖ / √(number of its weights).
    After the epoch every layer with g < `share` · (mean g of the other parts that learn) stops
    learning for the rest of the run; the heads are one part, and always learn.
    """

    def __init__(self, share: float):
        self.share = share
        self.frozen: list[int] = []  # positions in `task.layers`
        self.sums: dict[int, Tensor] = {}  # of the epoch so far, by part

    @staticmethod
    def _parts(task) -> dict[int, list[nn.Parameter]]:
        """The weights of each layer by its position, of the heads as -1."""
        parts = {n: [*layer.parameters()] for n, layer in enumerate(task.layers)}
        known = {id(w) for weights in parts.values() for w in weights}
        return parts | {-1: [w for w in task.parameters() if id(w) not in known]}

    def on_train_epoch_start(self, trainer, task) -> None:
        self.sums.clear()
        for n in self.frozen:
            task.layers[n].requires_grad_(False)

    def on_before_optimizer_step(self, trainer, task, optimizer) -> None:
        for part, weights in self._parts(task).items():
            gradients = [w.grad for w in weights if w.grad is not None]
            if gradients:
                size = sum(g.numel() for g in gradients)
                norm = nn.utils.get_total_norm(gradients) / size**0.5
                self.sums[part] = self.sums.get(part, 0.0) + norm

    def on_train_epoch_end(self, trainer, task) -> None:
        mean = {part: float(value) for part, value in self.sums.items()}
        for part, own in mean.items():
            others = [value for other, value in mean.items() if other != part]
            if part >= 0 and own < self.share * float(np.mean(others)):
                self.frozen.append(part)
                if trainer.is_global_zero:
                    print(f"layer {part + 1} of {len(task.layers)} is frozen from here on")

    def state_dict(self) -> dict[str, Any]:
        return {"frozen": self.frozen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.frozen = state_dict["frozen"]


class Pruning(ModelPruning):
    """Set the `share` of the model's weights with the least absolute values to 0, over all its
    matrices together, after the first epoch; the other weights go on learning (Han et al. 2015).

    Lightning's own hook would prune after the epoch's validation. Masks are no part of a
    checkpoint: a resumed run finds them again, since the zeros are the least weights.
    """

    def __init__(self, model: nn.Module, share: float):
        none = torch.empty(0)
        matrices = [(m, "weight") for m in model.modules() if getattr(m, "weight", none).ndim > 1]
        super().__init__(
            "l1_unstructured",
            matrices,
            amount=share,
            apply_pruning=False,  # by Lightning's hook
            use_lottery_ticket_hypothesis=False,
        )
        self.share = share

    def on_train_start(self, trainer, task) -> None:
        if trainer.current_epoch:
            self.apply_pruning(self.share)

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx) -> None:
        if trainer.is_last_batch and not trainer.current_epoch:
            self.apply_pruning(self.share)
