"""What a stage leaves behind, `runs/<dataset>/<stage>.{json,ckpt,safetensors}`, and reading it.

Notebooks meet only here. Nothing is unpickled: arrays are safetensors, weights are loaded with
`weights_only=True`, everything else is JSON.
"""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import load_file
from safetensors.numpy import save as serialized

from cangraph.data import store as prepared
from cangraph.data.splits import Split
from cangraph.evaluation.scores import Scores
from cangraph.files import put
from cangraph.frames import CaptureInfo
from cangraph.params import Params, home, versions

__all__ = [
    "STAGES",
    "folder",
    "graphs_folder",
    "load",
    "load_data",
    "load_models",
    "load_scores",
    "remedy",
    "save",
    "save_data",
    "training_folder",
]

STAGES = ("data_prep", "teacher", "distillation", "fusion", "diagnostics")
_DRAWN = "drawn"  # the part of a score's name for windows that no split holds
_COLUMNS = ("label", "attack_type", "capture", "start", "end")


def folder(params: Params) -> Path:
    """Where a run lives: `runs/<dataset>`, and `runs/<dataset>/seed_<n>` for seeds other than 0."""
    base = home() / "runs" / params.dataset
    return base / f"seed_{params.seed}" if params.seed else base


def _put_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # safetensors writes the bytes of an array as they lie, whatever its strides
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    put(path, [serialized(whole)])


def graphs_folder(params: Params) -> Path:
    """Where the prepared graphs of a dataset lie, those of every seed: `runs/<dataset>/graphs`."""
    return home() / "runs" / params.dataset / "graphs"


def training_folder(params: Params, stage: str) -> Path:
    """Where the models of a stage, a folder for each, keep checkpoints and records while they
    train: `runs/<dataset>/<stage>`."""
    return folder(params) / stage


def _existing(params: Params, stage: str, suffix: str) -> Path:
    path = folder(params) / f"{stage}{suffix}"
    if not path.is_file():
        raise FileNotFoundError(
            f"run {params.dataset!r}: {path} is not there; expected what {stage}.ipynb saves; "
            + remedy(params, stage)
        )
    return path


def remedy(params: Params, stage: str) -> str:
    """The command that makes what a stage leaves behind."""
    seed = f" -p seed {params.seed}" if params.seed else ""
    return (
        f"run `papermill notebooks/{stage}.ipynb {stage}.out.ipynb -p dataset {params.dataset}"
        f"{seed}`, or `make run DATASET={params.dataset}`"
    )


def save(
    stage: str,
    params: Params,
    *,
    models: dict[str, Any] | None = None,
    scores: dict[str, Scores] | None = None,
    **facts: Any,
) -> None:
    """Save a stage: `facts` with parameters, versions, the hashes of the stages before it and what
    it took as JSON, the weights of `models` as a checkpoint, `scores` as arrays; they are named
    `<model>/<part>`, with the part of the split that was scored, or `drawn` for windows that
    `synthesis` drew, whose labels and captures are saved with them.

    The JSON is written last: where it lies, the stage is complete. The checkpoints that its runs
    left in `training_folder` are removed then: the best weights lie in the stage's own, and there
    is nothing left to go on with. They stay where `fit.checkpoints` asks for several.
    """
    if stage not in STAGES:
        raise ValueError(f"runs.save: {stage!r} is no stage; expected one of {', '.join(STAGES)}")
    place = folder(params)
    if models:
        import io

        import torch

        buffer = io.BytesIO()
        content = {
            name: {"kind": type(m).__name__, "config": m.config, "weights": m.state_dict()}
            for name, m in models.items()
        }
        torch.save(content, buffer)
        put(place / f"{stage}.ckpt", [buffer.getvalue()])
    if scores:
        arrays = {}
        for name, s in scores.items():
            arrays |= {f"{name}/value": s.value, f"{name}/state": s.state}
            if name.endswith(f"/{_DRAWN}"):
                arrays |= {f"{name}/{column}": getattr(s, column) for column in _COLUMNS}
                facts.setdefault("drawn", {})[name] = [info._asdict() for info in s.captures]
        _put_arrays(place / f"{stage}.safetensors", arrays)
        facts["states"] = {name: list(s.state_names) for name, s in scores.items()}
    before = STAGES[: STAGES.index(stage)]
    record = {
        "stage": stage,
        "dataset": params.dataset,
        "seed": params.seed,
        "params": params.model_dump(),
        "versions": versions(),
        "inputs": {
            name: hashlib.sha256((place / f"{name}.json").read_bytes()).hexdigest()
            for name in before
            if (place / f"{name}.json").is_file()
        },
        "cost": _cost(),
    }
    path = place / f"{stage}.json"
    put(path, [json.dumps(record | facts, indent=1, allow_nan=False).encode()])
    if params.fit.checkpoints == 1:
        for key in {checkpoint.parent for checkpoint in place.glob(f"{stage}/*/*/*.ckpt")}:
            shutil.rmtree(key)


