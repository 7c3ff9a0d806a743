"""What a stage leaves behind, `runs/<dataset>/<stage>.{json,ckpt,safetensors}`, and reading it.

Notebooks meet only here. Nothing is unpickled: arrays are safetensors, weights are loaded with
`weights_only=True`, everything else is JSON. `Run` reads the JSON alone, without torch.

Each JSON holds its own hash and those of the files beside it (`files`), which are compared on
loading, and of each stage before it the hash of all that it says but its `cost` (`inputs`): a stage
that was made of others than those that lie here counts as missing.
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
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as serialized

from cangraph.data.splits import Split
from cangraph.data.store import open_graphs
from cangraph.evaluation.scores import Scores
from cangraph.files import home, put, sealed, unsealed
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

    The JSON is written last: where it lies, the stage is complete. Checkpoints of its
    training are then removed, unless `fit.checkpoints` asks for several.

    Raises `ValueError` for an unknown stage, for facts that are no JSON, such as NaN, and where the
    JSON of a stage before it is damaged.
    """
    if stage not in STAGES:
        raise ValueError(f"runs.save: {stage!r} is no stage; expected one of {', '.join(STAGES)}")
    arrays, said = _arrays(scores or {})
    contents = ({".ckpt": _weights(models)} if models else {}) | _serialized(arrays)
    _save(stage, params, contents, facts | (said if scores else {}))


def _save(stage: str, params: Params, contents: dict[str, bytes], facts: dict[str, Any]) -> None:
    """Write the files of a stage, the `contents` by their ending, and then its JSON."""
    place = folder(params)
    before = (place / f"{name}.json" for name in STAGES[: STAGES.index(stage)])
    inputs = {path.stem: _identity(unsealed(path)) for path in before if path.is_file()}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    record = {
        "stage": stage,
        "dataset": params.dataset,
        "seed": params.seed,
        "params": params.model_dump(),
        "versions": versions(),
        "inputs": inputs,
        "files": {f"{stage}{ending}": _sha256(content) for ending, content in contents.items()},
        "cost": {  # of this process so far: s on the clock and on processors, OpenMP threads
            "seconds": round(time.time() - psutil.Process().create_time(), 1),
            "cpu_seconds": round(time.process_time(), 1),
            "threads": int(threads) if threads.isdecimal() else os.cpu_count() or 1,
        },
    }
    written = sealed(record | facts)
    for ending, content in contents.items():
        put(place / f"{stage}{ending}", content)
    put(place / f"{stage}.json", written)
    if params.fit.checkpoints == 1:
        for key in {checkpoint.parent for checkpoint in place.glob(f"{stage}/*/*/*.ckpt")}:
            shutil.rmtree(key)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _identity(record: dict[str, Any]) -> str:
    """A hash of what a stage says, but for what it cost: the same where it was run again alike."""
    rest = {name: said for name, said in record.items() if name != "cost"}
    return _sha256(json.dumps(rest, sort_keys=True).encode())


