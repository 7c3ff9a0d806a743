"""Where files lie, and writing them whole or not at all."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

__all__ = ["Block", "data_home", "home", "put"]

Block = bytes | np.ndarray


def home() -> Path:
    """The folder that holds `runs/`, by default `data/`, and `params/` files of your own.

    It is `CANGRAPH_HOME` where that is set, otherwise the checkout that this package lies in, and
    for an installed package the current folder.
    """
    given = os.environ.get("CANGRAPH_HOME")
    checkout = Path(__file__).parents[1]
    inside = (checkout / "params" / "base.yaml").is_file()
    return Path(given or (checkout if inside else Path.cwd())).resolve()


def data_home() -> Path:
    """The folder of the datasets: `CANGRAPH_DATA` (relative to `home()`), by default `data/`."""
    return (home() / (os.environ.get("CANGRAPH_DATA") or "data")).resolve()


def put(path: Path, blocks: Iterable[Block]) -> None:
    """Write a file whole or not at all; its folder is made.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "new", "one")
    >>> put(path, [b"a", b"b"])
    >>> path.read_bytes()
    b'ab'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # under a name of its own, since another process may be writing the same file
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            for block in blocks:
                file.write(block)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
