"""`fit`: one training run, from the first weights to the epoch that is kept."""

import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.utilities import rank_zero_only

from cangraph.data.batches import Batches, Budget
from cangraph.data.graphs import Graphs
from cangraph.data.splits import Split
from cangraph.data.synthesis import Synthesis
from cangraph.nn.models import n_parameters
from cangraph.params import Params
from cangraph.train.callbacks import Averages, EpochLines, FineTuning, OwnDice
from cangraph.train.checkpoints import (
    Checkpoints,
    WholeFiles,
    about,
    key_of,
    newest,
    read,
    throw_as_in,
)
from cangraph.train.guards import Collapse, FiniteLoss, finite
from cangraph.train.optim import capped, find_rate, optimisation
from cangraph.train.records import HistoryTable, close, diagnosed, loggers
from cangraph.train.tasks import SCORING, Task

__all__ = ["fit", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch: before models are built, so that their first weights repeat."""
    L.seed_everything(seed, workers=True, verbose=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning says that a report should not repeat."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # batches are cut from memory: workers would only copy
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            # a student's teacher is in evaluation mode on purpose
            warnings.filterwarnings("ignore", message=".*module.s. in eval mode.*")
            # torch's deprecation, raised inside Lightning
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            # the folder is this run's own: what lies there is what it goes on from
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            # a learning rate is looked for without validation
            warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
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
    tuning: FineTuning | None = None,
    callbacks: Sequence[Callback] = (),
) -> Task:
    """Train `task` on the windows that `data` draws for each epoch, keep the weights of the epoch
    that is best on `data.val` (see `Task.monitor`), or their average (`callbacks.Averages`), and
    return it ready to `score`. AdamW, and by default the one-cycle schedule that peaks at the
    learning rate of the `size` ("teacher" or "student"); it is never cut short, since its last
    epochs, at a small rate, are what it is for.

    The same seed gives the same weights, bit for bit, on a CPU. With a `folder`, every epoch
    leaves a checkpoint there, and a run that was killed goes on from the last one to the same
    weights (see `checkpoints`); `history.csv` and `diagnostics.json` lie beside them, and what
    `fit.record` names.

    With a `tuning` the task has been trained before: its scaler is kept, since its weights know no
    other, and its layers learn as the tuning says (see `transfer.adapt`).

    With `devices` processes on each of `nodes` machines, started by torchrun or srun (see `train`),
    all call this alike, draw the same windows, and learn from their share of each batch (see
    `Batches`); all validate every window, and the first one prints and writes. The steps, their
    order and their rates are those of one process. So is the gradient, to rounding, of what is a
    mean over windows; in means over nodes or edges, the mean of each share counts by its windows,
    and what is drawn at random is drawn anew. The checkpoints are those of one process too: a run
    goes on, or is found finished, with another number of them.

    `callbacks`: more of Lightning's.

    Raises `ValueError` for parameters that have no effect here, `FloatingPointError` for features
    or a loss that are not finite, and `guards.CollapseError` for outputs that no longer depend on
    the window.
    """
    run = params.fit
    if folder is None and (run.checkpoints > 1 or run.record):
        raise ValueError(
            f"fit: fit.checkpoints = {run.checkpoints} and fit.record = {run.record}, and no "
            "folder to keep them in; expected 1 and []; pass folder="
        )
    if devices * nodes > 1:
        if folder is None:
            raise ValueError(
                f"fit: {devices * nodes} processes and no folder; expected one that all of them "
                "see, where the first leaves what the others read; pass folder="
            )
        if run.rate == "found":
            raise ValueError(
                f"fit: fit.rate = 'found' with {devices * nodes} processes, each of which would "
                f"find its own; expected given; set {size}.learning_rate to what one process found"
            )
    if run.precision == "16-mixed" and not torch.cuda.is_available():
        raise ValueError(
            "fit: fit.precision = '16-mixed' on a CPU, which has no such arithmetic; expected a "
            "GPU; use bf16-mixed or 32-true"
        )
    seed_everything(params.seed)
    task.history, task.imbalance = [], tuple(run.imbalance)
    task.augment = tuple(run.augment)
    task.budget = Budget(run.node_budget, run.edge_budget)
    train = data.draw(0, 0.0)
    (task.weigh if tuning else task.prepare)(finite(train, "epoch 1"))
    with tempfile.TemporaryDirectory() as nowhere, _quiet(), _compiled(task, run.compile):
        place = Path(nowhere), folder and Path(folder)
        kept = _train(task, data, params, size, *place, devices, nodes, tuning, callbacks)
    task.load_state_dict(kept["state_dict"])
    task.finish(train)
    task.cpu().eval()
    name = type(task.model).__name__
    rank_zero_only(print)(f"{name}: {n_parameters(task.model):,} parameters")
    return task


@contextmanager
def _compiled(task: Task, wanted: bool) -> Iterator[None]:
    """The encoder compiled, for as long as it trains: what is saved and scored is the plain one."""
    if not wanted:
        yield
        return
    # windows differ in nodes and edges
    task.encoder.forward = torch.compile(task.encoder.forward, dynamic=True)
    try:
        yield
    finally:
        del task.encoder.forward


def _train(
    task: Task,
    data: Split | Synthesis,
    params: Params,
    size: str,
    nowhere: Path,
    folder: Path | None,
    devices: int,
    nodes: int,
    tuning: FineTuning | None,
    more: Sequence[Callback],
) -> dict:
    """Train, and return the checkpoint of the epoch that is kept."""
    run, epochs, began = params.fit, params[size].epochs, time.perf_counter()

    def draw(epoch: int) -> Graphs:
        drawn = task.subset(data.draw(epoch, epoch / max(epochs - 1, 1)))
        return task.sample(
            finite(drawn, f"epoch {epoch + 1}"), np.random.default_rng([params.seed, epoch])
        )

    facts = about(task, data.draw(0, 0.0), data.val, params, size)
    facts["tuning"] = tuning and tuning.how
    batches = Batches(draw, run.batch_size, params.seed)
    steps = -(-len(batches) // run.accumulate)
    if run.accumulate > len(batches):
        raise ValueError(
            f"fit: fit.accumulate = {run.accumulate} with {len(batches)} batches an epoch; "
            "expected no more than there are; use less, or a smaller fit.batch_size"
        )
    build = partial(
        L.Trainer,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
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
    slowing = tuning.slowing if tuning else 1.0
    plan = partial(
        optimisation, run=run, steps=epochs * steps, batches=len(batches), slowing=slowing
    )
    rate = params[size].learning_rate
    task.optimisation = partial(plan, rate=rate)
    if run.rate == "found":
        first = Batches(draw(0), run.batch_size, params.seed)
        found = find_rate(task, first, build, facts, folder)
        rate = capped(found, given=rate)
        print(f"learning rate {rate:.3g}, found {found:.3g}")
        task.optimisation = partial(plan, rate=rate)
        seed_everything(params.seed)
    place = (folder or nowhere) / key_of(facts)
    best = Checkpoints(place, task, batches, facts, run.checkpoints)
    callbacks = [OwnDice(params.seed), FiniteLoss(), Collapse(), EpochLines(), best, *more]
    if tuning:
        callbacks.append(tuning)
    if run.average != "none":
        callbacks.append(Averages(run.average, epochs, steps))
    profiler = None
    if folder:
        callbacks.append(HistoryTable(folder))
        if "profile" in run.record:
            profiler = SimpleProfiler(folder, "profile")
    trainer = build(
        max_epochs=epochs,
        callbacks=callbacks,
        plugins=[WholeFiles()],
        logger=loggers(run.record, folder, facts) if folder else False,
        profiler=profiler,
    )
    batches.process, batches.processes = trainer.global_rank, trainer.world_size
    batches.device = trainer.strategy.root_device  # where the windows of an epoch lie as a whole
    val = Batches(task.subset(finite(data.val, "validation")), SCORING)
    trainer.fit(task, batches, val, ckpt_path=newest(place), weights_only=True)
    device = trainer.strategy.root_device
    close(trainer.loggers)
    kept = read(best.best_model_path)
    task.history[kept["epoch"]]["kept"] = True
    if trainer.world_size > 1:
        throw_as_in(place, best)
    if folder and trainer.is_global_zero:
        done = {"kept": kept["epoch"] + 1, "learning_rate": rate}
        done |= {"device": str(device), "seconds_since_last_start": time.perf_counter() - began}
        diagnosed(folder, facts, task.history, **done)
    return kept
