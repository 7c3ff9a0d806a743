"""Metrics of a watch, as Prometheus reads them."""

import errno
import os
import signal
import socket
import sys
import time
from threading import Thread
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cangraph.__main__ import main
from cangraph.deploy.health import Health
from cangraph.deploy.monitor import Monitor
from cangraph.evaluation.alarms import Seen, Turn


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def scraped():
    """The samples of a port: name, labels → value."""

    def scrape(port):
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        return {
            (sample.name.removeprefix("cangraph_"), *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    return scrape


def test_the_command_serves_what_its_statistics_say(said, drive, cars, port, scraped, monkeypatch):
    monkeypatch.setattr("cangraph.deploy.console._SHOWN", 0.0)
    seen = {}

    def look():
        until = time.monotonic() + 20
        while seen.get(("windows_total", "one")) != 4 and time.monotonic() < until:
            time.sleep(0.05)
            try:
                seen.update(scraped(port))
            except OSError:  # it does not serve yet
                continue
        with socket.socket() as probe:
            seen["elsewhere"] = probe.connect_ex(("127.0.0.2", port))
        os.kill(os.getpid(), signal.SIGTERM)

    cars(one=drive[:400], end=())
    thread = Thread(target=look)
    thread.start()
    events = said("-i", "virtual", "-c", "one", "-b", "250000", "--prometheus", f":{port}")
    thread.join()
    told = [event for event in events if event["event"] == "statistics"][-1]
    for name, field in (("frames", "frames"), ("windows", "windows"), ("alarms", "alarms")):
        assert seen[f"{name}_total", "one"] == told[field]
    assert seen["dropped_frames_total", "kernel", "one"] == told["dropped_kernel"] == 0
    assert seen["window_seconds", "0.5", "one"] == pytest.approx(told["p50_ms"] / 1000)
    assert (seen["detector_fits", "one"], seen["interface_lost", "one"]) == (1, 0)
    # 8 bytes take 122 bits at most, the fewest 47
    assert 400 * 47 / 250_000 < seen["bus_busy_seconds_total", "one"] <= 400 * 122 / 250_000
    assert seen["elsewhere"] == errno.ECONNREFUSED, "without a host, this machine alone"


def test_a_taken_port_a_wrong_one_and_a_missing_package_are_said(refused, port, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        words = ("-i", "virtual", "-c", "one", "--prometheus", f":{port}")
        assert f"--prometheus 127.0.0.1:{port}: Address already in use" in refused(*words)
    for wrong in ("9100x", ":70000", "host"):
        with pytest.raises(SystemExit):
            main(["monitor", "--prometheus", wrong])
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ModuleNotFoundError, match=r'".\[prometheus\]"'):
        Health("127.0.0.1", port)


def test_a_detector_does_not_fit_once_an_alarm_held_for_a_minute_or_windows_got_no_number(detector):
    monitor = Monitor(detector)
    assert monitor.statistics()["fits"]
    seen = Seen(0.9, 0.0, 0.1)
    monitor.watch.on, monitor.watch.alarm = True, Turn("raised", 5.0, 5.0, 0.9, seen, 0.1, False)
    for now, fits in ((64.0, True), (66.0, False)):
        monitor.watch.time = now
        assert monitor.statistics()["fits"] is fits
    monitor.watch.on = False
    monitor.count |= {"windows": 99, "unjudged": 1}
    assert not monitor.statistics()["fits"]
