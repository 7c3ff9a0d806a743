"""What goes wrong around a watch does not end it, or ends it with its state saved and a status."""

import errno
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from cangraph.__main__ import main
from cangraph.bus.attacks import inject
from cangraph.deploy import lines, state
from cangraph.deploy.box import boxed
from cangraph.io.writers import write_frames

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def attacked(clean):
    return inject(clean, "flooding", spans=[(7.0, 9.0)])


@pytest.fixture
def monitor(tmp_path, monkeypatch):
    """The command with the detector in the box and a state, on a bus or with `--log`, that writes
    to a stream; its status."""

    def run(stream, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            bus = () if "--log" in arguments else ("-i", "virtual", "-c", "one")
            words = [*bus, "--state", tmp_path / "state.npz", "--queue", 99_999, *arguments]
            return main(["monitor", *map(str, words)])

    return run


def parsed(text):
    """Events of whole lines that are strict JSON."""

    def refuse(name):
        raise AssertionError(name)

    assert text.endswith("\n") or not text
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def found(events):
    """What was found, in order: alarms and windows that were judged."""
    return [e for e in events if e["event"] in ("alarm", "over", "ongoing", "window")]


@pytest.fixture
def again(said, attacked, cars, tmp_path):
    """A second run on the same state, of which the first events are those left unsaid."""

    def run():
        cars(one=attacked[:10])
        bus = ["-i", "virtual", "-c", "one", "--state", tmp_path / "state.npz", "--windows"]
        return said(*bus, detector=boxed())

    return run


def test_the_disk_of_the_state_is_full_for_a_while(attacked, cars, monitor, monkeypatch, tmp_path):
    put, left = state.put, [3]

    def full(path, content):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, f"No space left for number {left[0]}")
        put(path, content)

    monkeypatch.setattr(state, "put", full)
    cars(one=attacked)
    with (tmp_path / "out").open("w") as stream:
        assert monitor(stream, "--save-every", 0.1) == 0
    events = parsed((tmp_path / "out").read_text())
    kinds = [e["event"] for e in events]
    assert kinds.count("saved") == 1 and kinds.index("unsaved") < kinds.index("saved")
    assert found(events) and kinds[-1] == "stopped" and (tmp_path / "state.npz").is_file()


def test_nobody_reads_any_more(attacked, cars, monitor, again):
    reader, writer = os.pipe()
    os.close(reader)
    cars(one=attacked)
    with os.fdopen(writer, "w") as stream:
        assert monitor(stream, "--windows") == 141
    events = again()
    (resumed,) = (e for e in events if e["event"] == "resumed")
    windows = [e for e in events[: events.index(resumed)] if e["event"] == "window"]
    assert len(windows) == resumed["frames"] // 100, "all that was judged is said"


def test_the_output_is_full(attacked, cars, monitor, again, tmp_path, capsys):
    cars(one=attacked)
    with open("/dev/full", "w") as stream:
        assert monitor(stream) == 4
    assert capsys.readouterr().err.count("No space left on device") == 1
    events = again()
    kinds = [e["event"] for e in events if e["event"] in ("alarm", "stopped")]
    assert kinds == ["alarm", "stopped", "stopped"]
    log = tmp_path / "bus.log"
    write_frames(attacked, log)
    with open("/dev/full", "w") as stream:
        assert monitor(stream, "--log", log, "--state", tmp_path / "other.npz") == 4


def test_a_reader_that_sleeps_stops_no_watch_of_a_bus(attacked, cars, monitor, again):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    cars(one=attacked)
    with os.fdopen(writer, "w") as stream:
        assert monitor(stream, "--windows", "--statistics", 0.01) == 4
    with os.fdopen(reader) as stream:
        taken = stream.read()
    whole, _, half = taken.rpartition("\n")
    events = again()
    everything = parsed(whole + "\n") + events
    if half:
        assert json.dumps(events[0]).startswith(half), "the line is said whole"
    windows = [e["start"] for e in everything if e["event"] == "window"]
    assert windows == sorted(set(windows)) and len(windows) == len(attacked) // 100
    assert any(e["event"] == "alarm" for e in everything)


