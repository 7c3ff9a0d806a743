"""python-can's formats → columns: Vector, PEAK, ASAM, SQLite and python-can's own CSV.

python-can's readers skip unknown lines, stop at the first that they cannot parse, and check no
values. Here each line becomes a frame, an error frame, a known remark, or a numbered refusal.
"""

import logging
import math
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import islice
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import TextIO

import numpy as np

from cangraph.frames import COLUMNS, LATEST, PAYLOAD_LENGTHS, ReadReport
from cangraph.io.unpack import refuse_carriage_returns, refuse_empty, unpacked

CAN_SUFFIXES = (".asc", ".blf", ".trc", ".mf4", ".db")
PYTHON_CAN_HEADER = "timestamp,arbitration_id,extended,remote,error,dlc,data"

# Lines of text formats that hold no frame: of the header, remarks that python-can rightly skips,
# and error frames, which it skips too.
_HEADERS = {".csv": PYTHON_CAN_HEADER, ".asc": r"\s*(date\s|base\s|//|$)", ".trc": r"\s*(;|$)"}
_REMARKS = {
    ".csv": r"\s*$",
    ".asc": r"\s*($|//|date\s|base\s|begin\s+triggerblock|end\s+triggerblock|previous log file"
    r"|(no\s+)?internal events|\d+\.\d+\s+((\d+|can)\s+)?(start of measurement|statistic"
    r"|j1939tp|sv:|log trigger|status:|chip status))",
    ".trc": r"\s*($|;|\d+\)?\s+[\d.]+\s+(\d+\s+)?(ST|EC|EV|Warng|FFFFFFFF)\b)",
}
_ERROR_FRAMES = {".trc": r"\s*\d+\)?\s+[\d.]+\s+(\d+\s+)?(ER|Error)\b"}
_OWN = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame")
_ANEW = "record or convert the log again"
_UNREAD = "is no CAN frame; expected a frame of this format"


class _Tally:
    """Counts what is not a frame, and raises at the first refusal if it is `strict`."""

    def __init__(self, path: Path, strict: bool, remedy: str):
        self.path, self.strict, self.remedy = path, strict, remedy
        self.error_frames = self.refused = 0
        self.first: list[str] = []
        self._known: set[str] = set()

    def refuse(self, where: str, fault: str) -> None:
        message = f"{self.path}{where} {fault}; {self.remedy}"
        if self.strict:
            raise ValueError(message)
        self.refused += 1
        if fault not in self._known:
            self._known.add(fault)
            self.first.append(message)

    def report(self, frames: int) -> ReadReport:
        """What came beside so many frames since the last report."""
        rows = frames + self.error_frames + self.refused
        report = ReadReport(rows, 0, 0, self.error_frames, self.refused, tuple(self.first))
        self.error_frames, self.refused, self.first = 0, 0, []
        return report


def _brief(error: Exception) -> str:
    return f"({type(error).__name__}: {' '.join(str(error).split())[:120]})"


def read_messages(
    path: Path, suffix: str, strict: bool, size: int | None
) -> Iterator[tuple[dict[str, np.ndarray], ReadReport]]:
    """The columns of `Frames` and the report of every `size` messages (None: of all) of a log in
    the format of `suffix`. `first_refused` names only kinds that no report before it named.

    Raises `ValueError` for a refused row if `strict`, an empty file, and .mf4 without asammdf.
    """
    if suffix == ".mf4" and find_spec("asammdf") is None:
        raise ValueError(f"{path}: .mf4 needs the package asammdf; pip install asammdf")
    binary = suffix in (".blf", ".mf4", ".db")
    tally = _Tally(path, strict, _ANEW if binary else "mend or delete the line")
    # python-can only warns of parts of a file that it leaves out
    log, warned = logging.getLogger("can"), BufferingHandler(sys.maxsize)
    warned.setLevel(logging.WARNING)
    with unpacked(path) as plain:
        with plain.open("rb") as stream:
            refuse_empty(path, stream.read(4096))
        read, more = _from_objects if binary else _from_lines, True
        messages = read(path, plain, suffix, tally)
        while more:
            log.addHandler(warned)
            try:
                batch = list(islice(messages, size))
            finally:
                log.removeHandler(warned)
            more = len(batch) == size
            kept = []
            for message, where in batch:
                if message.is_error_frame:
                    tally.error_frames += 1
                elif fault := fault_of(message):
                    tally.refuse(where, f"has {fault}")
                else:
                    kept.append(message)
            if binary:  # of a line the outcome is known
                for record in warned.buffer:
                    left_out = f"a part was left out ({record.getMessage()})"
                    tally.refuse(":", f"{left_out}; expected frames")
            warned.flush()
            yield columns_of(kept), tally.report(len(kept))


def columns_of(messages: list) -> dict[str, np.ndarray]:
    """The columns of `Frames` of python-can's messages that have no fault, in their order."""
    width = 64 if any(m.dlc > 8 for m in messages) else 8
    payload = b"".join(bytes(m.data).ljust(width, b"\0") for m in messages)
    columns: dict = {n: np.array([getattr(m, n) for m in messages], COLUMNS[n]) for n in _OWN}
    # a copy: for an array that is read only the kernels would be compiled once more
    data = np.frombuffer(payload, np.uint8).reshape(-1, width).copy()
    return columns | {"data": data, "attack": np.zeros(len(messages), np.bool_)}


