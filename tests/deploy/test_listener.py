"""Frames from buses that come and go; nothing is ever sent."""

import time
from types import SimpleNamespace

import can
import numpy as np
import pytest

from cangraph.deploy.listener import Clock, Listener


class Bus:
    """A bus that gives what it is told to, raises what it is told to, and can nothing else."""

    state = can.BusState.ACTIVE

    def __init__(self, *script):
        self.script, self.shut = list(script), False

    def recv(self, timeout):
        if not self.script:
            time.sleep(0.01)
            return None
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def shutdown(self):
        self.shut = True

    def __getattr__(self, name):
        raise AssertionError(f"{name} of a bus was asked for")


def message(t, arbitration_id=0x123, data=b"\1\2", **more):
    return can.Message(
        timestamp=t, arbitration_id=arbitration_id, data=data, is_extended_id=False, **more
    )


def heard(listener, frames, seconds=5.0):
    """What a listener gives until so many frames came, and nothing more is waiting."""
    until, parts, notices = time.monotonic() + seconds, [], []
    while time.monotonic() < until:
        part, told = listener.take(patience=0.02)
        parts.append(part)
        notices += told
        if sum(map(len, parts)) >= frames and not told:
            break
    return parts, notices


@pytest.fixture
def listen():
    started = []

    def start(*buses, **more):
        buses = iter(buses)
        started.append(Listener(lambda: next(buses), retry=0.01, **more))
        return started[-1]

    yield start
    for listener in started:
        listener.stop()


def names(notices):
    return [notice["event"] for notice in notices]


def test_frames_come_as_they_were_sent(listen):
    sent = [message(10 + k / 1000, 0x100 + k % 3, bytes([k])) for k in range(50)]
    parts, notices = heard(listen(Bus(*sent)), 50)
    times = np.concatenate([part.timestamp for part in parts])
    assert times.tolist() == [m.timestamp for m in sent]
    ids = np.concatenate([part.arbitration_id for part in parts])
    assert ids.tolist() == [m.arbitration_id for m in sent]
    assert not notices


def test_can_fd_29_bit_ids_and_remote_frames(listen):
    sent = [
        can.Message(timestamp=1.0, arbitration_id=0x18DAF110, data=bytes(64), is_fd=True, dlc=64),
        can.Message(timestamp=1.1, arbitration_id=0x1, is_remote_frame=True, dlc=4),
        message(1.2),
    ]
    listener = listen(Bus(*sent))
    time.sleep(0.1)
    frames, notices = listener.take()
    assert frames.data.shape == (3, 64)
    assert frames.is_extended_id.tolist() == [True, True, False]
    assert frames.bytes_used.tolist() == [64, 0, 2]
    assert not notices


def test_a_frame_that_is_none_is_counted_and_named(listen):
    odd = SimpleNamespace(
        timestamp=1.0, arbitration_id=0x900, is_extended_id=False, is_error_frame=False
    )
    odd.dlc, odd.data, odd.is_remote_frame = 0, b"", False
    listener = listen(Bus(message(0.5), odd, message(1.5)))
    parts, notices = heard(listener, 2)
    assert sum(map(len, parts)) == 2
    assert [n["why"] for n in notices] == [
        "an arbitration ID that does not fit; expected 11 or 29 bit"
    ]
    assert listener.counters()["refused"] == 1


def test_an_unplugged_interface_is_waited_for(listen):
    first = Bus(message(1.0), can.CanOperationError("Network is down"))
    second = Bus(message(9.0), OSError("No such device"))
    third = Bus(message(11.0))
    parts, notices = heard(listen(first, second, third), 3)
    assert sum(map(len, parts)) == 3
    assert [n["why"] for n in notices if n["event"] == "lost"] == [
        "Network is down",
        "No such device",
    ]
    assert names(notices).count("back") == 2
    assert first.shut and second.shut
    times = np.concatenate([part.timestamp for part in parts])
    assert (np.diff(times) >= 0).all() and times[-1] - times[0] < 1.0, "no ID seems silent"


def test_an_interface_that_is_not_there_at_first_is_an_error():
    def nothing():
        raise can.CanInitializationError("no such channel")

    with pytest.raises(can.CanInitializationError, match="no such channel"):
        Listener(nothing)


def test_error_frames_and_bus_off_are_told(listen):
    error = can.Message(timestamp=1.0, arbitration_id=0x8, is_error_frame=True)
    off = can.Message(timestamp=1.1, arbitration_id=0x40, is_error_frame=True)
    listener = listen(Bus(message(0.9), error, error, off, off, message(1.2)))
    parts, notices = heard(listener, 2)
    assert sum(map(len, parts)) == 2
    assert names(notices).count("bus-off") == 1
    assert sum(n["frames"] for n in notices if n["event"] == "errors") == 4


def test_a_controller_that_says_it_is_off(listen):
    bus = Bus(message(1.0))
    bus.state = can.BusState.ERROR
    _, notices = heard(listen(bus), 2, seconds=0.3)
    assert names(notices) == ["bus-off"]


def test_what_comes_too_fast_is_dropped_and_told(listen):
    listener = listen(Bus(*(message(k / 1000) for k in range(100))), limit=30)
    time.sleep(0.2)
    parts, notices = heard(listener, 30)
    assert sum(map(len, parts)) == 30
    assert notices == [{"event": "dropped", "frames": 70}]
    assert listener.counters()["dropped"] == 70


def test_silence_is_told_once(listen, monkeypatch):
    monkeypatch.setattr("cangraph.deploy.listener._QUIET", 0.05)
    _, notices = heard(listen(Bus(message(1.0))), 2, seconds=0.5)
    assert names(notices) == ["silent"]


def test_a_clock_that_jumps():
    clock = Clock()
    times, notices = clock.read(np.array([5.0, 5.01, 5.0095, 5.02]), now=0.0)
    assert times.tolist() == [5.0, 5.01, 5.01, 5.02] and not notices
    assert clock.reordered == 1
    times, notices = clock.read(np.array([2.0, 2.01]), now=0.03)
    assert times.round(9).tolist() == [5.02, 5.03]
    assert notices == [{"event": "clock", "seconds": -3.02}]
    times, notices = clock.read(np.array([1.7e9, 1.7e9 + 0.5]), now=0.5)
    assert times.round(6).tolist() == [5.03, 5.53], "set to the true time"
    assert names(notices) == ["clock"]
    times, notices = clock.read(np.array([1.7e9 + 60.5]), now=60.5)
    assert times.round(6).tolist() == [65.53] and not notices, "a bus that was silent"


def test_a_pause_is_left_out():
    clock = Clock()
    clock.pause(100.0)
    times, notices = clock.read(np.array([500.0, 500.1]), now=7.0)
    assert times.round(6).tolist() == [100.0, 100.1]
    assert notices == [{"event": "paused", "seconds": 400.0}]
