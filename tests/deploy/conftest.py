"""The detector file, loaded; and the command `cangraph monitor`, called."""

import json
import os
import signal
import time
from threading import Thread

import can
import numpy as np
import pytest

from cangraph.__main__ import main
from cangraph.deploy import listener
from cangraph.deploy.detector import Exported


@pytest.fixture(scope="session")
def detector(detector_file):
    return Exported(detector_file)


@pytest.fixture
def said(detector_file, capsys):
    """The events of the command with a detector and these arguments."""

    def run(*arguments, detector=detector_file):
        assert main(["monitor", str(detector), *map(str, arguments)]) in (0, 1, 3)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def refused(detector_file, capsys):
    """The one line of the command that fails with these arguments."""

    def run(*arguments, detector=detector_file):
        assert main(["monitor", str(detector), *map(str, arguments)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("cangraph monitor: ") and message.count("\n") == 1
        return message

    return run


@pytest.fixture
def cars(monkeypatch):
    """Sends frames on virtual buses by name, once all are listened to; then come the signals that
    end the monitor."""
    monkeypatch.setattr(listener, "_LEAP", np.inf)  # faster than they came
    threads, opened = [], []

    def drive(end=(signal.SIGTERM,), **frames):
        for thread in threads:  # those that drove a monitor before
            thread.join()
        senders = {
            name: can.Bus(name, interface="virtual", preserve_timestamps=True) for name in frames
        }
        known = {id(queue) for bus in senders.values() for queue in bus.channel}

        def heard():
            """What listens to each."""
            return [[q for q in bus.channel if id(q) not in known] for bus in senders.values()]

        def send():
            until = time.monotonic() + 20
            while not all(heard()) and time.monotonic() < until:
                time.sleep(0.01)
            sent = [(m, senders[name]) for name, part in frames.items() for m in messages(part)]
            for message, bus in sorted(sent, key=lambda pair: pair[0].timestamp):
                bus.send(message)
                if not any(heard()):
                    return
            while any(not q.empty() for qs in heard() for q in qs) and time.monotonic() < until:
                time.sleep(0.01)
            for number in end:
                time.sleep(0.3)
                if signal.getsignal(number) is not signal.SIG_DFL and any(heard()):
                    os.kill(os.getpid(), number)

        opened.extend(senders.values())
        threads.append(Thread(target=send))
        threads[-1].start()
        return senders

    yield drive
    for thread in threads:
        thread.join()
    for bus in opened:
        bus.shutdown()


def messages(frames):
    columns = (frames.timestamp, frames.arbitration_id, frames.data, frames.dlc)
    return [
        can.Message(timestamp=t, arbitration_id=i, data=d[:n], is_extended_id=False)
        for t, i, d, n in zip(*(column.tolist() for column in columns), strict=True)
    ]
