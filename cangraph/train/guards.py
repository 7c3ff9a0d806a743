"""What stops a run that cannot come to anything, and says why."""

from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from cangraph.data.graphs import Graphs
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES

__all__ = ["Collapse", "CollapseError", "FiniteLoss", "finite"]

_CONSTANT = 1e-3  # standard deviation of the outputs below which they are all the same
_PATIENCE = 2  # epochs with constant outputs that stop a run
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class CollapseError(RuntimeError):
    """A run whose outputs no longer depend on the window."""


def finite(graphs: Graphs, what_for: str) -> Graphs:
    """The windows of an epoch or of validation, if all their features are finite.

    Raises `FloatingPointError` that names the feature and the window.
    """
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
            f"{info.label}; expected finite features; run data_prep again, or drop the window"
        )
    return graphs


class FiniteLoss(Callback):
    """Stop at the first loss that is not finite, before it reaches the weights, and name the
    term that made it so."""

    def on_before_backward(self, trainer, task, loss: Tensor) -> None:
        if not torch.isfinite(task.latest["loss"]):
            terms = {name: value.item() for name, value in task.latest.items() if name != "loss"}
            odd = [name for name, value in terms.items() if not np.isfinite(value)] or ["their sum"]
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            raise FloatingPointError(
                f"fit: step {trainer.global_step + 1}, epoch {trainer.current_epoch + 1}: of the "
                f"loss, {' and '.join(odd)} is not finite ({terms}, learning rate {rate:.3g}); "
                "expected finite terms; use a lower learning_rate or fit.clip"
            )


class Collapse(Callback):
    """Put the distribution of the outputs on validation windows into the history, and stop when
    they have been constant in two epochs on end.

    An output is one number for each window, `task.outputs`: the logit of a detector, the mean
    rebuilt feature of a reconstructor. `val_output_p05` … `val_output_p95` are its quantiles.
    """

    def __init__(self):
        self.constant = 0

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
                f"fit: {type(task).__name__} gives {level:.4g} for every one of the "
                f"{len(outputs)} validation windows in epochs {epoch - 1} and {epoch}; expected "
                f"outputs that differ; {self._why(task, level, rate)}"
            )

    @staticmethod
    def _why(task, level: float, rate: float) -> str:
        losses = [row["train_loss"] for row in task.history]
        if len(losses) > 1 and losses[-1] > losses[0]:
            return (
                f"the loss rose from {losses[0]:.4g} to {losses[-1]:.4g}: use a learning_rate "
                f"below {rate:.3g}, or a longer fit.warmup"
            )
        if abs(level) > 10:
            return "the output is saturated: use a lower learning_rate, or another fit.imbalance"
        return (
            "the net says the base rate: features are constant, the learning_rate of "
            f"{rate:.3g} is too low, or fit.weight_decay too high"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"constant": self.constant}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.constant = state_dict["constant"]
