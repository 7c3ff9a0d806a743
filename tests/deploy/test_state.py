"""The state of a monitor: it goes on as if it had not stopped, or begins anew, and says so."""

import json
import os
import socket
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cangraph.bus.attacks import inject
from cangraph.deploy.box import boxed
from cangraph.deploy.monitor import Buses, Monitor
from cangraph.deploy.state import Source, SpoiltStateError, resume_state, save_state
from cangraph.evaluation.alarms import AlarmRule
from cangraph.io.writers import write_frames

BUS = Source("virtual one")


def fed(buses, frames, size=97):
    return [e for piece in frames.chunks(size) for e in buses.feed(piece)]


def on_two(frames, cut):
    """The frames, behind a cut on another bus too."""
    bus = np.arange(len(frames)) % 3 == 0
    return replace(frames, bus=bus & (np.arange(len(frames)) >= cut), bus_names=("a", "b"))


@pytest.mark.parametrize("cut", [0, 50, 4321, 9000])
def test_it_goes_on_from_a_file_as_if_it_had_not_stopped(cut, detector, drive, tmp_path):
    make = partial(Monitor, detector, stride=40, calibrate=3.0, rate=0.05)
    whole, first, second = (Buses(make, ["a"]) for _ in range(3))
    drive = on_two(drive, cut - 40)
    events = fed(whole, drive)
    before = fed(first, drive[:cut])
    save_state(tmp_path / "state.npz", first, BUS, unsaid=[{"event": "here"}])
    assert resume_state(tmp_path / "state.npz", second, BUS) == [{"event": "here"}]
    assert before + fed(second, drive[cut:]) == events
    for bus, monitor in whole.of.items():
        assert (second.of[bus].count, second.of[bus].time) == (monitor.count, monitor.time)


def test_a_state_that_does_not_fit_is_refused(detector, drive, tmp_path):
    path, make = tmp_path / "state.npz", partial(Monitor, detector)
    save_state(path, Buses(make, ["a"]), BUS)
    other = Buses(partial(Monitor, detector, stride=7, rule=AlarmRule(0.5, 1, 2)))
    with pytest.raises(ValueError, match="saved with another stride and at and k and n; expected"):
        resume_state(path, other, BUS)
    with pytest.raises(ValueError, match="saved at virtual one; expected virtual two; "):
        resume_state(path, Buses(make), Source("virtual two"))
    whole = path.read_bytes()
    np.savez(path, state=np.array([object()], dtype=object))
    for content in (b"", bytes(99), path.read_bytes(), *(whole[:k] for k in (3, 34, 999))):
        path.write_bytes(content)
        with pytest.raises(SpoiltStateError, match=r"state.npz: not as a monitor saved it"):
            resume_state(path, Buses(make), BUS)
    path.write_text("(1.0) can0 1A0#00")
    with pytest.raises(ValueError, match="no state of a monitor"):
        resume_state(path, Buses(make), BUS)


@pytest.fixture
def saved(detector, drive, tmp_path, monkeypatch):
    """A function that saves the state of two buses after 4321 frames, with one change."""
    buses = Buses(partial(Monitor, detector, stride=50), ["a"])
    fed(buses, on_two(drive, 0)[:4321])
    states = {monitor: monitor.state() for monitor in buses.of.values()}

    def save(change=lambda facts, arrays: None):
        def changed(monitor):
            facts, arrays = states[monitor]
            facts, arrays = json.loads(json.dumps(facts)), {**arrays}
            change(facts, arrays)
            return facts, arrays

        with monkeypatch.context() as patch:
            patch.setattr(Monitor, "state", changed)
            save_state(tmp_path / "state.npz", buses, BUS)
        return tmp_path / "state.npz"

    return save


