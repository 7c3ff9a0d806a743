"""`fit`: one training run, from the first weights to the epoch that is kept."""

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from cangraph.data.batches import Batches
from cangraph.data.graphs import Graphs
from cangraph.data.splits import Split
from cangraph.data.synthesis import Synthesis
from cangraph.files import put
from cangraph.nn.models import n_parameters
from cangraph.params import Params
from cangraph.train import checkpoints
from cangraph.train.callbacks import (
    Averages,
    Collapse,
    EpochLines,
    FineTuning,
    FiniteLoss,
    finite,
)
from cangraph.train.optim import optimisation
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
    *,
    tuning: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Task:
    """Train `task` on the windows that `data` draws for each epoch, keep the weights of the epoch
    that is best on `data.val` (see `Task.monitor`), or their average (`callbacks.Averages`), and
    return it ready to `score`. AdamW, and the one-cycle schedule that peaks at the
    learning rate of the `size` ("teacher" or "student"); no epoch is left out.

    The same seed and number of threads give the same weights, bit for bit, on a CPU. With a
    `folder`, every epoch leaves a checkpoint there, and a run that was killed goes on from the last
    one to the same weights; `history.csv` and `diagnostics.json` lie beside them. `tuning` goes on
    from a task that was trained before: its scaler is kept, and its layers learn one after the
    other (`callbacks.FineTuning`).

    Raises `ValueError` for parameters that cannot work here, `FloatingPointError` for features or a
    loss that are not finite, and `callbacks.CollapseError` for outputs that no longer differ.
    """
    run = params.fit
    if folder is None and run.checkpoints > 1:
        raise ValueError(
            f"fit: fit.checkpoints = {run.checkpoints} and no folder to keep files in; expected 1; "
            "pass folder="
        )
    seed_everything(params.seed)
    task.history, task.sums = [], {}
    train = data.draw(0, 0.0)
    (task.weigh if tuning else task.prepare)(finite(train, "epoch 1"))
    with tempfile.TemporaryDirectory() as nowhere, _quiet():
        kept = _train(task, data, params, size, Path(folder or nowhere), tuning, callbacks)
    task.load_state_dict(kept["state_dict"])
    task.encoder.requires_grad_(True)  # what was frozen as well
    task.finish(train)
    task.cpu().eval()
    print(f"{type(task.model).__name__}: {n_parameters(task.model):,} parameters")
    return task


def _train(
    task: Task,
    data: Split | Synthesis,
    params: Params,
    size: str,
    folder: Path,
    tuning: bool,
    callbacks: Sequence[Callback],
) -> dict[str, Any]:
    """Train, and return the checkpoint of the epoch that is kept."""
    run, epochs, began = params.fit, params[size].epochs, time.perf_counter()

    def draw(epoch: int) -> Graphs:
        drawn = task.subset(data.draw(epoch, epoch / max(epochs - 1, 1)))
        return finite(drawn, f"epoch {epoch + 1}")

    facts = checkpoints.about(task, data.draw(0, 0.0), data.val, params, size)
    facts["tuning"] = tuning
    batches = Batches(draw, run.batch_size, params.seed)
    steps, rate = -(-len(batches) // run.accumulate), params[size].learning_rate  # in an epoch
    task.optimisation = partial(optimisation, rate=rate, run=run, steps=epochs * steps)
    place = folder / checkpoints.key_of(facts)
    best, last = checkpoints.keeping(place, task, run.checkpoints)
    own: list[Callback] = [FiniteLoss(), Collapse(), EpochLines(folder)]
    own += [Averages(epochs, steps)] if run.average == "ema" else []
    own += [FineTuning(epochs)] if tuning else []
    trainer = L.Trainer(
        max_epochs=epochs,
        callbacks=[*own, checkpoints.Resumable(facts, batches), *callbacks, best, last],
        plugins=[checkpoints.WholeFiles()],
        logger=False,
        devices=1,
        default_root_dir=folder,
        gradient_clip_val=run.clip,
        accumulate_grad_batches=run.accumulate,
        precision=run.precision,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        deterministic="warn",
    )
    batches.device = trainer.strategy.root_device  # where the windows of an epoch lie as a whole
    val = Batches(task.subset(finite(data.val, "validation")), SCORING)
    trainer.fit(task, batches, val, ckpt_path=checkpoints.newest(place), weights_only=True)
    kept = checkpoints.read_checkpoint(best.best_model_path)
    task.history[kept["epoch"]]["kept"] = True
    record = {"about": facts, "history": task.history, "kept": kept["epoch"] + 1}
    record |= {"learning_rate": rate, "device": str(batches.device)}
    record |= {"seconds_since_last_start": time.perf_counter() - began}
    put(folder / "diagnostics.json", json.dumps(record, indent=1).encode())
    return kept
