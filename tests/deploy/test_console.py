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
from cangraph.bus.attacks import inject
from cangraph.deploy import console
from cangraph.deploy.box import boxed
from cangraph.deploy.console import Screen
from cangraph.io.writers import write_frames

RUN = [sys.executable, "-m", "cangraph", "monitor"]


@pytest.fixture(scope="module")
def log(drive, tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "bus.log"
    write_frames(drive, path)
    return path


def of(events, *kinds):
    return [event for event in events if event["event"] in kinds]


@pytest.mark.parametrize("ending", [".asc", ".blf", ".csv"])
def test_any_log_is_replayed_as_json_lines(ending, said, drive, tmp_path):
    path = tmp_path / f"bus{ending}"
    write_frames(drive[:1000], path)
    events = said("--log", path, "--windows", "--at", "0.5")
    assert len(of(events, "window")) == 10
    assert [event["event"] for event in events[-2:]] == ["statistics", "stopped"]
    assert (events[-2]["frames"], events[-2]["windows"]) == (1000, 10)


def test_what_is_repaired_in_a_log_is_told(said, refused, log, drive, tmp_path):
    rows, path = log.read_text().splitlines(keepends=True), tmp_path / "odd.log"
    half = rows[-1][: len(rows[-1]) // 2]
    path.write_text("".join([*rows[:50], *rows[60:70], *rows[50:60], *rows[70:-1], half]))
    events = said("--log", path)
    lost, sorted_, statistics = of(events, "refused", "repaired", "statistics")
    assert lost["frames"] == 1 and f"odd.log:{len(drive)}: " in lost["why"]
    assert sorted_["reordered"] == 1 and statistics["frames"] == len(drive) - 1
    path.write_text("".join(rows[len(rows) // 4 :] + rows[: len(rows) // 4]))
    assert "expected steps back in time of at most 10 s" in refused("--log", path)


def killed_at(command, events, how):
    """The events of a monitor that is killed when it has printed so many, and its status."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(events)]
        process.send_signal(how)
        lines += [json.loads(line) for line in process.stdout]
    return lines, process.returncode


def test_killed_and_started_again_it_goes_on(detector_file, said, log, tmp_path):
    whole = of(said("--log", log, "--windows"), "window", "alarm", "over")
    arguments = ["--log", str(log), "--windows", "--save-every", "0"]
    arguments += ["--state", str(tmp_path / "state.npz")]
    command = [*RUN, str(detector_file), *arguments, "--realtime"]
    first, status = killed_at(command, 12, signal.SIGKILL)
    assert status == -signal.SIGKILL
    before = of(first, "window", "alarm", "over")
    assert before == whole[: len(before)] and len(before) < len(whole) // 2
    second, status = killed_at(command, 6, signal.SIGTERM)
    assert (second[0]["event"], second[-1]["event"], status) == ("resumed", "stopped", 3)
    again = of(second, "window", "alarm", "over")
    begun = whole.index(again[0])
    assert 0 < begun <= len(before), "what was said after the last save may be told twice"
    assert again == whole[begun : begun + len(again)]
    assert of(said(*arguments), "window") == of(whole[begun + len(again) :], "window")
    rest = said(*arguments)
    assert rest[0]["event"] == "resumed" and not of(rest, "window"), "all of it was seen"


def test_a_bus_is_heard_and_nothing_is_sent(said, drive, cars):
    (car,) = cars(monitored=drive[:400]).values()
    events = said("-i", "virtual", "-c", "monitored", "--windows")
    assert car.recv(0.05) is None
    assert len(of(events, "window")) == 4 and {e["bus"] for e in events[:-1]} == {"monitored"}
    told = of(events, "statistics")[-1]
    assert (told["frames"], told["dropped"], told["error_frames"]) == (400, 0, 0)


def test_an_attack_on_one_of_two_buses_names_that_bus(said, clean, cars, tmp_path):
    attacked = inject(clean, "flooding", spans=[(7.0, 9.0)])
    cars(one=clean, two=attacked)
    buses = ["-i", "virtual", "-c", "one", "-c", "two", "--queue", 99_999]
    events = said(*buses, "--state", tmp_path / "state", detector=boxed())
    alarms = of(events, "alarm")
    assert alarms and {alarm["bus"] for alarm in alarms} == {"two"}
    assert 7.0 < alarms[0]["time"] < 10.0 and alarms[0]["attack"] == "flooding"
    counted = {e["bus"]: e["frames"] for e in of(events, "statistics")}
    assert counted == {"one": len(clean), "two": len(attacked)}, "one state, and one process"
    cars(one=clean[:99], two=attacked[:99])
    again = said(*buses, "--state", tmp_path / "state", detector=boxed())
    assert [e["frames"] for e in of(again, "resumed")] == [len(clean), len(attacked)]


def test_a_bus_that_goes_away_does_not_end_the_watch_of_the_other(said, clean, cars, monkeypatch):
    class Unplugged:
        state, left = can.BusState.ACTIVE, 3

        def recv(self, timeout):
            self.left -= 1
            if not self.left:
                raise can.CanOperationError("Network is down")

        def shutdown(self):
            pass

    opened = console._bus

    def plugged(given, channel):
        return Unplugged() if channel == "two" else opened(given, channel)

    monkeypatch.setattr(console, "_bus", plugged)
    cars(one=clean[:3000])
    events = said("-i", "virtual", "-c", "one", "-c", "two")
    lost = of(events, "lost")
    assert lost and {(e["bus"], e["why"]) for e in lost} == {("two", "Network is down")}
    counted = {e["bus"]: e for e in of(events, "statistics")}
    assert counted["one"]["windows"] == 30 and not counted["one"]["lost"]
    assert counted["two"]["frames"] == 0 and counted["two"]["lost"]


@pytest.mark.parametrize(
    "words", [("--save-every", "nan"), ("--calibrate", "-1"), ("--queue", "0")]
)
def test_numbers_that_would_blind_it_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        main(["monitor", "--log", "bus.log", *words])
    assert repr(words[1]) in capsys.readouterr().err


def test_what_is_wrong_is_said_in_one_line(refused):
    assert "no.log: " in refused("--log", "no.log")
    assert "/dev/no: cannot be opened (" in refused("-i", "slcan", "-c", "/dev/no")
    assert "no.onnx: " in refused(detector="no.onnx")
    assert "expected one of them" in refused("--log", "no.log", "-c", "can0")
    assert "the channel a is given twice" in refused("-i", "virtual", "-c", "a", "-c", "a")


def test_a_log_of_two_buses_is_judged_bus_by_bus(said, drive, tmp_path):
    log, alone = tmp_path / "two.log", tmp_path / "one.log"
    write_frames(drive, alone)
    rows = alone.read_text().splitlines(keepends=True)
    names = [row.split()[1] for row in rows[:1]]
    log.write_text("".join(row.replace(names[0], bus) for row in rows for bus in ("can7", "can8")))
    told = of(said("--log", log, "--windows"), "window", "alarm", "over")
    expected = of(said("--log", alone, "--windows"), "window", "alarm", "over")
    for bus in ("can7", "can8"):
        assert [e for e in told if e["bus"] == bus] == [e | {"bus": bus} for e in expected]


def test_the_settings_of_python_can_are_read(detector_file, tmp_path):
    (tmp_path / ".can").write_text("[default]\ninterface = virtual\nchannel = from a file\n")
    environment = os.environ | {"HOME": str(tmp_path)}
    command = [*RUN, str(detector_file), "--statistics", "0.1"]
    pipe = {"stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipe) as process:
        assert json.loads(process.stdout.readline())["event"] == "statistics"
        process.send_signal(signal.SIGINT)
        process.communicate()  # to the end: a pipe that is closed before is an error
    assert process.returncode == 0


def test_on_a_terminal_a_panel_is_drawn(detector_file, log, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(["monitor", str(detector_file), "--log", str(log)]) == 0
    panel = capsys.readouterr().out
    assert "gat.onnx (GAT) on" in panel and "frames" in panel


def drawn(screen):
    paper = Console(width=150, file=StringIO())
    paper.print(screen)
    return paper.file.getvalue()


WINDOW = {"event": "window", "time": 1.0, "value": 0.1, "start": 0.9, "id": "7"}
ALARM = {"alarm": 1, "since": 3.0, "until": None, "id": "1A0", "name": "", "many": 1}
ALARM |= {"cause": "timing", "sure": "high", "why": "0x1A0: too early: 2 ms, where 10 ms are usual"}
ALARM |= {"frame": {"before": "01 02", "after": "01 FF", "changed": [1]}}
OVER = ALARM | {"event": "over", "time": 5.5, "until": 5.5}
FACTS = {"frames": 1234, "windows": 12, "ids": 7, "alarms": 1, "p50_ms": 0.4, "p99_ms": 0.9}


def test_it_waits_then_is_quiet_then_alarms_then_tells_of_it():
    screen = Screen("gat.onnx (GAT) on can0")

    def shows(event, *words):
        screen.say(event)
        text = drawn(screen)
        assert all(word in text for word in words)
        return text

    assert "waiting for frames" in drawn(screen)
    screen.say(WINDOW)
    assert not screen.notes and "gat.onnx (GAT) on can0" in drawn(screen)
    told = {"event": "statistics", "time": 2.0, "at": 0.5, "calibrating": False} | FACTS
    shows(told | {"calibrating": True, "p50_ms": None, "dropped": 5}, "learning", "5 dropped")
    shows(told, "quiet for 0:00:02", "1,234 frames", "7 IDs", "0.40 ms a window")
    alarm = {"event": "alarm", "time": 3.0} | ALARM
    shows(alarm, "ALARM", "timing", "0x1A0", "high", "2 ms", "01 02 → 01 [FF]")
    shows(alarm | {"event": "update", "name": "Speed", "sure": "low"}, "0x1A0 Speed", "low")
    shows(alarm | {"many": 5, "frame": None}, "0x1A0 and 4 more IDs")
    text = shows(OVER, "quiet for 0:00:00", "alarm of 2.5 s", "too early: 2 ms")
    assert "ALARM" not in text and text.count("1A0") == 1


def test_an_event_becomes_a_note_with_its_facts():
    screen = Screen("a on b")
    screen.say({"event": "clock", "time": 61.0, "seconds": -3.5})
    screen.say({"event": "errors", "time": 3725.04, "frames": 3000})
    jumped, errors = screen.notes
    assert jumped.startswith("0:01:01  ") and "-3.500 s" in jumped and jumped in drawn(screen)
    assert errors.startswith("1:02:05  ") and "3,000 error frames" in errors


def test_two_buses_stand_on_one_screen():
    screen = Screen("gat.onnx (GAT) on socketcan can0, can1", ["can0", "can1"])
    for bus in ("can0", "can1"):
        screen.say({"event": "statistics", "time": 2.0, "at": 0.5, "bus": bus, **FACTS})
    screen.say({"event": "alarm", "time": 3.0, "bus": "can1"} | ALARM)
    screen.say({"event": "lost", "time": 3.0, "bus": "can0", "why": "gone"})
    text = drawn(screen)
    assert "can0: quiet" in text and "can1: ALARM  timing, 0x1A0" in text
    assert "can0: the interface is gone" in text
    screen.say(OVER | {"bus": "can1"})
    assert "can1: quiet" in drawn(screen) and "can1: alarm of 2.5 s" in screen.notes[-1]


HOSTILE = "a[/]b[red]\x1b[2J\x07\x9b\u202e\x7f\udcff"


@pytest.mark.acceptance
def test_nothing_that_data_says_is_obeyed_by_a_terminal(drive, tmp_path, capsys, monkeypatch):
    """Names of files and of buses, on the panel, in JSON lines and in errors."""
    monkeypatch.chdir(tmp_path)  # a long path would not fit the panel
    log, state = Path(f"{HOSTILE}.log"), Path(f"{HOSTILE}.npz")
    log.parent.mkdir()  # the name has a slash
    write_frames(drive[:2000], tmp_path / "plain.log")
    rows = (tmp_path / "plain.log").read_text().splitlines(keepends=True)
    bus = rows[0].split()[1]
    log.write_text("".join(row.replace(bus, "c[/]") for row in rows))
    state.touch()
    command = ["monitor", "--log", str(log), "--state", str(state)]
    lines = []
    for words in (command, [*command, "--json"]):
        state.write_bytes(b"")
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        assert main(words) in (0, 1)
        lines.append(capsys.readouterr().out)
    panel, said = lines
    for odd in ("\x1b[2J", "\x07", "\x9b", "\u202e", "\x7f", "\udcff"):
        assert odd not in panel and odd not in said
    assert "a[/]b[red]" in panel.replace("\n", "") and "c[/]" in said
    events = [json.loads(line) for line in said.splitlines()]
    assert HOSTILE in of(events, "anew")[0]["why"] and "\x1b" not in said
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)  # rich obeys itself
    for words in (["monitor", "--log", HOSTILE], ["monitor", HOSTILE], ["scan", HOSTILE]):
        assert main(words) == 2
        out, error = capsys.readouterr()
        assert all(line.isprintable() for line in (out + error).splitlines())
    with pytest.raises(SystemExit):
        main(["scan", f"--{HOSTILE}"])
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


@pytest.mark.acceptance
@pytest.mark.parametrize("field", ["id", "name", "bus"])
def test_a_panel_shows_text_as_it_is(field):
    screen = Screen(f"gat {HOSTILE}", [HOSTILE, "can1"])
    for event in ({"event": "lost", "why": HOSTILE}, {"event": "alarm", **ALARM, field: HOSTILE}):
        screen.say({"time": 1.0, "bus": "can1"} | event)
    text = drawn(screen)
    assert text.count("a[/]b[red]") >= 3 and all(line.isprintable() for line in text.splitlines())
