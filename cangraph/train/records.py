"""What is written down of a run while it trains: its history as a table always, TensorBoard and
Weights & Biases where `fit.record` asks for them."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.imports import RequirementCache
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from cangraph.files import put

__all__ = ["HistoryTable", "close", "diagnosed", "loggers"]

_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}


def loggers(record: Sequence[str], folder: Path, facts: dict[str, Any]) -> list[Logger]:
    """The loggers that `fit.record` names, writing to `folder`. Weights & Biases stays offline
    unless WANDB_API_KEY is set; `wandb sync` sends what it wrote.

    Raises `ModuleNotFoundError` for one whose package is not installed.
    """
    for name in record:
        packages = _PACKAGES.get(name, ())
        if packages and not any(RequirementCache(package) for package in packages):
            raise ModuleNotFoundError(
                f"fit: fit.record names {name}, which is not installed; expected the package "
                f"{' or '.join(packages)}; pip install {packages[0]}, or leave it out"
            )
    made: list[Logger] = []
    if "tensorboard" in record:
        made.append(
            TensorBoardLogger(folder, name="tensorboard", version="", default_hp_metric=False)
        )
    if "wandb" in record:
        offline = "WANDB_API_KEY" not in os.environ
        made.append(
            WandbLogger(
                project="cangraph",
                name=f"{facts['task']} {facts['params']['dataset']} {facts['params']['seed']}",
                save_dir=folder,
                offline=offline,
                config=facts,
            )
        )
    return made


def close(made: Sequence[Logger]) -> None:
    """End the runs of Weights & Biases: the next `fit` of a notebook is one of its own."""
    for logger in made:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()


class HistoryTable(Callback):
    """Write `task.history` to `history.csv`, whole, after every epoch: a run that goes on after a
    kill leaves no row twice. (Lightning's CSVLogger deletes what it finds.)"""

    def __init__(self, folder: Path):
        self.path = folder / "history.csv"

    def on_train_epoch_end(self, trainer, task) -> None:
        if not trainer.is_global_zero:
            return
        text = io.StringIO()
        columns = list(dict.fromkeys(name for row in task.history for name in row))
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(task.history)
        put(self.path, [text.getvalue().encode()])


def diagnosed(folder: Path, facts: dict[str, Any], history: list[dict], **more: Any) -> None:
    """Write what is known of a finished run to `diagnostics.json`: what it was of (see
    `checkpoints.about`), its history, and `more`."""
    record = {"about": facts, "history": history} | more
    put(folder / "diagnostics.json", [json.dumps(record, indent=1).encode()])