def test_a_log_waits_for_who_reads(attacked, monitor, tmp_path):
    log = tmp_path / "bus.log"
    write_frames(attacked, log)
    reader, writer = os.pipe()
    got = []

    def read():
        time.sleep(1)
        with os.fdopen(reader) as stream:
            got.append(stream.read())

    thread = Thread(target=read)
    thread.start()
    with os.fdopen(writer, "w") as stream:
        monitor(stream, "--log", log, "--windows")
    thread.join()
    assert len(found(parsed(got[0]))) >= len(attacked) // 100


def test_too_many_lines_leave_out_the_least(monkeypatch):
    monkeypatch.setattr(lines, "_MOST", 100)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        out = lines.Lines(stream)
        for number in range(3000):
            kind = "window" if number % 10 else "alarm"
            out.say({"event": kind, "time": float(number), "text": "x" * 100})
            out.flush()
        unsaid = [*out.waiting]
        out.waiting.clear()
    with os.fdopen(reader) as stream:
        taken = stream.read()
    events = parsed(taken.rpartition("\n")[0] + "\n") + unsaid
    left = sum(e["events"] for e in events if e["event"] == "unsaid")
    assert left and left + len([e for e in events if e["event"] != "unsaid"]) == 3000
    assert len(unsaid) <= 101
    assert [e["time"] for e in unsaid if e["event"] == "alarm"][-40:] == [*range(2600, 3000, 10)]


@pytest.mark.parametrize("end", [("SIGHUP",), ("SIGTERM",), ("SIGPIPE", "SIGINT")])
def test_a_signal_ends_it_with_the_last_line_and_the_state(end, attacked, cars, monitor, tmp_path):
    cars(one=attacked[:500], end=[getattr(signal, name) for name in end])
    (tmp_path / "state.npz").touch()  # as a power failure may leave it
    with (tmp_path / "out").open("w") as stream:
        assert monitor(stream) == 0
    events = parsed((tmp_path / "out").read_text())
    assert (events[0]["event"], events[-1]["event"]) == ("anew", "stopped")
    with (tmp_path / "more").open("w") as stream:
        cars(one=attacked[500:600])
        monitor(stream)
    first = parsed((tmp_path / "more").read_text())[0]
    assert (first["event"], first["frames"]) == ("resumed", 500)


def test_a_rotated_file_is_left_and_nothing_is_lost(monitor, tmp_path, capsys):
    out, old = tmp_path / "out", tmp_path / "out.1"

    def until(met):
        end = time.monotonic() + 20
        while not met() and time.monotonic() < end:
            time.sleep(0.01)

    def written(path):
        return path.is_file() and path.stat().st_size > 0

    def rotate():
        until(lambda: written(out))
        out.rename(old)
        out.mkdir()  # no file can be opened for a while
        size = old.stat().st_size
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: old.stat().st_size > size + 2000)
        out.rmdir()
        until(lambda: written(out))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = Thread(target=rotate)
    thread.start()
    assert monitor(None, "--output", out, "--statistics", 0.02) == 0
    thread.join()
    first, second = (parsed(path.read_text()) for path in (old, out))
    assert first and {e["event"] for e in first} <= {"statistics", "silent"}
    assert second[-1]["event"] == "stopped"
    assert capsys.readouterr().err.count("Is a directory") == 1


def test_without_an_output_it_does_not_begin(monitor, capsys, tmp_path):
    assert monitor(None) == 2
    assert "standard output is closed" in capsys.readouterr().err


READ_ONLY = """
mount --bind {package} {package} && mount -o remount,ro,bind {package}
mount --bind {home} {home} && mount -o remount,ro,bind {home}
HOME={home} exec {python} -c "
import cangraph.bus, cangraph.features.windows, cangraph.io.rows, onnxruntime, os
print(os.environ['NUMBA_CACHE_DIR'])"
"""


def test_compiled_code_finds_a_place_where_everything_is_read_only(tmp_path):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"]).returncode:
        pytest.skip("needs unshare, as root")
    package, home = tmp_path / "package", tmp_path / "home"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "cangraph", package / "cangraph", ignore=ignored)
    home.mkdir()
    words = {"package": package, "home": home, "python": sys.executable}
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY.format(**words)],
        capture_output=True,
        text=True,
        cwd=package,
        env=environment,
    )
    place = tmp_path / f"cangraph-{os.getuid()}"
    assert done.stdout == f"{place}\n" and stat.S_IMODE(place.lstat().st_mode) == 0o700
    assert done.stderr.count("\n") == 1 and str(place) in done.stderr
