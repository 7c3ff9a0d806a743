"""What comes off a bus: batches of frames from a socket of SocketCAN as the kernel wrote them, or
python-can's messages one by one. Both become columns of `Frames` once they are taken."""

import ctypes
import os
import socket
import struct
import time
from contextlib import suppress
from errno import EAGAIN, EINTR
from itertools import chain
from typing import Any

import numpy as np
from can.interfaces.socketcan import SocketcanBus

from cangraph.frames import LATEST, PAYLOAD_LENGTHS
from cangraph.io.pythoncan import columns_of, fault_of

_WAIT = 0.2  # s that a look at the bus takes when nothing comes
_GATHER = 1e-2  # s that frames may gather in the kernel, since a wake costs more than a frame,
_FASTEST = 100_000  # frames/s that its buffer must hold meanwhile,
_HELD = 768  # bytes for each
_MOST = 1024  # frames of a batch
_BUFFER = 8 << 20  # bytes of that buffer, which the kernel doubles
# of Linux's headers; Python does not name all of them
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS, _SO_MEMINFO, _MSG_WAITFORONE = 33, 35, 55, 0x10000
_SOL_CAN_RAW, _CAN_RAW_FD_FRAMES = 101, 5
_EXTENDED, _REMOTE, _ERROR = (1 << bit for bit in (31, 30, 29))  # of an ID
_CLASSIC, _FD = 16, 72  # bytes of a `struct can_frame`, and of a `canfd_frame`


def _struct(**fields: Any) -> np.dtype:
    """A struct as C lays it out: "P" is a pointer or a size_t, "l" a long."""
    return np.dtype(list(fields.items()), align=True)


_IOVEC = _struct(base="P", length="P")
_MSGHDR = _struct(name="P", name_length="u4", parts="P", parts_length="P", control="P",
                  control_length="P", flags="i4")  # fmt: skip
_MMSGHDR = _struct(message=_MSGHDR, size="u4")
_CMSGHDR = _struct(length="P", level="i4", kind="i4", seconds="l", nanoseconds="l")  # and its time
# a frame with its time: `can_frame` is how a `canfd_frame` begins
_ROW = _struct(control=_CMSGHDR, id="u4", length="u1", rest=("u1", 3), data=("u1", 64), size="u4")
_KNOWN = np.zeros((2, 256), np.bool_)  # lengths of the payloads of CAN, and of CAN FD
_KNOWN[0, :9] = _KNOWN[1, PAYLOAD_LENGTHS] = True
_USED = np.arange(64) < np.arange(256)[:, None]  # the bytes of a payload of each length

Read = tuple[Any, list[int]]  # a block of frames, which can be cut, and the IDs of error frames
Taken = tuple[dict[str, Any], int, str]  # columns, how many others were no frames, and why


