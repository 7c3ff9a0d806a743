"""Where files lie, and writing them whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
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


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made."""
    with _replacing(path) as part:
        part.write_bytes(content)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to write to, which replaces `path` if the block ends without an error, and is
    removed otherwise."""
    with _replacing(path) as part:
        part.mkdir()
        yield part


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path of its own beside `path`, since another thread or process may be writing the same;
    what is made there replaces `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(".part", f"{path.name}.", path.parent) as place:
        part = Path(place, path.name)
        yield part
        if path.is_dir():  # a folder can only replace an empty one
            os.replace(path, Path(place, "before"))
        os.replace(part, path)
