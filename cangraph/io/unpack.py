"""Log files → bytes: plain or packed, whole or in blocks of whole lines; Parquet as its table."""

import bz2
import gzip
import io
import lzma
import mmap
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cangraph.extras import named_extra

_MARK = b"\xef\xbb\xbf"  # a spreadsheet's byte order mark
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_ZIP = b"PK\x03\x04"
_PACKED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".xz": b"\xfd7zXZ\0", ".bz2": b"BZh",
           ".zip": _ZIP}  # fmt: skip
_FOREIGN = ("zlib", "_lzma", "zstd", "zstandard", "zipfile", "polars", "pyo3_runtime")  # of errors
_ROW = 40  # bytes, about the length of a row
_LEAST = 1 << 16  # bytes of a block; the first one tells the dialect

FORMATS = {  # what a file begins with
    ".parquet": (b"PAR1",),
    ".blf": (b"LOGG",),
    ".mf4": (b"MDF     ", b"UnFinMF "),
    ".db": (b"SQLite format 3\0",),
    ".pcap": (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",
              b"\x0a\x0d\x0d\x0a")
}  # fmt: skip


def plain_suffix(path: Path) -> str:
    """The ending of a file without that of its package."""
    packed = path.suffix.lower() in _PACKED
    return Path(path.stem if packed else path).suffix.lower()


def format_of(path: Path) -> str:
    """The format of a log on disk by its first bytes: one of `FORMATS`, or "" for text. Raises
    `FileNotFoundError`, and `ValueError` for what is empty or cannot be unpacked."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a CAN log; check the path")
    with _named(path), _open(path) as stream:
        begin = stream.read(_LEAST)
    known = [name for name, magics in FORMATS.items() if begin.startswith(magics)]
    if not known and not begin.removeprefix(_MARK).strip(b", \t\r\n\0"):
        first = f" in its first {len(begin):,} bytes" if len(begin) >= _LEAST else ""
        raise ValueError(f"{path}: the file is empty{first}; expected frames; record the log again")
    return known[0] if known else ""


def text_blocks(path: Path, size: int | None, table: bool = False) -> Generator[Any, None, None]:
    """The text of a log, cut at newlines into blocks of about `size` rows, or for None in one (a
    plain file mapped); a Parquet file (`table`) is the CSV of its table. Raises `ValueError` for
    what cannot be unpacked."""
    with _named(path):
        if table:
            yield from _table(path, size)
            return
        with _text(path) as stream:
            if size is None:
                yield _whole(path, stream)
                return
            # not mapped: the pages of a map stay resident, so memory would grow with the file
            while block := stream.read(max(size * _ROW, _LEAST)):
                yield block + stream.readline()


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A plain file with the content of `path`: itself, or a temporary one if it is packed.
    Raises `ValueError` for what cannot be unpacked."""
    if not _package(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, path.stem)
        with _named(path), _open(path) as stream, plain.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        yield plain


def _whole(path: Path, stream: Any) -> bytes | mmap.mmap:
    if isinstance(stream, io.BufferedReader) and not _package(path) and not stream.tell():
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return stream.read()


@contextmanager
def _text(path: Path) -> Iterator[Any]:
    """The log as a stream of ASCII lines: without a byte order mark, in UTF-8 if it was UTF-16, and
    with newlines if its lines end in a carriage return alone."""
    with _open(path) as stream:
        begin = stream.read(_LEAST)
    with _open(path) as stream:
        if begin.startswith(_UTF_16):
            yield io.BytesIO(stream.read().decode("utf-16", "replace").encode())
        elif b"\n" not in begin and b"\r" in begin.strip():
            yield io.BytesIO(stream.read().replace(b"\r", b"\n"))
        else:
            if begin.startswith(_MARK):
                stream.read(len(_MARK))
            yield stream


def _table(path: Path, size: int | None) -> Iterator[bytes]:
    """A Parquet file as CSV: times as numbers, IDs and payloads in hexadecimal, labels 0 or 1."""
    import polars as pl

    with _text(path) if _package(path) else path.open("rb") as stream:
        table = pl.scan_parquet(stream.read() if _package(path) else path, glob=False)
        rows = max(1, table.select(pl.len()).collect().item())
        for at in range(0, rows, size or rows):
            part = table.slice(at, size or rows).collect()
            part = part.select(_as_text(column) for column in part.get_columns())
            text = part.write_csv(include_header=at == 0, float_scientific=False,
                                  quote_style="never")  # fmt: skip
            yield text.encode()


def _as_text(column: Any) -> Any:
    import polars as pl

    kind = column.dtype
    if kind == pl.Binary:
        return column.bin.encode("hex")
    if kind == pl.Boolean:
        return column.cast(pl.UInt8)
    if kind == pl.Datetime:
        return (column.dt.epoch("us") / 1e6).rename(column.name)
    if kind in (pl.List, pl.Array):
        return column.cast(pl.List(pl.UInt8)).map_elements(lambda b: bytes(b).hex(), pl.String)
    if kind.is_integer() and column.name.lower().removesuffix("_hex").endswith(("id", "addr")):
        names = {i: f"0x{i:X}" for i in column.unique().drop_nulls()}
        return column.replace_strict(names, return_dtype=pl.String)
    return column


def _package(path: Path) -> str:
    """The ending of the package that a file is, by its first bytes; "" if it is none."""
    with path.open("rb") as stream:
        begin = stream.read(6)
    return next((name for name, magic in _PACKED.items() if begin.startswith(magic)), "")


def _open(path: Path) -> Any:
    match _package(path):
        case ".gz":
            return gzip.open(path)
        case ".xz":
            return lzma.open(path)
        case ".bz2":
            return bz2.open(path)
        case ".zip":
            return _zipped(path)
        case ".zst":
            return io.BufferedReader(_ZstdFile(path), 1 << 17)
    return path.open("rb")


def _zipped(path: Path) -> Any:
    package = zipfile.ZipFile(path)
    names = [info.filename for info in package.infolist() if not info.is_dir()]
    if len(names) != 1:
        raise ValueError(f"{len(names)} files are in it: {', '.join(names[:9])}; expected one")
    try:
        return package.open(names[0])
    except (NotImplementedError, RuntimeError) as error:  # a method that is not known; a password
        raise ValueError(str(error)) from error


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
    except GeneratorExit:
        raise
    except BaseException as error:  # polars panics at some Parquet files, which is no `Exception`
        foreign = type(error).__module__.split(".")[0] in _FOREIGN
        if not foreign and not isinstance(error, OSError | EOFError | ValueError | zlib.error):
            raise
        if str(error).startswith(str(path)):
            raise
        why = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path}: cannot be unpacked ({why}); expected a whole file; copy or record it again"
        ) from error
