"""Graphs on disk: made once in a stream, so that a capture may be larger than memory, and mapped
into memory from then on.

`<folder>/<key>.safetensors` holds the arrays, `<folder>/<key>.json`, written last, says what they
are and of what. The key hashes the content of the captures, the parameters and the code between
a log and its graphs; whatever of that changes, the graphs are made anew.
"""

import hashlib
import json
import math
import os
import re
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

from cangraph.data.graphs import Capture, Graphs, Part, checked, stream, threads_for
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.files import Block, put
from cangraph.frames import CaptureInfo

__all__ = ["keep", "open_graphs", "prepare"]

_SOURCES = ("frames.py", "io/*.py", "features/*.py", "data/graphs.py")
_PACKAGES = ("numpy", "numba")  # their next version may round the last bit otherwise
_IDENTITY = ("sha256", "name", "scenario", "vehicle", "recording")
_DTYPES = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class _Array(NamedTuple):
    """An array to be written: its bytes come in `blocks`."""

    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Iterable[Block]


def prepare(
    captures: Sequence[Capture], window: int = 100, stride: int = 100, *, folder: Path | str
) -> Graphs:
    """The graphs of `to_graphs`, bit by bit, kept in `folder` and mapped into memory: read when
    looked at. What is written to the arrays stays in memory and is not kept.

    The first call streams each capture through the kernels to the disk, and holds a few chunks of
    frames at a time; later calls find the files. Files that are damaged are made again, with a
    warning.

    Raises `ValueError` when no capture is given, or one is shorter than a window.

    >>> from cangraph.frames import Frames
    >>> log = Frames(np.arange(8) * 0.01, np.array([1, 2] * 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare([log], window=4, stride=4, folder=folder)
    Graphs(2 windows of 4 frames, 4 nodes, 4 edges, 0 windows under attack)
    """
    checked("prepare", captures, window, stride)
    folder = Path(folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(lambda capture: capture.sha256(), captures))
        identities = [
            {"sha256": digest} | {name: getattr(capture, name) for name in _IDENTITY[1:]}
            for capture, digest in zip(captures, digests, strict=True)
        ]
        of = _made_of(identities, window) | {"stride": stride, "code": _code()}
        if found := _found(folder, _key(of)):
            return found
        folder.mkdir(parents=True, exist_ok=True)
        # the file has no name: nothing is left of it, not even after a kill
        with tempfile.TemporaryFile(dir=folder) as file:
            spool = _Spool(file, len(captures))
            takes = [partial(spool.take, number) for number in range(len(captures))]
            given = (repeat(window), repeat(stride), takes, repeat(threads_for(captures)))
            run = pool.map(stream, captures, digests, *given)
            infos = tuple(run)
            _write(folder, of, infos, spool.arrays())
    return open_graphs(folder, _key(of))


def keep(graphs: Graphs, folder: Path) -> str:
    """Keep graphs in a folder, unless `prepare` already did. Returns the key for `open_graphs`."""
    if graphs.key and _found(folder, graphs.key):
        return graphs.key
    arrays = {name: np.ascontiguousarray(getattr(graphs, name)) for name in Graphs.names()}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.reshape(-1).view(np.uint8))
    identities = [{name: getattr(info, name) for name in _IDENTITY} for info in graphs.captures]
    of = _made_of(identities, graphs.window) | {"content": digest.hexdigest()}
    if not _found(folder, _key(of)):
        whole = {name: _Array(a.dtype, a.shape, [a.reshape(-1)]) for name, a in arrays.items()}
        _write(folder, of, graphs.captures, whole)
    return _key(of)


