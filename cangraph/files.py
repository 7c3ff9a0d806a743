"""Where files lie, writing them whole or not at all, and telling whether they still are."""

import errno
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


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


def printable(said: Any) -> str:
    """What comes from a file, without what a terminal would obey.

    >>> print(printable("red\\x1b[31m"))
    red�[31m
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(said))


def put(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; its folder is made.

    Raises `IsADirectoryError` where a folder has this name, which is left as it is.
    """
    if path.is_dir():
        came = f"{path}: a folder has this name; expected that of a file"
        raise IsADirectoryError(f"{came}; write {path / 'NAME'}")
    with _replacing(path) as part:
        part.write_bytes(content)


def apart(out: Path, read: Iterable[Path | None]) -> None:
    """Raises `ValueError` where what a command writes would take the place of what it reads."""
    if any(path and path.exists() and out.exists() and out.samefile(path) for path in read):
        came = f"{out}: it is read by this command and would be written over"
        raise ValueError(f"{came}; expected another file; give the output a name of its own")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal, read in a stream."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(record: dict[str, Any]) -> bytes:
    """A record as JSON of which the last entry, `sha256`, is the hash of what stands before it.

    Raises `ValueError` for what is no JSON, such as NaN.
    """
    text = json.dumps(record, indent=1, allow_nan=False).removesuffix("\n}")
    seal = hashlib.sha256(text.encode()).hexdigest()
    return f'{text},\n "sha256": "{seal}"\n}}'.encode()


def unsealed(path: Path) -> dict[str, Any]:
    """The record that `sealed` made the file of. Raises `ValueError` when a byte of it differs,
    `OSError` when it cannot be read."""
    content = path.read_bytes()
    try:
        record = json.loads(content)
        del record["sha256"]
        whole = sealed(record) == content
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: {error!r}; expected JSON with its own sha256") from error
    if not whole:
        raise ValueError(f"{path}: damaged, or changed by hand; expected what its sha256 says")
    return record


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
        for inside in [*part.rglob("*"), part]:
            if not inside.is_symlink():
                _to_disk(inside)
        if path.is_dir():  # a folder can only replace an empty one
            os.replace(path, Path(place, "before"))
        os.replace(part, path)
        _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk: a name must not be there before
    its content when the power fails."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems have nothing to wait for
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def keep_compiled() -> None:
    """Where numba can keep what it compiles neither beside the code nor in the user's cache, name
    it a temporary folder that belongs to this user alone, and say so: a cache is code."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    package = Path(__file__).parent
    beside = all(_writable(package / name / "__pycache__") for name in ("bus", "features", "io"))
    if os.environ.get("NUMBA_CACHE_DIR") or beside or _writable(cache / "numba"):
        return
    bases = os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"
    for base in filter(_writable, (Path(base) for base in bases if base)):
        place = base / f"cangraph-{os.getuid()}"
        with suppress(FileExistsError):
            place.mkdir(0o700)
        about = place.lstat()
        if about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) != 0o700:
            place = Path(tempfile.mkdtemp(prefix="cangraph-", dir=base))
        os.environ["NUMBA_CACHE_DIR"] = str(place)
        said = f"cangraph: package and home take no files; compiled code is kept in {place}"
        print(said, file=sys.stderr)
        return


def _writable(path: Path) -> bool:
    """Whether a folder, which is made, has room for files."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(1 << 18))
    except OSError:
        return False
    return True
