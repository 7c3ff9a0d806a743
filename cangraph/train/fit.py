"""`fit`: one training run, from the first weights to the epoch that is kept.

Several processes: `devices` on each of `nodes` machines, started by torchrun or srun, call `fit`
alike, draw the same windows and learn from their share of each batch (see `Batches`). All validate
every window; the first one prints and writes. Steps and rates are those of one process, and so is,
to rounding, the gradient of means over windows; in means over nodes or edges, the mean of each
share counts by its windows. A run may go on with another number of processes.
"""

import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from cangraph.data.batches import Batches
from cangraph.data.graphs import Graphs
from cangraph.data.splits import Split
from cangraph.data.synthesis import Synthesis
from cangraph.files import put
from cangraph.nn.models import n_parameters
from cangraph.params import FitParams, Params
from cangraph.train import checkpoints
from cangraph.train.callbacks import (
    Averages,
    Collapse,
    EpochLines,
    FineTuning,
    FiniteLoss,
    GradientFreezing,
    Pruning,
    finite,
)
from cangraph.train.optim import find_rate, optimisation
from cangraph.train.tasks import SCORING, Task


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch: before models are built."""
    L.seed_everything(seed, workers=True, verbose=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for expected in (
                ".*does not have many workers.*",  # batches are cut from memory
                ".*module.s. in eval mode.*",  # a student's teacher, on purpose
                ".*LeafSpec.*",  # torch's deprecation, raised inside Lightning
                ".*exists and is not empty.*",  # the run's own folder: it goes on from there
                ".*no `val_dataloader`.*",  # a learning rate is looked for without validation
            ):
                warnings.filterwarnings("ignore", message=expected)
            yield
    finally:
        logger.setLevel(level)


def fit(
    task: Task,
    data: Split | Synthesis,
    params: Params,
    size: str = "teacher",
    folder: Path | str | None = None,
    devices: int = 1,
    nodes: int = 1,
    *,
    tuning: FineTuning | None = None,
    callbacks: Sequence[Callback] = (),
) -> Task:
    """Train `task` on the windows that `data` draws for each epoch, keep the weights of the epoch
    that is best on `data.val` (see `Task.monitor`), or their average (`callbacks.Averages`), and
    return it ready to `score`. AdamW, and the one-cycle schedule that peaks at the
    learning rate of the `size` ("teacher" or "student"); no epoch is left out.

    The same seed and number of threads give the same weights, bit for bit, on a CPU. With a
    `folder`, every epoch leaves a checkpoint there, and a run that was killed goes on from the last
    one to the same weights; `history.csv`, `diagnostics.json` and what `fit.record` names lie
    beside them. With a `tuning` the task has been trained before: its scaler is kept.

    Raises `ValueError` for parameters that cannot work here, `FloatingPointError` for features or a
    loss that are not finite, and `callbacks.CollapseError` for outputs that no longer differ.
    """
    run, processes = params.fit, devices * nodes
    _refuse(run, size, folder, processes, tuning)
    seed_everything(params.seed)
    task.history, task.imbalance = [], run.imbalance
    task.at_once = run.at_once
    train = data.draw(0, 0.0)
    (task.weigh if tuning else task.prepare)(finite(train, "epoch 1"))
    # the weights of a layer that freezes have no gradient
    several = "ddp_find_unused_parameters_true" if run.freeze else "ddp"
    with tempfile.TemporaryDirectory() as nowhere, _quiet():
        build = partial(
            L.Trainer,
            devices=devices,
            num_nodes=nodes,
            strategy=several if processes > 1 else "auto",
            default_root_dir=nowhere,
            gradient_clip_val=run.clip,
            accumulate_grad_batches=run.accumulate,
            precision=run.precision,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            deterministic="warn",
        )
        home = Path(folder or nowhere)
        kept = _train(task, data, params, size, home, build, tuning=tuning, more=callbacks)
    task.load_state_dict(kept["state_dict"])
    task.encoder.requires_grad_(True)  # what was frozen as well
    task.finish(train)
    task.cpu().eval()
    rank_zero_only(print)(f"{type(task.model).__name__}: {n_parameters(task.model):,} parameters")
    return task


def _refuse(
    run: FitParams, size: str, folder: Path | str | None, processes: int, tuning: FineTuning | None
) -> None:
    """Raise `ValueError` for parameters that cannot work with this call."""
    if folder is None and (run.checkpoints > 1 or run.record or processes > 1):
        raise ValueError(
            f"fit: fit.checkpoints = {run.checkpoints}, fit.record = {run.record}, {processes} "
            "processes and no folder to keep files in; expected 1, [] and 1; pass folder="
        )
    if processes > 1 and run.rate == "found":
        raise ValueError(
            f"fit: fit.rate = 'found' with {processes} processes, each of which finds its own; "
            f"expected given; set {size}.learning_rate to what one process found"
        )
    if tuning and run.freeze:
        raise ValueError(
            f"fit: fit.freeze = {run.freeze} with fine-tuning, which freezes by itself; set it to 0"
        )


def _train(
    task: Task,
    data: Split | Synthesis,
    params: Params,
    size: str,
    folder: Path,
    build: partial,
    *,
    tuning: FineTuning | None,
    more: Sequence[Callback],
) -> dict[str, Any]:
    """Train, and return the checkpoint of the epoch that is kept."""
    run, epochs, began = params.fit, params[size].epochs, time.perf_counter()

    def draw(epoch: int) -> Graphs:
        drawn = task.subset(data.draw(epoch, epoch / max(epochs - 1, 1)))
        return task.sample(
            finite(drawn, f"epoch {epoch + 1}"), np.random.default_rng([params.seed, epoch])
        )

    facts = checkpoints.about(task, data.draw(0, 0.0), data.val, params, size)
    facts["tuning"] = tuning and tuning.how
    batches = Batches(draw, run.batch_size, params.seed)
    rate = _planned(task, params, size, batches, build, tuning.slowing if tuning else 1.0)
    place = folder / checkpoints.key_of(facts)
    best, last = checkpoints.keeping(place, task, run.checkpoints)
    own = _callbacks(task, params, size, batches, folder)
    resumable = checkpoints.Resumable(facts, batches)
    trainer = build(
        max_epochs=epochs,
        callbacks=[*own, resumable, *more, *([tuning] * bool(tuning)), best, last],
        plugins=[checkpoints.WholeFiles()],
        logger=_loggers(run.record, folder, facts),
    )
    batches.process, batches.processes = trainer.global_rank, trainer.world_size
    batches.device = trainer.strategy.root_device  # where the windows of an epoch lie as a whole
    val = Batches(task.subset(finite(data.val, "validation")), SCORING)
    trainer.fit(task, batches, val, ckpt_path=checkpoints.newest(place), weights_only=True)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):  # the next `fit` of a notebook is a run of its own
            logger.experiment.finish()
    kept = checkpoints.read_checkpoint(best.best_model_path)
    task.history[kept["epoch"]]["kept"] = True
    if trainer.world_size > 1:  # what is built next has the same first weights in all processes
        resumable.throw_as_in(checkpoints.read_checkpoint(last.best_model_path))
    if trainer.is_global_zero:
        record = {"about": facts, "history": task.history, "kept": kept["epoch"] + 1}
        record |= {"learning_rate": rate, "device": str(batches.device)}
        record |= {"seconds_since_last_start": time.perf_counter() - began}
        put(folder / "diagnostics.json", json.dumps(record, indent=1).encode())
    return kept


def _planned(
    task: Task, params: Params, size: str, batches: Batches, build: partial, slowing: float
) -> float:
    """Set how `task` is optimised, and return the learning rate at the peak."""
    run, rate = params.fit, params[size].learning_rate
    steps = params[size].epochs * _steps(batches, run)
    task.optimisation = partial(optimisation, rate=rate, run=run, steps=steps, slowing=slowing)
    if run.rate == "found":
        first = Batches(batches.draw(0), run.batch_size, params.seed)
        rate = find_rate(task, first, build, given=rate)
        task.optimisation = partial(task.optimisation, rate=rate)
        seed_everything(params.seed)
    return rate


def _steps(batches: Batches, run: FitParams) -> int:
    """Steps of the optimiser in an epoch."""
    return -(-len(batches) // run.accumulate)


def _callbacks(task: Task, params: Params, size: str, batches: Batches, folder: Path):
    """What every run needs, and what `params.fit` asks for."""
    run, made = params.fit, [FiniteLoss(), Collapse(), EpochLines(folder)]
    if run.average != "none":
        made.append(Averages(run.average, params[size].epochs, _steps(batches, run)))
    if run.freeze:
        made.append(GradientFreezing(run.freeze))
    if run.prune:
        made.append(Pruning(task.model, run.prune))
    return made


def _loggers(record: Sequence[str], folder: Path, facts: dict[str, Any]) -> list[Logger]:
    """The loggers that `fit.record` names, writing to `folder`. Weights & Biases stays offline
    unless WANDB_API_KEY is set; `wandb sync` sends what it wrote."""
    made: list[Logger] = []
    if "tensorboard" in record:
        made += [TensorBoardLogger(folder, "tensorboard", version="", default_hp_metric=False)]
    if "wandb" in record:
        name = f"{facts['task']} {facts['params']['dataset']} {facts['params']['seed']}"
        offline = "WANDB_API_KEY" not in os.environ
        made += [WandbLogger(name, folder, offline=offline, project="cangraph", config=facts)]
    return made
