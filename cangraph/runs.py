"""What a stage leaves behind, `runs/<dataset>/<stage>.{json,ckpt,safetensors}`, and reading it.

Notebooks meet only here. Nothing is unpickled: arrays are safetensors, weights are loaded with
`weights_only=True`, everything else is JSON. `Run` reads the JSON alone, without torch.
"""

import hashlib
import io
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from safetensors.numpy import load_file
from safetensors.numpy import save as serialized

from cangraph.data.splits import Split
from cangraph.data.store import keep, open_graphs
from cangraph.evaluation.scores import Scores
from cangraph.files import home, put
from cangraph.frames import CaptureInfo
from cangraph.params import Params, versions

STAGES = ("data_prep", "teacher", "distillation", "fusion", "diagnostics")
_DRAWN = "drawn"  # the part of a score's name for windows that no split holds
_COLUMNS = ("label", "attack_type", "capture", "start", "end")


def _name(dataset: str, seed: int) -> str:
    """The folder of a run below `runs/`."""
    return f"{dataset}/seed_{seed}" if seed else dataset


def folder(params: Params) -> Path:
    """Where a run lives: `runs/<dataset>`, and `runs/<dataset>/seed_<n>` for seeds other than 0."""
    return home() / "runs" / _name(params.dataset, params.seed)


def graphs_folder(params: Params) -> Path:
    """Where the prepared graphs of a dataset lie, shared by all seeds: `runs/<dataset>/graphs`."""
    return home() / "runs" / params.dataset / "graphs"


def training_folder(params: Params, stage: str) -> Path:
    """Where models keep checkpoints and records while they train: `runs/<dataset>/<stage>`."""
    return folder(params) / stage


def make_run(dataset: str, seed: int | str = "") -> str:
    """The command that makes a run, or goes on with it."""
    return f"make run DATASET={dataset}" + (f" SEED={seed}" if seed else "")


def remedy(params: Params, stage: str) -> str:
    """The commands that make what a stage leaves behind."""
    seed = f" -p seed {params.seed}" if params.seed else ""
    return (
        f"run `papermill notebooks/{stage}.ipynb {stage}.out.ipynb -p dataset {params.dataset}"
        f"{seed}`, or `{make_run(params.dataset, params.seed)}`"
    )


def _existing(params: Params, stage: str, suffix: str) -> Path:
    path = folder(params) / f"{stage}{suffix}"
    if not path.is_file():
        raise FileNotFoundError(
            f"run {params.dataset!r}: {path} is not there; {remedy(params, stage)}"
        )
    return path


def save(
    stage: str,
    params: Params,
    *,
    models: dict[str, Any] | None = None,
    scores: dict[str, Scores] | None = None,
    **facts: Any,
) -> None:
    """Save a stage: the weights of `models` as a checkpoint, `scores` as arrays, and as JSON the
    `facts` with parameters, versions, the hashes of the stages before it and what it cost.

    Scores are named `<model>/<part>`: the part of the split that was scored, or `drawn` for windows
    that `synthesis` drew, whose labels and captures are saved with them.

    The JSON is written last: where it lies, the stage is complete. Checkpoints in `training_folder`
    are then removed, unless `fit.checkpoints` asks for several.

    Raises `ValueError` for an unknown stage and for facts that are no JSON, such as NaN.
    """
    if stage not in STAGES:
        raise ValueError(f"runs.save: {stage!r} is no stage; expected one of {', '.join(STAGES)}")
    place = folder(params)
    if models:
        _put_models(place / f"{stage}.ckpt", models)
    if scores:
        facts |= _put_scores(place / f"{stage}.safetensors", scores)
    before = (place / f"{name}.json" for name in STAGES[: STAGES.index(stage)])
    hashes = {p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in before if p.is_file()}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    record = {
        "stage": stage,
        "dataset": params.dataset,
        "seed": params.seed,
        "params": params.model_dump(),
        "versions": versions(),
        "inputs": hashes,
        "cost": {  # of this process so far: s on the clock and on processors, OpenMP threads
            "seconds": round(time.time() - psutil.Process().create_time(), 1),
            "cpu_seconds": round(time.process_time(), 1),
            "threads": int(threads) if threads.isdecimal() else os.cpu_count() or 1,
        },
    }
    put(place / f"{stage}.json", json.dumps(record | facts, indent=1, allow_nan=False).encode())
    if params.fit.checkpoints == 1:
        for key in {checkpoint.parent for checkpoint in place.glob(f"{stage}/*/*/*.ckpt")}:
            shutil.rmtree(key)


