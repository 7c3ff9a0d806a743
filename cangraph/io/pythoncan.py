"""Binary logs → columns: Vector's .blf, ASAM's .mf4 and SQLite by python-can, .pcap by dpkt.

python-can's readers check no values and may leave parts out. Here each message becomes a frame, an
error frame, or a numbered refusal.
"""

import logging
import math
import os
import sqlite3
import struct
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import islice
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.frames import BUSES, COLUMNS, LATEST, PAYLOAD_LENGTHS, ReadReport
from cangraph.io.text import Piece
from cangraph.io.unpack import LIMITS, Limits, unpacked

_OWN = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame")
_EXTRAS = {".mf4": "asammdf", ".pcap": "dpkt"}
# link types of packets that hold a frame, the latter behind 16 bytes
_SOCKETCAN, _COOKED = 227, 113
_BATCH = 1 << 15  # messages of python-can's that are held at once, half a kilobyte each
_BLF_CONTAINER, _BLF_RATIO = 10, 50  # the most regular logs pack 12 to 1
# kinds of objects in a .blf that hold a frame, and where behind their header its direction stands
_BLF_DIRECTION, _TX_REQUEST = {1: 2, 86: 2, 100: 2, 101: 34}, 2


def read_messages(
    path: Path, suffix: str, size: int, limits: Limits = LIMITS
) -> Generator[Piece, None, None]:
    """The columns of `Frames`, the report and the buses of every `size` messages or fewer of a log
    in the format of `suffix`. `first_refused` names only kinds that no report before named.

    Raises `ValueError` without the package that a format needs, and for too many buses, and
    `UnpackError` behind what could be unpacked.
    """
    package = _EXTRAS.get(suffix)
    if package and find_spec(package) is None:
        raise ValueError(f"{path}: {suffix} needs the package {package}; pip install {package}")
    buses: dict[str, int] = {}
    known, dialect = set[str](), f"{suffix} log"
    with unpacked(path, limits) as (plain, cut):
        messages = _checked(plain, suffix, limits, whole=cut is None)
        while batch := list(islice(messages, min(size, _BATCH))):
            kept = [m for m, _, fault in batch if m and not (fault or m.is_error_frame)]
            faults: dict[str, str] = {}
            for _, where, fault in batch:
                if fault:
                    faults.setdefault(fault, where)
            said = ((f"{path}: {where} {fault}", fault) for fault, where in faults.items())
            again = "; record or convert the log again"
            first = tuple(line + again for line, fault in said if fault not in known)
            known.update(faults)
            refused = sum(fault is not None for _, _, fault in batch)
            columns = columns_of(kept)
            codes = [buses.setdefault(_channel(m), len(buses)) for m in kept]
            if len(buses) > BUSES:
                raise ValueError(f"{path}: more than {BUSES} buses; expected fewer; split the log")
            columns["bus"] = np.array(codes, np.uint8)
            others = sum(message is None and not fault for message, _, fault in batch)
            errors = len(batch) - len(kept) - refused - others
            report = ReadReport(len(batch), 0, 0, errors, refused, first, others, dialect)
            yield columns, report, tuple(buses)
            dialect = ""
        if cut:
            raise cut


def _channel(message) -> str:
    return "" if message.channel is None else str(message.channel)


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


