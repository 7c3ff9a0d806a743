"""The optimiser, and how its learning rate moves."""

import torch
from torch.optim import lr_scheduler

from cangraph.params import FitParams
from cangraph.train.tasks import Task


def optimisation(task: Task, rate: float, run: FitParams, steps: int) -> tuple[list, list]:
    """AdamW and the schedule of a run of `steps` steps that peaks at `rate`, as Lightning wants
    them: it rises over the share `warmup` of the steps and falls to almost nothing (one cycle,
    Smith and Topin 2018).
    """
    learning = [weights for weights in task.parameters() if weights.requires_grad]
    fused = run.precision == "32-true"  # else Lightning clips no gradients of a fused update
    optimizer = torch.optim.AdamW(learning, lr=rate, weight_decay=run.weight_decay, fused=fused)
    warmup = run.warmup
    if warmup * steps == 1:  # torch divides by the steps of the rise less one
        warmup *= 1 - 1e-9
    schedule = lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=warmup)
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]