def fault_of(message) -> str | None:
    """What is wrong with a message, or None: python-can checks nothing when it reads."""
    numbers = (message.timestamp, message.arbitration_id, message.dlc)
    if not all(isinstance(number, int | float) for number in numbers):
        return "a field that is no number; expected a timestamp, an ID and a DLC"
    if not (math.isfinite(message.timestamp) and 0 <= message.timestamp < LATEST):
        return "a timestamp that is no number of seconds; expected one from 0 on"
    if not 0 <= message.arbitration_id <= (0x1FFFFFFF if message.is_extended_id else 0x7FF):
        return "an arbitration ID that does not fit; expected 11 or 29 bit"
    if message.is_remote_frame:
        return None if message.dlc in range(9) else "a DLC that is not known; expected 0 to 8"
    if message.dlc != len(message.data) or message.dlc not in PAYLOAD_LENGTHS:
        return "a payload that does not fit its DLC; expected 0 to 8 bytes or a CAN FD length"
    return None


class _Source:
    """The lines of a text log for python-can's readers: `header` first, then on from where the
    reader before ended. `at` lines are read, `seen` are those of the current message, `ahead` is
    the next, None at the end."""

    def __init__(self, path: Path, stream: TextIO, suffix: str):
        self.stream, self.seen = stream, list[str]()
        self.ahead = next(stream, "").removeprefix("\xef\xbb\xbf") or None
        refuse_carriage_returns(path, (self.ahead or "")[:4096].encode("latin-1"))
        self.header, self.at = list[str](), 0
        while self.ahead and re.match(_HEADERS[suffix], self.ahead, re.I):
            self.header.append(self.ahead)
            self.at, self.ahead = self.at + 1, next(stream, None)
        if suffix == ".asc":  # ends the header; python-can swallows the first line behind it
            self.header.append("no internal events logged\n")

    def feed(self) -> Iterator[str]:
        yield from self.header
        while (line := self.ahead) is not None:
            self.at, self.ahead = self.at + 1, next(self.stream, None)
            self.seen.append(line)
            if line.strip():  # python-can's CSV reader fails at a blank line
                yield line.removesuffix("\n") + "\n"


def _line(number: int, line: str) -> str:
    return f":{number}: {line[:80].strip()!r}"


def _from_lines(path: Path, plain: Path, suffix: str, tally: _Tally) -> Iterator[tuple]:
    """(message, where) of a text log. A reader that fails is started anew, with the log's
    header, at the line behind."""
    import can

    reader = {".asc": can.ASCReader, ".trc": can.TRCReader, ".csv": can.CSVReader}[suffix]
    error_frame = _ERROR_FRAMES.get(suffix, "(?!)")  # which matches nothing
    with plain.open(encoding="latin-1", newline="\n") as stream:
        source = _Source(path, stream, suffix)
        messages: Iterator | None = None
        while messages or source.ahead is not None:
            messages = messages or iter(reader(source.feed()))
            source.seen.clear()
            failure = message = None
            try:
                message = next(messages, None)
            except Exception as error:  # python-can's readers raise what their parsing raises
                failure = error
            last = source.seen.pop() if source.seen and (message or failure) else None
            first = source.at - len(source.seen) + (last is None)
            for number, line in enumerate(source.seen, first):
                if re.match(error_frame, line):
                    tally.error_frames += 1
                elif not re.match(_REMARKS[suffix], line, re.I):
                    tally.refuse(_line(number, line), _UNREAD)
            if failure and last is None:  # not a line failed but the header
                raise ValueError(
                    f"{path}:1: the header cannot be read {_brief(failure)}; {_ANEW}"
                ) from failure
            if failure:
                tally.refuse(_line(source.at, last or ""), _UNREAD)
            if message is None:
                messages = None
                continue
            if suffix == ".trc" and message.is_fd:  # python-can leaves the code, 9 to 15
                message.dlc = can.util.dlc2len(message.dlc)
            yield message, _line(source.at, last or "")


def _from_objects(path: Path, plain: Path, suffix: str, tally: _Tally) -> Iterator[tuple]:
    """(message, where) of a binary log; what python-can leaves out is refused."""
    import can

    count = 0
    try:
        with ExitStack() as stack:
            # python-can leaves a file open whose header it cannot read
            source = plain if suffix == ".db" else stack.enter_context(plain.open("rb"))
            readers = {".blf": _blf_reader(), ".mf4": can.MF4Reader, ".db": can.SqliteReader}
            reader = stack.enter_context(readers[suffix](source))
            for message in reader:
                count += 1
                yield message, f": message {count}"
            if suffix == ".blf" and (reader.file_size > plain.stat().st_size or reader.left_over):
                tally.refuse(f": after message {count} the file", "ends early")
    except Exception as error:  # struct, zlib, sqlite3, asammdf: whatever the parsing raises
        if tally.strict and isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        fault = f"the rest cannot be read {_brief(error)}; expected a {suffix} log"
        tally.refuse(f": after message {count}", fault)


def _blf_reader():
    import can

    class BLFReader(can.BLFReader):
        """python-can's reader, which loops forever at an object of size 0 and drops a cut tail."""

        def _parse_data(self, data):
            at = data.find(b"LOBJ")
            while at >= 0 and at + 16 <= len(data):
                size = int.from_bytes(data[at + 8 : at + 12], "little")
                if size < 32:  # its two headers alone are as long
                    raise ValueError(f"an object of {size} bytes")
                at = data.find(b"LOBJ", at + size, at + size + 8)
            yield from super()._parse_data(data)

        @property
        def left_over(self) -> bool:  # whether the last object is cut
            return bool(self._tail.strip(b"\0"))

    return BLFReader