def _cost() -> dict[str, float]:
    """What this process took so far: s on the clock and on processors, and its OpenMP threads."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return {
        "seconds": round(time.time() - psutil.Process().create_time(), 1),
        "cpu_seconds": round(time.process_time(), 1),
        "threads": int(threads) if threads.isdecimal() else os.cpu_count() or 1,
    }


def load(stage: str, params: Params) -> dict:
    """The JSON that a stage saved.

    Raises `FileNotFoundError` that names the command which makes it.
    """
    return json.loads(_existing(params, stage, ".json").read_text(encoding="utf-8"))


def save_data(params: Params, data: Split, **facts: Any) -> None:
    """Save the split and which graphs it is of, with what is known of every capture. Graphs that
    `prepare` did not keep in `graphs_folder` are written there."""
    graphs = data.graphs
    key = prepared.keep(graphs, graphs_folder(params))
    _put_arrays(folder(params) / "data_prep.safetensors", {"part": data.part})
    save(
        "data_prep",
        params,
        graphs=key,
        captures=[c._asdict() for c in graphs.captures],
        split=data.counts(),
        notes=list(data.notes),
        **facts,
    )


def load_data(params: Params) -> Split:
    """The graphs and the split that data_prep saved, the graphs mapped into memory.

    Raises `ValueError` when data_prep ran with other parameters than this notebook asks for or
    its graphs are damaged, and `FileNotFoundError` when they are gone.
    """
    record = load("data_prep", params)
    asked = params.model_dump()
    for name in ("dataset", "seed", "window", "stride", "split"):
        if record["params"][name] != asked[name]:
            raise ValueError(
                f"run {params.dataset!r}: data_prep ran with {name} = {record['params'][name]}, "
                f"this notebook asks for {asked[name]}; run data_prep with the same parameters"
            )
    part = load_file(_existing(params, "data_prep", ".safetensors"))["part"]
    try:
        graphs = prepared.load(graphs_folder(params), record["graphs"])
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(
            f"run {params.dataset!r}: {error}; {remedy(params, 'data_prep')}"
        ) from error
    return Split(graphs, part, tuple(record["notes"]))


def load_scores(stage: str, params: Params, data: Split) -> dict[str, Scores]:
    """The scores that a stage saved, by the names it gave them."""
    arrays = load_file(_existing(params, stage, ".safetensors"))
    found, record = {}, load(stage, params)
    for name, state_names in record["states"].items():
        value, state = arrays[f"{name}/value"], arrays[f"{name}/state"]
        part = name.split("/")[-1]
        if part == _DRAWN:
            columns = (arrays[f"{name}/{column}"] for column in _COLUMNS)
            captures = tuple(CaptureInfo(**info) for info in record["drawn"][name])
            found[name] = Scores(value, *columns, captures, state, tuple(state_names))
        else:
            found[name] = Scores.of(getattr(data, part), value, state, state_names)
    return found


def load_models(stage: str, params: Params) -> dict[str, Any]:
    """The models in a stage's checkpoint, in evaluation mode, each in a task that can `score`.

    Raises `ValueError` for a checkpoint with a kind of model that cangraph does not have.
    """
    import torch

    from cangraph.nn.models import GAT, VGAE
    from cangraph.train.tasks import Detector, Reconstructor

    path = _existing(params, stage, ".ckpt")
    kinds = {"GAT": (GAT, Detector), "VGAE": (VGAE, Reconstructor)}
    tasks = {}
    for name, saved in torch.load(path, weights_only=True).items():
        if saved["kind"] not in kinds:
            raise ValueError(
                f"{path}: {name} is a {saved['kind']!r}; expected one of {', '.join(kinds)}; "
                "run the notebook again with this version of cangraph"
            )
        model, task = kinds[saved["kind"]]
        net = model(**saved["config"])
        net.load_state_dict(saved["weights"])
        tasks[name] = task(net).eval()
    return tasks


if __name__ == "__main__":  # what `make run` prints when it is done
    import sys

    from cangraph.params import load_params

    finished = load_params(sys.argv[1], seed=int(sys.argv[2]))
    print(
        folder(finished) / "diagnostics.html", *load("diagnostics", finished)["summary"], sep="\n"
    )
