"""`cangraph monitor` from the outside: logs, kills, half lines, messages; and its panel."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import can
import pytest
from rich.console import Console

from cangraph.__main__ import main
from cangraph.deploy import console
from cangraph.deploy.console import Screen, event_in_words
from cangraph.io.writers import write_frames

RUN = [sys.executable, "-m", "cangraph", "monitor"]


@pytest.fixture(scope="module")
def log(drive, tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "bus.log"
    write_frames(drive, path)
    return path


@pytest.fixture
def said(detector_file, capsys):
    """What the command says with the detector and these arguments, as events."""

    def run(*arguments):
        assert main(["monitor", str(detector_file), *map(str, arguments)]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def refused(detector_file, capsys):
    """The message of the command that fails with these arguments."""

    def run(*arguments, detector=detector_file):
        assert main(["monitor", str(detector), *map(str, arguments)]) == 1
        message = capsys.readouterr().err
        assert message.startswith("cangraph monitor: ") and message.count("\n") == 1
        return message

    return run


def of(events, *kinds):
    return [event for event in events if event["event"] in kinds]


def test_a_log_is_replayed_as_json_lines(said, log, drive):
    events = said("--log", log, "--windows", "--at", "0.5")
    assert len(of(events, "window")) == len(drive) // 100
    assert of(events, "alarm")
    *_, told, stopped = events
    assert (told["event"], stopped["event"]) == ("statistics", "stopped")
    assert (told["frames"], told["windows"]) == (len(drive), len(drive) // 100)


@pytest.mark.parametrize("ending", [".asc", ".blf", ".csv.gz"])
def test_any_log_is_replayed(ending, said, drive, tmp_path):
    path = tmp_path / f"bus{ending}"
    write_frames(drive[:1000], path)
    assert of(said("--log", path), "statistics")[-1]["frames"] == 1000


def test_a_log_that_ends_in_half_a_line(said, log, drive, tmp_path):
    path = tmp_path / "cut.log"
    *rows, last = log.read_text().splitlines(keepends=True)
    path.write_text("".join(rows) + last[: len(last) // 2])
    events = said("--log", path)
    (told,) = of(events, "refused")
    assert told["frames"] == 1
    assert f"cut.log:{len(drive)}: " in told["why"]
    assert of(events, "statistics")[-1]["frames"] == len(drive) - 1


def test_a_log_whose_clock_jumps_back(said, refused, log, tmp_path):
    rows = log.read_text().splitlines(keepends=True)
    path = tmp_path / "back.log"
    path.write_text("".join(rows[:50] + rows[60:70] + rows[50:60] + rows[70:]))
    (repaired,) = of(said("--log", path), "repaired")
    assert repaired["reordered"] == 1
    path.write_text("".join(rows[len(rows) // 4 :] + rows[: len(rows) // 4]))
    assert "expected steps back in time of at most 10 s" in refused("--log", path)


def killed_at(command, events, how):
    """What a monitor says until it has said so many lines, and is killed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(events)]
        process.send_signal(how)
        lines += [json.loads(line) for line in process.stdout]
    return lines, process.returncode


def test_killed_and_started_again_it_goes_on(detector_file, said, log, tmp_path):
    whole = of(said("--log", log, "--windows"), "window", "alarm", "over")
    arguments = ["--log", str(log), "--windows", "--state", str(tmp_path / "state.npz")]
    arguments += ["--save-every", "0"]
    command = [*RUN, str(detector_file), *arguments, "--realtime"]
    first, status = killed_at(command, 12, signal.SIGKILL)
    assert status == -signal.SIGKILL
    before = of(first, "window", "alarm", "over")
    assert before == whole[: len(before)] and len(before) < len(whole) // 2
    second, status = killed_at(command, 6, signal.SIGTERM)
    assert status == 0 and second[-1]["event"] == "stopped", "it ends by itself when asked to"
    assert second[0]["event"] == "resumed"
    again = of(second, "window", "alarm", "over")
    begun = whole.index(again[0])
    # a window may be told twice: what was said after the last save
    assert 0 < begun <= len(before)
    assert again == whole[begun : begun + len(again)]
    assert of(said(*arguments), "window") == of(whole[begun + len(again) :], "window")
    rest = said(*arguments)
    assert rest[0]["event"] == "resumed" and not of(rest, "window"), "all of it was seen"


