"""Windows of frames as graphs: nodes are arbitration IDs, edges are successions."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from cangraph.features.baseline import Baseline
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.features.windows import Known, windows
from cangraph.frames import CaptureInfo, Frames
from cangraph.io.readers import LogFile

Part = dict[str, np.ndarray]  # what `windows` yields
Capture = Frames | LogFile  # the log may be larger than memory
_REPORTED = ("reordered", "padded", "error_frames", "refused")  # of `ReadReport`
_OF_WINDOWS = ("label", "attack_type", "capture", "begin", "start", "end")


class GraphSpec(NamedTuple):
    """The feature counts of nodes and edges: all that a model needs to know of its data."""

    node_features: int = len(NODE_FEATURES)
    edge_features: int = len(EDGE_FEATURES)


@dataclass(frozen=True, eq=False)
class Graphs:
    """Many window graphs as flat arrays. B windows, N nodes and E edges in total.

    | array | dtype, shape | unit, meaning |
    |---|---|---|
    | x | f4 (N, 34) | `NODE_FEATURES` |
    | edge_index | i4 (2, E) | source and target, counted within the window |
    | edge_attr | f4 (E, 3) | `EDGE_FEATURES` |
    | node_ptr, edge_ptr | i8 (B+1,) | window b owns nodes node_ptr[b]:node_ptr[b+1] |
    | node_id | u4 (N,) | arbitration ID of the node |
    | node_count | i4 (N,) | frames of the window that carry the ID; 0: expected, but silent |
    | node_attack | bool (N,) | a frame under attack carries the ID, or its frames are suppressed |
    | label, attack_type | bool, u1 (B,) | attack frames in the window, or some suppressed |
    | capture | i4 (B,) | index into `captures` |
    | begin | i8 (B,) | position of the window's first frame in its capture |
    | start, end | f8 (B,) | s since the capture's first frame, of the first and last frame |

    `graphs[index]` (slice, mask or positions) is again `Graphs`. `key` names the files that
    `store.prepare` mapped the arrays from; it is empty for graphs that were made in memory.
    """

    x: np.ndarray
    edge_index: np.ndarray
    edge_attr: np.ndarray
    node_ptr: np.ndarray
    edge_ptr: np.ndarray
    node_id: np.ndarray
    node_count: np.ndarray
    node_attack: np.ndarray
    label: np.ndarray
    attack_type: np.ndarray
    capture: np.ndarray
    begin: np.ndarray
    start: np.ndarray
    end: np.ndarray
    captures: tuple[CaptureInfo, ...]
    window: int
    key: str = field(default="", init=False)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return (
            f"Graphs({len(self):,} windows of {self.window} frames, {len(self.x):,} nodes, "
            f"{len(self.edge_attr):,} edges, {int(self.label.sum()):,} windows under attack)"
        )

    @property
    def spec(self) -> GraphSpec:
        return GraphSpec(self.x.shape[1], self.edge_attr.shape[1])

    def require(self, captures: Sequence[Frames], who: str) -> None:
        """Raises `ValueError`, in the name of `who`, unless the windows are of `captures`."""
        found = [(frames.name, len(frames)) for frames in captures]  # a log of two buses is two
        expected = [(info.name, info.frames) for info in self.captures]
        if found != expected:
            raise ValueError(
                f"{who}: {len(found)} captures came, which are not the {len(expected)} of the "
                "windows; expected the same in the same order; give what to_graphs was given"
            )

    @property
    def scenario(self) -> np.ndarray:
        """Scenario of each window, str (B,)."""
        return np.array([c.scenario for c in self.captures])[self.capture]

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls) if f.type is np.ndarray)

    def __getitem__(self, index) -> "Graphs":
        index = np.atleast_1d(np.arange(len(self))[index])
        nodes, node_ptr = _positions(self.node_ptr, index)
        edges, edge_ptr = _positions(self.edge_ptr, index)
        return replace(
            self,
            edge_index=self.edge_index[:, edges],
            edge_attr=self.edge_attr[edges],
            node_ptr=node_ptr,
            edge_ptr=edge_ptr,
            **{n: getattr(self, n)[nodes] for n in ("x", "node_id", "node_count", "node_attack")},
            **{name: getattr(self, name)[index] for name in _OF_WINDOWS},
        )


def _positions(ptr: np.ndarray, index: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray]:
    """Flat positions of the items that the windows `index` own, and the pointer over them. Those of
    windows in a row are a slice, so that a part of mapped graphs stays on the disk."""
    size = ptr[index + 1] - ptr[index]
    new = _pointer(size)
    if len(index) and (np.diff(index) == 1).all():
        return slice(int(ptr[index[0]]), int(ptr[index[-1] + 1])), new
    return np.arange(new[-1]) + np.repeat(ptr[index] - new[:-1], size), new


def _pointer(size: np.ndarray) -> np.ndarray:
    """Where consecutive pieces of these sizes begin, and the end of the last, i8."""
    return np.concatenate([[0], np.cumsum(size)]).astype(np.int64)


def stream(
    captures: Sequence[Capture],
    window: int,
    stride: int,
    takes: Sequence[Callable[[Part], None]],
    digests: Sequence[str] | None = None,
    known: Sequence[Known | None] = (),
) -> tuple[CaptureInfo, ...]:
    """Hand the windows of each capture part by part to its `take`, several captures at once.
    Returns what is known of each capture. `digests`: their `sha256`, where it is known; `known`:
    what each one's profiles start with.

    Raises `ValueError` when no capture is given, `window` is under 2 or `stride` under 1, a capture
    is shorter than a window, or its chunks are not in order.
    """
    if not len(captures):
        raise ValueError("captures: none came; expected at least one; read a dataset first")
    for name, value, least in (("window", window, 2), ("stride", stride, 1)):
        if value < least:
            raise ValueError(f"{name}: {value} frames; expected {least} or more; try 100")
    threads = max(1, (os.cpu_count() or 1) // len(captures))  # one long log gets all

    def run(number: int) -> CaptureInfo:
        capture, seen = captures[number], dict[str, Any]()
        digest = digests[number] if digests else capture.sha256()
        before = known[number] if known else None
        for part in windows(_noted(capture, seen), window, stride, threads, before):
            of = np.full(len(part["begin"]), number, np.int32)
            takes[number](part | {"capture": of})
        if seen["frames"] < window:
            raise ValueError(
                f"capture {capture.name!r}: it has {seen['frames']} frames; expected at least one "
                f"window of {window}; leave it out or lower the window"
            )
        where = {n: getattr(capture, n) for n in ("name", "scenario", "vehicle", "recording")}
        return CaptureInfo(**where, sha256=digest, **seen)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the kernels release the GIL
        return tuple(pool.map(run, range(len(captures))))


def streams(captures: Sequence[Capture]) -> list[Capture]:
    """The captures, those of several buses as one for each bus: profiles of IDs are of a bus."""
    several = [c.by_bus().values() if isinstance(c, Frames) else [c] for c in captures]
    return [part for parts in several for part in parts]


def _noted(capture: Capture, seen: dict[str, Any]) -> Iterator[Frames]:
    """The chunks of a capture; behind the last, `seen` holds what `CaptureInfo` says of them."""
    count, ids = Counter({"frames": 0}), set[int]()
    first, last = np.inf, -np.inf  # s
    for frames in capture.chunks():
        if frames.bus.any():
            raise ValueError(
                f"capture {capture.name!r}: it holds the buses {', '.join(frames.bus_names)}; "
                "expected one, as each has its own IDs; read it whole, or name one: LogFile(bus=…)"
            )
        said = {name: getattr(frames.report, name) for name in _REPORTED}
        count.update(said, frames=len(frames), attack_frames=int(frames.attack.sum()))
        ids.update(np.unique(frames.arbitration_id).tolist())
        if len(frames):
            begin, end = frames.timestamp[[0, -1]].tolist()
            if begin < last:
                raise ValueError(
                    f"capture {capture.name!r}: a chunk begins at {begin} s, before the end of the "
                    f"last ({last} s); expected chunks in order; sort the log by time"
                )
            first, last = min(first, begin), end
        yield frames
    seen.update(count, seconds=round(last - first, 6), arbitration_ids=len(ids))


def join(parts: Sequence[Graphs]) -> Graphs:
    """The windows of several `Graphs` one behind the other, with the captures of all.

    Raises `ValueError` when there is none, or their windows differ in length.
    """
    if not parts or len({part.window for part in parts}) > 1:
        lengths = [part.window for part in parts]
        raise ValueError(f"join: windows of {lengths} frames; expected one length; cut them alike")
    pieces = []
    captures: tuple[CaptureInfo, ...] = ()
    for part in parts:
        piece = {name: getattr(part, name) for name in Graphs.names()}
        piece["capture"] = part.capture + np.int32(len(captures))
        for kind in ("node", "edge"):
            piece[f"{kind}_size"] = np.diff(piece.pop(f"{kind}_ptr"))
        pieces.append(piece)
        captures += part.captures
    return Graphs(**_concatenated(pieces), captures=captures, window=parts[0].window)


def _concatenated(pieces: Sequence[Part]) -> dict[str, np.ndarray]:
    """The arrays of `Graphs` from pieces that hold the `node_size` and `edge_size` of each window
    in place of pointers."""
    axis = dict.fromkeys(pieces[0], 0) | {"edge_index": 1}
    out = {n: np.concatenate([piece[n] for piece in pieces], axis[n]) for n in axis}
    for kind in ("node", "edge"):
        out[f"{kind}_ptr"] = _pointer(out.pop(f"{kind}_size"))
    return out


def to_graphs(
    captures: Sequence[Capture],
    window: int = 100,
    stride: int = 100,
    baselines: Sequence[Baseline | None] = (),
) -> Graphs:
    """Cut captures into windows of `window` frames, one every `stride`, and make each a graph.

    The profile of every ID runs through each capture from its first frame, so a window knows
    its own past and nothing else; where `baselines`, one for each capture, are given, the profiles
    go on from these. Frames behind the last whole window belong to no window. A capture of several
    buses is one for each of them (`Frames.by_bus`).
    All graphs lie in memory; `store.prepare` makes the same ones on disk.

    Raises `ValueError` when no capture is given, or one is shorter than a window.

    >>> frames = Frames(np.arange(4) * 0.01, np.array([1, 2, 1, 2]))
    >>> graphs = to_graphs([frames], window=4, stride=4)
    >>> graphs.node_id, graphs.edge_index.tolist(), graphs.edge_attr[:, 0].round(2)
    (array([1, 2], dtype=uint32), [[0, 1], [1, 0]], array([1.58, 1.  ], dtype=float32))
    """
    known = [
        baseline.of(bus) if baseline else None
        for capture, baseline in zip(captures, baselines, strict=bool(baselines))
        for bus in (capture.by_bus() if isinstance(capture, Frames) else [""])
    ]
    captures = streams(captures)
    parts: list[list[Part]] = [[] for _ in captures]  # of each capture
    takes = [mine.append for mine in parts]
    infos = stream(captures, window, stride, takes, known=known)
    joined = _concatenated([part for mine in parts for part in mine])
    return Graphs(**joined, captures=infos, window=window)
