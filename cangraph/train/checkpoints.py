"""What a run leaves on disk so that a killed one ends with the same weights, bit for bit on a CPU:
`<folder>/<key>/last.ckpt` and the best epochs, `epoch_<n>.ckpt`. The key hashes what the weights
depend on: when any of that changes, a run begins anew."""

import hashlib
import io
import json
import random
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from cangraph.data.batches import Batches
from cangraph.data.graphs import Graphs
from cangraph.files import put
from cangraph.params import Params, versions
from cangraph.train.tasks import Task

_SOURCES = ("bus", "features", "data", "nn", "train")  # the packages that weights depend on


def _sha256(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _windows(graphs: Graphs) -> str:
    return _sha256((name, a) for name, a in vars(graphs).items() if isinstance(a, np.ndarray))


def about(task: Task, train: Graphs, val: Graphs, params: Params, size: str) -> dict[str, Any]:
    """What the weights at the end of a run depend on, as JSON: the task and its first weights (a
    student's teacher among them), the windows of the first epoch (`data`) and those that choose the
    epoch (`split`), the parameters, the versions and the code."""
    root = Path(__file__).parents[1]
    source = b"".join(f.read_bytes() for n in _SOURCES for f in sorted(root.glob(f"{n}/*.py")))
    return {
        "task": type(task).__name__,
        "model": type(task.model).__name__,
        "config": task.model.config,
        "size": size,
        "first_weights": _sha256((name, w.cpu().numpy()) for name, w in task.state_dict().items()),
        "data": _windows(train),
        "split": _windows(val),
        "params": params.model_dump(),
        "versions": versions() | {"cangraph": hashlib.sha256(source).hexdigest()},
    }


def key_of(facts: dict[str, Any]) -> str:
    """A name for a run with these `facts` (see `about`).

    >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


_COMMENT = (32).to_bytes(2, "little")  # the length of a zip file's comment, which stands before it


def _whole(path: Path) -> bool:
    """Whether a checkpoint is as `WholeFiles` wrote it."""
    with suppress(OSError):
        content = path.read_bytes()
        sha256 = hashlib.sha256(content[:-32]).digest()
        return content.endswith(_COMMENT + sha256)
    return False


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """A checkpoint: tensors, numbers and text, nothing unpickled.

    Raises `ValueError` when it is damaged.
    """
    if not _whole(Path(path)):
        raise ValueError(f"checkpoints: {path} is damaged; delete it, and train on from another")
    return torch.load(path, map_location="cpu", weights_only=True)


def newest(folder: Path) -> Path | None:
    """The latest checkpoint in a folder that is whole; warns of those that are not."""
    last, best = folder / "last.ckpt", sorted(folder.glob("epoch_*.ckpt"), reverse=True)
    for path in [last] * last.is_file() + best:
        if _whole(path):
            return path
        warnings.warn(f"fit: {path} is damaged; the one before it is taken", stacklevel=2)
    return None


class WholeFiles(TorchCheckpointIO):
    """Write checkpoints beside their place and rename them, so that each is whole or absent. They
    are zip files, as torch writes them, whose comment is the SHA-256 of what stands before it.
    (Lightning copies from the system's temporary folder where that is another file system.)"""

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getvalue()[:-2] + _COMMENT
        put(Path(path), content + hashlib.sha256(content).digest())


def keeping(folder: Path, task: Task, keep: int) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """The callbacks that keep the `keep` epochs which `task.monitor` calls best, and the last one,
    which `save_last` of the first would leave out where it is not among the best."""
    # an epoch that is trained again overwrites its file
    same: dict[str, Any] = {"auto_insert_metric_name": False, "enable_version_counter": False}
    best = ModelCheckpoint(
        folder, "epoch_{epoch:04d}", task.monitor, mode=task.mode, save_top_k=keep, **same
    )
    return best, ModelCheckpoint(folder, "last", **same)


class Resumable(Callback):
    """Add to a checkpoint the random generators that the next epoch draws from, and what it is of:
    `facts` (see `about`) and the metrics of its epoch. Resuming restores the generators and the
    order of the `batches`, also where the folder has been moved. (Lightning restores the state of
    a loader only in the middle of an epoch.)

    Of several processes the first draws as a single one would, and its generators are saved;
    process r > 0 is seeded with (seed, epoch, r) in every epoch."""

    def __init__(self, facts: dict[str, Any], batches: Batches):
        self.facts, self.batches = facts, batches

    def on_train_epoch_start(self, trainer, task) -> None:
        if trainer.global_rank:
            place = [self.facts["params"]["seed"], trainer.current_epoch, trainer.global_rank]
            torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def on_save_checkpoint(self, trainer, task, checkpoint: dict[str, Any]) -> None:
        checkpoint["about"] = self.facts | {"metrics": task.history[-1]}
        checkpoint["batches"] = self.batches.state_dict()
        words: Any
        kind, words, *rest = np.random.get_state()
        checkpoint["random"] = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "numpy": [kind, words.tolist(), *rest],
            "python": random.getstate(),
        }

    def on_load_checkpoint(self, trainer, task, checkpoint: dict[str, Any]) -> None:
        self.throw_as_in(checkpoint)
        self.batches.load_state_dict(checkpoint["batches"])
        for callback in trainer.checkpoint_callbacks:
            state = checkpoint["callbacks"][callback.state_key]
            folder = state["dirpath"], callback.dirpath
            for name in [name for name in state if name.endswith("_path")] + ["dirpath"]:
                state[name] = state[name].replace(*folder)
            best = state["best_k_models"].items()
            state["best_k_models"] = {path.replace(*folder): value for path, value in best}

    @staticmethod
    def throw_as_in(checkpoint: dict[str, Any]) -> None:
        """Set the random generators as they were when `checkpoint` was saved."""
        dice = checkpoint["random"]
        torch.set_rng_state(dice["torch"])
        if len(dice["cuda"]) == torch.cuda.device_count():  # else it goes on on another machine
            torch.cuda.set_rng_state_all(dice["cuda"])
        np.random.set_state(tuple(dice["numpy"]))
        random.setstate(dice["python"])