def odd_array(array, dice):
    """The array with one fault of shape, type or value."""
    array = array.copy()
    match dice.integers(6):
        case 0:
            return array[:-1] if len(array) else np.zeros(9, array.dtype)
        case 1:
            return np.concatenate([array, array]) if len(array) else array[None]
        case 2 if array.dtype.names is None:
            return array.astype(dice.choice(["f4", "i2", "u8", "c16"]))
        case 3:
            return array[:, None]
    place = array
    while place.dtype.names:
        place = place[dice.choice(place.dtype.names)]
    if place.size and place.dtype.kind in "fiu":
        odd = {"f": (np.nan, np.inf, -1e300, 1e308), "i": (-1, -(1 << 62), 1 << 40, 1 << 62)}
        odd["u"] = (0, np.iinfo(place.dtype).max if place.dtype.kind == "u" else 0)
        with np.errstate(over="ignore"):
            place.reshape(-1)[dice.integers(place.size)] = dice.choice(odd[place.dtype.kind])
    return array


def odd_facts(facts, dice):
    """Put one fault into facts: somewhere another type, a number out of range, or one less."""
    place = facts
    while True:
        keys = [*place] if isinstance(place, dict) else [*range(len(place))]
        key = keys[dice.integers(len(keys))]
        if not isinstance(place[key], dict | list) or not place[key] or dice.random() < 0.1:
            break
        place = place[key]
    odd = (None, -1, 1 << 60, "x", [], {}, True, float("nan"), 1e308, -1e308, 0)
    place[key] = odd[dice.integers(len(odd))]
    if dice.random() < 0.1:
        del place[key]


def remembers(buses, other):
    """Whether buses remember what the others do."""
    assert [*buses.of] == [*other.of]
    for mine, theirs in zip(buses.of.values(), other.of.values(), strict=True):
        (facts, arrays), (others, expected) = mine.state(), theirs.state()
        assert facts == others
        assert all((arrays[name] == expected[name]).all() for name in arrays)
    return True


@pytest.mark.acceptance
def test_a_changed_file_is_never_gone_on_from(saved, detector):
    """1,000 faults in a file: refused, or all that it remembers is as it was."""
    path, dice = saved(), np.random.default_rng(0)
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    make = partial(Monitor, detector, stride=50)
    resume_state(path, right := Buses(make, ["a"]), BUS)
    refused = 0
    for number in range(1000):
        match number % 4:
            case 0:  # an array
                name = dice.choice([*arrays])
                changed = odd_array(arrays[name], dice)
                np.savez(path, **arrays | {name: changed})
            case 1:  # a fact
                facts = json.loads(arrays["state"].tobytes())
                odd_facts(facts, dice)
                content = np.frombuffer(json.dumps(facts).encode(), np.uint8)
                np.savez(path, **arrays | {"state": content})
            case 2:
                path.write_bytes(whole[: dice.integers(len(whole))])
            case 3:
                at = dice.integers(len(whole))
                path.write_bytes(
                    whole[:at] + bytes([whole[at] ^ 1 << dice.integers(8)]) + whole[at + 1 :]
                )
        buses = Buses(make, ["a"])
        try:
            resume_state(path, buses, BUS)
        except ValueError:
            refused += 1
        else:
            assert remembers(buses, right), number
    assert refused > 900


@pytest.mark.acceptance
def test_a_file_that_somebody_made_brings_no_kernel_down(saved, detector, drive):
    """The hash is right, but no monitor can have left it so."""
    dice, refused = np.random.default_rng(1), 0
    rest = on_two(drive, 0)[4321:6000]
    for number in range(200):

        def change(facts, arrays, number=number):
            if number % 2:
                odd_facts(facts, dice)
            else:
                name = dice.choice([*arrays])
                arrays[name] = odd_array(arrays[name], dice)

        path, buses = saved(change), Buses(partial(Monitor, detector, stride=50), ["a"])
        try:
            resume_state(path, buses, BUS)
        except SpoiltStateError:
            refused += 1
        else:
            assert all(np.isfinite(e["time"]) for e in fed(buses, rest, 400))
    assert refused > 100


