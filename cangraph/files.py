"""Files that are whole or not there."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

__all__ = ["Block", "put"]

Block = bytes | np.ndarray


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