def _serialized(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    # safetensors writes the bytes of an array as they lie, whatever its strides
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return {".safetensors": serialized(whole)} if whole else {}


def _weights(models: dict[str, Any]) -> bytes:
    import torch

    content = {
        name: {"kind": type(m).__name__, "config": m.config, "weights": m.state_dict()}
        for name, m in models.items()
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _arrays(scores: dict[str, Scores]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of scores, and their part of the JSON."""
    arrays: dict[str, np.ndarray] = {}
    facts: dict[str, Any] = {"states": {name: list(s.state_names) for name, s in scores.items()}}
    for name, s in scores.items():
        arrays |= {f"{name}/value": s.value, f"{name}/state": s.state}
        if name.endswith(f"/{_DRAWN}"):
            arrays |= {f"{name}/{column}": getattr(s, column) for column in _COLUMNS}
            facts.setdefault("drawn", {})[name] = [info._asdict() for info in s.captures]
    return arrays, facts


def save_data(params: Params, data: Split, **facts: Any) -> None:
    """Save the split and which graphs it is of, with what is known of every capture.

    Raises `ValueError` for graphs that `prepare` did not keep in `graphs_folder`."""
    graphs = data.graphs
    if not (graphs_folder(params) / (graphs.key or "none")).is_dir():
        raise ValueError(
            f"runs.save_data: {graphs} are not in {graphs_folder(params)}; expected those that "
            "cangraph.prepare keeps there; prepare them with this folder"
        )
    facts |= {"graphs": graphs.key, "split": data.counts(), "notes": list(data.notes)}
    facts["captures"] = [capture._asdict() for capture in graphs.captures]
    _save("data_prep", params, _serialized({"part": data.part}), facts)


def load(stage: str, params: Params) -> dict[str, Any]:
    """The JSON of a stage.

    Raises `FileNotFoundError` when it is missing or was made of other stages than those that lie
    here, `ValueError` when it is damaged or of another run; both name the command that makes it.
    """
    path, again = _existing(params, stage, ".json"), remedy(params, stage)
    try:
        record = unsealed(path)
    except ValueError as error:
        raise ValueError(f"{error}; {again}") from error
    for name, asked in (("stage", stage), ("dataset", params.dataset), ("seed", params.seed)):
        if record[name] != asked:
            raise ValueError(f"{path}: of {name} {record[name]}; expected {asked}; {again}")
    for name, known in record["inputs"].items():
        before = path.with_stem(name)
        if before.is_file() and _identity(unsealed(before)) != known:
            raise FileNotFoundError(f"{path}: made of another {before.name}; {again}")
    return record


def _saved(stage: str, params: Params, ending: str) -> tuple[dict[str, Any], bytes]:
    """The JSON of a stage and one of its files. Raises as `load` does, and `ValueError` when the
    file is damaged."""
    record, path = load(stage, params), _existing(params, stage, ending)
    content = path.read_bytes()
    if _sha256(content) != record["files"].get(path.name):
        raise ValueError(
            f"{path}: damaged, or of another run; expected the sha256 that {stage}.json holds; "
            f"{remedy(params, stage)}"
        )
    return record, content


def load_data(params: Params) -> Split:
    """The graphs and the split that data_prep saved, the graphs mapped into memory.

    Raises `ValueError` for other parameters and damaged graphs, `FileNotFoundError` for none.
    """
    record, content = _saved("data_prep", params, ".safetensors")
    asked = params.model_dump()
    for name in ("dataset", "seed", "window", "stride", "split"):
        if record["params"][name] != asked[name]:
            raise ValueError(
                f"run {params.dataset!r}: data_prep ran with {name} = {record['params'][name]}; "
                f"expected {asked[name]}; run data_prep with the same parameters"
            )
    try:
        graphs = open_graphs(graphs_folder(params), record["graphs"])
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{error}; {remedy(params, 'data_prep')}") from error
    part = read_arrays(content)["part"]
    return Split(graphs, part, tuple(record["notes"]), params.split.most)


def load_scores(stage: str, params: Params, data: Split) -> dict[str, Scores]:
    """The scores that a stage saved, by the names it gave them. Raises as `load` does, and
    `ValueError` when the arrays are damaged."""
    record, content = _saved(stage, params, ".safetensors")
    arrays, found = read_arrays(content), {}
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

    Raises as `load` does, and `ValueError` for a checkpoint that is damaged or has a kind of model
    that cangraph does not have.
    """
    import torch

    from cangraph.nn.models import GAT, VGAE
    from cangraph.train.tasks import Detector, Reconstructor

    _, content = _saved(stage, params, ".ckpt")
    kinds: dict[str, tuple[Any, Any]] = {"GAT": (GAT, Detector), "VGAE": (VGAE, Reconstructor)}
    tasks = {}
    for name, saved in torch.load(io.BytesIO(content), weights_only=True).items():
        if saved["kind"] not in kinds:
            said = f"{stage}.ckpt: {name} is a {saved['kind']!r}; expected one of "
            raise ValueError(f"{said}{', '.join(kinds)}; {remedy(params, stage)}")
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
    def next_stage(self) -> str | None:
        """The first stage that is not done; None when all are."""
        return next((stage for stage in STAGES if stage not in self.stages), None)

    @property
    def command(self) -> str:
        """What makes this run, or goes on with it."""
        return make_run(self.dataset, self.seed)


def read_run(name: str) -> Run:
    """The run in a folder below `runs/`: `hcrl_sa`, `hcrl_sa/seed_1`, or a copy that was kept.

    Raises `ValueError` for another name and for a damaged record, `FileNotFoundError` that names
    the command which makes a run.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)*", name):
        raise ValueError(f"run {name!r}: not a folder below runs/; expected hcrl_sa/seed_1 or such")
    stages = {}
    for stage in STAGES:
        path = home() / "runs" / name / f"{stage}.json"
        if path.is_file():
            try:
                stages[stage] = unsealed(path)
            except ValueError as error:
                raise ValueError(f"{error}; run {stage}.ipynb again") from error
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
    # a copy lies elsewhere than where `make run` puts it
    found = [run for run in map(read_run, places) if run.name == _name(run.dataset, run.seed)]
    return sorted(found, key=lambda run: (run.dataset, run.seed))
