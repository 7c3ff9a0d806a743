"""Log files → bytes: plain or packed, whole or in blocks of whole lines; Parquet as its table."""

import bz2
import codecs
import io
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

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


class Limits(NamedTuple):
    """What a log may cost at most, in bytes: what is unpacked of it is at most `free` and `ratio`
    times what was read for it; further, a `line`, a `part` that is unpacked at once, and a
    `temporary` file. What goes beyond is not read, and said."""

    ratio: int = 200  # the most regular logs pack 120 to 1
    free: int = 1 << 24
    line: int = 1 << 20
    part: int = 1 << 27
    temporary: int = 3 << 28


LIMITS = Limits()


class UnpackError(ValueError):
    """The rest of a log cannot be unpacked; what came before is read."""


def plain_suffix(path: Path) -> str:
    """The ending of a file without that of its package."""
    packed = path.suffix.lower() in _PACKED
    return Path(path.stem if packed else path).suffix.lower()


def format_of(path: Path, limits: Limits = LIMITS) -> str:
    """The format of a log on disk by its first bytes: one of `FORMATS`, or "" for text. Raises
    `FileNotFoundError`, and `ValueError` for what is empty or cannot be unpacked."""
    if not path.is_file():
        came = "a folder" if path.is_dir() else "no such file"
        do = "name the logs in it" if path.is_dir() else "check the path"
        raise FileNotFoundError(f"{path}: {came}; expected a CAN log; {do}")
    begin = b""
    try:
        with _named(path), _open(path, limits) as stream:
            while len(begin) < _LEAST and (part := stream.read1(_LEAST)):
                begin += part
    except UnpackError:  # comes again behind what can be read
        if not begin:
            raise
    known = [name for name, magics in FORMATS.items() if begin.startswith(magics)]
    if not known and not begin.removeprefix(_MARK).strip(b", \t\r\n\0"):
        first = f" in its first {len(begin):,} bytes" if len(begin) >= _LEAST else ""
        raise ValueError(f"{path}: the file is empty{first}; expected frames; record the log again")
    return known[0] if known else ""


def text_blocks(
    path: Path, size: int, table: bool = False, limits: Limits = LIMITS
) -> Generator[bytes, None, None]:
    """The text of a log, cut at newlines into blocks of about `size` rows; a Parquet file (`table`)
    is the CSV of its table. Of a line that is longer than `limits` the beginning comes. Raises
    `UnpackError` behind all that can be unpacked."""
    with _named(path):
        if table:
            yield from _table(path, size, limits)
            return
        with _open(path, limits) as stream:
            yield from _lines(_ascii(stream), max(size * _ROW, _LEAST), limits.line)


@contextmanager
def unpacked(path: Path, limits: Limits = LIMITS) -> Iterator[tuple[Path, UnpackError | None]]:
    """A plain file with the content of `path`: itself, or a temporary one if it is packed; and why
    that is not all of it."""
    if not _package(path):
        yield path, None
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, path.stem)
        fault: UnpackError | None = None
        try:
            with _named(path), _open(path, limits) as stream, plain.open("wb") as copy:
                while part := stream.read1(_LEAST):
                    if copy.tell() + len(part) > limits.temporary:
                        raise ValueError(f"more than {limits.temporary:,} bytes: unpack it first")
                    copy.write(part)
        except UnpackError as error:
            fault = error
        yield plain, fault


def _lines(parts: Iterator[bytes], size: int, most: int) -> Generator[bytes, None, None]:
    """Blocks of whole lines of about `size` bytes; of a line of more than `most` its beginning."""
    held, too_long, fault = bytearray(), False, None
    try:
        for part in parts:
            begin = max(part.find(b"\n"), 0) if too_long else 0
            if too_long and part[begin : begin + 1] != b"\n":
                continue
            held += part[begin:]
            end = held.rfind(b"\n") + 1 if len(held) >= size else 0
            too_long = not end and len(held) >= max(most, size)
            if end:
                yield bytes(held[:end])
                del held[:end]
    except Exception as error:  # of any package
        fault = error
        del held[held.rfind(b"\n") + 1 :]  # a row that is cut may look like another one
    if held:
        yield bytes(held)
    if fault:
        raise fault


