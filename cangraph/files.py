"""Where files lie, and writing them whole or not at all."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def home() -> Path:
    """The folder of `runs/`, `data/` and your own `params/`: `CANGRAPH_HOME`, or the checkout that
    this package lies in, or the current folder."""
    given = os.environ.get("CANGRAPH_HOME")
    checkout = Path(__file__).parents[1]
    inside = (checkout / "params" / "base.yaml").is_file()
    return Path(given or (checkout if inside else Path.cwd())).resolve()


def data_home() -> Path:
    """The folder of the datasets: `CANGRAPH_DATA` (relative to `home()`), by default `data/`."""
    return (home() / (os.environ.get("CANGRAPH_DATA") or "data")).resolve()


def put(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file whole or not at all; its folder is made."""
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


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to write to, which replaces `path` if the block ends without an error, and is
    removed otherwise."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a process that had this number and was killed
    part.mkdir(parents=True)
    try:
        yield part
        if path.exists():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
