"""Log files → bytes: plain or packed, whole or in blocks of whole lines; Parquet as its table."""

import gzip
import io
import lzma
import mmap
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cangraph.extras import named_extra

MARK = b"\xef\xbb\xbf"  # a spreadsheet's byte order mark

_PACKED = (".gz", ".zst", ".xz")
_FOREIGN = ("zlib", "_lzma", "zstd", "zstandard", "polars", "pyo3_runtime")  # modules of errors
_ROW = 40  # bytes, about the length of a row
_LEAST = 4096  # bytes of a block; the first one tells the layout


def plain_suffix(path: Path) -> str:
    """The ending of a file without that of its package."""
    packed = path.suffix.lower() in _PACKED
    return Path(path.stem if packed else path).suffix.lower()


def ending(path: Path, known: tuple[str, ...]) -> str:
    """The `plain_suffix` of a log on disk. Raises `FileNotFoundError`, and `ValueError` for an
    ending that is not `known`."""
    suffix = plain_suffix(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a CAN log; check the path")
    if suffix not in known:
        raise ValueError(
            f"{path}: the ending is not known; expected {' or '.join(known)}, plain or with "
            f"{', '.join(_PACKED)}; convert it with python-can's can_logconvert"
        )
    return suffix


def refuse_empty(path: Path, begin: bytes) -> None:
    """Raises `ValueError` if there is nothing but blanks in the first bytes of a log."""
    if not begin.removeprefix(MARK).strip(b", \t\r\n"):
        first = f" in its first {len(begin):,} bytes" if len(begin) >= _LEAST else ""
        raise ValueError(f"{path}: the file is empty{first}; expected frames; download it again")


def refuse_carriage_returns(path: Path, begin: bytes) -> None:
    """Raises `ValueError` if lines end in a carriage return alone."""
    if b"\n" not in begin and b"\r" in begin.strip():
        raise ValueError(f"{path}: the lines end in a carriage return alone; use tr '\\r' '\\n'")


def text_blocks(path: Path, suffix: str, size: int | None) -> Iterator[bytes | mmap.mmap]:
    """The text of a log, cut at newlines into blocks of about `size` rows, or for None in one (a
    plain file mapped); a Parquet file is the CSV of its table. Raises `ValueError` for what cannot
    be unpacked."""
    with _named(path):
        if suffix == ".parquet":
            yield from _table(path, size)
        elif size is None:
            yield _whole(path)
        else:
            # not mapped: the pages of a map stay resident, so memory would grow with the file
            with _open(path) as stream:
                while block := stream.read(max(size * _ROW, _LEAST)):
                    yield block + stream.readline()


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A plain file with the content of `path`: itself, or a temporary one if it is packed.
    Raises `ValueError` for what cannot be unpacked."""
    if path.suffix.lower() not in _PACKED:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, path.stem)
        with _named(path), _open(path) as stream, plain.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        yield plain


def _whole(path: Path) -> bytes | mmap.mmap:
    if path.suffix.lower() in _PACKED:
        with _open(path) as stream:
            return stream.read()
    with path.open("rb") as stream:
        empty = path.stat().st_size == 0  # which cannot be mapped
        return b"" if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _table(path: Path, size: int | None) -> Iterator[bytes]:
    import polars as pl

    packed = path.suffix.lower() in _PACKED
    table = pl.scan_parquet(bytes(_whole(path)) if packed else path, glob=False)
    rows = max(1, table.select(pl.len()).collect().item())
    for at in range(0, rows, size or rows):
        part = table.slice(at, size or rows).collect()
        text = part.write_csv(include_header=at == 0, float_scientific=False, quote_style="never")
        yield text.encode()


def _open(path: Path) -> io.BufferedIOBase:
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path)
        case ".xz":
            return lzma.open(path)
        case ".zst":
            return io.BufferedReader(_ZstdFile(path), 1 << 17)
    return path.open("rb")


class _ZstdFile(io.RawIOBase):
    """A .zst file, unpacked; zstandard's own stream accepts a truncated file silently."""

    def __init__(self, path: Path):
        self._packed, self._ready = path.open("rb"), memoryview(b"")
        self._frame: Any = None  # what unpacks the current frame

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        import zstandard

        while not self._ready:
            ended = self._frame is None or self._frame.eof
            packed = self._frame.unused_data if self._frame and ended else b""
            packed = packed or self._packed.read(1 << 17)
            if not packed and not ended:
                raise EOFError("the file ends before its last frame does")
            if not packed:
                return 0
            if ended:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._ready = memoryview(self._frame.decompress(packed))
        n = min(len(buffer), len(self._ready))
        buffer[:n], self._ready = self._ready[:n], self._ready[n:]
        return n

    def close(self) -> None:
        self._packed.close()
        super().close()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong in unpacking is a `ValueError` of one line with the file's name."""
    try:
        with named_extra(str(path)):
            yield
    except BaseException as error:  # polars panics at some Parquet files, which is no `Exception`
        foreign = type(error).__module__.split(".")[0] in _FOREIGN
        if not foreign and not isinstance(error, OSError | EOFError | ValueError):
            raise
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: cannot be unpacked ({why}); download it again") from error