class Wire:
    """Frames in batches from the socket of a bus of SocketCAN, which python-can opened as its
    configuration says; frames of CAN FD are asked for in any case. The socket is only read.

    What the kernel drops while its buffer is full it counts (`sk_drops`), which is asked for at
    each look: with `SO_RXQ_OVFL` the number would come along with the next frame, if one came.

    Raises `OSError` where the interface is down.
    """

    off = False  # what the controller says it says by error frames

    def __init__(self, bus: SocketcanBus, name: str = ""):
        self._bus, self._socket, self.name = bus, bus.socket, name or bus.channel
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg  # runs without the GIL
        self._rows, self._few = np.zeros(_MOST, _ROW), False
        parts, self._headers = np.zeros(_MOST, _IOVEC), np.zeros(_MOST, _MMSGHDR)
        begin = self._rows.ctypes.data + np.arange(_MOST) * _ROW.itemsize
        parts["base"] = begin + self._rows["id"].ctypes.data - begin[0]
        parts["length"] = _FD + 1  # what is longer shows, and reaches into `size` alone
        message = self._headers["message"]
        message["parts"] = parts.ctypes.data + np.arange(_MOST) * _IOVEC.itemsize
        message["parts_length"], message["control"] = 1, begin
        self._parts = parts  # the kernel reads them
        wait = struct.pack("ll", 0, int(_WAIT * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with suppress(OSError):
            self._socket.setsockopt(_SOL_CAN_RAW, _CAN_RAW_FD_FRAMES, 1)
        for option in (socket.SO_RCVBUF, _SO_RCVBUFFORCE):  # the latter is root's
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
        room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / _HELD
        self._gather = min(_GATHER, room / _FASTEST)
        self._drops = self._dropped()
        if error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.close()
            raise OSError(error, os.strerror(error))

    def read(self) -> Read:
        """What came, once there is something. Raises `OSError` where the interface is gone."""
        if self._few:
            time.sleep(self._gather)
        headers, rows = self._headers, self._rows
        headers["message"]["control_length"] = _CMSGHDR.itemsize
        fd, place = self._socket.fileno(), headers.ctypes.data
        n = self._recvmmsg(fd, ctypes.c_void_p(place), _MOST, _MSG_WAITFORONE, None)
        if n < 0:
            if (error := ctypes.get_errno()) not in (EAGAIN, EINTR):
                raise OSError(error, os.strerror(error))
            n = 0
        self._few = 0 < n < _MOST
        rows["size"][:n] = headers["size"][:n]
        block = rows[:n].copy()
        wrong = block["id"] & _ERROR > 0
        if wrong.any():
            return block[~wrong], block["id"][wrong].tolist()
        return block, []

    def overrun(self) -> int:
        """Frames that the kernel dropped since the last call."""
        before, self._drops = self._drops, self._dropped()
        return (self._drops - before) & 0xFFFFFFFF

    def _dropped(self) -> int:
        return struct.unpack("9I", self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[8]

    def close(self) -> None:
        self._bus.shutdown()

    def columns(self, blocks: list) -> Taken:
        """The frames of blocks; refused is what has another size than a frame, or no time."""
        rows = np.concatenate(blocks)
        control, length, size = rows["control"], rows["length"], rows["size"]
        timestamp = control["seconds"] + control["nanoseconds"] * 1e-9
        right = (size == _CLASSIC) | (size == _FD)
        right &= _KNOWN[(size == _FD).astype(np.intp), length]
        right &= (control["kind"] == _SO_TIMESTAMPNS) & (timestamp >= 0) & (timestamp < LATEST)
        wrong, why = int((~right).sum()), ""
        if wrong:
            first = rows[~right][0]
            why = f"{first['size']} bytes with {first['length']} in use; expected a `can_frame` "
            why += "or a `canfd_frame`, and its time"
            rows, timestamp, length = rows[right], timestamp[right], length[right]
        flags = rows["id"]
        extended, remote = flags & _EXTENDED > 0, flags & _REMOTE > 0
        width = 64 if length.max(initial=0) > 8 else 8
        used = _USED[np.where(remote, 0, length), :width]
        found = {
            "timestamp": timestamp,
            "arbitration_id": flags & np.where(extended, 0x1FFFFFFF, 0x7FF),
            "dlc": length,
            "data": rows["data"][:, :width] * used,  # what stands behind them is of other frames
            "is_extended_id": extended,
            "is_remote_frame": remote,
            "bus_names": (self.name,),
        }
        return found, wrong, why


class Messages:
    """Frames from any other interface, as python-can gives them. Of the bus nothing is called but
    `recv`, `state` and `shutdown`. One that serves several channels at once ("0,1", or "" for all)
    names the bus of each frame itself."""

    def __init__(self, bus: Any, name: str = ""):
        self._bus, self.name = bus, name

    @property
    def off(self) -> bool:
        return getattr(self._bus.state, "name", "") == "ERROR"

    def read(self) -> Read:
        message = self._bus.recv(_WAIT)
        if message is not None and message.is_error_frame:
            return (), [message.arbitration_id]
        return () if message is None else (message,), []

    def overrun(self) -> int:
        return 0  # what its driver dropped python-can does not say

    def close(self) -> None:
        self._bus.shutdown()

    def columns(self, blocks: list) -> Taken:
        """The frames of blocks; refused is what `fault_of` finds wrong."""
        looked_at = [(message, fault_of(message)) for message in chain.from_iterable(blocks)]
        messages = [message for message, fault in looked_at if not fault]
        faults = [fault for _, fault in looked_at if fault]
        found: dict[str, Any] = columns_of(messages)
        found["bus_names"] = (self.name,)
        if not self.name or "," in self.name:
            names = ["" if m.channel is None else str(m.channel) for m in messages]
            known, bus = np.unique(np.array(names, str), return_inverse=True)
            found |= {"bus_names": tuple(known.tolist()) or ("",), "bus": bus.astype(np.uint8)}
        return found, len(faults), faults[0] if faults else ""


def reader_of(bus: Any, name: str = "") -> Wire | Messages:
    """What reads a bus of python-can in the fastest way; `name` is that of its frames."""
    fast = isinstance(bus, SocketcanBus) and bus.channel  # "" is all channels, as they come
    return Wire(bus, name) if fast else Messages(bus, name)
