"""A trained detector as an ONNX file, judged with ONNX Runtime, without torch. `export` writes such
files. On loading a file judges a fixed window, and must give the score that its maker saw."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.deploy.latency import latency
from cangraph.evaluation.alarms import alarm_rule
from cangraph.evaluation.scores import Scores
from cangraph.features import windows
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.frames import ATTACK_TYPES, Frames

FORMAT = 2  # 1 named constants by the module that they stood in
KEY = "cangraph"  # of the metadata
INPUTS = ("x", "edge_index", "edge_attr")
OUTPUTS = ("value", "node", "attack_type")
_FACTS = {  # what the metadata of a file must say, by type
    int: ("format", "window", "stride", "parameters"),
    float: ("threshold",),
    str: ("kind", "weights_sha256"),
    list: ("node_features", "edge_features", "attack_types"),
    dict: ("profile", "versions", "trained_on", "proof"),
}
_PROOF = {"x": list, "value": float, "node": list}
_NEAR = 1e-4  # other processors round otherwise
_REMEDY = "export the detector again with this version of cangraph"


class Judged(NamedTuple):
    """The judgement of one window: its `value` (higher: more likely an attack), how much each
    `node` is to blame, f8 (N,), and the probability of each of `ATTACK_TYPES`, f8 (9,), or 0."""

    value: float
    node: np.ndarray
    attack_type: np.ndarray


def this_code() -> dict[str, Any]:
    """What a detector depends on in the code that makes its windows: the features by name, and the
    constants of the kernels."""
    return {
        "node_features": [feature.name for feature in NODE_FEATURES],
        "edge_features": [feature.name for feature in EDGE_FEATURES],
        "attack_types": list(ATTACK_TYPES),
        "profile": windows.constants(),
    }


def proof(window: int) -> dict[str, np.ndarray]:
    """The window that every file is tried on, arrays as `windows.windows` yields: the last one of
    six IDs that count, rest and jump; one goes missing at the end, and a new one appears."""
    n = 6 * max(window, 50)
    step = np.arange(n)
    time = step * 1e-3 + 2e-4 * (step * step % 7)
    ids = np.array([0x100, 0x1A0, 0x100, 0x2B0, 0x100, 0x3C0, 0x1A0, 0x4D0])[step % 8]
    ids[(step > n - window // 2) & (step % 5 == 0)] = 0x7
    ids[(step > n - window) & (ids == 0x4D0)] = 0x2B0
    data = np.stack([step // 8 * (k + 1) + step * step // 97 * (k % 3) for k in range(8)], 1) & 255
    data[ids == 0x3C0] = 0x55
    # the last window must end with the last frame
    frames = Frames(time, ids, data=data)[n % window :]
    last = list(windows.windows([frames], window, window))[-1]
    nodes, edges = len(last["x"]) - last["node_size"][-1], len(last["edge_attr"])
    edges -= last["edge_size"][-1]
    arrays = last["x"][nodes:], last["edge_index"][:, edges:], last["edge_attr"][edges:]
    return dict(zip(INPUTS, arrays, strict=True))


def session(content: bytes) -> Any:
    """An ONNX model in onnxruntime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what matters is raised
    # from bytes: a file can name no other file that holds its weights
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def judge(running: Any, x: np.ndarray, edge_index: np.ndarray, edge_attr: np.ndarray) -> Judged:
    """What a model in a `session` says of one window (see `Exported.judge`)."""
    given = (x, edge_index.astype(np.int64), edge_attr)
    value, node, kinds = running.run(None, dict(zip(INPUTS, given, strict=True)))
    return Judged(float(value), node, kinds)


