"""A trained detector as an ONNX file, judged with ONNX Runtime, without torch. `export` writes such
files. On loading a file judges a fixed window, and must give the score that its maker saw."""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.deploy.latency import latency
from cangraph.evaluation.alarms import alarm_rule, check_threshold
from cangraph.evaluation.scores import Scores
from cangraph.extras import named_extra
from cangraph.features import windows
from cangraph.features.baseline import Baseline
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.files import printable
from cangraph.frames import ATTACK_TYPES, Frames

FORMAT = 3  # 1 named constants by the module that they stood in, 2 hashed torch's weights
KEY = "cangraph"  # of the metadata
BASELINE = "cangraph.baseline"  # of those of a known vehicle, base64
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
_FUSED = ("vgae", "gat", "mean", "max", "noisy-or", "logistic", "policy")
KINDS = ("GAT", "VGAE", *(f"fusion ({rule})" for rule in _FUSED))
_LARGEST = 1 << 28  # bytes of a file
_MEMORY = 1 << 29  # bytes that all detectors may take to judge
_LONGEST = 1 << 16  # frames of a window
_NEAR = 1e-4  # other processors round otherwise
_REMEDY = "export the detector again with this version of cangraph"
# what `export` writes: none runs another graph, so that every file ends
_OPERATORS = """
    Abs Add ArgMax Cast Clip Concat Constant ConstantOfShape Div Elu Exp Expand Gather GatherND
    Gemm Identity LayerNormalization LeakyRelu Less Log MatMul Max Min Mul Pow ReduceMax
    ReduceMean ReduceSum Relu Reshape ScatterElements Shape Sigmoid Slice Softmax Sqrt Squeeze
    Sub Tanh Transpose Unsqueeze Where
"""


class Judged(NamedTuple):
    """The judgement of one window: its `value` (higher: more likely an attack), how much each
    `node` is to blame, f8 (N,), and the probability of each of `ATTACK_TYPES`, f8 (9,), or 0."""

    value: float
    node: np.ndarray
    attack_type: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether it says something: all of it are finite numbers."""
        every = (self.value, self.node, self.attack_type)
        return len(self.node) > 0 and all(np.isfinite(part).all() for part in every)


class Status(IntEnum):
    """How a command that judges logs exits."""

    NOTHING = 0  # all of it was judged, and no alarm raised
    ALARM = 1
    UNREADABLE = 2  # the log, all or most of it, or the detector; or an option is wrong
    NOT_JUDGED = 3  # it is too short, or ends while it calibrates, or windows got no value

    @classmethod
    def of(cls, alarms: int, refused: int, frames: int, judged: int, unjudged: int) -> "Status":
        """That of a log of which so many rows were refused and frames read, so many windows
        `judged` by the rule for alarms, and so many for which the detector had no value.

        >>> Status.of(alarms=0, refused=5, frames=95, judged=1, unjudged=0).name
        'NOTHING'
        """
        if alarms:
            return cls.ALARM
        if refused > frames:
            return cls.UNREADABLE
        return cls.NOTHING if judged and not unjudged else cls.NOT_JUDGED

    @classmethod
    def worst(cls, found: Iterable["Status"]) -> "Status":
        """That of several logs: an alarm, or else the log that is known least."""
        every = [*found]
        return cls.ALARM if cls.ALARM in every else max(every, default=cls.NOTHING)


def _line(said: Any) -> str:
    """What a file, or somebody else's error, says, as part of a line."""
    return printable(" ".join(str(said).split()))[:200]


def _wrong(path: Path, came: str, expected: str, remedy: str = _REMEDY) -> ValueError:
    return ValueError(f"{path}: {came}; expected {expected}; {remedy}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} among its numbers")
    return value