def _ascii(stream: Any) -> Iterator[bytes]:
    """The parts of a log as ASCII lines: without a byte order mark, in UTF-8 if it was UTF-16, and
    with newlines if its lines end in a carriage return alone."""
    parts = iter(partial(stream.read1, _LEAST), b"")
    first = next(parts, b"")
    parts = chain([first.removeprefix(_MARK)], parts)
    if first.startswith(_UTF_16):
        decoder = codecs.getincrementaldecoder("utf-16")("replace")
        return (decoder.decode(part).encode() for part in parts)
    if b"\n" not in first and b"\r" in first.strip():
        return (part.replace(b"\r", b"\n") for part in parts)
    return parts


def _table(path: Path, size: int, limits: Limits) -> Iterator[bytes]:
    """A Parquet file as CSV: times as numbers, IDs and payloads in hexadecimal, labels 0 or 1."""
    import polars as pl

    with unpacked(path, limits) as (plain, fault):
        if fault:  # its table stands at its end
            raise fault
        table = pl.scan_parquet(plain, glob=False)
        rows = max(1, table.select(pl.len()).collect().item())
        if rows * _ROW > limits.free + limits.ratio * plain.stat().st_size:
            raise ValueError(f"{rows:,} rows in {plain.stat().st_size:,} bytes")
        for at in range(0, rows, size):
            part = table.slice(at, size).collect()
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


@contextmanager
def _open(path: Path, limits: Limits) -> Iterator[Any]:
    """The content of a file, packed or not, as a stream that ends with an error at its limits."""
    with path.open("rb", buffering=1 << 14) as packed, ExitStack() as stack:
        match _package(path):
            case ".gz":
                stream: Any = _Unpacked(packed, partial(zlib.decompressobj, 16 + zlib.MAX_WBITS))
            case ".bz2":
                stream = _Unpacked(packed, bz2.BZ2Decompressor)
            case ".xz":
                make = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, limits.part)
                stream = _Unpacked(packed, make)
            case ".zst":
                import zstandard

                stream = _Unpacked(packed, zstandard.ZstdDecompressor().decompressobj)
            case ".zip":
                stream = stack.enter_context(_zipped(stack.enter_context(zipfile.ZipFile(packed))))
            case _:
                yield packed
                return
        yield io.BufferedReader(_Bounded(stream, packed, limits), _LEAST)


def _zipped(package: zipfile.ZipFile) -> Any:
    infos = [info for info in package.infolist() if not info.is_dir()]
    if len(infos) != 1:
        names = ", ".join(info.filename for info in infos[:9])
        raise ValueError(f"{len(infos)} files are in it: {names}; expected one")
    # zipfile bounds what it unpacks at once of these alone
    if infos[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"method {infos[0].compress_type} of packing; expected deflate")
    try:
        return package.open(infos[0])
    except (NotImplementedError, RuntimeError) as error:  # a password
        raise ValueError(str(error)) from error


class _Bounded(io.RawIOBase):
    """What a stream unpacks of a `packed` file, until it is too much for what was read of it."""

    def __init__(self, stream: Any, packed: Any, limits: Limits):
        self._stream, self._packed, self._limits, self._count = stream, packed, limits, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self._stream.read1(len(buffer))
        self._count += len(part)
        if self._count > self._limits.free + self._limits.ratio * self._packed.tell():
            came = f"{self._count:,} bytes of the first {self._packed.tell():,}"
            raise ValueError(f"{came}, more than {self._limits.ratio} times as many")
        buffer[: len(part)] = part
        return len(part)


class _Unpacked:
    """The content of a file of frames one behind the other, perhaps with zeros between, of each of
    which `make` makes an unpacker. The streams of zstandard and lzma accept a truncated file
    silently, or unpack to any size at once."""

    def __init__(self, packed: Any, make: Callable[[], Any]):
        self._packed, self._make = packed, make
        self._ready = memoryview(b"")
        self._frame: Any = None  # what unpacks the current frame

    def read1(self, size: int) -> bytes:
        while not self._ready:
            ended = self._frame is None or self._frame.eof
            packed = self._frame.unused_data.lstrip(b"\0") if self._frame and ended else b""
            packed = packed or self._packed.read(1 << 10)  # may unpack to 32 MB
            if not packed and not ended:
                raise EOFError("the file ends before its last frame does")
            if not packed:
                return b""
            if ended:
                self._frame = self._make()
            self._ready = memoryview(self._frame.decompress(packed))
        part, self._ready = self._ready[:size], self._ready[size:]
        return bytes(part)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong in unpacking is an `UnpackError` of one line with the file's name."""
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
        raise UnpackError(
            f"{path}: cannot be unpacked ({why}); expected a whole file; copy or record it again"
        ) from error
