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


class SplitParams(_Group):  # of `data.splits.split`
    blocks: Count
    val: Fraction
    calib: Fraction
    gap: NotNegative
    most: Count


class SynthesisParams(_Group):  # of `data.synthesis.Synthesis`
    seconds: Positive
    fleet: Annotated[int, Field(ge=0)]
    wild: bool
    known: Annotated[float, Field(ge=0, le=1)]
    varied: Annotated[float, Field(ge=0, le=1)]
    gross: Annotated[float, Field(gt=0, le=1)]
    subtle: Annotated[float, Field(gt=0, le=1)]


class GATParams(_Group):  # of `nn.models.GAT`
    hidden: Count
    heads: Count
    layers: Count
    dropout: Fraction


class VGAEParams(_Group):  # of `nn.models.VGAE`
    hidden: Count
    heads: Count
    layers: Count
    latent: Count


class ModelsParams(_Group):
    """The two detectors of one size, and how they are trained."""

    gat: GATParams
    vgae: VGAEParams
    epochs: Count
    learning_rate: Positive


class FitParams(_Group):  # of `train.fit.fit`
    train_on: Literal["clean", "labelled", "both"]
    batch_size: Count
    at_once: Count | None
    rate: Literal["given", "found"]
    warmup: Fraction
    weight_decay: NotNegative
    imbalance: Literal["none", "weights", "sampler", "focal"]
    clip: Positive
    accumulate: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    average: Literal["none", "ema", "swa"]
    freeze: Annotated[float, Field(ge=0, le=1)]
    prune: Fraction
    checkpoints: Count
    record: list[Literal["tensorboard", "wandb"]]

    @model_validator(mode="after")
    def _pruned_weights_are_kept(self) -> "FitParams":
        if self.prune and self.average != "none":
            raise ValueError(
                f"fit.prune = {self.prune} with fit.average = {self.average!r}, which keeps no "
                "pruned weights; set fit.average to none"
            )
        return self


class DistillationParams(_Group):  # of `train.distillation.distill`
    temperature: Positive
    soft: NotNegative
    types: NotNegative
    hint: NotNegative
    relation: NotNegative


class FusionParams(_Group):  # of `fusion.dqn`
    actions: Annotated[int, Field(ge=2)]
    hidden: Count
    steps: Count
    batch_size: Count
    replay: Count
    learning_rate: Positive
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

    def __repr__(self) -> str:
        flat = flatten(self.model_dump())
        width = max(len(name) for name in flat)
        return "\n".join(
            f"{name:<{width}} = {value!s:<10} # {self._sources.get(name, 'code')}"
            for name, value in flat.items()
        )

    __str__ = __repr__


def flatten(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Groups within groups as one level of names, such as `fit.clip`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, dict)
        flat |= flatten(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat


def _merge(below: dict, above: dict) -> dict:
    merged = below | above
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            merged[name] = _merge(below[name], above[name])
    return merged


def parameter_files() -> dict[str, Path]:
    """The files of parameters by name, and `protocol`, the register of captures: those that the
    package ships, in `params/` of a checkout and `cangraph/presets/` of a wheel, and before these
    your own."""
    package = Path(__file__).parent
    folders = package.parent / "params", package / "presets", home() / "params"
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def load_params(dataset: str = "demo", **values: Any) -> Params:
    """The parameters of a dataset: `params/base.yaml`, over it `params/<dataset>.yaml`, over
    it `values` (groups as dicts: `teacher={"epochs": 3}`). A file that `params/` of `home()` lacks
    is the package's. Raises `ValueError` that names the right parameter, type or dataset.

    >>> load_params("demo", seed=7).seed
    7
    >>> load_params("demo", sed=7)
    Traceback (most recent call last):
    ValueError: params: 'sed' is not a parameter; did you mean 'seed'?
    """
    files = parameter_files()
    known = sorted(files.keys() - {"base", "protocol"})
    if dataset not in known:
        raise ValueError(
            f"params: dataset = {dataset!r} is unknown; expected one of {', '.join(known)}; "
            f"CANGRAPH_DATA sets another data folder{near(str(dataset), known)}"
        )
    layers = {
        f"{path.parent.name}/{path.name}": yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for path in (files["base"], files[dataset])
    }
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
    """What a message says of a name that may be misspelt: `; did you mean 'seed'?`, or nothing."""
    found = difflib.get_close_matches(name, list(names), 1, 0.5)
    return f"; did you mean {found[0]!r}?" if found else ""


def _explain(error: ValidationError, sources: dict[str, str]) -> str:
    lines = []
    for problem in error.errors():
        where, came, hint = ".".join(map(str, problem["loc"])), problem["input"], ""
        if problem["type"] == "value_error":  # of parameters that do not go together
            lines.append(str(problem["ctx"]["error"]))
            continue
        if problem["type"] == "extra_forbidden":
            group: Any = Params
            for part in problem["loc"][:-1]:
                group = group.model_fields[part].annotation
            names = group.model_fields.keys()
            hint = near(str(problem["loc"][-1]), names) or f"; expected some of {', '.join(names)}"
            lines.append(f"{where!r} is not a parameter{hint}")
            continue
        if isinstance(came, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", came):
            plain = f"{float(came):.15f}".rstrip("0").rstrip(".")
            hint = f"; YAML reads {came} as text, write {plain}"
        elif isinstance(came, str) and problem["type"] != "string_type":
            hint = "; leave out the quotes"
        expected = problem["msg"].removeprefix("Input should be ")
        source = sources.get(where, "notebook")
        lines.append(f"{where} = {came!r} ({source}); expected {expected}{hint}")
    return "\n".join(f"params: {line}" for line in lines)


def params_here(*own: str) -> Params:
    """The parameters of the notebook that calls it, from the cells that start with `# parameters`
    (its first) or `# Parameters` (papermill's). A misspelt name is refused; those in `own` are the
    notebook's, and no parameters of a run.

    Raises `ValueError` as `load_params` does, and `RuntimeError` outside a notebook.
    """
    import IPython

    shell = IPython.get_ipython()
    if shell is None:
        raise RuntimeError("params_here: called outside a notebook; call load_params(dataset, ...)")
    values: dict[str, Any] = {}
    for source in shell.user_ns["In"]:
        if source.lstrip().lower().startswith("# parameters"):
            values |= assignments(source)
    return load_params(**{name: v for name, v in values.items() if name not in own})


def assignments(source: str) -> dict[str, Any]:
    """The literal assignments of a parameters cell. Raises `ValueError` for other code."""
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
                f"params: {ast.unparse(node)!r} in the parameters cell; expected name = value; "
                "move other code to another cell"
            ) from None
    return values
