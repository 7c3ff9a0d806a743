"""Detectors into ONNX files: scalers inside, threshold and origin in the metadata."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from cangraph.deploy import detector
from cangraph.deploy.detector import Exported
from cangraph.deploy.onewindow import Fused, OneGAT, OneVGAE
from cangraph.evaluation.alarms import check_threshold
from cangraph.files import put
from cangraph.frames import CaptureInfo
from cangraph.fusion.rules import FusionRule
from cangraph.nn.models import GAT, VGAE, n_parameters
from cangraph.params import Params, versions

_PARITY = 1e-5  # the most that a file may differ from its net
_PACKAGES = ("cangraph", "onnx", "onnxruntime", "onnxscript")


def to_onnx(
    model: GAT | VGAE | Fused,
    path: Path | str,
    threshold: float,
    params: Params,
    captures: Sequence[CaptureInfo] = (),
) -> Exported:
    """Write a detector to an ONNX file, and return it as `Exported` reads it.

    The file judges one window of any size, scalers included: its inputs are `x` (N, d_x),
    `edge_index` (2, E) and `edge_attr` (E, d_e), as in `Graphs`; its outputs are those of `Judged`.
    Its metadata hold the `threshold`, window and stride, features and constants of the kernels,
    versions, what it was trained on, the hash of its weights, and a window with its answer.

    Raises `ArithmeticError`, and writes nothing, where that answer is off by more than 1e-5, and
    `ValueError` for a threshold that no window could reach.
    """
    if isinstance(model, Fused):
        kind = f"fusion ({model.kind})"
        one = model.gat if model.kind == "gat" else model  # the VGAE has no say
    else:
        kind = type(model).__name__
        one = OneGAT(model) if isinstance(model, GAT) else OneVGAE(model)
    check_threshold(kind, threshold)
    one.eval()
    window = detector.proof(params.window)
    inputs = [torch.from_numpy(window[name]) for name in detector.INPUTS]
    inputs[1] = inputs[1].long()
    with torch.no_grad():
        value, node, _ = one(*inputs)
    content = _written(one, tuple(inputs))
    graph, _ = detector.graph_of(content)
    answer = detector.judge(detector.session(content), **window)
    apart = max(abs(answer.value - float(value)), *np.abs(answer.node - node.numpy()))
    if not apart <= _PARITY * max(1.0, abs(float(value))):
        raise ArithmeticError(
            f"to_onnx: the file gives {answer.value}, the {type(model).__name__} {float(value)}; "
            f"expected {_PARITY} between them at most; report it with the version of torch"
        )
    origin = {f"{c.scenario}/{c.name}".strip("/"): c.sha256 for c in captures}
    x = window["x"].astype(np.float64).tolist()
    facts = detector.this_code() | {
        "format": detector.FORMAT,
        "kind": kind,
        "threshold": float(threshold),
        "window": params.window,
        "stride": params.stride,
        "parameters": n_parameters(one),
        "weights_sha256": hashlib.sha256(graph).hexdigest(),
        "versions": versions() | {name: version(name) for name in _PACKAGES},
        "trained_on": {"params": params.model_dump(), "captures": origin},
        "proof": {"x": x, "value": answer.value, "node": answer.node.tolist()},
    }
    put(Path(path), _with(content, facts))
    return Exported(path)


def export_run(
    folder: Path,
    models: dict[str, tuple[GAT | VGAE, float]],
    rules: dict[str, tuple[FusionRule, float]],
    params: Params,
    captures: Sequence[CaptureInfo] = (),
) -> dict[str, Exported]:
    """Write the detectors of a run, `<name>.onnx` each, and return them: the `models` `gat` and
    `vgae`, and fitted `rules` of fusion, all with their thresholds; `captures` are those that were
    trained on. Raises as `to_onnx` and `Fused` do."""
    gat, vgae = models["gat"][0], models["vgae"][0]
    assert isinstance(gat, GAT) and isinstance(vgae, VGAE)
    fused = {name: (Fused(vgae, gat, rule), cut) for name, (rule, cut) in rules.items()}
    return {
        name: to_onnx(model, folder / f"{name}.onnx", cut, params, captures)
        for name, (model, cut) in (models | fused).items()
    }


@contextmanager
def _quiet() -> Iterator[None]:  # torch, onnxscript and onnxruntime
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _written(one: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    nodes, edges = Dim("N", min=1), Dim("E", min=0)
    with _quiet():
        program = torch.onnx.export(
            one,
            inputs,
            dynamo=True,
            input_names=detector.INPUTS,
            output_names=detector.OUTPUTS,
            dynamic_shapes=({0: nodes}, {1: edges}, {0: edges}),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # where in the source it came from: machine paths
        del node.metadata_props[:]
    return model.SerializeToString()


def _with(content: bytes, facts: dict[str, Any]) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    model.producer_name, model.producer_version = "cangraph", version("cangraph")
    onnx.helper.set_model_props(model, {detector.KEY: json.dumps(facts, allow_nan=False)})
    onnx.checker.check_model(model)
    return model.SerializeToString()
