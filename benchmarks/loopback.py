"""A stand-in for SocketCAN where the kernel has no AF_CAN, for benchmarks and tests.

    python benchmarks/loopback.py monitor car.onnx -i socketcan -c 43200   # as `cangraph monitor`

The channel of this `socketcan` is a port of UDP on loopback, or the path of a Unix socket, and each
datagram is a `struct can_frame` or `canfd_frame`, as a raw socket of AF_CAN hands them out. The
same: all that cangraph does, the structs, `recvmmsg`, the kernel's time of each frame and its count
of what it dropped (both belong to sockets of any family), the buffer of the socket. Not the same:
the driver, the socket's options (CAN FD, error frames), what an interface raises that goes down.
"""

import errno
import os
import socket
import sys
from pathlib import Path

import can.interfaces
import numpy as np
from can.interfaces.socketcan import SocketcanBus

from cangraph.deploy.wire import Wire
from cangraph.frames import Frames

_EXTENDED, _REMOTE = 1 << 31, 1 << 30


class _Socket(socket.socket):
    """One that fails, as that of an interface that is down does, while there is a file `down`."""

    down = Path(os.devnull, "none")

    def fileno(self):
        if self.down.exists():
            raise OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN))
        return super().fileno()


class Loopback(SocketcanBus):
    """The bus of a channel, which is a port, or a path; `CANGRAPH_DOWN`, a folder, holds a file
    named like the channel while that is down."""

    def __init__(self, channel: str, **_):
        self._is_shutdown = True  # for python-can, whose sockets it has none of
        self.channel = str(channel)
        family = socket.AF_UNIX if "/" in self.channel else socket.AF_INET
        self.socket = _Socket(family, socket.SOCK_DGRAM)
        if downs := os.environ.get("CANGRAPH_DOWN"):
            self.socket.down = Path(downs, self.channel)
        try:
            self.socket.fileno()
            self.socket.bind(place_of(self.channel))
        except OSError:
            self.shutdown()
            raise

    def shutdown(self):
        self.socket.close()


def place_of(channel: str):
    return channel if "/" in channel else ("127.0.0.1", int(channel))


def datagrams(frames: Frames) -> list[bytes]:
    """Each frame as the kernel would hand it out."""
    flags = np.where(frames.is_extended_id, _EXTENDED, 0)
    flags |= np.where(frames.is_remote_frame, _REMOTE, 0)
    begins = (frames.arbitration_id | flags).astype(np.uint32).tobytes()
    long = frames.dlc > 8
    return [
        begins[4 * k : 4 * k + 4] + bytes([n, 0, 0, 0]) + d[: 64 if fd else 8].tobytes()
        for k, (n, d, fd) in enumerate(zip(frames.dlc.tolist(), frames.data, long, strict=True))
    ]


def sender(channel: str) -> socket.socket:
    """A socket that sends to a channel, with room for what nobody took yet."""
    family = socket.AF_UNIX if "/" in channel else socket.AF_INET
    sending = socket.socket(family, socket.SOCK_DGRAM)
    sending.connect(place_of(channel))
    return sending


def listening(channel: str) -> bool:
    """Whether somebody has opened a channel."""
    if "/" in channel:
        return channel in Path("/proc/net/unix").read_text()
    return f":{int(channel):04X} 00000000:0000" in Path("/proc/net/udp").read_text()


def stand_in() -> None:
    """Let python-can open a `Loopback` for `socketcan`; a file that `CANGRAPH_CLOCK` names holds
    how many seconds the kernel's clock is wrong."""
    can.interfaces.BACKENDS["socketcan"] = ("loopback", "Loopback")
    columns, clock = Wire.columns, os.environ.get("CANGRAPH_CLOCK")

    def wrong(wire: Wire, blocks: list) -> tuple:
        found = columns(wire, blocks)
        found[0]["timestamp"] += float(Path(clock).read_text() or 0)
        return found

    if clock:
        Wire.columns = wrong


if __name__ == "__main__":
    from cangraph.__main__ import main

    stand_in()
    sys.exit(main(sys.argv[1:]))
