"""`fit`: one training run, from the first weights to the epoch that is kept."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import numpy as np

from cangraph.batches import Batches
from cangraph.callbacks import Averages, EpochLines
from cangraph.checkpoints import Checkpoints, WholeFiles, about, key_of, newest, read
from cangraph.graphs import Graphs
from cangraph.models import n_parameters
from cangraph.params import Params
from cangraph.splits import Split
from cangraph.synthesis import Synthesis
from cangraph.tasks import SCORING, Task

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
            yield
    finally:
        logger.setLevel(level)


def fit(
    task: Task,
    data: Split | Synthesis,
    params: Params,
    size: str = "teacher",
    folder: Path | str | None = None,
) -> Task:
    """Train `task` on the windows that `data` draws for each epoch, keep the weights of the epoch
    that is best on `data.val` (see `Task.monitor`), or their average (`callbacks.Averages`), and
    return it ready to `score`. AdamW with the one-cycle schedule that peaks at the learning rate
    of the `size` ("teacher" or "student"); it is never cut short, since its last epochs, at a
    small rate, are what it is for.

    The same seed gives the same weights, bit for bit, on a CPU. With a `folder`, every epoch
    leaves a checkpoint there, and a run that was killed goes on from the last one to the same
    weights (see `checkpoints`).
    """
    if folder is None and params.fit.checkpoints > 1:
        raise ValueError(
            f"fit: fit.checkpoints = {params.fit.checkpoints} and no folder to keep them in; "
            "expected both or neither; pass folder="
        )
    with tempfile.TemporaryDirectory() as nowhere:
        _fit(task, data, params, size, Path(folder or nowhere))
    print(f"{type(task.model).__name__}: {n_parameters(task.model):,} parameters")
    return task


def _fit(task: Task, data: Split | Synthesis, params: Params, size: str, folder: Path) -> None:
    run = params.fit
    seed_everything(params.seed)

    def draw(epoch: int) -> Graphs:
        drawn = task.subset(data.draw(epoch, epoch / max(run.epochs - 1, 1)))
        return task.sample(drawn, np.random.default_rng([params.seed, epoch]))

    train, val = data.draw(0, 0.0), data.val
    task.learning_rate, task.weight_decay = params[size].learning_rate, run.weight_decay
    task.history, task.imbalance = [], tuple(run.imbalance)
    task.prepare(train)
    facts = about(task, train, val, params, size)
    place = folder / key_of(facts)
    batches = Batches(draw, run.batch_size, params.seed)
    best = Checkpoints(place, task, batches, facts, run.checkpoints)
    callbacks = [EpochLines(), best]
    if run.average != "none":
        callbacks.append(Averages(run.average, run.epochs, len(batches)))
    last = newest(place)
    with _quiet():
        trainer = L.Trainer(
            max_epochs=run.epochs,
            callbacks=callbacks,
            plugins=[WholeFiles()],
            gradient_clip_val=run.clip,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            deterministic="warn",
        )
        trainer.fit(
            task, batches, Batches(task.subset(val), SCORING), ckpt_path=last, weights_only=True
        )
    kept = read(best.best_model_path)
    task.load_state_dict(kept["state_dict"])
    task.history[kept["epoch"]]["kept"] = True
    task.finish(train)
    task.cpu().eval()
