"""Graphs on disk: written in a stream, since a capture may be larger than memory, then mapped.

`<folder>/<key>/` holds a `.npy` file for each array of `Graphs`, and `about.json`, which describes
them and holds their hashes: files are read and compared with these whenever they are opened. The
key hashes the content of the captures, the parameters and the code that makes graphs of a log: when
one of them changes, the graphs are made again.
"""

import hashlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.data.graphs import Capture, Graphs, Part, stream, streams
from cangraph.features.schema import EDGE_FEATURES, NODE_FEATURES
from cangraph.files import file_sha256, sealed, unsealed, whole_folder
from cangraph.frames import CaptureInfo

_SOURCES = ("frames.py", "io/*.py", "features/*.py", "data/graphs.py")
_PACKAGES = ("numpy", "numba")  # another version may round the last bit differently
_ENDS = ("source", "target")  # the rows of `edge_index` are spooled apart
_IDENTITY = ("name", "scenario", "vehicle", "recording")


def prepare(
    captures: Sequence[Capture], window: int = 100, stride: int = 100, *, folder: Path | str
) -> Graphs:
    """The graphs of `to_graphs`, bit by bit, kept in `folder` and mapped into memory. What is
    written to the arrays is not kept.

    The first call streams the captures to the disk and holds a few chunks of frames at a time;
    later calls find the files. Damaged files are made again, with a warning.

    Raises `ValueError` when no capture is given, or one is shorter than a window.

    >>> from cangraph.frames import Frames
    >>> log = Frames(np.arange(8) * 0.01, np.array([1, 2] * 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     prepare([log], window=4, stride=4, folder=folder)
    Graphs(2 windows of 4 frames, 4 nodes, 4 edges, 0 windows under attack)
    """
    folder, captures = Path(folder), streams(captures)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = list(pool.map(lambda capture: capture.sha256(), captures))
    of = {
        "captures": [
            {"sha256": digest} | {name: getattr(capture, name) for name in _IDENTITY}
            for capture, digest in zip(captures, digests, strict=True)
        ],
        "window": window,
        "stride": stride,
        "node_features": [feature.name for feature in NODE_FEATURES],
        "edge_features": [feature.name for feature in EDGE_FEATURES],
        "code": _code(),
    }
    key = _key(of)
    try:
        return open_graphs(folder, key)
    except FileNotFoundError:
        pass
    except ValueError as error:
        warnings.warn(f"{error}; they are made again", stacklevel=2)
    with whole_folder(folder / key) as place:
        with tempfile.TemporaryDirectory(dir=place) as spooled:
            spools = [_Spool(Path(spooled, str(number))) for number in range(len(captures))]
            infos = stream(captures, window, stride, [spool.take for spool in spools], digests)
            _join(spools, place)
        about = {"of": of, "captures": [i._asdict() for i in infos], "arrays": _hashes(place)}
        (place / "about.json").write_bytes(sealed(about))
    return open_graphs(folder, key)


def open_graphs(folder: Path, key: str) -> Graphs:
    """The graphs under a key, mapped into memory.

    Raises `FileNotFoundError` when they are not there, `ValueError` when they are damaged or have
    another key.
    """
    if not re.fullmatch("[0-9a-f]{64}", key):
        raise ValueError(f"{folder}: {key!r} is no key of graphs; expected 64 hexadecimal digits")
    path = folder / key / "about.json"
    try:
        about = unsealed(path)
        if _key(about["of"]) != key:
            raise ValueError("it describes other graphs")
        arrays = {}
        for name, found in _hashes(folder / key).items():
            path = folder / key / f"{name}.npy"
            if found != about["arrays"][name]:
                raise ValueError("damaged; its SHA-256 is not the one in about.json")
            # nothing that is written to it reaches the file
            arrays[name] = np.lib.format.open_memmap(path, "c").view(np.ndarray)
        infos = tuple(CaptureInfo(**info) for info in about["captures"])
        graphs = Graphs(**arrays, captures=infos, window=about["of"]["window"])
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename} is not there; expected prepared graphs"
        ) from error
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}; expected prepared graphs, whole") from error
    object.__setattr__(graphs, "key", key)
    return graphs


def _code() -> dict[str, str]:
    """The versions of the packages and a hash of the code that make graphs of a log."""
    root = Path(__file__).parents[1]
    source = b"".join(f.read_bytes() for n in _SOURCES for f in sorted(root.glob(n)))
    versions = {package: version(package) for package in _PACKAGES}
    return {"cangraph": hashlib.sha256(source).hexdigest()} | versions


def _key(of: dict[str, Any]) -> str:
    canonical = json.dumps(of, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class _Spool:
    """The arrays of one capture: a file for each, to which every part appends its rows."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder
        self.kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}  # dtype, shape of a row

    def take(self, part: Part) -> None:
        """Append the next windows of the capture."""
        part = part | dict(zip(_ENDS, part["edge_index"], strict=True))
        for name in part.keys() - {"edge_index"}:
            self.kinds[name] = part[name].dtype, part[name].shape[1:]
            with (self.folder / name).open("ab") as file:
                part[name].tofile(file)

    def array(self, name: str) -> np.ndarray:
        """What was appended, mapped into memory."""
        dtype, row = self.kinds[name]
        return np.memmap(self.folder / name, dtype, "r").reshape(-1, *row)


def _join(spools: list[_Spool], place: Path) -> None:
    """Write the arrays of `Graphs` from those of all captures."""
    for name in Graphs.names():
        spooled = _ENDS if name == "edge_index" else [name.replace("_ptr", "_size")]
        pieces = [spool.array(each) for each in spooled for spool in spools]
        if name.endswith("_ptr"):
            pieces = [np.concatenate([[0], np.cumsum(np.concatenate(pieces))])]
        rows, *row = sum(map(len, pieces)), *pieces[0].shape[1:]
        shape = (2, rows // 2) if name == "edge_index" else (rows, *row)
        whole = np.lib.format.open_memmap(place / f"{name}.npy", "w+", pieces[0].dtype, shape)
        np.concatenate(pieces, out=whole.reshape(rows, *row))
        whole.flush()


def _hashes(place: Path) -> dict[str, str]:
    """The SHA-256 of each .npy file, several at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(file_sha256, [place / f"{name}.npy" for name in Graphs.names()])
        return dict(zip(Graphs.names(), found, strict=True))
