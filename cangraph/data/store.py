"""Graphs on disk: made once in a stream, so that a capture may be larger than memory, and mapped
into memory from then on.

`<folder>/<key>/` holds a `.npy` file for each array of `Graphs`, and `about.json`, which says what
they are and of what. The key hashes the content of the captures, the parameters and the code
between a log and its graphs: whatever of that changes, the graphs are made anew.
"""

import hashlib
import io
import json
import math
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.data.graphs import Capture, Graphs, Part, stream
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.files import whole_folder
from cangraph.frames import CaptureInfo

_SOURCES = ("frames.py", "io/*.py", "features/*.py", "data/graphs.py")
_PACKAGES = ("numpy", "numba")  # their next version may round the last bit otherwise
_IDENTITY = ("sha256", "name", "scenario", "vehicle", "recording")
_BLOCK = 1 << 20  # bytes that are copied at once


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
    with whole_folder(folder / _key(of)) as place:
        with tempfile.TemporaryDirectory(dir=place) as spooled:
            spools = [_Spool(Path(spooled, str(number))) for number in range(len(captures))]
            infos = stream(captures, window, stride, [spool.take for spool in spools], digests)
            arrays = _joined(spools, place)
        _describe(place, of, infos, arrays)
    return open_graphs(folder, _key(of))


def keep(graphs: Graphs, folder: Path) -> str:
    """Keep graphs in a folder, unless `prepare` already did. Returns the key for `open_graphs`."""
    if graphs.key and _found(folder, graphs.key):
        return graphs.key
    arrays = {name: np.ascontiguousarray(getattr(graphs, name)) for name in Graphs.names()}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.reshape(-1).view(np.uint8).data)
    identities = [{name: getattr(info, name) for name in _IDENTITY} for info in graphs.captures]
    of = _made_of(identities, graphs.window) | {"content": digest.hexdigest()}
    if not _found(folder, _key(of)):
        with whole_folder(folder / _key(of)) as place:
            for name, array in arrays.items():
                _write(place, name, array.dtype, array.shape, [array.data])
            _describe(place, of, graphs.captures, arrays)
    return _key(of)


def open_graphs(folder: Path, key: str) -> Graphs:
    """The graphs under a key, mapped into memory.

    Raises `FileNotFoundError` when they are not there, and `ValueError` when they are not whole
    or not what the key says.
    """
    if not re.fullmatch("[0-9a-f]{64}", key):
        raise ValueError(f"{folder}: {key!r} is no key of graphs; expected 64 hexadecimal digits")
    path = folder / key / "about.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if _key(about["of"]) != key:
            raise ValueError("it tells of other graphs")
        arrays = {}
        for name in Graphs.names():
            path = folder / key / f"{name}.npy"
            arrays[name] = _mapped(path, *about["arrays"][name])
        for kind, owned in (("node", "x"), ("edge", "edge_attr")):
            if arrays[f"{kind}_ptr"][-1] != len(arrays[owned]):
                raise ValueError(f"its {kind}s are not those that its windows own")
        infos = tuple(CaptureInfo(**info) for info in about["captures"])
        graphs = Graphs(**arrays, captures=infos, window=about["of"]["window"])
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is not there; expected prepared graphs") from error
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
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
    """The arrays of one capture on their way to the disk: a file for each, which grows part by
    part and holds nothing but numbers."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self.rows: Counter[str] = Counter()
        self.kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}  # dtype, shape of a row

    def take(self, part: Part) -> None:
        """Append the next windows of the capture."""
        source, target = part["edge_index"]
        for name, array in (part | {"source": source, "target": target}).items():
            if name != "edge_index":
                self.rows[name] += len(array)
                self.kinds[name] = array.dtype, array.shape[1:]
                with (self.folder / name).open("ab") as file:
                    array.tofile(file)

    def blocks(self, name: str) -> Iterator[bytes]:
        """What was appended to an array, in pieces of whole numbers."""
        with (self.folder / name).open("rb") as file:
            while block := file.read(_BLOCK):
                yield block


def _joined(spools: list[_Spool], place: Path) -> dict[str, np.ndarray]:
    """Write the arrays of `Graphs` from those of all captures, and map them."""
    rows = sum((spool.rows for spool in spools), Counter())

    def blocks(*names: str) -> Iterator[bytes]:
        return (block for name in names for spool in spools for block in spool.blocks(name))

    arrays = {}
    dtype: np.dtype
    shape: tuple[int, ...]
    content: Iterable[bytes | memoryview]
    for name in Graphs.names():
        if name == "capture":
            dtype, shape = np.dtype(np.int32), (rows["label"],)
            counts = [spool.rows["label"] for spool in spools]
            content = (np.full(count, i, dtype).data for i, count in enumerate(counts))
        elif name == "edge_index":
            dtype, shape = spools[0].kinds["source"][0], (2, rows["source"])
            content = blocks("source", "target")
        elif name.endswith("_ptr"):
            size = name.replace("ptr", "size")
            dtype, shape = np.dtype(np.int64), (rows[size] + 1,)
            content = _pointers(blocks(size))
        else:
            dtype, each = spools[0].kinds[name]
            shape, content = (rows[name], *each), blocks(name)
        arrays[name] = _write(place, name, dtype, shape, content)
    return arrays


def _pointers(sizes: Iterable[bytes]) -> Iterator[memoryview]:
    last = np.zeros(1, np.int64)
    yield last.data
    for block in sizes:
        last = last[-1] + np.cumsum(np.frombuffer(block, np.int64))
        yield last.data


def _describe(place: Path, of: dict, infos: Sequence[CaptureInfo], arrays: dict) -> None:
    about = {
        "of": of,
        "captures": [info._asdict() for info in infos],
        "arrays": {name: [array.dtype.str, array.shape] for name, array in arrays.items()},
    }
    (place / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _header(dtype: np.dtype, shape: Sequence[int]) -> bytes:
    """The first bytes of a .npy file with such an array."""
    header = io.BytesIO()
    about = {"descr": dtype.str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(header, about)
    return header.getvalue()


def _write(
    place: Path,
    name: str,
    dtype: np.dtype,
    shape: Sequence[int],
    blocks: Iterable[bytes | memoryview],
) -> np.ndarray:
    """Write an array, whose numbers come in `blocks`, as a .npy file, and map it."""
    path = place / f"{name}.npy"
    with path.open("wb") as file:
        file.write(_header(dtype, shape))
        for block in blocks:
            file.write(block)
    return _mapped(path, dtype.str, shape)


def _mapped(path: Path, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """The array of a .npy file, mapped into memory: read when looked at, and private, so that
    nothing written to it reaches the file.

    Raises `ValueError` when the file is not of this dtype and shape, or shorter or longer.
    """
    header = _header(np.dtype(dtype), shape)
    size = len(header) + np.dtype(dtype).itemsize * math.prod(shape)
    with path.open("rb") as file:
        if file.read(len(header)) != header or path.stat().st_size != size:
            raise ValueError(f"it holds no {dtype} array of shape {tuple(shape)}")
    return np.load(path, mmap_mode="c", allow_pickle=False).view(np.ndarray)