@pytest.mark.acceptance
def test_a_log_is_known_by_its_content(said, refused, clean, tmp_path):
    """Rotated it is judged from the beginning, grown or moved from where it was."""
    log, state = tmp_path / "bus.log", tmp_path / "state.npz"

    def told(*more):
        events = said("--log", log, *more, detector=boxed())
        return [e for e in events if e["event"] in ("alarm", "over", "ongoing")], events[0]

    write_frames(clean, log)
    quiet, rows = log.read_bytes(), log.read_text().splitlines(keepends=True)
    half = "".join(rows[: len(rows) // 2])
    log.write_text(half[:-6])
    assert told("--state", state)[0] == []
    log.write_bytes(quiet)  # grown
    alarms, first = told("--state", state)
    assert (alarms, first["event"], first["frames"]) == ([], "resumed", len(rows) // 2 - 1)
    write_frames(inject(clean, "flooding", spans=[(7.0, 9.0)]), log)
    for _ in range(2):
        path = log.with_name("moved.log")
        expected = told()[0]
        alarms, first = told("--state", state)
        assert alarms == expected != [] and first["event"] == "anew"
        log.write_bytes(log.read_bytes().replace(b"7F", b"8F"))  # of the same size
    assert [p.name for p in tmp_path.glob("*aside*")] == ["state.npz.aside-1", "state.npz.aside-2"]
    log = log.rename(path)
    assert told("--state", state)[1]["event"] == "resumed"
    write_frames(clean[:99], other := tmp_path / "other.log")
    message = refused("--log", other, "--state", state, detector=boxed())
    assert str(log) in message and f"expected {other}; " in message


@pytest.mark.acceptance
def test_another_threshold_is_refused_and_a_calibrated_one_is_kept(said, refused, drive, tmp_path):
    log, state = tmp_path / "bus.log", tmp_path / "state.npz"
    write_frames(drive[:5000], log)
    given = ["--log", log, "--state", state, "--at", "0.2", "--calibrate", "2"]
    at = {e["at"] for e in said(*given) if e["event"] in ("calibrated", "statistics")}
    assert len(at) == 1 and at != {0.2}
    assert {e["at"] for e in said(*given) if e["event"] == "statistics"} == at
    given[5] = "0.1"
    assert "saved with another at; expected" in refused(*given)


@pytest.mark.acceptance
def test_only_a_file_is_replaced(refused, drive, tmp_path):
    log, target = tmp_path / "bus.log", tmp_path / "target"
    write_frames(drive[:500], log)
    target.write_bytes(b"precious")
    places = [tmp_path / name for name in ("link", "dangling", "fifo", "socket", "folder")]
    places[0].symlink_to(target)
    places[1].symlink_to(tmp_path / "nowhere")
    os.mkfifo(places[2])
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(places[3]))
    places[4].mkdir()
    before = [os.lstat(place) for place in places]
    for place in [*places, "/dev/null", "/dev/stdout"]:
        assert f"{place}: a link, a folder, a device or a pipe" in refused(
            "--log", log, "--state", place
        )
    assert "no state of a monitor" in refused("--log", log, "--state", target)
    for place, was in zip(places, before, strict=True):
        assert os.lstat(place)[:3] == was[:3]
    assert target.read_bytes() == b"precious" and not (tmp_path / "nowhere").exists()


@pytest.mark.acceptance
def test_a_file_that_unpacks_to_more_than_memory_is_set_aside(saved, detector, monkeypatch):
    path = saved()
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, **arrays | {"0/last": np.zeros(1 << 29, np.uint8)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(SpoiltStateError, match="it unpacks to 53"):
        resume_state(path, Buses(partial(Monitor, detector, stride=50)), BUS)
    monkeypatch.setattr("cangraph.deploy.state._LARGEST", 1000)
    with pytest.raises(SpoiltStateError, match="larger than any"):
        resume_state(saved(), Buses(partial(Monitor, detector, stride=50)), BUS)
