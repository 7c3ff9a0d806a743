"""python-can's formats → columns: candump, Vector, PEAK, ASAM, SQLite and python-can's own CSV.

python-can's readers skip what they do not know, stop at what they cannot parse and check nothing.
Here they are fed line by line, so that each line is a frame, an error frame, a known remark or a
refusal with its number.
"""

import io
import logging
import math
import re
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cangraph.frames import LATEST, PAYLOAD_LENGTHS, ReadReport

__all__ = ["CAN_SUFFIXES", "PYTHON_CAN_HEADER", "read_messages"]

CAN_SUFFIXES = (".log", ".asc", ".blf", ".trc", ".mf4", ".db")
PYTHON_CAN_HEADER = "timestamp,arbitration_id,extended,remote,error,dlc,data"

# lines that stand for no frame, and that python-can rightly skips
_REMARKS = {
    ".csv": r"\s*$",
    ".log": r"\s*$",
    ".asc": r"\s*($|//|date\s|base\s|begin\s+triggerblock|end\s+triggerblock|previous log file"
    r"|(no\s+)?internal events|\d+\.\d+\s+((\d+|can)\s+)?(start of measurement|statistic|j1939tp"
    r"|sv:|log trigger|status:|chip status))",
    ".trc": r"\s*($|;|\d+\)?\s+[\d.]+\s+(\d+\s+)?(ST|EC|EV|Warng|FFFFFFFF)\b)",
}
_ERROR_LINES = {".trc": r"\s*\d+\)?\s+[\d.]+\s+(\d+\s+)?(ER|Error)\b"}
_HEADERS = {
    ".csv": PYTHON_CAN_HEADER,
    ".asc": r"\s*(date\s|base\s|//|$)",
    ".trc": r"\s*(;|$)",
}
# (1436509052.249713) vcan0 044#2A366C2BBA R        R8: remote frame, ##1: CAN FD with its flags
_CANDUMP = (
    r"\(\d+(\.\d*)?\)\s+\S+\s+([0-9a-f]{3}|[0-9a-f]{8})"
    r"#(r\d?|(#[0-9a-f])?([0-9a-f]{2})*)(\s+[rt])?\s*$"
)
_ERROR_FLAG = 0x20000000  # bit of a candump ID, from linux/can.h

_ANEW = "record or convert the log again"
_UNREAD = "no CAN frame; expected a frame of this format"


class _Tally:
    """Counts what is not a frame, and raises at the first refusal if it is `strict`."""

    def __init__(self, path: Path, strict: bool):
        self.path, self.strict = path, strict
        self.error_frames = self.refused = 0
        self.first: dict[str, str] = {}

    def refuse(self, where: str, fault: str, remedy: str) -> None:
        message = f"{self.path}{where} {fault}; {remedy}"
        if self.strict:
            raise ValueError(message)
        self.refused += 1
        self.first.setdefault(fault, message)


def _brief(error: Exception) -> str:
    """python-can's own message in one line."""
    return f"({type(error).__name__}: {' '.join(str(error).split())[:120]})"


def read_messages(
    path: Path, raw: bytes, suffix: str, strict: bool
) -> tuple[dict[str, np.ndarray], ReadReport]:
    """The columns of `Frames` and the report of a log in one of python-can's formats.

    `raw` is the unpacked content; `suffix` says which format. Raises `ValueError` for a refused
    row if `strict`, and for .mf4 without the package asammdf.
    """
    if suffix == ".mf4" and find_spec("asammdf") is None:
        raise ValueError(f"{path}: .mf4 needs the package asammdf; pip install asammdf")
    tally = _Tally(path, strict)
    read = _from_objects if suffix in (".blf", ".mf4", ".db") else _from_lines
    kept, log, warned = [], logging.getLogger("can"), _Warnings()
    log.addHandler(warned)
    try:
        for message, where, remedy in read(path, raw, suffix, tally):
            if message.is_error_frame:
                tally.error_frames += 1
            elif fault := _fault(message):
                tally.refuse(where, f"has {fault}", remedy)
            else:
                kept.append(message)
    finally:
        log.removeHandler(warned)
    if read is _from_objects:  # of a line the outcome is known
        for text in warned.messages:
            tally.refuse(":", f"a part was left out ({text}); expected frames", _ANEW)
    report = ReadReport(
        rows=len(kept) + tally.error_frames + tally.refused,
        error_frames=tally.error_frames,
        refused=tally.refused,
        first_refused=tuple(tally.first.values()),
    )
    return _columns(kept), report


def _columns(messages: list) -> dict[str, np.ndarray]:
    n = len(messages)
    width = 64 if any(m.dlc > 8 for m in messages) else 8
    payload = b"".join(bytes(m.data).ljust(width, b"\0") for m in messages)
    return {
        "timestamp": np.array([m.timestamp for m in messages], np.float64),
        "arbitration_id": np.array([m.arbitration_id for m in messages], np.uint32),
        "dlc": np.array([m.dlc for m in messages], np.uint8),
        "data": np.frombuffer(payload, np.uint8).reshape(n, width),
        "is_extended_id": np.array([m.is_extended_id for m in messages], np.bool_),
        "is_remote_frame": np.array([m.is_remote_frame for m in messages], np.bool_),
        "attack": np.zeros(n, np.bool_),
    }


