"""Capture files in, `Frames` out: one door for every supported log format."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import chain
from pathlib import Path

import numpy as np

from cangraph.files import file_sha256
from cangraph.frames import Frames, ReadReport, attack_code
from cangraph.io.pythoncan import read_messages
from cangraph.io.rows import joined
from cangraph.io.text import Asked, Columns, Piece, read_text
from cangraph.io.unpack import LIMITS, Limits, UnpackError, format_of, plain_suffix, text_blocks

# of logs, plain or packed; `read_frames` goes by what is in a file
ENDINGS = (".csv", ".txt", ".parquet", ".log", ".candump", ".asc", ".trc", ".blf", ".mf4", ".db",
           ".pcap", ".pcapng")  # fmt: skip
_BLOCK = 1 << 18  # rows that are read at once
_HELD = 10.0  # s that a row waits for earlier ones behind it in the file
_MOST = 100  # strays in a row; more are a clock that was set


def read_frames(
    path: str | Path,
    *,
    strict: bool = True,
    attack_type: str = "other",
    columns: Mapping[str, str | int | Sequence[str]] | None = None,
    time_unit: str | None = None,
    base: int | None = None,
    limits: Limits = LIMITS,
    **where: str,
) -> Frames:
    """Read a CAN log into `Frames`, sorted by time.

    What a log is, its content says, not its ending: text in one of `dialects.DIALECTS`, a table
    with a header or Parquet (by the names of its columns), Vector's .blf, SQLite's .db (both by
    python-can), .mf4 (needs asammdf) or .pcap (needs dpkt); each plain or packed by gzip, zstd, xz,
    bzip2 or zip, as ASCII, UTF-8 or UTF-16. `Frames.report` says what it was read as.

    Of another table, `columns` names those that are timestamp, arbitration_id, data (one, or one a
    byte), and perhaps dlc, attack, bus, is_extended_id, is_remote_frame and is_error_frame (without
    a header by their numbers, from 0), `time_unit` is s, ms, us or ns, `base` that of the IDs, 16
    or 10. Both are told from the whole file where they are not given and the dialect leaves them
    open; `Frames.report.notes` tell what was found, and what is odd: a rate that no bus can carry,
    hours without a frame.

    An ID of eight digits is a 29-bit one, unless the dialect says it otherwise. Frames of several
    buses keep theirs (`Frames.by_bus`). Rows with an attack label get `attack_type`; `where` names
    the capture (see `Frames.label`). `data` has 64 columns where a payload is longer than 8 bytes,
    else 8.

    No row is dropped silently: `strict` raises at the first that cannot be read; without it
    `Frames.report` counts them and names the first line of each kind. It counts error frames too.
    A file of which more than one row, and more than 1 in 100, cannot be read, is none of its
    dialect, and refused as a whole. A row is refused too whose time is far from that of the rows
    before and behind it (`strays`), and what lies beyond a damage or the `limits` of unpacking.

    Raises `FileNotFoundError`, and `ValueError` that names file, line and remedy for an empty file,
    an unknown dialect, a row that cannot be read if `strict`, and a file without one that can.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "bus.csv")
    >>> _ = path.write_text("timestamp,arbitration_id,data_field,attack\\n0.5,1A0,00FF,1\\n0.6,1A")
    >>> frames = read_frames(path, strict=False, attack_type="fuzzing")
    >>> frames, frames.report.refused
    (Frames('bus': 1 frames, 1 IDs, 0.0 s, 1 attack frames), 1)
    """
    path = Path(path)
    asked = Asked(columns or {}, time_unit, base)
    pieces = [*_pieces(path, strict, _BLOCK, asked, limits)]
    report = reduce(_sum, (report for _, report, _ in pieces))
    whole = joined([columns for columns, _, _ in pieces if columns]), report, pieces[-1][2]
    return _frames(whole, attack_type, {"name": _name(path)} | where)


@dataclass(frozen=True)
class LogFile:
    """A CAN log on disk, for captures larger than memory: read in chunks, as often as needed.

    Reads what `read_frames` reads, with `attack_type`, `strict`, `columns`, `time_unit`, `base` and
    `limits` as there; the other fields say where the capture belongs, as in `Frames` (`name`: by
    default the file's). Of several buses, `bus` names the one whose frames are given. A table whose
    unit or base is open is read twice. Raises `ValueError` for an attack type that is unknown.

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
    columns: Mapping[str, str | int | Sequence[str]] | None = None
    time_unit: str | None = None
    base: int | None = None
    bus: str | None = None
    limits: Limits = LIMITS

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "name", self.name or _name(Path(self.path)))
        attack_code(self.attack_type)

    def sha256(self) -> str:
        """Hash of the file's bytes, packed as they are."""
        return file_sha256(Path(self.path))

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
        asked = Asked(self.columns or {}, self.time_unit, self.base)
        pieces = _pieces(path, self.strict, size, asked, self.limits)
        for piece in _in_time_order(path, pieces, size):
            frames = _frames(piece, self.attack_type, where)
            yield frames if self.bus is None else frames.by_bus().get(self.bus, frames[:0])