def open_graphs(folder: Path, key: str) -> Graphs:
    """The graphs under a key, mapped into memory.

    Raises `FileNotFoundError` when they are not there, and `ValueError` when they are not whole
    or not what the key says.
    """
    if not re.fullmatch("[0-9a-f]{64}", key):
        raise ValueError(f"{folder}: {key!r} is no key of graphs; expected 64 hexadecimal digits")
    path = folder / f"{key}.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if _key(manifest["of"]) != key:
            raise ValueError("it is the manifest of other graphs")
        path = path.with_suffix(".safetensors")
        arrays = _mapped(path)
        held = {name: [_CODES[a.dtype], list(a.shape)] for name, a in arrays.items()}
        if held != manifest["arrays"] or set(held) != set(Graphs.names()):
            raise ValueError("its arrays are not those of the manifest")
        for kind, owned in (("node", "x"), ("edge", "edge_attr")):
            if arrays[f"{kind}_ptr"][-1] != len(arrays[owned]):
                raise ValueError(f"its {kind}s are not those that its windows own")
        infos = tuple(CaptureInfo(**info) for info in manifest["captures"])
        graphs = Graphs(**arrays, captures=infos, window=manifest["of"]["window"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is not there; expected prepared graphs") from error
    except (OSError, LookupError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{path}: {error}; expected prepared graphs, whole") from error
    object.__setattr__(graphs, "key", key)
    return graphs


def _found(folder: Path, key: str) -> Graphs | None:
    """The graphs under a key if they are whole; says so if they are damaged."""
    try:
        return open_graphs(folder, key)
    except FileNotFoundError:
        return None
    except ValueError as error:
        warnings.warn(f"{error}; they are made again", stacklevel=3)
        return None


def _made_of(identities: list[dict[str, str]], window: int) -> dict[str, Any]:
    return {
        "captures": identities,
        "window": window,
        "node_features": [feature.name for feature in NODE_FEATURES],
        "edge_features": [feature.name for feature in EDGE_FEATURES],
    }


def _code() -> dict[str, str]:
    """Versions of what makes the graphs, and a hash of the code between a log and its graphs."""
    root = Path(__file__).parents[1]
    source = b"".join(f.read_bytes() for n in _SOURCES for f in sorted(root.glob(n)))
    versions = {package: version(package) for package in _PACKAGES}
    return {"cangraph": hashlib.sha256(source).hexdigest()} | versions


def _key(of: dict[str, Any]) -> str:
    canonical = json.dumps(of, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class _Spool:
    """The arrays of all captures on their way to the disk, in a file of blocks that stand in the
    order in which the threads brought them."""

    def __init__(self, file: BinaryIO, captures: int):
        self.file, self.lock = file, Lock()
        # for each capture and array: position and size of its blocks, in order
        self.places: list[dict[str, list]] = [defaultdict(list) for _ in range(captures)]
        self.kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}

    def take(self, capture: int, part: Part) -> None:
        """Put the next windows of a capture into the file."""
        part = dict(part)
        part["source"], part["target"] = part.pop("edge_index")
        with self.lock:
            at = self.file.seek(0, os.SEEK_END)
            for name, array in part.items():
                self.kinds[name] = array.dtype, array.shape[1:]
                self.file.write(array.reshape(-1))
                self.places[capture][name].append((at, array.nbytes))
                at += array.nbytes

    def arrays(self) -> dict[str, _Array]:
        """The arrays of `Graphs`."""
        out = {}
        for name, (dtype, each) in self.kinds.items():
            size = sum(size for mine in self.places for _, size in mine[name])
            rows = size // (dtype.itemsize * math.prod(each))
            if kind := re.fullmatch("(node|edge)_size", name):
                blocks = _pointers(self._blocks(name))
                out[f"{kind[1]}_ptr"] = _Array(np.dtype(np.int64), (rows + 1,), blocks)
            else:
                out[name] = _Array(dtype, (rows, *each), self._blocks(name))
        source, target = out.pop("source"), out.pop("target")
        both = chain(source.blocks, target.blocks)
        out["edge_index"] = _Array(source.dtype, (2, *source.shape), both)
        number = np.dtype(np.int32)
        counts = [sum(size for _, size in mine["label"]) for mine in self.places]  # a byte each
        blocks = (np.full(count, i, number) for i, count in enumerate(counts))
        out["capture"] = _Array(number, out["label"].shape, blocks)
        return out

    def _blocks(self, name: str) -> Iterator[bytes]:
        for mine in self.places:
            for at, size in mine[name]:
                self.file.seek(at)
                yield self.file.read(size)


def _pointers(sizes: Iterable[bytes]) -> Iterator[np.ndarray]:
    last = np.zeros(1, np.int64)
    yield last
    for block in sizes:
        last = last[-1] + np.cumsum(np.frombuffer(block, np.int64))
        yield last


def _write(folder: Path, of: dict, infos: Sequence[CaptureInfo], arrays: dict[str, _Array]) -> None:
    """Write data and manifest under the key, each whole or not at all.

    The layout is fixed by safetensors: 8 bytes of header length, a JSON header, the data.
    """
    # wide numbers first, so that every array is aligned
    arrays = dict(sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize))
    header, at = {}, 0
    for name, (dtype, shape, _) in arrays.items():
        end = at + dtype.itemsize * math.prod(shape)
        header[name] = {"dtype": _CODES[dtype], "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    manifest = {
        "of": of,
        "captures": [info._asdict() for info in infos],
        "arrays": {name: [_CODES[a.dtype], a.shape] for name, a in arrays.items()},
    }
    data = chain.from_iterable(array.blocks for array in arrays.values())
    put(folder / f"{_key(of)}.safetensors", chain([len(text).to_bytes(8, "little"), text], data))
    put(folder / f"{_key(of)}.json", [json.dumps(manifest, indent=1).encode()])


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, mapped into memory: read when looked at, and private, so
    that nothing written to them reaches the file."""
    with safe_open(path, framework="np"):
        pass  # the header is sound, and the file neither shorter nor longer than it says
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
        if 0 in shape:  # an empty range cannot be mapped
            arrays[name] = np.zeros(shape, dtype)
            continue
        at = 8 + size + entry["data_offsets"][0]
        arrays[name] = np.memmap(path, dtype, mode="c", offset=at, shape=shape).view(np.ndarray)
    return arrays
