"""The optimiser, how its learning rate moves, and where it might begin."""

import copy
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.tuner import Tuner
from torch import nn
from torch.optim import lr_scheduler

from cangraph.data.batches import Batch
from cangraph.params import FitParams
from cangraph.train.tasks import Task

_RANGE = (1e-6, 1.0)  # learning rates that the finder tries
_TRIES = 100  # steps of the finder
_SKIPPED = 10  # of them, in which the smoothed loss still settles
_CAP = 10.0  # times the given rate, or a tenth of it, is as far as the finder is followed


def _groups(task: Task, rate: float, slowing: float) -> list[dict[str, Any]]:
    """Parameters that share a rate."""
    rates = {
        id(w): rate * slowing**depth
        for depth, layer in enumerate(reversed(task.layers), 1)
        for w in layer.parameters()
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for weights in task.parameters():
        if weights.requires_grad:
            groups.setdefault(rates.get(id(weights), rate), []).append(weights)
    return [{"params": weights, "lr": lr} for lr, weights in groups.items()]


def optimisation(
    task: Task, rate: float, run: FitParams, steps: int, slowing: float = 1.0
) -> tuple[list, list]:
    """AdamW and the schedule of a run of `steps` steps that peaks at `rate`, as Lightning wants
    them: it rises over the share `warmup` of the steps and falls to almost nothing (one cycle,
    Smith and Topin 2018). The rate of each layer of the encoder is `slowing` times that of the one
    above it, of which the last is below the heads.
    """
    groups = _groups(task, rate, slowing)
    fused = run.precision == "32-true"  # else Lightning clips no gradients of a fused update
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=run.weight_decay, fused=fused)
    peaks, warmup = [group["lr"] for group in groups], run.warmup
    if warmup * steps == 1:  # torch divides by the steps of the rise less one
        warmup *= 1 - 1e-9
    schedule = lr_scheduler.OneCycleLR(optimizer, peaks, steps, pct_start=warmup)
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the loss falls fastest over the logarithm of the rate, the first ten left
    out. (Lightning's suggestion takes the slope over the rate itself, which is steepest where the
    rates are smallest, whatever the loss does.)

    Raises `ValueError` when the loss falls nowhere.

    >>> rates = [10.0 ** (k - 14) for k in range(15)]
    >>> steepest(rates, [1.0] * 11 + [0.9, 0.2, 0.1, 9.0])  # from .9 to .2
    0.001
    """
    rate, loss = np.array(rates[_SKIPPED:]), np.array(losses[_SKIPPED:])
    rate, loss = rate[np.isfinite(loss)], loss[np.isfinite(loss)]
    slope = np.gradient(loss, np.log(rate)) if len(rate) > 1 else np.zeros(1)
    if slope.min() >= 0:
        raise ValueError(
            f"fit: fit.rate = 'found', and the loss falls at no learning rate from {rates[0]:.3g} "
            f"to {rates[-1]:.3g}; expected some; set fit.rate to given"
        )
    return float(rate[slope.argmin()])


def find_rate(
    task: Task, batches: Iterable[Batch], trainer: Callable[..., L.Trainer], given: float
) -> float:
    """The learning rate at which the loss falls fastest (see `steepest`) while the rate rises from
    step to step (Smith 2017), by Lightning's Tuner on a copy of the task; at most ten times off
    the `given` one."""
    tuner = Tuner(trainer(max_epochs=-1, logger=False, enable_checkpointing=False))
    tried: dict[str, Any] = {"min_lr": _RANGE[0], "max_lr": _RANGE[1], "num_training": _TRIES}
    with redirect_stderr(io.StringIO()):  # its progress bar
        finder = tuner.lr_find(copy.deepcopy(task), batches, update_attr=False, **tried)
    assert finder is not None  # only in Lightning's fast_dev_run
    found = steepest(finder.results["lr"], finder.results["loss"])
    rate = min(max(found, given / _CAP), given * _CAP)
    print(f"learning rate {rate:.3g}, found {found:.3g}")
    return rate
