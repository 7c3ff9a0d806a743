"""The panel says what happened, and stays calm."""

from io import StringIO

import pytest
from rich.console import Console

from cangraph.deploy.screen import Screen, words


def drawn(screen):
    console = Console(width=100, file=StringIO())
    console.print(screen)
    return console.file.getvalue()


ALARM = {"since": 3.0, "peak": 0.97, "delay": 0.13, "id": "1A0", "blame": 0.9, "attack": "replay"}
FACTS = {"frames": 1234, "windows": 12, "ids": 7, "alarms": 1, "p50_ms": 0.4, "p99_ms": 0.9}


def test_it_waits_then_is_quiet_then_alarms_then_tells_of_it():
    screen = Screen("gat.onnx (GAT)", "can0")
    assert "waiting for frames" in drawn(screen)
    screen.tell({"event": "window", "time": 1.0, "value": 0.1, "start": 0.9, "id": "7"})
    screen.tell({"event": "statistics", "time": 2.0, "at": 0.5, "calibrating": False} | FACTS)
    text = drawn(screen)
    assert "gat.onnx (GAT) on can0" in text and "quiet for 0:00:02.0" in text
    assert "1,234 frames" in text and "7 IDs" in text and "0.40 ms a window" in text
    screen.tell({"event": "alarm", "time": 3.0, "again": False} | ALARM)
    text = drawn(screen)
    assert "ALARM replay, ID 1A0" in text and "now" in text
    screen.tell({"event": "over", "time": 5.5} | ALARM)
    text = drawn(screen)
    assert "ALARM" not in text and "quiet for 0:00:00.0" in text
    assert text.count("1A0") == 1 and "2.5 s" in text and "0.13 s" in text


def test_a_vgae_knows_no_attack_and_calibration_is_said():
    screen = Screen("vgae.onnx (VGAE)", "can0")
    facts = FACTS | {"at": 0.5, "calibrating": True, "p50_ms": None, "dropped": 5}
    screen.tell({"event": "statistics", "time": 2.0} | facts)
    assert "learning what is normal here" in drawn(screen)
    assert "5 dropped" in drawn(screen)
    screen.tell({"event": "alarm", "time": 3.0, "again": False} | ALARM | {"attack": ""})
    assert "ALARM, ID 1A0" in drawn(screen) and "not known" in drawn(screen)


@pytest.mark.parametrize(
    "event, says",
    [
        ({"event": "lost", "why": "Network is down"}, "the interface is gone (Network is down)"),
        ({"event": "bus-off"}, "bus-off; look at the wiring"),
        ({"event": "clock", "seconds": -3.5}, "the clock jumped by -3.500 s"),
        ({"event": "errors", "frames": 3}, "3 error frames"),
        ({"event": "window", "value": 1.0}, ""),
    ],
)
def test_events_in_words(event, says):
    assert says in words(event)
    screen = Screen("a", "b")
    screen.tell({"start": 0.0, "id": "1", "time": 1.0} | event)
    assert (says in drawn(screen)) or len(says) > 80
