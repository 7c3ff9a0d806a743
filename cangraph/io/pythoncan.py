"""Binary logs → columns: Vector's .blf, ASAM's .mf4 and SQLite by python-can, .pcap by dpkt.

python-can's readers check no values and may leave parts out. Here each message becomes a frame, an
error frame, or a numbered refusal.
"""

import logging
import math
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from itertools import islice
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.frames import BUSES, COLUMNS, LATEST, PAYLOAD_LENGTHS, ReadReport
from cangraph.io.unpack import unpacked

_OWN = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame")
_EXTRAS = {".mf4": "asammdf", ".pcap": "dpkt"}
_SOCKETCAN, _COOKED = (
    227,
    113,
)  # link types of packets that hold a frame, the latter behind 16 bytes


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
) -> Generator[tuple[dict[str, np.ndarray], ReadReport, tuple[str, ...]], None, None]:
    """The columns of `Frames`, the report and the buses of every `size` messages (None: of all) of
    a log in the format of `suffix`. `first_refused` names only kinds that no report before named.

    Raises `ValueError` for a refused message if `strict`, and without the package that a format
    needs.
    """
    package = _EXTRAS.get(suffix)
    if package and find_spec(package) is None:
        raise ValueError(f"{path}: {suffix} needs the package {package}; pip install {package}")
    tally = _Tally(path, strict, "record or convert the log again")
    # python-can only warns of parts of a file that it leaves out
    log, warned = logging.getLogger("can"), BufferingHandler(sys.maxsize)
    warned.setLevel(logging.WARNING)
    buses: dict[str, int] = {}
    with unpacked(path) as plain:
        more, dialect = True, f"{suffix} log"
        messages = _from_objects(path, plain, suffix, tally)
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
            for record in warned.buffer:
                left_out = f"a part was left out ({record.getMessage()})"
                tally.refuse(":", f"{left_out}; expected frames")
            warned.flush()
            columns = columns_of(kept)
            channels = [str("" if m.channel is None else m.channel) for m in kept]
            columns["bus"] = np.array([_code(path, buses, c) for c in channels], np.uint8)
            yield columns, tally.report(len(kept))._replace(dialect=dialect), tuple(buses)
            dialect = ""


def _code(path: Path, buses: dict[str, int], channel: str) -> int:
    code = buses.setdefault(channel, len(buses))
    if code >= BUSES:
        raise ValueError(f"{path}: more than {BUSES} buses; expected fewer; split the log by bus")
    return code


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


def _from_objects(path: Path, plain: Path, suffix: str, tally: _Tally) -> Iterator[tuple]:
    """(message, where) of a binary log; what python-can leaves out is refused."""
    import can

    count = 0
    try:
        with ExitStack() as stack:
            # python-can leaves a file open whose header it cannot read
            source = plain if suffix == ".db" else stack.enter_context(plain.open("rb"))
            readers: dict[str, Any] = {".blf": _blf_reader(), ".mf4": can.MF4Reader}
            readers |= {".db": can.SqliteReader, ".pcap": _packets}
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


@contextmanager
def _packets(stream) -> Iterator[Iterator]:
    """The messages in the packets that SocketCAN hands to tcpdump or Wireshark."""
    import can
    import dpkt

    def messages():
        for number, (time, packet) in enumerate(packets, 1):
            frame = packet[16:] if kind == _COOKED else packet
            if len(frame) < 8 or (kind == _COOKED and packet[14:16] not in (b"\0\x0c", b"\0\x0d")):
                raise ValueError(f"packet {number} holds no CAN frame")
            flags, length = int.from_bytes(frame[:4], "big"), frame[4]
            remote = bool(flags >> 30 & 1)
            yield can.Message(
                timestamp=float(time),
                arbitration_id=flags & 0x1FFFFFFF,
                is_extended_id=bool(flags >> 31),
                is_remote_frame=remote,
                is_error_frame=bool(flags >> 29 & 1),
                dlc=length,
                data=b"" if remote else frame[8 : 8 + length],
            )

    packets = dpkt.pcap.UniversalReader(stream)
    kind = packets.datalink()
    if kind not in (_SOCKETCAN, _COOKED):
        raise ValueError(f"packets of link type {kind}, not of SocketCAN ({_SOCKETCAN})")
    yield messages()
