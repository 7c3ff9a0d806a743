"""What a run leaves on disk while it trains, so that one that was killed goes on as if it had not
been: the same weights in the end, bit for bit on a CPU.

`<folder>/<key>/last.ckpt` and `epoch_<n>.ckpt`, the best ones. The key hashes what the weights
depend on: whatever of that changes, a run begins anew, and no stale file can be met.
"""

import hashlib
import io
import json
import random
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from cangraph.data.batches import Batches
from cangraph.data.graphs import Graphs
from cangraph.files import put
from cangraph.params import Params, versions

__all__ = ["Checkpoints", "WholeFiles", "about", "key_of", "newest", "read", "throw_as_in"]

_LAST = "last"
_SOURCES = ("bus", "features", "data", "nn", "train")  # the packages that weights depend on


def _sha256(arrays) -> str:
    digest = hashlib.sha256()
    for name, array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _windows(graphs: Graphs) -> str:
    arrays = vars(graphs).items()
    return _sha256((name, a) for name, a in arrays if isinstance(a, np.ndarray))


def _weights(module: nn.Module) -> str:
    return _sha256((name, w.cpu().numpy()) for name, w in module.state_dict().items())


def about(task: nn.Module, train: Graphs, val: Graphs, params: Params, size: str) -> dict[str, Any]:
    """What the weights at the end of a run depend on, as JSON: the task and its first weights
    (a student's teacher among them), the windows of the first epoch (`data`) and those that choose
    the epoch (`split`), the parameters, the versions of packages and the code that makes and trains
    them."""
    root = Path(__file__).parents[1]
    source = b"".join(f.read_bytes() for n in _SOURCES for f in sorted(root.glob(f"{n}/*.py")))
    return {
        "task": type(task).__name__,
        "model": type(task.model).__name__,
        "config": task.model.config,
        "size": size,
        "first_weights": _weights(task),
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


def _whole(path: Path) -> bool:
    """Whether all parts of a checkpoint, a zip file, are there and have their CRC-32."""
    try:
        with zipfile.ZipFile(path) as parts:
            return parts.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False


def read(path: Path | str) -> dict[str, Any]:
    """A checkpoint: tensors, numbers and text, nothing unpickled.

    Raises `ValueError` when it is damaged.
    """
    path = Path(path)
    if not _whole(path):
        raise ValueError(
            f"checkpoints: {path} is damaged; expected a whole checkpoint; delete it, and train "
            "from the one before"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def newest(folder: Path) -> Path | None:
    """The latest checkpoint in a folder that is whole; warns of those that are not."""
    last, best = folder / f"{_LAST}.ckpt", sorted(folder.glob("epoch_*.ckpt"), reverse=True)
    for path in [last] * last.is_file() + best:
        if _whole(path):
            return path
        warnings.warn(
            f"fit: {path} is damaged; expected a whole checkpoint; training goes on from the one "
            "before it",
            stacklevel=2,
        )
    return None


class WholeFiles(TorchCheckpointIO):
    """Checkpoints are written beside their place and renamed, so that each is whole or not there.

    Lightning's own way writes to the system's temporary folder, and copies where that is another
    file system.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        put(Path(path), [buffer.getbuffer()])


class Checkpoints(ModelCheckpoint):
    """Keep the `keep` epochs that `task.monitor` calls best, and the last one to go on from, with
    all that the next epoch depends on and Lightning leaves out: the random generators and the order
    of the `batches`. Each holds `facts` (see `about`) and the metrics of its epoch."""

    def __init__(self, folder: Path, task, batches: Batches, facts: dict[str, Any], keep: int = 1):
        self.batches, self.facts = batches, facts
        super().__init__(
            folder,
            "epoch_{epoch:04d}",
            task.monitor,
            mode=task.mode,
            save_top_k=keep,
            auto_insert_metric_name=False,
            enable_version_counter=False,  # an epoch that is trained again gives the same file
        )

    def on_train_epoch_end(self, trainer, module) -> None:
        super().on_train_epoch_end(trainer, module)
        # Lightning's `save_last` leaves out the epochs that are not among the best
        trainer.save_checkpoint(Path(self.dirpath, f"{_LAST}.ckpt"))

    def on_save_checkpoint(self, trainer, module, checkpoint) -> None:
        checkpoint["about"] = self.facts | {"metrics": module.history[-1]}

    def state_dict(self) -> dict[str, Any]:
        kind, words, *rest = np.random.get_state()
        return super().state_dict() | {
            "batches": self.batches.state_dict(),
            "random": {
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all(),
                "numpy": [kind, words.tolist(), *rest],
                "python": random.getstate(),
            },
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # the folder may have been moved
        def here(path: str) -> str:
            return str(Path(self.dirpath, Path(path).name)) if path else path

        moved = {name: here(path) for name, path in state_dict.items() if name.endswith("_path")}
        moved["best_k_models"] = {here(p): v for p, v in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": self.dirpath})
        self.batches.load_state_dict(state_dict["batches"])
        _throw(state_dict["random"])


def _throw(dice: dict[str, Any]) -> None:
    torch.set_rng_state(dice["torch"])
    if len(dice["cuda"]) == torch.cuda.device_count():  # else it goes on on another machine
        torch.cuda.set_rng_state_all(dice["cuda"])
    np.random.set_state(tuple(dice["numpy"]))
    random.setstate(dice["python"])


def throw_as_in(folder: Path, best: Checkpoints) -> None:
    """Set the random generators as they were at the end of a run, in each of its processes: what
    is built next has the same first weights in all of them, and in the process that goes on."""
    _throw(read(folder / f"{_LAST}.ckpt")["callbacks"][best.state_key]["random"])