def test_a_state_of_another_log_is_refused(said, refused, log, drive, tmp_path):
    state, other = tmp_path / "state.npz", tmp_path / "other.log"
    said("--log", log, "--state", state)
    write_frames(drive[:300], other)
    message = refused("--log", other, "--state", state)
    assert str(log) in message and f"expected {other}; " in message


def test_a_bus_is_heard_and_nothing_is_sent(said, drive, monkeypatch):
    heard = []
    with can.Bus("monitored", interface="virtual") as car:

        def listened(listener, monitor, stop):
            for k in range(400):
                car.send(
                    can.Message(
                        arbitration_id=int(drive.arbitration_id[k]),
                        data=drive.data[k],
                        is_extended_id=False,
                    )
                )
            while sum(heard) < 400:
                piece = listener.take(monitor.wanted)
                heard.append(len(piece[0]))
                yield piece

        monkeypatch.setattr(console, "_listened", listened)
        events = said("-i", "virtual", "-c", "monitored", "--windows")
        assert car.recv(0.05) is None
    assert len(of(events, "window")) == 4
    told = of(events, "statistics")[-1]
    assert (told["frames"], told["dropped"], told["error_frames"]) == (400, 0, 0)


def test_the_source_sends_nothing():
    for path in Path(console.__file__).parent.glob("*.py"):
        source = path.read_text()
        assert ".send" not in source and "send_periodic" not in source


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--log", "no.log"], "no.log: "),
        (["-i", "slcan", "-c", "/dev/no"], "/dev/no: cannot be opened ("),
        (["--log", "no.log", "-k", "5"], "k is 5 and n is 3"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, named, refused):
    assert named in refused(*arguments)
    assert "no.onnx: " in refused(detector="no.onnx")


def test_the_settings_of_python_can_are_read(detector_file, tmp_path):
    (tmp_path / ".can").write_text("[default]\ninterface = virtual\nchannel = from a file\n")
    environment = os.environ | {"HOME": str(tmp_path)}
    command = [*RUN, str(detector_file), "--statistics", "0.1"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert json.loads(process.stdout.readline())["event"] == "statistics"
        process.send_signal(signal.SIGINT)
        process.communicate()  # to the end: a pipe that is closed before is an error
    assert process.returncode == 0


# the panel


def test_on_a_terminal_a_panel_is_drawn(detector_file, log, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["monitor", str(detector_file), "--log", str(log)]) == 0
    panel = capsys.readouterr().out
    assert "gat.onnx (GAT) on" in panel and "frames" in panel


def drawn(screen):
    paper = Console(width=150, file=StringIO())
    paper.print(screen)
    return paper.file.getvalue()


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
        ({"event": "lost", "why": "Network is down"}, "Network is down"),
        ({"event": "bus-off"}, "bus-off"),
        ({"event": "clock", "seconds": -3.5}, "-3.500 s"),
        ({"event": "errors", "frames": 3000}, "3,000 error frames"),
    ],
)
def test_an_event_becomes_a_note_with_its_facts(event, says):
    assert says in event_in_words(event)
    screen = Screen("a", "b")
    screen.tell({"time": 61.0} | event)
    assert f"0:01:01.0  {event_in_words(event)}" in drawn(screen)


def test_a_window_is_worth_no_note():
    window = {"event": "window", "time": 1.0, "value": 0.25, "start": 0.9, "id": "7"}
    screen = Screen("a", "b")
    screen.tell(window)
    assert event_in_words(window) == ""
    assert not screen.notes and list(screen.values) == [0.25]
