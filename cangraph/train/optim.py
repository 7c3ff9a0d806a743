"""The optimiser, how its learning rate moves, and where it might begin."""

import copy
import io
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.tuner import Tuner
from torch import nn
from torch.optim import lr_scheduler

from cangraph.files import put
from cangraph.params import FitParams

__all__ = ["capped", "find_rate", "optimisation"]

_FACTOR, _PATIENCE = 0.5, 1  # a plateau halves the rate in the second epoch without progress
_RANGE = (1e-6, 1.0)  # learning rates that the finder tries
_TRIES = 100  # steps of the finder
_SKIPPED = 10  # of them, in which the smoothed loss still settles
_MATTERS = ("batch_size", "imbalance", "head_rate", "weight_decay", "decay", "clip", "accumulate")
_CAP = 10.0  # times the given rate, or a tenth of it, is as far as the finder is followed


def _groups(task: nn.Module, rate: float, run: FitParams, slowing: float) -> list[dict[str, Any]]:
    """Parameters that share rate and decay. Norms and biases, which have one axis, need not
    decay; what is not the encoder is a head."""
    encoder = {
        id(w): slowing**depth
        for depth, layer in enumerate(reversed(task.layers), 1)
        for module in layer
        for w in module.parameters()
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for weights in task.parameters():
        if weights.requires_grad:
            factor = encoder.get(id(weights), run.head_rate)
            decays = run.decay == "all" or weights.ndim > 1
            key = rate * factor, run.weight_decay * decays
            groups.setdefault(key, []).append(weights)
    return [
        {"params": weights, "lr": lr, "weight_decay": decay}
        for (lr, decay), weights in groups.items()
    ]


def optimisation(
    task: nn.Module, rate: float, run: FitParams, steps: int, batches: int, slowing: float = 1.0
) -> tuple[list, list]:
    """AdamW and the schedules of a run of `steps` steps that peaks at `rate`, as Lightning wants
    them; an epoch has so many `batches`. The rate of each layer of the encoder is `slowing` times
    that of the one above it, of which the last is below the heads.

    `one_cycle` rises over the share `warmup` of the steps and falls to almost nothing (Smith and
    Topin 2018). `cosine` and `plateau` rise linearly over that share; then the first falls by half
    a cosine to nothing (Loshchilov and Hutter 2017), the second halves the rate when
    `task.monitor` has not become better for two epochs.
    """
    groups = _groups(task, rate, run, slowing)
    fused = run.precision == "32-true"  # else Lightning clips no gradients of a fused update
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=run.weight_decay, fused=fused)
    rising = int(run.warmup * steps)

    def cosine(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2

    plans = []
    match run.schedule:
        case "one_cycle":
            peaks = [group["lr"] for group in groups]
            cycle = lr_scheduler.OneCycleLR(
                optimizer, peaks, total_steps=steps, pct_start=run.warmup
            )
            plans.append({"scheduler": cycle, "interval": "step"})
        case "cosine":
            plans.append(
                {"scheduler": lr_scheduler.LambdaLR(optimizer, cosine), "interval": "step"}
            )
        case "plateau":
            if rising:
                rise = lr_scheduler.LinearLR(optimizer, 1 / (rising + 1), 1.0, rising)
                plans.append({"scheduler": rise, "interval": "step"})
            half = lr_scheduler.ReduceLROnPlateau(optimizer, task.mode, _FACTOR, _PATIENCE)
            # with an epoch's last batch: at the end of an epoch it would come after the checkpoint
            plans.append(
                {
                    "scheduler": half,
                    "interval": "step",
                    "frequency": batches,
                    "monitor": task.monitor,
                }
            )
    return [optimizer], plans


def capped(found: float, given: float) -> float:
    """What is taken of a learning rate that was found: no further than ten times from the given.

    >>> capped(0.5, 0.001), capped(0.002, 0.001), capped(1e-7, 0.001)
    (0.01, 0.002, 0.0001)
    """
    return min(max(found, given / _CAP), given * _CAP)


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
    task: L.LightningModule,
    batches: Iterable,
    trainer: Callable[..., L.Trainer],
    facts: dict[str, Any],
    folder: Path | None,
) -> float:
    """The learning rate at which the loss falls fastest (`steepest`) while the rate rises from step
    to step (Smith 2017), by Lightning's Tuner on a copy of the task. With a `folder`, it is kept in
    its `rates.json`, with the curve, by what it depends on of the run's `facts` (see
    `checkpoints.about`): the model, the data and the steps. It is searched for once.

    Raises `ValueError` when the loss falls at none.
    """
    of = {name: facts[name] for name in ("task", "model", "config", "data")}
    of |= {name: facts["params"]["fit"][name] for name in _MATTERS}
    of = json.loads(json.dumps(of))  # as it comes back from the file
    path = None if folder is None else folder / "rates.json"
    known = json.loads(path.read_text()) if path and path.is_file() else []
    for row in known:
        if row["of"] == of:
            return row["rate"]
    low, high = _RANGE
    tuner = Tuner(trainer(max_epochs=-1, logger=False, enable_checkpointing=False))
    with redirect_stderr(io.StringIO()):  # its progress bar
        finder = tuner.lr_find(
            copy.deepcopy(task),
            batches,
            min_lr=low,
            max_lr=high,
            num_training=_TRIES,
            update_attr=False,
        )
    rate = steepest(finder.results["lr"], finder.results["loss"])
    if path:
        curve = {name: [float(v) for v in finder.results[name]] for name in ("lr", "loss")}
        rows = [*known, {"of": of, "rate": rate} | curve]
        put(path, [json.dumps(rows, indent=1).encode()])
    return rate
