"""Parameters: base.yaml, a dataset's overlay and the notebook's values in one typed record."""

import ast
import difflib
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from cangraph.files import home

__all__ = [
    "Params",
    "assignments",
    "flatten",
    "load_params",
    "near",
    "params_here",
    "values_here",
    "versions",
]

_PACKAGES = ("torch", "torch-geometric", "lightning", "numpy", "numba")

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


class _Group(BaseModel):
    """A frozen group of parameters; `**group` unpacks it into a call."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def keys(self):
        return type(self).model_fields.keys()

    def __getitem__(self, name: str):
        return getattr(self, name)


class SplitParams(_Group):
    """How training recordings are cut into train, val and calib (see `splits.split`)."""

    blocks: Count
    val: Fraction
    calib: Fraction
    gap: NotNegative


class SynthesisParams(_Group):
    """What a draw of synthesised training windows holds (see `synthesis.Synthesis`)."""

    seconds: Positive
    fleet: Annotated[int, Field(ge=0)]
    varied: Annotated[float, Field(ge=0, le=1)]
    gross: Annotated[float, Field(gt=0, le=1)]
    subtle: Annotated[float, Field(gt=0, le=1)]


class GATParams(_Group):
    """Size of a GAT (see `models.GAT`)."""

    hidden: Count
    heads: Count
    layers: Count
    dropout: Fraction


class VGAEParams(_Group):
    """Size of a VGAE (see `models.VGAE`)."""

    hidden: Count
    heads: Count
    layers: Count
    latent: Count


class ModelsParams(_Group):
    """The two detectors of one size, and the epochs and the peak learning rate that suit it."""

    gat: GATParams
    vgae: VGAEParams
    epochs: Count
    learning_rate: Positive


class FitParams(_Group):
    """A training run (see `fit.fit`)."""

    train_on: Literal["clean", "labelled", "both"]
    batch_size: Count
    node_budget: Count | None
    edge_budget: Count | None
    rate: Literal["given", "found"]
    schedule: Literal["one_cycle", "cosine", "plateau"]
    warmup: Fraction
    head_rate: Positive
    weight_decay: NotNegative
    decay: Literal["all", "matrices"]
    imbalance: list[Literal["weights", "sampler", "focal", "logits"]]
    augment: list[Literal["edges", "nodes", "features"]]
    clip: Positive
    accumulate: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    compile: bool
    average: Literal["none", "ema", "swa"]
    freeze: Annotated[float, Field(ge=0, le=1)]
    prune: Fraction
    checkpoints: Count
    record: list[Literal["tensorboard", "wandb", "profile"]]

    @model_validator(mode="after")
    def _all_have_effect(self) -> "FitParams":
        if self.schedule == "one_cycle" and not self.warmup:
            raise ValueError(
                "fit.warmup = 0 with fit.schedule = 'one_cycle', which has to rise; expected a "
                "share above 0; use 0.3, or cosine"
            )
        if self.decay == "matrices" and not self.weight_decay:
            raise ValueError(
                "fit.decay = 'matrices' with fit.weight_decay = 0, where nothing decays; expected "
                "a weight decay above 0; set it, or leave fit.decay at all"
            )
        if self.prune and self.average != "none":
            raise ValueError(
                f"fit.prune = {self.prune} with fit.average = {self.average!r}, whose average "
                "knows no pruned weights; expected none; set fit.average to none"
            )
        for name in ("imbalance", "augment"):
            if len({*self[name]}) < len(self[name]):
                raise ValueError(
                    f"fit.{name} = {self[name]} names one twice; expected each once; drop one"
                )
        return self


class DistillationParams(_Group):
    """Weights of the distillation terms (see `distillation`)."""

    temperature: Positive
    soft: NotNegative
    types: NotNegative
    hint: NotNegative
    relation: NotNegative


class FusionParams(_Group):
    """The DQN of fusion (see `fusion.dqn`), and the folds that choose a rule."""

    actions: Annotated[int, Field(ge=2)]
    hidden: Count
    steps: Count
    batch_size: Count
    replay: Count
    learning_rate: Positive
    epsilon_start: Annotated[float, Field(ge=0, le=1)]
    epsilon_end: Annotated[float, Field(ge=0, le=1)]
    folds: Annotated[int, Field(ge=2)]


class Params(_Group):
    """Every parameter of a run. Printing it shows each value and where it came from."""

    dataset: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    window: Annotated[int, Field(ge=2)]
    stride: Count
    split: SplitParams
    synthesis: SynthesisParams
    teacher: ModelsParams
    student: ModelsParams
    fit: FitParams
    distillation: DistillationParams
    fusion: FusionParams
    trials: Count
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _long_enough(self) -> "Params":
        for size, epochs in (("teacher", self.teacher.epochs), ("student", self.student.epochs)):
            if self.fit.average == "swa" and epochs < 2:
                raise ValueError(
                    f"fit.average = 'swa' with {size}.epochs = {epochs}; expected two epochs or "
                    "more to average; use ema, or more epochs"
                )
            if self.fit.schedule == "plateau" and epochs < 4:
                raise ValueError(
                    f"fit.schedule = 'plateau' with {size}.epochs = {epochs}, which ends before "
                    "the rate can change; expected four or more; use one_cycle, or more epochs"
                )
        return self

    def __repr__(self) -> str:
        flat = flatten(self.model_dump())
        width = max(len(name) for name in flat)
        return "\n".join(
            f"{name:<{width}} = {value!s:<10} # {self._sources.get(name, 'code')}"
            for name, value in flat.items()
        )

    __str__ = __repr__


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Groups within groups as one level of names.

    >>> flatten({"seed": 0, "fit": {"clip": 1.0}})
    {'seed': 0, 'fit.clip': 1.0}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat


def _merge(below: dict, above: dict) -> dict:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        groups = isinstance(old, dict) and isinstance(value, dict)
        merged[name] = _merge(merged[name], value) if groups else value
    return merged


def _folders() -> tuple[Path, ...]:
    """Where parameter files are looked for: your own, then those that the package ships. These are
    `params/` in a checkout and `cangraph/presets/` in a wheel."""
    package = Path(__file__).parent
    return home() / "params", package / "presets", package.parent / "params"


def _file(name: str) -> Path:
    return next(p for folder in _folders() if (p := folder / f"{name}.yaml").is_file())


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def load_params(dataset: str = "demo", **values: Any) -> Params:
    """The parameters of a dataset: `params/base.yaml`, over it `params/<dataset>.yaml`, over
    it `values` (groups as dicts: `teacher={"epochs": 3}`).

    A file that is not in `params/` of `home()` is taken from those that the package ships.

    Raises `ValueError` that names the right parameter, type or dataset.

    >>> load_params("demo", seed=7).seed
    7
    >>> load_params("demo", sed=7)
    Traceback (most recent call last):
    ValueError: params: 'sed' is not a parameter; did you mean 'seed'?
    """
    known = sorted({p.stem for folder in _folders() for p in folder.glob("*.yaml")} - {"base"})
    if not known:
        raise ValueError(f"params: no *.yaml in {home() / 'params'}; expected base.yaml")
    if not isinstance(dataset, str) or not re.fullmatch(r"[A-Za-z0-9_]+", dataset):
        raise ValueError(
            f"params: dataset = {dataset!r} is not a name; expected one of {', '.join(known)}; "
            "to use another data folder set CANGRAPH_DATA"
        )
    if dataset not in known:
        raise ValueError(
            f"params: dataset = {dataset!r} is unknown; expected one of {', '.join(known)}"
            + near(dataset, known)
        )
    layers = {_name(path): _yaml(path) for path in (_file("base"), _file(dataset))}
    layers["notebook"] = {"dataset": dataset} | values
    tree: dict = {}
    sources: dict[str, str] = {}
    for source, layer in layers.items():
        tree = _merge(tree, layer)
        sources |= dict.fromkeys(flatten(layer), source)
    try:
        params = Params(**tree)
    except ValidationError as error:
        raise ValueError(_explain(error, sources)) from None
    params._sources.update(sources)
    return params


def near(name: str, names) -> str:
    """What to say of a name that may be misspelt, behind a message; empty if none is near.

    >>> near("sed", ["seed", "window"])
    "; did you mean 'seed'?"
    """
    near = difflib.get_close_matches(name, list(names), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _explain(error: ValidationError, sources: dict[str, str]) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        came = problem["input"]
        if problem["type"] == "value_error":  # of parameters that do not go together
            lines.append(f"params: {problem['ctx']['error']}")
            continue
        if problem["type"] == "extra_forbidden":
            group: Any = Params
            for part in problem["loc"][:-1]:
                group = group.model_fields[part].annotation
            names = group.model_fields.keys()
            hint = near(str(problem["loc"][-1]), names) or f"; expected some of {', '.join(names)}"
            lines.append(f"params: {where!r} is not a parameter{hint}")
            continue
        hint = ""
        if isinstance(came, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", came):
            plain = f"{float(came):.15f}".rstrip("0").rstrip(".")
            hint = f"; YAML reads {came} as text, write {plain}"
        elif isinstance(came, str) and problem["type"] != "string_type":
            hint = "; leave out the quotes"
        expected = problem["msg"].removeprefix("Input should be ")
        lines.append(
            f"params: {where} = {came!r} ({sources.get(where, 'notebook')}); "
            f"expected {expected}{hint}"
        )
    return "\n".join(lines)


def params_here(*own: str) -> Params:
    """The parameters of the notebook that calls it.

    Reads the assignments of the cells that start with `# parameters` (the tagged first cell)
    or `# Parameters` (the cell that papermill injects), so that a misspelt name is refused
    rather than ignored. The names in `own` are the notebook's own, and no parameters of a run.

    Raises `ValueError` as `load_params` does, and `RuntimeError` outside a notebook.
    """
    values = _given("params_here")
    return load_params(**{name: v for name, v in values.items() if name not in own})


def values_here(*names: str) -> list[Any]:
    """The values of `names` in a notebook whose parameters are its own, read as `params_here` does.

    Raises `ValueError` for another name in the parameters cell or one that is missing there, and
    `RuntimeError` outside a notebook.
    """
    values = _given("values_here")
    if not values:  # nbval keeps no history; then nothing is injected either
        import IPython

        here = IPython.get_ipython().user_ns
        values = {name: here[name] for name in names if name in here}
    for name in (*values, *names):
        if name not in names:
            raise ValueError(
                f"params: {name!r} is not a parameter of this notebook; expected "
                f"{', '.join(names)}{near(name, names)}"
            )
        if name not in values:
            raise ValueError(
                f"params: {name!r} has no value; expected one in the parameters cell; add it there"
            )
    return [values[name] for name in names]


def _given(who: str) -> dict[str, Any]:
    """The values in the parameters cells of the notebook that calls."""
    import IPython

    shell = IPython.get_ipython()
    if shell is None:
        raise RuntimeError(
            f"{who}: called outside a notebook; expected a cell that starts with "
            "'# parameters'; in a script call load_params(dataset, ...)"
        )
    values: dict[str, Any] = {}
    for source in shell.user_ns["In"]:
        if source.lstrip().lower().startswith("# parameters"):
            values |= assignments(source)
    return values


def assignments(source: str) -> dict[str, Any]:
    """The literal assignments of a parameters cell.

    >>> assignments("# parameters\\ndataset: str = 'demo'  # which\\nseed = 3")
    {'dataset': 'demo', 'seed': 3}
    """
    values = {}
    for node in ast.parse(source).body:
        try:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = ast.literal_eval(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    values[name] = ast.literal_eval(value)
                case _:
                    raise ValueError
        except ValueError:
            raise ValueError(
                f"params: {ast.unparse(node)!r} in the parameters cell is no plain assignment; "
                "expected name = value; move other code to another cell"
            ) from None
    return values
