"""Frames from buses that come and go; nothing is ever sent."""

import time

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.deploy.listener import _LEAP, _SLACK, Clock, Listener


class Bus:
    """A bus that gives what it is told to, raises what it is told to, and can nothing else."""

    state = can.BusState.ACTIVE

    def __init__(self, *script):
        self.script, self.shut = list(script), False

    def recv(self, timeout):
        step = self.script.pop(0) if self.script else time.sleep(0.01)
        if isinstance(step, Exception):
            raise step
        return step

    def shutdown(self):
        self.shut = True

    def __getattr__(self, name):
        raise AssertionError(f"{name} of a bus was asked for")


def message(t, arbitration_id=0x123, data=b"\1\2", is_extended_id=False, **more):
    ident = {"arbitration_id": arbitration_id, "is_extended_id": is_extended_id}
    return can.Message(timestamp=t, data=data, **ident, **more)


def heard(listener, frames, seconds=5.0):
    """The times that come until so many frames did and nothing more is waiting, and notices."""
    until, times, notices = time.monotonic() + seconds, [], []
    while time.monotonic() < until:
        part, told = listener.take(patience=0.02)
        times += part.timestamp.tolist()
        notices += told
        if len(times) >= frames and not told:
            break
    return times, notices


def names(notices):
    return [notice["event"] for notice in notices]


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


def test_frames_come_as_they_were_sent(listen):
    sent = [message(k / 1000, 0x100 + k % 3, bytes([k])) for k in range(50)]
    sent += [message(1.0, 0x18DAF110, bytes(64), True, is_fd=True)]
    sent += [message(1.1, 0x1, None, True, is_remote_frame=True, dlc=4)]
    listener = listen(Bus(*sent))
    time.sleep(0.1)
    frames, notices = listener.take()
    for name in ("timestamp", "arbitration_id", "is_extended_id"):
        assert getattr(frames, name).tolist() == [getattr(m, name) for m in sent]
    assert frames.data.shape == (52, 64) and frames.data[:50, 0].tolist() == [*range(50)]
    assert frames.bytes_used[-3:].tolist() == [1, 64, 0]
    assert not notices


def test_a_frame_that_is_none_is_counted_and_named(listen):
    odd = message(1.0)
    odd.arbitration_id = 0x900
    listener = listen(Bus(message(0.5), odd, message(1.5)))
    times, notices = heard(listener, 2)
    assert times == [0.5, 1.5]
    assert names(notices) == ["refused"] and "arbitration ID" in notices[0]["why"]
    assert listener.counters()["refused"] == 1


def test_an_unplugged_interface_is_waited_for(listen):
    first = Bus(message(1.0), can.CanOperationError("Network is down"))
    second = Bus(message(9.0), OSError("No such device"))
    times, notices = heard(listen(first, second, Bus(message(11.0))), 3)
    why = [n["why"] for n in notices if n["event"] == "lost"]
    assert why == ["Network is down", "No such device"]
    assert names(notices).count("back") == 2
    assert first.shut and second.shut
    assert len(times) == 3 and times == sorted(times) and times[-1] - times[0] < 1.0


def test_error_frames_and_bus_off_are_told(listen):
    error, off = (can.Message(1.0, arbitration_id=k, is_error_frame=True) for k in (0x8, 0x40))
    listener = listen(Bus(message(0.9), error, error, off, off, message(1.2)))
    times, notices = heard(listener, 2)
    assert times == [0.9, 1.2]
    assert names(notices).count("bus-off") == 1
    assert sum(n["frames"] for n in notices if n["event"] == "errors") == 4


def test_a_controller_that_says_it_is_off_and_silence_are_told_once(listen, monkeypatch):
    monkeypatch.setattr("cangraph.deploy.listener._QUIET", 0.05)
    bus = Bus(message(1.0))
    bus.state = can.BusState.ERROR
    _, notices = heard(listen(bus), 2, seconds=0.5)
    assert names(notices) == ["bus-off", "silent"]


def test_what_comes_too_fast_is_dropped_and_told(listen):
    listener = listen(Bus(*(message(k / 1000) for k in range(100))), limit=30)
    time.sleep(0.2)
    times, notices = heard(listener, 30)
    assert len(times) == 30
    assert notices == [{"event": "dropped", "frames": 70, "by": "queue"}]
    assert listener.counters()["dropped"] == 70 and not listener.counters()["dropped_kernel"]


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


class OneByOne(Clock):
    """What `Clock.read` means, frame by frame."""

    def read(self, raw, now):
        times, notices = [], []
        elapsed = np.inf if self.now is None else now - self.now
        for came in raw.tolist():
            self.now = now
            step = came + self.offset - self.last if np.isfinite(self.last) else 0.0
            if self.paused or step < -_SLACK or step > elapsed + _LEAP:
                self.offset -= step
                what = "paused" if self.paused else "clock"
                notices.append({"event": what, "seconds": round(step, 6)})
                self.paused = False
            elif step < 0:
                self.reordered += 1
            self.last = max(came + self.offset, self.last)
            times.append(self.last)
        return np.array(times), notices


@given(st.lists(st.sampled_from([-5.0, -1e-2, -5e-4, 0.0, 1e-4, 1e-2, 0.5, 40.0]), max_size=60),
       st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))  # fmt: skip
def test_a_batch_is_read_as_its_frames_are_one_by_one(steps, cuts, pauses):
    raw = np.cumsum([1e3, *steps])
    clock, slow = Clock(), OneByOne()
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(raw)], strict=True):
        if begin in pauses:
            clock.pause()
            slow.pause()
        times, notices = clock.read(raw[begin:end], now=begin / 10)
        expected, told = slow.read(raw[begin:end], now=begin / 10)
        assert times.tolist() == expected.tolist() and notices == told
        assert (clock.offset, clock.reordered) == (slow.offset, slow.reordered)


def test_a_pause_is_left_out():
    clock = Clock()
    clock.pause(100.0)
    times, notices = clock.read(np.array([500.0, 500.1]), now=7.0)
    assert times.round(6).tolist() == [100.0, 100.1]
    assert notices == [{"event": "paused", "seconds": 400.0}]


def test_an_interface_of_several_channels_names_the_bus_of_each_frame(listen):
    sent = [message(k / 10, channel=k % 2) for k in range(6)]
    for name, buses in (("0,1", ("0", "1")), ("", ("0", "1")), ("can0", ("can0",))):
        listener = listen(Bus(*sent), name=name)
        time.sleep(0.1)
        frames, _ = listener.take()
        assert frames.bus_names == buses
        assert frames.bus.tolist() == [k % len(buses) for k in range(6)]


def test_a_bus_that_is_away_at_first_is_tried_again():
    late = iter([OSError("No such device"), Bus(message(1.0))])

    def opened():
        bus = next(late)
        if isinstance(bus, OSError):
            raise bus
        return bus

    listener = Listener(opened, retry=0.01, name="can1")
    assert listener.lost == "No such device"
    times, notices = heard(listener, 1)
    listener.stop()
    assert times == [1.0] and names(notices) == ["lost", "back"] and not listener.lost
    assert {notice["bus"] for notice in notices} == {"can1"}
