"""`cangraph monitor` from the outside: logs, kills, half lines, messages."""

import json
import os
import signal
import subprocess
import sys
import time

import can
import pytest

from cangraph.__main__ import main
from cangraph.deploy import console
from cangraph.io.writers import write_frames

RUN = [sys.executable, "-m", "cangraph", "monitor"]


@pytest.fixture(scope="module")
def log(drive, tmp_path_factory):
    path = tmp_path_factory.mktemp("logs") / "bus.log"
    write_frames(drive, path)
    return path


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def of(events, *kinds):
    return [event for event in events if event["event"] in kinds]


def test_a_log_is_replayed_as_json_lines(detector_file, log, drive, capsys):
    assert main(["monitor", str(detector_file), "--log", str(log), "--windows", "--at", "0.5"]) == 0
    events = lines(capsys)
    assert len(of(events, "window")) == len(drive) // 100
    assert of(events, "alarm")
    *_, told, stopped = events
    assert (told["event"], stopped["event"]) == ("statistics", "stopped")
    assert (told["frames"], told["windows"]) == (len(drive), len(drive) // 100)


@pytest.mark.parametrize("ending", [".asc", ".blf", ".csv.gz"])
def test_any_log_is_replayed(ending, detector_file, drive, tmp_path, capsys):
    path = tmp_path / f"bus{ending}"
    write_frames(drive[:1000], path)
    assert main(["monitor", str(detector_file), "--log", str(path)]) == 0
    assert of(lines(capsys), "statistics")[-1]["frames"] == 1000


def test_a_log_that_ends_in_half_a_line(detector_file, log, drive, tmp_path, capsys):
    path = tmp_path / "cut.log"
    *rows, last = log.read_text().splitlines(keepends=True)
    path.write_text("".join(rows) + last[: len(last) // 2])
    assert main(["monitor", str(detector_file), "--log", str(path)]) == 0
    events = lines(capsys)
    (refused,) = of(events, "refused")
    assert refused["frames"] == 1
    assert f"cut.log:{len(drive)}: " in refused["why"]
    assert of(events, "statistics")[-1]["frames"] == len(drive) - 1


def test_a_log_whose_clock_jumps_back(detector_file, log, tmp_path, capsys):
    rows = log.read_text().splitlines(keepends=True)
    path = tmp_path / "back.log"
    path.write_text("".join(rows[:50] + rows[60:70] + rows[50:60] + rows[70:]))
    assert main(["monitor", str(detector_file), "--log", str(path)]) == 0
    (repaired,) = of(lines(capsys), "repaired")
    assert repaired["reordered"] == 1
    path.write_text("".join(rows[len(rows) // 4 :] + rows[: len(rows) // 4]))
    assert main(["monitor", str(detector_file), "--log", str(path)]) == 1
    assert "expected steps back in time of at most 10 s" in capsys.readouterr().err


def killed_at(command, events, how):
    """What a monitor says until it has said so many lines, and is killed."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = [json.loads(process.stdout.readline()) for _ in range(events)]
        process.send_signal(how)
        said += [json.loads(line) for line in process.stdout]
    return said, process.returncode


def test_killed_and_started_again_it_goes_on(detector_file, log, tmp_path, capsys):
    assert main(["monitor", str(detector_file), "--log", str(log), "--windows"]) == 0
    whole = of(lines(capsys), "window", "alarm", "over")
    command = [*RUN, str(detector_file), "--log", str(log), "--windows", "--realtime"]
    command += ["--state", str(tmp_path / "state.npz"), "--save-every", "0"]
    said, status = killed_at(command, 12, signal.SIGKILL)
    assert status == -signal.SIGKILL
    before = of(said, "window", "alarm", "over")
    assert before == whole[: len(before)] and len(before) < len(whole) // 2
    said, status = killed_at(command, 6, signal.SIGTERM)
    assert status == 0 and said[-1]["event"] == "stopped", "it ends by itself when asked to"
    assert said[0]["event"] == "resumed"
    again = of(said, "window", "alarm", "over")
    begun = whole.index(again[0])
    # a window may be told twice: what was said after the last save
    assert 0 < begun <= len(before)
    assert again == whole[begun : begun + len(again)]
    command.remove("--realtime")
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    assert main(command[3:]) == 0
    rest = lines(capsys)
    assert rest[0]["event"] == "resumed" and not of(rest, "window"), "all of it was seen"


def test_a_state_of_another_log_is_refused(detector_file, log, drive, tmp_path, capsys):
    state = str(tmp_path / "state.npz")
    assert main(["monitor", str(detector_file), "--log", str(log), "--state", state]) == 0
    other = tmp_path / "other.log"
    write_frames(drive[:300], other)
    assert main(["monitor", str(detector_file), "--log", str(other), "--state", state]) == 1
    assert f"expected {other}; give another --state, or delete it" in capsys.readouterr().err


def test_a_bus_is_heard_and_nothing_is_sent(detector_file, drive, capsys, monkeypatch):
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
        arguments = ["-i", "virtual", "-c", "monitored", "--windows"]
        assert main(["monitor", str(detector_file), *arguments]) == 0
        assert car.recv(0.05) is None
    events = lines(capsys)
    assert len(of(events, "window")) == 4
    told = of(events, "statistics")[-1]
    assert (told["frames"], told["dropped"], told["error_frames"]) == (400, 0, 0)


def test_the_source_sends_nothing():
    from pathlib import Path

    for path in Path(console.__file__).parent.glob("*.py"):
        source = path.read_text()
        assert ".send" not in source and "send_periodic" not in source


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["no.onnx"], "no.onnx: there is no such file; expected an exported detector"),
        (["DETECTOR", "--log", "no.log"], "no.log: there is no such file; expected a CAN log"),
        (["DETECTOR", "-i", "slcan", "-c", "/dev/no"], "/dev/no: cannot be opened ("),
        (["DETECTOR", "--log", "no.log", "-k", "5"], "expected k of the last n windows"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, says, detector_file, capsys):
    arguments = [str(detector_file) if a == "DETECTOR" else a for a in arguments]
    assert main(["monitor", *arguments]) == 1
    said = capsys.readouterr().err
    assert says in said and said.startswith("cangraph monitor: ") and said.count("\n") == 1


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


def test_on_a_terminal_a_panel_is_drawn(detector_file, log, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    began = time.monotonic()
    assert main(["monitor", str(detector_file), "--log", str(log)]) == 0
    said = capsys.readouterr().out
    assert "gat.onnx (GAT) on" in said and "frames" in said
    assert time.monotonic() - began < 60