def is_log(path: Path) -> bool:
    """Whether a file's ending is one that logs have.

    >>> is_log(Path("bus.CSV.gz")), is_log(Path("bus.pdf.zip")), is_log(Path("bus.blf"))
    (True, False, True)
    """
    return plain_suffix(path) in ENDINGS


def _name(path: Path) -> str:
    return path.name.split(".")[0]


def _frames(piece: Piece, attack_type: str, where: dict[str, str]) -> Frames:
    columns, report, names = piece
    given = columns | {"attack_type": np.where(columns["attack"], attack_code(attack_type), 0)}
    frames = Frames.in_order(**given, bus_names=names or ("",), report=report, **where)
    # the steps back of a chunk, which is sorted already, were counted before
    return replace(frames, report=report) if report.reordered else frames


def _pieces(path: Path, strict: bool, size: int, asked: Asked, limits: Limits) -> Iterator[Piece]:
    """Columns, report and buses of about `size` rows at a time, in the file's order; the last may
    be a report alone."""
    kind = format_of(path, limits)
    pieces: Generator[Piece, None, None]
    if kind in ("", ".parquet"):
        blocks = partial(text_blocks, path, size, kind == ".parquet", limits)
        pieces = read_text(path, blocks, strict, asked)
    else:
        pieces = read_messages(path, kind, size, limits)
    frames, total = 0, ReadReport()
    names: tuple[str, ...] = ()
    with closing(pieces):
        try:
            for columns, report, names in pieces if strict else _in_place(path, pieces):
                if report.refused and strict:
                    raise ValueError(report.first_refused[0])
                frames += len(columns.get("timestamp", ()))
                total = _sum(total, report)
                yield columns, report, names
                del columns
        except UnpackError as error:
            if strict or not frames:
                raise
            yield {}, ReadReport(1, refused=1, first_refused=(str(error),)), names
    if not frames and total.refused:
        raise ValueError(f"{total.first_refused[0]}; no other of {total.rows:,} rows can be read")
    if not frames:
        came = f"{total.error_frames} error frames" if total.error_frames else "a header"
        raise ValueError(f"{path}: {came} and no rows; expected CAN frames; record the log again")


