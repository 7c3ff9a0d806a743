"""Capture files in, `Frames` out: one door for every supported log format."""

import gzip
import lzma
import mmap
import zlib
from pathlib import Path

import numpy as np

from cangraph.canfiles import CAN_SUFFIXES, PYTHON_CAN_HEADER, read_messages
from cangraph.frames import Frames, ReadReport, attack_code
from cangraph.textlogs import HCRL, SPACED, TABLE, parse_text

__all__ = ["read_frames"]

_COLUMNS = ("timestamp", "arbitration_id", "data_field", "attack")
_TEXT = (".csv", ".txt", ".parquet")
_PACKED = (".gz", ".zst", ".xz")
_FOREIGN = ("zstd", "zstandard", "polars", "pyo3_runtime")  # modules of their errors
_MARK = b"\xef\xbb\xbf"  # a spreadsheet's byte order mark
_BLANK = b", \t\r\n"


def read_frames(
    path: str | Path, *, strict: bool = True, attack_type: str = "other", **where: str
) -> Frames:
    """Read a CAN log into `Frames`, sorted by time.

    Known layouts: can-train-and-test CSV (`timestamp,arbitration_id,data_field[,attack]`) and
    the original HCRL files (comma separated with a flag that moves with the DLC, or
    `Timestamp: … ID: … DLC: …` lines), and Parquet with the columns of the first (IDs and payloads
    as hexadecimal text). A payload `R8` is a remote frame of DLC 8, an ID of eight digits a 29-bit
    one. Further, through python-can: candump .log, Vector .asc and .blf, PEAK .trc, SQLite .db,
    python-can's .csv, and ASAM .mf4 (needs asammdf); times in .asc count from its beginning.
    Each may be packed as .gz, .zst or .xz.

    Rows that carry an attack label get `attack_type`; `where` names the capture (see
    `Frames.label`). `data` has 64 columns where a payload is longer than 8 bytes, else 8. Error
    frames are counted in the report and are not frames.

    No row is dropped silently. `strict` raises at the first row that cannot be read; without it
    the others are returned, and `Frames.report` counts what was refused and names the first line
    of each kind.

    Raises `FileNotFoundError`, and `ValueError` that names file, line and remedy for an empty
    file, an unknown layout, the first row that cannot be read, and a file without one that can.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bus.csv")
    >>> _ = path.write_text("timestamp,arbitration_id,data_field,attack\\n0.5,1A0,00FF,1\\n0.6,1A")
    >>> frames = read_frames(path, strict=False, attack_type="fuzzing")
    >>> frames, frames.report.refused
    (Frames('bus': 1 frames, 1 IDs, 0.0 s, 1 attack frames), 1)
    """
    path = Path(path)
    plain = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    raw = _unpack(path, plain.suffix.lower())
    head = bytes(raw[:4096]).removeprefix(_MARK)
    if not head.strip(_BLANK) and not bytes(raw).strip(_BLANK + _MARK):
        raise ValueError(f"{path}: the file is empty; expected CAN frames; download it again")
    if plain.suffix.lower() in CAN_SUFFIXES:
        columns, report = read_messages(path, raw, plain.suffix.lower(), strict)
    elif head.startswith(PYTHON_CAN_HEADER.encode()):
        columns, report = read_messages(path, raw, ".csv", strict)
    else:
        columns, report = _read_text(path, raw, strict)
    if report.refused and (strict or not len(columns["timestamp"])):
        rest = "" if strict else f"; no other of the {report.rows:,} rows can be read either"
        raise ValueError(report.first_refused[0] + rest)
    if not len(columns["timestamp"]):
        came = f"{report.error_frames} error frames" if report.error_frames else "a header"
        raise ValueError(f"{path}: {came} and no rows; expected CAN frames; download it again")
    labels = np.where(columns["attack"], attack_code(attack_type), 0).astype(np.uint8)
    name = {"name": path.name.split(".")[0]} | where
    return Frames.in_order(**columns, attack_type=labels, report=report, **name)


def _read_text(path: Path, raw, strict: bool) -> tuple[dict[str, np.ndarray], ReadReport]:
    head = bytes(raw[:4096])
    body = len(_MARK) if head.startswith(_MARK) else 0
    blank = len(head) - body - len(head[body:].lstrip(b" \t\r\n"))
    above = head.count(b"\n", 0, body + blank)  # blank lines
    body += blank
    firsts = [line.decode("ascii", "replace") for line in head[body:].splitlines()]
    layout = _layout(firsts[0])
    if layout is None and not strict:  # the first line may be the broken one
        layouts = [_layout(line) for line in firsts[1:10]]
        layout = next((known for known in layouts if known and not known[2]), None)
    if layout is None:
        raise ValueError(
            f"{path}:{above + 1}: the columns {firsts[0].strip().strip(',')[:80]!r} are not known; "
            f"expected {','.join(_COLUMNS)} or HCRL rows such as 1478198376.389427,0316,8,05,…,R; "
            "rename them"
        )
    kind, order, skipped = layout
    if skipped:
        newline = raw.find(b"\n", body)
        body = len(raw) if newline < 0 else newline + 1
    return parse_text(path, np.frombuffer(raw, np.uint8), body, kind, order, above + skipped)


def _layout(first: str) -> tuple[int, np.ndarray, int] | None:
    """(layout, field number of each of `_COLUMNS` or -1, header lines) from a file's first line;
    None for a line that no layout has."""
    names = [name.strip().lower() for name in first.strip().strip(",").split(",")]
    known = set(names) <= set(_COLUMNS) and len(names) == len(set(names))
    if known and set(_COLUMNS[:3]) <= set(names):
        order = [names.index(column) if column in names else -1 for column in _COLUMNS]
        return TABLE, np.array(order, np.int64), 1
    none = np.full(4, -1, np.int64)
    if first.startswith("Timestamp:"):
        return SPACED, none, 0
    if len(names) >= 3 and names[0].replace(".", "", 1).isdigit():
        return HCRL, none, 0
    return None


def _unpack(path: Path, suffix: str) -> bytes | mmap.mmap:
    """The content of a file that is a `suffix` once unpacked; mapped where nothing is packed."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file; expected a CAN log; check the path"
        )
    if suffix not in _TEXT + CAN_SUFFIXES:
        raise ValueError(
            f"{path}: the ending is not known; expected {' or '.join(_TEXT + CAN_SUFFIXES)}, "
            f"plain or with {', '.join(_PACKED)}; convert the log with python-can's can_logconvert"
        )
    packed = path.suffix.lower() if path.suffix.lower() in _PACKED else ""
    try:
        if not packed and suffix != ".parquet":
            with path.open("rb") as stream:
                empty = path.stat().st_size == 0  # which cannot be mapped
                return b"" if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        raw = path.read_bytes()
        if packed == ".gz":
            raw = gzip.decompress(raw)
        elif packed == ".xz":
            raw = lzma.decompress(raw)
        elif packed == ".zst":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as stream:
                raw = stream.read()
        if suffix == ".parquet":
            import polars as pl

            raw = (
                pl.read_parquet(raw).write_csv(float_scientific=False, quote_style="never").encode()
            )
        return raw
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise ValueError(f"{path}: cannot be unpacked ({error}); download it again") from error
    except BaseException as error:  # ZstdError, PolarsError: not imported for plain files; and
        # polars panics at some broken Parquet files, which is no `Exception`
        if type(error).__module__.split(".")[0] not in _FOREIGN:
            raise
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: cannot be unpacked ({why}); download it again") from error