class Exported:
    """A detector in an ONNX file that `export.to_onnx` wrote. It judges one window at a time, so
    that a log and the same traffic on a bus get the same values to the bit.

    `about` is the metadata of the file, among them `kind`, `threshold`, `window` and `stride`;
    `rule` is the `alarm_rule` that follows; `sha256` is the hash of the file.

    Raises `FileNotFoundError`, and `ValueError` for a file that is no ONNX file, that `export` did
    not write, that is for other features, or that does not reproduce the scores of its maker.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_file():
            remedy = "make one with notebooks/your_car.ipynb or cangraph.to_onnx"
            raise FileNotFoundError(
                f"{path}: no such file; expected an exported detector; {remedy}"
            )
        content = self.path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._session = session(content)
        except ImportError:  # onnxruntime is missing, not the file wrong
            raise
        except Exception as error:  # onnxruntime's errors share no class
            why = " ".join(str(error).split())[:120]
            came = f"{path}: no whole ONNX file ({why})"
            raise ValueError(f"{came}; expected an exported detector; {_REMEDY}") from error
        self.about = self._facts(self._session.get_modelmeta().custom_metadata_map)
        self.kind, self.threshold = self.about["kind"], self.about["threshold"]
        self.window, self.stride = self.about["window"], self.about["stride"]
        self.rule = alarm_rule(self.kind, self.threshold)
        self._agrees_with_this_code()
        self._keeps_its_word()

    def __repr__(self) -> str:
        return (
            f"Exported({self.path.name!r}: {self.kind}, {self.about['parameters']:,} parameters, "
            f"windows of {self.window} frames, attack at {self.threshold:.4g})"
        )

    def _facts(self, metadata: dict[str, str]) -> dict[str, Any]:
        ends = self._session.get_inputs(), self._session.get_outputs()
        names = tuple(tuple(end.name for end in side) for side in ends)
        if KEY not in metadata or names != (INPUTS, OUTPUTS):
            raise ValueError(
                f"{self.path}: an ONNX file with inputs {', '.join(names[0])} that cangraph did "
                f"not write; expected {', '.join(INPUTS)} and metadata; {_REMEDY}"
            )
        try:
            facts = json.loads(metadata[KEY])
            kinds = {name: kind for kind, group in _FACTS.items() for name in group}
            wrong = [n for n, kind in kinds.items() if not isinstance(facts.get(n), kind)]
            wrong += [n for n, kind in _PROOF.items() if not isinstance(facts["proof"][n], kind)]
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            facts, wrong = {}, [f"{type(error).__name__}: {error}"]
        if facts.get("format", FORMAT) != FORMAT:
            came = f"{self.path}: a file of format {facts['format']}"
            raise ValueError(f"{came}; expected format {FORMAT}; {_REMEDY}")
        if wrong:
            came = f"{self.path}: its metadata cannot be read ({', '.join(wrong)})"
            raise ValueError(f"{came}; expected what cangraph.to_onnx writes; {_REMEDY}")
        return facts

    def _agrees_with_this_code(self) -> None:
        for name, here in this_code().items():
            there = self.about[name]
            if isinstance(here, list):  # by position
                here, there = dict(enumerate(here)), dict(enumerate(there))
            odd = [key for key in here | there if here.get(key) != there.get(key)]
            if odd:
                came = ", ".join(f"{key} = {there.get(key)} ({here.get(key)} here)" for key in odd)
                raise ValueError(
                    f"{self.path}: made for other features, {name.replace('_', ' ')}: {came}; "
                    f"expected those of this version; {_REMEDY}"
                )

    def _keeps_its_word(self) -> None:
        """Raises `ValueError` unless the window of `proof` comes out as it did for the maker."""
        made, said = proof(self.window), self.about["proof"]
        if made["x"].shape != np.shape(said["x"]):
            fault = f"{len(made['x'])} nodes instead of {len(said['x'])}"
        elif (far := np.abs(made["x"] - said["x"]).max(0)).max() > _NEAR:
            name = NODE_FEATURES[int(far.argmax())].name
            fault = f"{name} off by {far.max():.2g}"
        else:
            judged = self.judge(*made.values())
            apart = [abs(judged.value - said["value"]), *np.abs(judged.node - said["node"])]
            if max(apart) <= _NEAR * max(1.0, abs(said["value"])):
                return
            fault = f"a value of {judged.value:.6g} instead of {said['value']:.6g}"
        raise ValueError(
            f"{self.path}: the window that it is tried on comes out with {fault}; expected what "
            f"its maker saw: it is damaged, or for other features; {_REMEDY}"
        )

    def judge(self, x: np.ndarray, edge_index: np.ndarray, edge_attr: np.ndarray) -> Judged:
        """Judge one window: features of its nodes f4 (N, 24), successions i4 (2, E), their
        features f4 (E, 3), as in `Graphs`."""
        return judge(self._session, x, edge_index, edge_attr)

    def judge_all(self, graphs: Graphs) -> list[Judged]:
        """`judge` of each window."""
        nodes, edges = (map(slice, ptr, ptr[1:]) for ptr in (graphs.node_ptr, graphs.edge_ptr))
        return [
            self.judge(graphs.x[node], graphs.edge_index[:, edge], graphs.edge_attr[edge])
            for node, edge in zip(nodes, edges, strict=True)
        ]

    def score(self, graphs: Graphs) -> Scores:
        return Scores.of(graphs, np.array([judged.value for judged in self.judge_all(graphs)]))

    def blame(self, graphs: Graphs) -> np.ndarray:
        """How much each node is to blame, f8 (N,)."""
        return np.concatenate([np.zeros(0), *(judged.node for judged in self.judge_all(graphs))])

    def footprint(self, frames: Frames, windows: int = 200) -> dict[str, float]:
        """What the file costs: `parameters`, its `bytes`, and the `latency` of one window."""
        size = {"parameters": self.about["parameters"], "bytes": self.path.stat().st_size}
        return size | latency(self.judge_all, frames, self.window, windows)
