"""Batches off a socket: what comes is what was sent, or counted; the bits are the notebooks'."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from threading import Thread

import can.interfaces
import numpy as np
import pytest

from cangraph.__main__ import main
from cangraph.bus.attacks import inject
from cangraph.data.graphs import to_graphs
from cangraph.deploy import wire
from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported
from cangraph.deploy.listener import Listener
from cangraph.deploy.monitor import Monitor
from cangraph.deploy.wire import Messages, Wire, reader_of
from cangraph.evaluation.alarms import raise_alarms
from cangraph.frames import COLUMNS, Frames

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ERROR, BUS_OFF = 1 << 29, 0x40


@pytest.fixture
def loopback(monkeypatch, tmp_path):
    """The stand-in for SocketCAN, whose interfaces are down while `tmp_path` holds their name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("CANGRAPH_DOWN", str(tmp_path))
    monkeypatch.setitem(can.interfaces.BACKENDS, "socketcan", ("loopback", "Loopback"))
    import loopback

    yield loopback
    sys.modules.pop("loopback")


@pytest.fixture
def port():
    """A port that nobody listens to."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def listen(loopback, port):
    """Listens to what `before` sends first, and then what is sent to the socket it returns."""
    started = []

    def start(*before, **more):
        bus = [loopback.Loopback(port)]
        sending = loopback.sender(port)
        started.append(sending)
        for each in before:
            sending.send(each)

        def opened():
            return bus.pop() if bus else loopback.Loopback(port)

        started.append(Listener(opened, retry=0.01, **more))
        return started[-1], sending

    yield start
    for one in started:
        one.close() if isinstance(one, socket.socket) else one.stop()


def heard(listener, frames, seconds=5.0):
    """The frames that come until so many did and nothing more is told, and notices."""
    until, parts, notices = time.monotonic() + seconds, [], []
    while time.monotonic() < until:
        part, told = listener.take(patience=0.02)
        parts += [part] if len(part) else []
        notices += told
        if sum(map(len, parts)) >= frames and not told:
            break
    return parts, notices


def frame(ident, data=b"\1\2", size=8):
    return np.uint32(ident).tobytes() + bytes([len(data), 0, 0, 0]) + data.ljust(size, b"\0")


def mixed(n=300, seed=0):
    """Frames of CAN and CAN FD, extended and remote ones."""
    dice = np.random.default_rng(seed)
    dlc = dice.choice([0, 1, 5, 8, 12, 64], n).astype(np.uint8)
    data = dice.integers(0, 256, (n, 64)) * (np.arange(64) < dlc[:, None])
    extended, remote = dice.random((2, n)) < 0.2
    remote &= dlc <= 8
    data[remote] = 0
    ident = np.where(extended, dice.integers(0, 1 << 29, n), dice.integers(0, 1 << 11, n))
    flags = {"is_extended_id": extended, "is_remote_frame": remote}
    return Frames(np.arange(n) / 1000, ident, dlc=dlc, data=data, **flags)


def test_frames_come_as_they_were_sent(listen, loopback):
    sent = mixed()
    listener, sending = listen(name="can0")
    began = time.time()
    for datagram in loopback.datagrams(sent):
        sending.send(datagram)
    parts, notices = heard(listener, len(sent))
    assert not notices and {part.bus_names for part in parts} == {("can0",)}
    data = [np.pad(part.data, ((0, 0), (0, 64 - part.data.shape[1]))) for part in parts]
    assert np.array_equal(np.concatenate(data), sent.data), "nothing is left of longer frames"
    for name in COLUMNS.keys() - {"timestamp", "data"}:
        came = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(came, getattr(sent, name)), name
    times = np.concatenate([part.timestamp for part in parts])
    assert began - 0.1 < times[0] <= times[-1] < time.time() + 0.1, "those of the kernel"


@pytest.mark.parametrize(
    "odd",
    [b"", bytes(15), frame(1)[:-1], frame(1, bytes(9), 8), frame(1, bytes(9), 64), bytes(200),
     frame(1, bytes(70), 64)[:72]],
)  # fmt: skip
def test_a_datagram_that_is_no_frame_is_counted_and_named(odd, listen):
    listener, _ = listen(frame(7), odd, frame(8))
    parts, notices = heard(listener, 2)
    assert np.concatenate([part.arbitration_id for part in parts]).tolist() == [7, 8]
    assert [(n["event"], n["frames"]) for n in notices] == [("refused", 1)]
    assert f"{min(len(odd), 73)} bytes" in notices[0]["why"]
    assert listener.counters()["refused"] == 1


def test_error_frames_and_bus_off_are_told(listen):
    off = frame(ERROR | BUS_OFF, bytes(8))
    listener, _ = listen(frame(7), frame(ERROR | 8, bytes(8)), off, off, frame(8))
    parts, notices = heard(listener, 2)
    assert sum(map(len, parts)) == 2
    assert [n["event"] for n in notices].count("bus-off") == 1
    assert sum(n["frames"] for n in notices if n["event"] == "errors") == 3


def test_what_the_kernel_drops_is_counted_before_another_frame_comes(listen, monkeypatch):
    monkeypatch.setattr(wire, "_BUFFER", 1 << 16)
    monkeypatch.setattr(wire, "_SO_RCVBUFFORCE", socket.SO_RCVBUF)
    listener, sending = listen(frame(7))
    heard(listener, 1)
    for _ in range(20):
        for _ in range(1000):
            sending.send(frame(7))
    parts, notices = heard(listener, 20_000, seconds=0.5)
    dropped = sum(n["frames"] for n in notices if n["event"] == "dropped" and n["by"] == "kernel")
    assert 0 < dropped == listener.counters()["dropped_kernel"]
    assert sum(map(len, parts)) + dropped == 20_000


def test_what_the_queue_cannot_hold_is_dropped_and_counted(listen):
    listener, _ = listen(*[frame(7)] * 200, limit=150)
    time.sleep(0.1)
    parts, notices = heard(listener, 150)
    assert sum(map(len, parts)) == 150
    assert notices == [{"event": "dropped", "frames": 50, "by": "queue"}]


def test_an_interface_that_goes_down_is_waited_for(listen, tmp_path, port):
    listener, sending = listen(frame(7))
    parts, _ = heard(listener, 1)
    (tmp_path / port).touch()
    _, notices = heard(listener, 1, seconds=0.4)
    assert [n["event"] for n in notices] == ["lost"] and "Network is down" in notices[0]["why"]
    (tmp_path / port).unlink()
    time.sleep(0.1)
    sending.send(frame(9))
    more, notices = heard(listener, 1)
    assert [n["event"] for n in notices] == ["back", "paused"]
    assert more[0].arbitration_id == [9] and more[0].timestamp == parts[0].timestamp


def test_only_a_channel_of_socketcan_is_read_in_batches(loopback, port):
    bus = loopback.Loopback(port)
    assert isinstance(reader_of(bus), Wire)
    bus.channel = ""  # frames of all interfaces, which python-can tells apart
    assert isinstance(reader_of(bus), Messages)
    bus.shutdown()


def test_a_log_through_a_socket_has_the_windows_scores_and_alarms_of_the_notebooks(
    clean, listen, loopback, monkeypatch
):
    log, detector = inject(clean, "flooding", spans=[(7.0, 8.0)])[:12_000], Exported(boxed())
    columns, at = Wire.columns, [0]

    def with_the_times_of_the_log(self, blocks):
        found = columns(self, blocks)
        begin = at[0]
        at[0] += len(found[0]["timestamp"])
        found[0]["timestamp"] = log.timestamp[begin : at[0]]
        return found

    monkeypatch.setattr(Wire, "columns", with_the_times_of_the_log)
    monkeypatch.setattr("cangraph.deploy.listener._LEAP", np.inf)  # faster than they came
    listener, sending = listen()
    monitor, made, events = Monitor(detector), [], []
    feed = monitor.sliding.feed

    def kept(frames):
        made.append(feed(frames))
        return made[-1]

    monitor.sliding.feed = kept
    for begin in range(0, len(log), 500):
        for datagram in loopback.datagrams(log[begin : begin + 500]):
            sending.send(datagram)
        while at[0] < begin + 500:
            events += monitor.feed(listener.take(100, 0.02)[0])
    graphs = to_graphs([log], detector.window, detector.stride)
    scores = detector.score(graphs)
    x = np.concatenate([part["x"] for part in made if part])
    assert np.array_equal(x, graphs.x) and not listener.counters()["dropped"]
    values = [event["value"] for event in events if event["event"] == "window"]
    assert values == scores.value.tolist()
    alarms = raise_alarms(scores, *detector.rule)
    raised = [e["time"] for e in events if e["event"] == "alarm" and not e["again"]]
    assert raised == [alarm.start for alarm in alarms] and raised


def test_the_command_watches_two_buses_in_batches(loopback, port, clean, capsys):
    ports = [port, str(int(port) + 1)]

    def drive():
        until = time.monotonic() + 20
        while not all(map(loopback.listening, ports)) and time.monotonic() < until:
            time.sleep(0.01)
        for number, channel in enumerate(ports, 1):
            with loopback.sender(channel) as sending:
                for datagram in loopback.datagrams(clean[: 1000 * number]):
                    sending.send(datagram)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = Thread(target=drive)
    thread.start()
    channels = [word for channel in ports for word in ("-c", channel)]
    assert main(["monitor", "-i", "socketcan", *channels, "--windows"]) == 0
    thread.join()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = {e["bus"]: e for e in events if e["event"] == "statistics"}
    for number, channel in enumerate(ports, 1):
        assert (told[channel]["frames"], told[channel]["windows"]) == (1000 * number, 10 * number)