def _fault(message) -> str | None:
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
        return (
            "a payload that does not fit its DLC; expected as many bytes, 0 to 8 or a CAN FD length"
        )
    return None


def _from_lines(path: Path, raw: bytes, suffix: str, tally: _Tally) -> Iterator[tuple]:
    """(message, where, remedy) of a line based log. A reader that fails is started anew, with the
    log's header, at the line behind."""
    import can

    readers = {".log": can.CanutilsLogReader, ".asc": can.ASCReader}
    reader = (readers | {".trc": can.TRCReader, ".csv": can.CSVReader})[suffix]
    lines = bytes(raw).removeprefix(b"\xef\xbb\xbf").decode("latin-1").split("\n")
    at = 0
    while suffix in _HEADERS and at < len(lines) and re.match(_HEADERS[suffix], lines[at], re.I):
        at += 1
    header = lines[:at]
    if suffix == ".asc":  # ends the header; python-can swallows the first line behind it
        header.append("no internal events logged")
    remedy = "mend or delete the line"

    def feed():
        nonlocal at
        yield from header
        while at < len(lines):
            at += 1
            if lines[at - 1].strip():  # python-can's CSV reader fails at a blank line
                yield lines[at - 1] + "\n"

    def where(i: int) -> str:
        return f":{i + 1}: {lines[i][:80].strip()!r}"

    while at < len(lines):
        messages = iter(reader(feed()))
        while True:
            begin, failure, message = at, None, None
            try:
                message = next(messages)
            except StopIteration:
                pass
            except Exception as error:  # python-can's readers raise whatever their parsing raises
                failure = error
            end = at - 1 if message or failure else at
            for i in range(begin, end):
                if re.match(_ERROR_LINES.get(suffix, "(?!)"), lines[i]):
                    tally.error_frames += 1
                elif not re.match(_REMARKS[suffix], lines[i], re.I):
                    tally.refuse(where(i), f"is {_UNREAD}", remedy)
            if failure:
                if end < begin:  # not a line failed but the header
                    raise ValueError(
                        f"{path}:1: the header cannot be read {_brief(failure)}; expected one of "
                        f"{suffix}; {_ANEW}"
                    ) from failure
                tally.refuse(where(end), f"is {_UNREAD}", remedy)
                break
            if message is None:
                break
            if suffix == ".trc" and message.is_fd:  # python-can leaves the code, 9 to 15, as it is
                message.dlc = can.util.dlc2len(message.dlc)
            if suffix == ".log":
                found = re.match(_CANDUMP, lines[end], re.I)
                if not found:
                    tally.refuse(where(end), f"is {_UNREAD}", remedy)
                    continue
                identifier = int(found[2], 16)
                message.is_error_frame = bool(identifier & _ERROR_FLAG)
                message.arbitration_id = identifier
            yield message, where(end), remedy


class _Warnings(logging.Handler):
    """Gathers what python-can only warns of: parts of a file that it leaves out."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def _from_objects(path: Path, raw: bytes, suffix: str, tally: _Tally) -> Iterator[tuple]:
    """(message, where, remedy) of a binary log; what python-can leaves out is refused."""
    import can

    remedy, count = _ANEW, 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            if suffix == ".blf":
                reader = _blf_reader()(io.BytesIO(raw))
            elif suffix == ".mf4":
                reader = can.MF4Reader(io.BytesIO(raw))
            else:  # SQLite reads files alone; one beside its -wal file is read where it is
                packed = Path(folder, "bus.db")
                if path.suffix.lower() != suffix:
                    packed.write_bytes(raw)
                reader = can.SqliteReader(packed if packed.exists() else path)
            with reader:
                for message in reader:
                    count += 1
                    yield message, f": message {count}", remedy
                if suffix == ".blf" and (reader.file_size > len(raw) or reader.left_over):
                    tally.refuse(
                        f": after message {count} the file", "ends early; expected more", remedy
                    )
    except Exception as error:  # struct, zlib, sqlite3, asammdf: whatever the parsing raises
        if tally.strict and isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        fault = f"the rest cannot be read {_brief(error)}; expected a {suffix} log"
        tally.refuse(f": after message {count}", fault, remedy)


def _blf_reader():
    import can

    class BLFReader(can.BLFReader):
        """python-can's reader, which turns for ever at an object of size 0 and forgets a tail."""

        def _parse_data(self, data):
            at = data.find(b"LOBJ")
            while at >= 0 and at + 16 <= len(data):
                size = int.from_bytes(data[at + 8 : at + 12], "little")
                if size < 32:  # its two headers alone are as long
                    raise ValueError(f"an object of {size} bytes")
                at = data.find(b"LOBJ", at + size, at + size + 8)
            yield from super()._parse_data(data)

        @property
        def left_over(self) -> bool:
            """Whether the last object is cut."""
            return bool(self._tail.strip(b"\0"))

    return BLFReader
