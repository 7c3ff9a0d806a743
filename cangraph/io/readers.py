"""Capture files in, `Frames` out: one door for every supported log format."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from cangraph.frames import Frames, ReadReport, attack_code
from cangraph.io.pythoncan import CAN_SUFFIXES, PYTHON_CAN_HEADER, read_messages
from cangraph.io.text import read_text
from cangraph.io.unpack import MARK, ending, plain_suffix, refuse_empty, text_blocks

ENDINGS = (".csv", ".txt", ".parquet", ".log", *CAN_SUFFIXES)  # plain or packed
_HELD = 10.0  # s that a row waits for earlier ones behind it in the file

_Columns = dict[str, np.ndarray]
_Piece = tuple[_Columns, ReadReport]


def read_frames(
    path: str | Path, *, strict: bool = True, attack_type: str = "other", **where: str
) -> Frames:
    """Read a CAN log into `Frames`, sorted by time.

    Known are the text layouts of `text.LAYOUTS` (can-train-and-test, HCRL, candump .log), Parquet
    with the columns of the first (IDs and payloads as hexadecimal text), and through python-can
    Vector .asc (times from its beginning) and .blf, PEAK .trc, SQLite .db, python-can's .csv, and
    ASAM .mf4 (needs asammdf), each plain or packed as .gz, .zst or .xz. An ID of eight digits is a
    29-bit one. Rows with an attack label get `attack_type`; `where` names the capture (see
    `Frames.label`). `data` has 64 columns where a payload is longer than 8 bytes, else 8.

    No row is dropped silently: `strict` raises at the first that cannot be read; without it
    `Frames.report` counts them and names the first line of each kind. It counts error frames too.

    Raises `FileNotFoundError`, and `ValueError` that names file, line and remedy for an empty file,
    an unknown layout, a row that cannot be read if `strict`, and a file without one that can.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bus.csv")
    >>> _ = path.write_text("timestamp,arbitration_id,data_field,attack\\n0.5,1A0,00FF,1\\n0.6,1A")
    >>> frames = read_frames(path, strict=False, attack_type="fuzzing")
    >>> frames, frames.report.refused
    (Frames('bus': 1 frames, 1 IDs, 0.0 s, 1 attack frames), 1)
    """
    path = Path(path)
    ((columns, report),) = _pieces(path, strict, None)
    return _frames(columns, report, attack_type, {"name": _name(path)} | where)


@dataclass(frozen=True)
class LogFile:
    """A CAN log on disk, for captures larger than memory: read in chunks, as often as needed.

    Reads what `read_frames` reads, with `attack_type` and `strict` as there; the other fields say
    where the capture belongs, as in `Frames` (`name`: by default the file's). Raises `ValueError`
    for an attack type that is unknown.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bus.csv")
    >>> _ = path.write_text("".join(f"{i / 10},01A0,2,00,FF,R\\n" for i in range(1000)))
    >>> [len(frames) for frames in LogFile(path).chunks(size=400)]
    [400, 400, 200]
    """

    path: str | Path
    attack_type: str = "other"
    name: str = ""
    scenario: str = ""
    vehicle: str = ""
    recording: str = ""
    strict: bool = True

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "name", self.name or _name(Path(self.path)))
        attack_code(self.attack_type)

    def sha256(self) -> str:
        """Hash of the file's bytes, packed as they are."""
        with Path(self.path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def chunks(self, size: int = 1 << 18) -> Iterator[Frames]:
        """Consecutive `Frames` of `size` frames, the last one shorter, in time order throughout.

        In a row they are `read_frames(path)`, and their reports add up to its report; `data` has
        64 columns in those chunks that need them. Memory holds two or three chunks and the last
        10 s of the log, within which rows that step back in time are sorted (but the whole bytes of
        an .mf4, and a row group of a Parquet file).

        Raises as `read_frames` does, after the chunks before, and `ValueError` for a row more than
        10 s earlier than one before it.
        """
        if size < 1:
            raise ValueError(f"LogFile.chunks: size is {size}; expected at least 1 frame")
        path = Path(self.path)
        where = {n: getattr(self, n) for n in ("name", "scenario", "vehicle", "recording")}
        pieces = _pieces(path, self.strict, size)
        for columns, report in _in_time_order(path, pieces, size):
            yield _frames(columns, report, self.attack_type, where)


def is_log(path: Path) -> bool:
    """Whether a file's ending is one that `read_frames` knows.

    >>> is_log(Path("bus.CSV.gz")), is_log(Path("bus.csv.zip")), is_log(Path("bus.blf"))
    (True, False, True)
    """
    return plain_suffix(path) in ENDINGS


def _name(path: Path) -> str:
    return path.name.split(".")[0]


def _frames(
    columns: _Columns, report: ReadReport, attack_type: str, where: dict[str, str]
) -> Frames:
    labels = np.where(columns["attack"], attack_code(attack_type), 0).astype(np.uint8)
    frames = Frames.in_order(**columns, attack_type=labels, report=report, **where)
    # the steps back of a chunk, which is sorted already, were counted before
    return replace(frames, report=report) if report.reordered else frames


def _pieces(path: Path, strict: bool, size: int | None) -> Iterator[_Piece]:
    """Columns and report of about `size` rows at a time (None: of all), in the file's order."""
    suffix = ending(path, ENDINGS)
    if suffix in CAN_SUFFIXES:
        pieces = read_messages(path, suffix, strict, size)
    else:
        blocks = text_blocks(path, suffix, size)
        first = next(blocks, b"")
        begin = bytes(first[:4096])
        refuse_empty(path, begin)
        if begin.removeprefix(MARK).startswith(PYTHON_CAN_HEADER.encode()):
            pieces = read_messages(path, ".csv", strict, size)
        else:
            pieces = read_text(path, chain([first], blocks), suffix, strict)
        del first  # so that it goes when it is read
    frames, total = 0, ReadReport()
    for columns, report in pieces:
        if report.refused and strict:
            raise ValueError(report.first_refused[0])
        frames += len(columns["timestamp"])
        total = _sum(total, report)
        yield columns, report
        del columns
    if not frames and total.refused:
        raise ValueError(f"{total.first_refused[0]}; no other of {total.rows:,} rows can be read")
    if not frames:
        came = f"{total.error_frames} error frames" if total.error_frames else "a header"
        raise ValueError(f"{path}: {came} and no rows; expected CAN frames; download it again")


def _sum(one: ReadReport, other: ReadReport) -> ReadReport:
    # counts and messages alike are joined by +
    return ReadReport(*(a + b for a, b in zip(one, other, strict=True)))  # type: ignore[operator]


def _in_time_order(path: Path, pieces: Iterable[_Piece], size: int) -> Iterator[_Piece]:
    """The pieces cut anew into `size` rows, sorted stably by time. A row leaves when one of `_HELD`
    seconds later has come; `rows` of a report is counted with the frames that leave."""
    held: _Columns = {}
    pending, last, latest = ReadReport(), -np.inf, -np.inf
    for piece in chain(pieces, [None]):
        if piece is None:  # the end: all rows leave, the last piece may be shorter
            ready = len(held.get("timestamp", ()))
        else:
            columns, report = piece
            time = columns["timestamp"]
            if len(time):
                before = np.maximum.accumulate(np.concatenate(([latest], time)))
                far = time < before[:-1] - _HELD
                if far.any():
                    i = int(np.argmax(far))
                    raise ValueError(
                        f"{path}: a row at {time[i]:.6f} s comes behind one at {before[i]:.6f} s; "
                        f"expected steps back in time of at most {_HELD:g} s; "
                        "use read_frames, or sort it"
                    )
                back = int((np.diff(time, prepend=last) < 0).sum())
                report = report._replace(reordered=back)
                last, latest = time[-1], before[-1]
                held = _joined(held, columns) if held else columns
                if (np.diff(held["timestamp"]) < 0).any():
                    held = _taken(held, np.argsort(held["timestamp"], kind="stable"))
            pending = _sum(pending, report)
            del piece, columns, time, report
            settled = np.searchsorted(held.get("timestamp", ()), latest - _HELD, "right")
            ready = int(settled) // size * size
        for begin in range(0, ready, size):
            part = _taken(held, slice(begin, begin + size))
            if part["dlc"].max(initial=0) <= 8:
                part["data"] = part["data"][:, :8]
            rows = len(part["timestamp"]) + pending.error_frames + pending.refused
            yield part, pending._replace(rows=rows)
            pending = ReadReport()
        if ready:
            held = _taken(held, slice(ready, None))


def _taken(columns: _Columns, rows: slice | np.ndarray) -> _Columns:
    return {key: np.array(values[rows]) for key, values in columns.items()}


def _joined(one: _Columns, other: _Columns) -> _Columns:
    data = [columns["data"] for columns in (one, other)]
    width = max(part.shape[1] for part in data)
    data = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in data]
    joined = {key: np.concatenate([one[key], other[key]]) for key in one if key != "data"}
    return joined | {"data": np.concatenate(data)}