def _out_of_range(facts: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the values of metadata whose types are right."""
    if facts["kind"] not in KINDS:
        yield f"kind {_line(facts['kind'])!r}, which is none of {', '.join(KINDS)}"
    else:
        check_threshold(facts["kind"], facts["threshold"])
    if not 2 <= facts["window"] <= _LONGEST or facts["stride"] < 1:
        yield f"windows of {facts['window']} frames, {facts['stride']} apart"
    for name, kind in _PROOF.items():
        if type(facts["proof"][name]) is not kind:
            yield f"the proof's {name}"
        else:
            np.array(facts["proof"][name], np.float64)  # raises where it holds no numbers


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


def message_fields(message: bytes) -> list[tuple[int, Any]]:
    """The numbers of the fields of any message of protobuf, and what is in them: a number, or the
    bytes of what has a length.

    >>> message_fields(b"\\x22\\x02hi")
    [(4, b'hi')]
    """
    from google.protobuf.empty_pb2 import Empty  # comes with onnxruntime
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet

    try:
        fields = UnknownFieldSet(Empty.FromString(message))
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return [(field.field_number, field.data) for field in fields]


def graph_of(content: bytes) -> tuple[bytes, dict[str, str]]:
    """The graph of an ONNX file, and its metadata. Raises `ValueError` for what is no
    ONNX file, and for one with operators that `export` does not write: by those that run other
    graphs, a small file could compute for ever."""
    try:
        model = message_fields(content)
        (graph,) = (value for number, value in model if number == 7)
        nodes = [message_fields(value) for number, value in message_fields(graph) if number == 1]
        kinds, domains = ({v.decode() for node in nodes for n, v in node if n == k} for k in (4, 7))
        inner = {
            k for node in nodes for n, value in node if n == 5 for k, _ in message_fields(value)
        }
        pairs = [dict(message_fields(value)) for number, value in model if number == 14]
        said = {pair[1].decode(): pair[2].decode() for pair in pairs}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"no whole ONNX file ({_line(error)})") from error
    odd = (kinds - {*_OPERATORS.split()}) | (domains - {"", "ai.onnx"})
    odd |= {"a graph within a node"} if inner & {6, 11} else set()
    odd |= {"functions"} if 25 in dict(model) else set()
    if odd:
        raise ValueError(f"operators that cangraph does not write ({', '.join(sorted(odd)[:5])})")
    return graph, said


@cache
def _memory() -> None:
    """The memory of all sessions of this process: a graph that would have more is an error."""
    import onnxruntime as ort

    arena = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    info = ort.OrtMemoryInfo("Cpu", arena, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(info, ort.OrtArenaCfg({"max_mem": _MEMORY}))


def session(content: bytes) -> Any:
    """An ONNX model in onnxruntime, on one thread. What is in it was checked by `graph_of`."""
    with named_extra("an ONNX detector"):
        import onnxruntime

    _memory()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what matters is raised
    # from bytes: a file can name no other file that holds its weights
    cpu = ["CPUExecutionProvider"]
    # what it does when it fails is printed among our lines, and fails as well
    return onnxruntime.InferenceSession(content, options, providers=cpu, enable_fallback=0)


def judge(running: Any, x: np.ndarray, edge_index: np.ndarray, edge_attr: np.ndarray) -> Judged:
    """What a model in a `session` says of one window (see `Exported.judge`)."""
    given = (x, edge_index.astype(np.int64), edge_attr)
    value, node, kinds = running.run(None, dict(zip(INPUTS, given, strict=True)))
    came = [(part.shape, part.dtype) for part in (value, node, kinds)]
    if came != [(shape, np.float64) for shape in ((), x.shape[:1], (len(ATTACK_TYPES),))]:
        raise ValueError(f"of {len(x)} nodes came outputs of {came}")
    return Judged(float(value), node, kinds)


class Exported:
    """A detector in an ONNX file that `export.to_onnx` wrote. It judges one window at a time, so
    that a log and the same traffic on a bus get the same values to the bit.

    `about` is the metadata of the file, among them `kind`, `threshold`, `window` and `stride`;
    `rule` is the `alarm_rule` that follows; `sha256` is the hash of the file; `baseline` is what it
    knows of its vehicle, if it does.

    Raises `FileNotFoundError`, and `ValueError` for a file that is no ONNX file, that `export` did
    not write, that is damaged or for other features, that would never raise an alarm, or that does
    not reproduce the scores of its maker.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if not self.path.is_file():
            remedy = "make one with notebooks/your_car.ipynb or cangraph.to_onnx"
            raise FileNotFoundError(
                f"{path}: no such file; expected an exported detector; {remedy}"
            )
        if (size := self.path.stat().st_size) > _LARGEST:
            expected = f"a detector of at most {_LARGEST:,}"
            raise _wrong(self.path, f"{size:,} bytes", expected, "give another")
        content = self.path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            with named_extra("an ONNX detector"):  # its parser comes with onnxruntime
                graph, said = graph_of(content)
            self._session = session(content)
        except ImportError:  # onnxruntime is missing, not the file wrong
            raise
        except Exception as error:  # onnxruntime's errors share no class
            raise _wrong(self.path, _line(error), "an exported detector") from error
        self.about = self._facts(said.get(KEY, ""))
        self.kind, self.threshold = self.about["kind"], self.about["threshold"]
        self.window, self.stride = self.about["window"], self.about["stride"]
        if self.about["weights_sha256"] != hashlib.sha256(graph).hexdigest():
            came = "weights_sha256 is not that of what the file holds: it is damaged"
            raise _wrong(self.path, came, "what was exported", f"copy it anew, or {_REMEDY}")
        self.rule = alarm_rule(self.kind, self.threshold)
        self._agrees_with_this_code()
        self._keeps_its_word()
        self.baseline: Baseline | None = None
        if BASELINE in said:
            try:
                self.baseline = Baseline.from_bytes(base64.b64decode(said[BASELINE]))
            except ValueError as error:  # also what base64 raises
                raise ValueError(f"{path}: {error}") from error

    def __repr__(self) -> str:
        return (
            f"Exported({self.path.name!r}: {self.kind}, {self.about['parameters']:,} parameters, "
            f"windows of {self.window} frames, attack at {self.threshold:.4g})"
        )

    def _facts(self, said: str) -> dict[str, Any]:
        ends = self._session.get_inputs(), self._session.get_outputs()
        names = tuple(tuple(end.name for end in side) for side in ends)
        if not said or names != (INPUTS, OUTPUTS):
            inputs = _line(", ".join(names[0]))
            came = f"an ONNX file with inputs {inputs} that cangraph did not write"
            raise _wrong(self.path, came, f"{', '.join(INPUTS)} and metadata")
        try:
            facts = json.loads(said, parse_float=_finite, parse_constant=_finite)
            kinds = {name: kind for kind, group in _FACTS.items() for name in group}
            wrong = [n for n, kind in kinds.items() if type(facts.get(n)) is not kind]
            if facts.get("format", FORMAT) == FORMAT:
                wrong = wrong or [*_out_of_range(facts)]
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
            facts, wrong = {}, [_line(error)]
        if facts.get("format", FORMAT) != FORMAT:
            came = f"a file of format {_line(facts['format'])}"
            raise _wrong(self.path, came, f"format {FORMAT}")
        if wrong:
            came = f"its metadata cannot be read ({', '.join(wrong)})"
            raise _wrong(self.path, came, "what cangraph.to_onnx writes")
        return facts

    def _agrees_with_this_code(self) -> None:
        for name, here in this_code().items():
            there = self.about[name]
            if isinstance(here, list):  # by position
                here, there = dict(enumerate(here)), dict(enumerate(there))
            odd = [key for key in here | there if here.get(key) != there.get(key)]
            if odd:
                came = ", ".join(f"{key} = {there.get(key)} ({here.get(key)} here)" for key in odd)
                came = f"made for other features, {name.replace('_', ' ')}: {_line(came)}"
                raise _wrong(self.path, came, "those of this version")

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
            came, expected = [judged.value, *judged.node], [said["value"], *said["node"]]
            if len(came) == len(expected) and np.allclose(came, expected, _NEAR, _NEAR):
                return
            fault = f"a value of {judged.value:.6g} instead of {said['value']:.6g}"
        raise _wrong(
            self.path,
            f"the window that it is tried on comes out with {fault}",
            "what its maker saw: it is damaged, or for other features",
        )

    def judge(self, x: np.ndarray, edge_index: np.ndarray, edge_attr: np.ndarray) -> Judged:
        """Judge one window: features of its nodes f4 (N, 34), successions i4 (2, E), their
        features f4 (E, 3), as in `Graphs`. Raises `ValueError` where the file cannot; its answer
        may hold NaN or infinity (see `Judged.whole`)."""
        try:
            return judge(self._session, x, edge_index, edge_attr)
        except Exception as error:  # onnxruntime's errors share no class
            came = f"a window cannot be judged ({_line(error)})"
            raise _wrong(self.path, came, "an exported detector") from error

    def judge_all(self, graphs: Graphs) -> list[Judged]:
        """`judge` of each window."""
        nodes, edges = (map(slice, ptr, ptr[1:]) for ptr in (graphs.node_ptr, graphs.edge_ptr))
        return [
            self.judge(graphs.x[node], graphs.edge_index[:, edge], graphs.edge_attr[edge])
            for node, edge in zip(nodes, edges, strict=True)
        ]

    def score(self, graphs: Graphs) -> Scores:
        """The values of all windows. Raises `ValueError` where one is no number."""
        judged = self.judge_all(graphs)
        if wrong := sum(not one.whole for one in judged):
            came = f"no number for {wrong:,} of {len(judged):,} windows"
            raise _wrong(self.path, came, "a detector that judges them all")
        return Scores.of(graphs, np.array([one.value for one in judged]))

    def blame(self, graphs: Graphs) -> np.ndarray:
        """How much each node is to blame, f8 (N,)."""
        return np.concatenate([np.zeros(0), *(judged.node for judged in self.judge_all(graphs))])

    def footprint(self, frames: Frames, windows: int = 200) -> dict[str, float]:
        """What the file costs: `parameters`, its `bytes`, and the `latency` of one window."""
        size = {"parameters": self.about["parameters"], "bytes": self.path.stat().st_size}
        return size | latency(self.judge_all, frames, self.window, windows)