def _put_models(path: Path, models: dict[str, Any]) -> None:
    import torch

    content = {
        name: {"kind": type(m).__name__, "config": m.config, "weights": m.state_dict()}
        for name, m in models.items()
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    put(path, buffer.getvalue())


def _put_scores(path: Path, scores: dict[str, Scores]) -> dict[str, Any]:
    """Write the arrays of scores; returns their part of the JSON."""
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {"states": {name: list(s.state_names) for name, s in scores.items()}}
    for name, s in scores.items():
        arrays |= {f"{name}/value": s.value, f"{name}/state": s.state}
        if name.endswith(f"/{_DRAWN}"):
            arrays |= {f"{name}/{column}": getattr(s, column) for column in _COLUMNS}
            facts.setdefault("drawn", {})[name] = [info._asdict() for info in s.captures]
    # safetensors writes the bytes of an array as they lie, whatever its strides
    put(path, serialized({name: np.ascontiguousarray(a) for name, a in arrays.items()}))
    return facts


def save_data(params: Params, data: Split, **facts: Any) -> None:
    """Save the split and which graphs it is of, with what is known of every capture. Graphs that
    `prepare` did not keep in `graphs_folder` are written there."""
    key = keep(data.graphs, graphs_folder(params))
    part = np.ascontiguousarray(data.part)
    put(folder(params) / "data_prep.safetensors", serialized({"part": part}))
    captures = [capture._asdict() for capture in data.graphs.captures]
    split, notes = data.counts(), list(data.notes)
    save("data_prep", params, graphs=key, captures=captures, split=split, notes=notes, **facts)


def load(stage: str, params: Params) -> dict[str, Any]:
    """The JSON of a stage. Raises `FileNotFoundError` that names the command which makes it."""
    return json.loads(_existing(params, stage, ".json").read_text(encoding="utf-8"))


def load_data(params: Params) -> Split:
    """The graphs and the split that data_prep saved, the graphs mapped into memory.

    Raises `ValueError` for other parameters and damaged graphs, `FileNotFoundError` for none.
    """
    record = load("data_prep", params)
    asked = params.model_dump()
    for name in ("dataset", "seed", "window", "stride", "split"):
        if record["params"][name] != asked[name]:
            raise ValueError(
                f"run {params.dataset!r}: data_prep ran with {name} = {record['params'][name]}; "
                f"expected {asked[name]}; run data_prep with the same parameters"
            )
    part = load_file(_existing(params, "data_prep", ".safetensors"))["part"]
    try:
        graphs = open_graphs(graphs_folder(params), record["graphs"])
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; {remedy(params, 'data_prep')}") from error
    return Split(graphs, part, tuple(record["notes"]))


def load_scores(stage: str, params: Params, data: Split) -> dict[str, Scores]:
    """The scores that a stage saved, by the names it gave them."""
    arrays = load_file(_existing(params, stage, ".safetensors"))
    found, record = {}, load(stage, params)
    for name, states in record["states"].items():
        value, state = arrays[f"{name}/value"], arrays[f"{name}/state"]
        part = name.split("/")[-1]
        if part == _DRAWN:
            known: dict[str, Any] = {c: arrays[f"{name}/{c}"] for c in _COLUMNS}
            known["captures"] = tuple(CaptureInfo(**info) for info in record["drawn"][name])
            found[name] = Scores(value, state=state, state_names=tuple(states), **known)
        else:
            found[name] = Scores.of(getattr(data, part), value, state, states)
    return found


def load_models(stage: str, params: Params) -> dict[str, Any]:
    """The models in a stage's checkpoint, in evaluation mode, each in a task that can `score`.

    Raises `ValueError` for a checkpoint with a kind of model that cangraph does not have.
    """
    import torch

    from cangraph.nn.models import GAT, VGAE
    from cangraph.train.tasks import Detector, Reconstructor

    path = _existing(params, stage, ".ckpt")
    kinds: dict[str, tuple[Any, Any]] = {"GAT": (GAT, Detector), "VGAE": (VGAE, Reconstructor)}
    tasks = {}
    for name, saved in torch.load(path, weights_only=True).items():
        if saved["kind"] not in kinds:
            said = f"{path}: {name} is a {saved['kind']!r}; expected one of {', '.join(kinds)}"
            raise ValueError(f"{said}; run {stage} again")
        model, task = kinds[saved["kind"]]
        net = model(**saved["config"])
        net.load_state_dict(saved["weights"])
        tasks[name] = task(net).eval()
    return tasks


class Run(NamedTuple):
    """A run: its folder below `runs/` as `name`, and the JSON of each stage that is done."""

    name: str
    dataset: str
    seed: int
    stages: dict[str, dict[str, Any]]

    @property
    def is_copy(self) -> bool:
        """Whether it lies elsewhere than where `make run` puts it."""
        return self.name != _name(self.dataset, self.seed)

    @property
    def next_stage(self) -> str | None:
        """The first stage that is not done; None when all are."""
        return next((stage for stage in STAGES if stage not in self.stages), None)

    @property
    def command(self) -> str:
        """What makes this run, or goes on with it."""
        return make_run(self.dataset, self.seed)


def read_run(name: str) -> Run:
    """The run in a folder below `runs/`: `hcrl_sa`, `hcrl_sa/seed_1`, or a copy that was kept.

    Raises `ValueError` for another name and for a record that is no JSON, `FileNotFoundError` that
    names the command which makes a run.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
        raise ValueError(f"run {name!r}: not a folder below runs/; expected hcrl_sa/seed_1 or such")
    stages = {}
    for stage in STAGES:
        path = home() / "runs" / name / f"{stage}.json"
        if path.is_file():
            try:
                stages[stage] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path}: {error}; run {stage}.ipynb again") from None
    if not stages:
        dataset, _, seed = name.partition("/seed_")
        raise FileNotFoundError(
            f"run {name!r}: no {STAGES[0]}.json in {home()}/runs/{name}; run "
            f"`{make_run(dataset, seed)}`"
        )
    first = next(iter(stages.values()))
    return Run(name, first["dataset"], first["seed"], stages)


def all_runs() -> list[Run]:
    """The run of each dataset and seed of which some stage is done, without copies.

    Raises `ValueError` as `read_run` does.
    """
    base = home() / "runs"
    files = (*base.glob("*/*.json"), *base.glob("*/seed_*/*.json"))
    places = {path.parent.relative_to(base).as_posix() for path in files if path.stem in STAGES}
    found = [run for run in map(read_run, places) if not run.is_copy]
    return sorted(found, key=lambda run: (run.dataset, run.seed))
