"""The frames around an alarm are kept in a file of our own name, within limits, and nothing is lost
without a word; alarms go to syslog, and a server that is away ends nothing."""

import errno
import json
import re
import socket

import numpy as np
import pytest

from cangraph.bus.attacks import inject
from cangraph.deploy.box import boxed
from cangraph.deploy.excerpts import Excerpts
from cangraph.deploy.recent import ODD, Recent
from cangraph.deploy.syslog import Syslog
from cangraph.frames import Frames
from cangraph.io.readers import read_frames
from cangraph.io.writers import write_frames


def bus(n=20_000):
    data = np.arange(n)[:, None] + np.arange(8)
    return Frames(1e9 + np.arange(n) / 1000, 0x100 + np.arange(n) % 5, data=data & 255)


def heard(frames):
    recent = Recent(30_000)
    recent.add(frames, np.zeros((len(frames), len(ODD)), bool))
    return recent


@pytest.fixture
def attacked(clean, tmp_path):
    write_frames(inject(clean, "flooding", spans=[(7.0, 9.0)]), tmp_path / "bus.log")
    return tmp_path / "bus.log"


def test_an_alarm_names_its_excerpt_which_holds_the_frames_around_it(said, attacked, tmp_path):
    events = said("--log", attacked, "--excerpts", tmp_path / "kept", detector=boxed())
    told = [event for event in events if event["event"] in ("alarm", "over")]
    (name,) = {event["excerpt"] for event in told}
    kept, log = read_frames(tmp_path / "kept" / name), read_frames(attacked)
    since = log.timestamp[0]
    begins, ends = kept.timestamp[[0, -1]] - since
    first = told[0]["since"] - told[0]["delay"]
    assert begins == pytest.approx(first - 5.0, abs=0.1)
    assert ends == pytest.approx(told[-1]["until"], abs=0.01)
    inside = (log.timestamp >= kept.timestamp[0]) & (log.timestamp <= kept.timestamp[-1])
    assert kept.sha256() == log[inside].label(name=kept.name).sha256()


def test_names_are_ours_and_nothing_is_overwritten(tmp_path):
    excerpts, recent = Excerpts(tmp_path / "kept"), heard(bus())
    names = [excerpts.begin("../../etc/x y", recent, 1e9 + 15, "2026-../../a\0b/c") for _ in "ab"]
    assert len({*names}) == 2 and all(re.fullmatch(r"[\w.-]+\.log", name) for name in names)
    excerpts.step(0.0, at_last=True)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(names)
    assert [*tmp_path.iterdir()] == [tmp_path / "kept"]


def test_a_file_and_a_day_have_their_limits(tmp_path):
    excerpts = Excerpts(tmp_path, size=100_000, daily=250_000)
    recent, told = heard(bus()), []
    for number in range(4):
        name = excerpts.begin("can0", recent, 1e9 + 15, f"{number}")
        told += excerpts.step(1.0, at_last=True)
        assert bool(name) == (number < 2)
    assert [event["event"] for event in told] == ["unkept"] and "a day" in told[0]["why"]
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2 and max(sizes) <= 100_000
    kept = read_frames(tmp_path / "0.log")  # whole lines
    assert kept.timestamp[0] == pytest.approx(1e9 + 10, abs=0.002)


def test_a_full_disk_is_told_once_and_when_it_is_over(tmp_path):
    excerpts, recent = Excerpts(tmp_path), heard(bus())
    excerpts.begin("can0", recent, 1e9 + 15, "a")
    excerpts.step(0.0)

    class Full:
        def __getattr__(self, name):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    for name in "bc":
        excerpts.begin("can0", recent, 1e9 + 15, name)
        excerpts._open["can0"].file.close()
        excerpts._open["can0"].file = Full()
        told = excerpts.step(1.0)
        why = {"event": "unkept", "time": 1.0, "why": "No space left on device"}
        assert told == ([why] if name == "b" else [])
    excerpts.begin("can0", recent, 1e9 + 15, "d")
    assert excerpts.step(2.0, at_last=True) == [{"event": "kept", "time": 2.0}]
    assert len(read_frames(tmp_path / "a.log")) == 9_999, "what was there is whole"


def test_an_alarm_reaches_syslog_as_rfc_5424(said, attacked, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(5)
        events = said("--log", attacked, "--syslog", tmp_path / "log", detector=boxed())
        first = server.recv(1 << 16).decode()
    head, told = first.split(" - ", 1)
    assert re.fullmatch(r"<33>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ cangraph \d+ alarm", head)
    assert json.loads(told) in events


def test_a_syslog_that_is_away_is_told_and_ends_nothing(said, refused, attacked, tmp_path):
    events = said("--log", attacked, "--syslog", tmp_path / "nobody", detector=boxed())
    unsent = [event for event in events if event["event"] == "unsent"]
    assert len(unsent) == 1 and unsent[0]["events"] == 1
    assert "expected the path of a socket, or HOST:PORT" in refused("--log", "x", "--syslog", "x")
    syslog, alarm = Syslog(str(tmp_path / "late")), {"event": "alarm", "time": 1.0}
    assert [event["event"] for event in syslog.say(alarm)] == ["unsent"]
    assert syslog.say(alarm) == [] == syslog.say({"event": "window", "time": 1.0})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "late"))
        assert syslog.say(alarm) == [{"event": "sent", "time": 1.0, "events": 2}]
        while not syslog.say(alarm):  # it is full, and nobody waits
            pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        syslog.close()
        syslog = Syslog(f"127.0.0.1:{server.getsockname()[1]}")
        assert syslog.say(alarm) == [] and b"alarm" in server.recv(1 << 16)
        syslog.close()