def _checked(plain: Path, suffix: str, limits: Limits, whole: bool) -> Iterator[tuple]:
    """(message, which it is, what is wrong with it) of a binary log; what python-can only warns of,
    or stops at, is a fault without a message (but the end of a log that is not whole); neither is a
    request to send."""
    import can

    # python-can only warns of parts of a file that it leaves out
    log, warned, count = logging.getLogger("can"), BufferingHandler(sys.maxsize), 0
    warned.setLevel(logging.WARNING)
    log.addHandler(warned)
    try:
        with ExitStack() as stack:
            # python-can leaves a file open whose header it cannot read
            source = plain if suffix == ".db" else stack.enter_context(plain.open("rb"))
            readers: dict[str, Any] = {".blf": _blf_reader(limits), ".mf4": can.MF4Reader}
            readers |= {".db": partial(_messages_table, limits=limits), ".pcap": _packets}
            reader = stack.enter_context(readers[suffix](source))
            for count, message in enumerate(reader, 1):
                fault = None if message.is_error_frame else fault_of(message)
                yield message, f"message {count}", fault and f"has {fault}"
            yield from [(None, "", None)] * getattr(reader, "requests", 0)
            if whole and getattr(reader, "cut", False):
                yield None, f"after message {count}", "the file ends early"
    except Exception as error:  # struct, zlib, sqlite3, asammdf: whatever the parsing raises
        why = f"({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        fault = f"the rest cannot be read {why}; expected a {suffix} log"
        if whole:
            yield None, f"after message {count}", fault
    finally:
        log.removeHandler(warned)
    for record in warned.buffer:
        fault = f"a part was left out ({record.getMessage()}); expected frames"
        yield None, f"up to message {count}", fault


def _blf_reader(limits: Limits):
    import can

    class BLFReader(can.BLFReader):
        """python-can's reader, which loops forever at an object of size 0, drops a cut tail,
        unpacks a container to any size, and takes requests to send for frames, whose own follow as
        sent (`requests` counts them)."""

        requests = 0

        def __iter__(self):
            size = os.fstat(self.file.fileno()).st_size
            while begin := self.file.read(16):
                signature, _, _, length, kind = struct.unpack("<4sHHLL", begin)
                if signature != b"LOBJ" or length < 16:
                    raise ValueError("something else where an object should begin")
                content = self.file.read(min(length - 16, size))
                self.file.read(length % 4)  # padding
                if kind != _BLF_CONTAINER:
                    continue
                method = int.from_bytes(content[:2], "little")
                if method not in (0, 2):
                    logging.getLogger("can").warning("Unknown compression method (%d)", method)
                    continue
                data = self._unpacked(content[16:]) if method else content[16:]
                yield from self._parse_container(data)
                if len(self._tail) > limits.line:
                    raise ValueError(f"an object of more than {limits.line:,} bytes")

        def _unpacked(self, packed):
            most = min(_BLF_RATIO * len(packed) + _BATCH, limits.part)
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(packed, most)
            if unpacker.unconsumed_tail:
                raise ValueError(f"a container of {len(packed):,} bytes that unpacks to {most:,}")
            return data

        def _parse_data(self, data):
            data = bytearray(data)
            at = data.find(b"LOBJ")
            while at >= 0 and at + 16 <= len(data):
                header, _, size, kind = struct.unpack_from("<HHLL", data, at + 4)
                if size < 32:  # its two headers alone are as long
                    raise ValueError(f"an object of {size} bytes")
                way = at + header + _BLF_DIRECTION.get(kind, size)
                if way < at + size <= len(data) and data[way] & 15 == _TX_REQUEST:
                    data[at + 12 : at + 16] = bytes(4)  # an object of no kind is passed over
                    self.requests += 1
                at = data.find(b"LOBJ", at + size, at + size + 8)
            yield from super()._parse_data(bytes(data))

        @property
        def cut(self) -> bool:
            short = self.file_size > os.fstat(self.file.fileno()).st_size
            return short or bool(self._tail.strip(b"\0"))  # the last object is not whole

    return BLFReader


@contextmanager
def _messages_table(path: Path, limits: Limits) -> Iterator[Iterator]:
    """The messages in the table that python-can's logger writes to SQLite. A view is none: it may
    have rows for ever."""
    import can

    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
        base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.line)
        base.execute("pragma trusted_schema = off")
        kinds = base.execute("select type from pragma_table_list where name = 'messages'")
        if (kind := [kind for (kind,) in kinds]) != ["table"]:
            raise ValueError(f"messages is {', '.join(kind) or 'missing'}, not a table")
        names = ("timestamp", "arbitration_id", "is_extended_id", "is_remote_frame",
                 "is_error_frame", "dlc", "data")  # fmt: skip
        rows = base.execute("select * from messages")
        most = path.stat().st_size  # of a damaged file pages may be read again and again
        yield (can.Message(**dict(zip(names, row, strict=True))) for row in islice(rows, most))


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