def strays(time: np.ndarray, last: float, apart: float, final: bool) -> np.ndarray:
    """Which rows are strays, bool (n,): at most 100 in a row, more than `apart` s from the row
    before them (at `last`, or NaN: none), to which the rows behind return. Where there are more
    than one and a row in a hundred, the clock is to blame, and none is one; nor is a row at the end
    that goes on, only one that goes back, if it is `final`.

    >>> strays(np.array([0.0, 9e9, 0.1, 0.2, 40.0]), np.nan, 10.0, final=True)
    array([False,  True, False, False, False])
    """
    found, n = np.zeros(len(time), bool), len(time)
    jumps = 1 + np.flatnonzero(abs(np.diff(time)) > apart)
    begins, before, k = [0, *jumps.tolist(), n], last, 0
    while n and k < len(begins) - 1 <= 8 + n // 50:
        begin, end, back = begins[k], begins[k + 1], 0  # where rows go on as before it
        if abs(time[begin] - before) > apart:
            later = begins[k + 1 : -1][:_MOST]
            near = (b for b in later if abs(time[b] - before) <= apart)
            back = next(near, n if final and time[begin] < before else 0)
        elif np.isnan(before) and end < n and time[end] < time[begin]:
            back = end if begins[k + 2] - end > end - begin else 0
        if 0 < back - begin <= _MOST:
            found[begin:back], k = True, begins.index(back, k)
        else:
            before, k = time[end - 1], k + 1
    return found & (found.sum() <= 1 + n // 100)


def _in_place(path: Path, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces of a log without their `strays`, which the reports count as refused."""
    coming = iter(pieces)
    piece, fault = next(coming, None), None
    last, named = np.nan, False
    while piece:
        columns, report, names = piece
        try:
            piece = next(coming, None)
        except Exception as error:  # what was read before it counts
            piece, fault = None, error
        time = columns.get("timestamp", np.zeros(0))
        behind = piece[0].get("timestamp", time[:0])[:_MOST] if piece else time[:0]
        together = np.concatenate([time, behind])
        stray = strays(together, last, _HELD, final=not len(behind))[: len(time)]
        if stray.any():
            said = f"{path}: a row at {time[stray][0]:.6f} s, whose neighbours are far from that"
            first = () if named else (f"{said}; expected times in order; mend or delete it",)
            named, faults = True, report.first_refused + first
            refused = report.refused + int(stray.sum())
            report = report._replace(refused=refused, first_refused=faults)
            columns = {name: values[~stray] for name, values in columns.items()}
        if len(columns.get("timestamp", ())):
            last = columns["timestamp"][-1]
        yield columns, report, names
    if fault:
        raise fault


def _sum(one: ReadReport, other: ReadReport) -> ReadReport:
    # counts and messages alike are joined by +
    return ReadReport(*(a + b for a, b in zip(one, other, strict=True)))  # type: ignore[operator]


def _in_time_order(path: Path, pieces: Iterable[Piece], size: int) -> Iterator[Piece]:
    """The pieces cut anew into `size` rows, sorted stably by time. A row leaves when one of `_HELD`
    seconds later has come; `rows` of a report is counted with the frames that leave."""
    held: Columns = {}
    pending, last, latest = ReadReport(), -np.inf, -np.inf
    names: tuple[str, ...] = ()
    for columns, report, buses in chain(pieces, [({}, ReadReport(), ())]):
        time, names, ended = columns.get("timestamp", np.zeros(0)), buses or names, not columns
        if len(time):
            before = np.maximum.accumulate(np.r_[latest, time])
            far = time < before[:-1] - _HELD
            if far.any():
                i = int(np.argmax(far))
                raise ValueError(
                    f"{path}: a row at {time[i]:.6f} s comes behind one at {before[i]:.6f} s; "
                    f"expected steps back in time of at most {_HELD:g} s; "
                    "use read_frames, or sort it"
                )
            report = report._replace(reordered=int((np.diff(time, prepend=last) < 0).sum()))
            last, latest = time[-1], before[-1]
            held = joined([held, columns]) if held else columns
            if (np.diff(held["timestamp"]) < 0).any():
                held = _taken(held, np.argsort(held["timestamp"], kind="stable"))
        pending, time = _sum(pending, report), held.get("timestamp", np.zeros(0))
        del columns
        settled = int(np.searchsorted(time, latest - _HELD, "right")) // size * size
        ready = len(time) if ended else settled  # at the end all rows leave
        del time
        for begin in range(0, ready, size):
            part = joined([_taken(held, slice(begin, begin + size))])
            rows = len(part["timestamp"])
            rows += pending.error_frames + pending.refused + pending.others
            yield part, pending._replace(rows=rows), names
            pending = ReadReport()
        if ready:
            held = _taken(held, slice(ready, None))


def _taken(columns: Columns, rows: slice | np.ndarray) -> Columns:
    return {key: np.array(values[rows]) for key, values in columns.items()}
