"""Graphs that are streamed to the disk are those made in memory, and come back whole or not at
all."""

import json
import re
import tracemalloc
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reported import resealed

from cangraph.bus.attacks import inject
from cangraph.data import store
from cangraph.data.graphs import Graphs, to_graphs
from cangraph.data.store import open_graphs, prepare
from cangraph.frames import Frames, ReadReport


class Log:
    """A log that comes in chunks of a given size, of which nobody knows the length before."""

    def __init__(self, frames, size):
        self.frames, self.size = frames, size
        self.name, self.scenario = frames.name, frames.scenario
        self.vehicle, self.recording = frames.vehicle, frames.recording

    def sha256(self):
        return self.frames.sha256()

    def chunks(self):
        yield from self.frames.chunks(self.size)


def assert_same(one, two):
    for name in Graphs.names():
        mine, other = getattr(one, name), getattr(two, name)
        assert mine.dtype == other.dtype and mine.shape == other.shape, name
        assert mine.tobytes() == other.tobytes(), name
    assert (one.captures, one.window) == (two.captures, two.window)


@pytest.fixture(scope="module")
def captures(drive, clean):
    """Three captures, one with suppressed frames, one with something to report."""
    report = ReadReport(rows=9, reordered=1, padded=2, error_frames=3, refused=4)
    missing = inject(clean, "suppression", spans=[(3.0, 4.0)], seed=1)
    return [
        drive.label(scenario="train_02", vehicle="borage", recording="r0"),
        missing.label(name="missing"),
        replace(clean[:5000], report=report, name="short"),
    ]


@pytest.fixture(scope="module")
def whole(captures):
    return to_graphs(captures, 50, 30)


@pytest.fixture
def made(captures, tmp_path):
    """The folder `prepare` was given, and the folder of the graphs in it."""
    graphs = prepare(captures, 50, 30, folder=tmp_path)
    return tmp_path, tmp_path / graphs.key


def test_on_disk_as_in_memory(captures, whole, tmp_path):
    folder = tmp_path / "new" / "folder"
    graphs = prepare(captures, 50, 30, folder=folder)
    assert_same(graphs, whole)
    assert graphs.captures == tuple(frames.info for frames in captures)
    assert [path.name for path in folder.iterdir()] == [graphs.key]


@settings(max_examples=12)
@given(size=st.integers(1, 6000), window=st.integers(2, 120), stride=st.integers(1, 200))
def test_chunks_of_any_size_leave_no_trace(captures, tmp_path_factory, size, window, stride):
    frames = [capture[:4000] for capture in captures[1:]]
    logs = [Log(capture, size) for capture in frames]
    graphs = prepare(logs, window, stride, folder=tmp_path_factory.mktemp("graphs"))
    assert_same(graphs, to_graphs(frames, window, stride))
    assert graphs.captures == tuple(capture.info for capture in frames)
    assert_same(graphs, to_graphs(logs, window, stride))


def test_a_cut_beside_missing_frames_loses_no_label():
    frames = Frames(np.array([0.0, 1.0, 2.0, 8.0, 9.0, 10.0]), np.arange(6) % 2)
    frames = frames.label(attack_spans=((3.0, 7.0, "suppression", 1),))
    for size in range(1, 7):  # with 3 the span lies between two chunks
        assert to_graphs([Log(frames, size)], 2, 1).label.tolist() == [0, 0, 1, 0, 0], size


def test_chunks_out_of_order_are_refused(clean, tmp_path):
    log = Log(clean, 100)
    log.chunks = lambda: iter([clean[500:900], clean[:400]])
    with pytest.raises(ValueError, match=r"'attack-free-aster': a chunk begins at .*before the"):
        prepare([log], folder=tmp_path)
    assert not [*tmp_path.iterdir()]


def test_a_longer_log_takes_no_more_memory(clean, tmp_path):
    piece = clean[:8000]

    def peak(pieces, make):
        log = Log(piece, 0)
        log.sha256 = lambda: f"{pieces} pieces"
        later = piece.duration + 0.001
        log.chunks = lambda: (
            replace(piece, timestamp=piece.timestamp + i * later) for i in range(pieces)
        )
        tracemalloc.start()
        make([log])
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    on_disk = partial(prepare, window=100, stride=20, folder=tmp_path)
    on_disk([clean])  # what is allocated once
    assert peak(32, on_disk) < 1.2 * peak(4, on_disk)
    assert peak(32, lambda logs: to_graphs(logs, 100, 20)) > 3 * peak(32, on_disk)


def test_any_tool_reads_the_files(made, whole):
    place = made[1]
    assert {path.stem for path in place.glob("*.npy")} == {*Graphs.names()}
    for name in Graphs.names():
        assert np.array_equal(np.load(place / f"{name}.npy"), getattr(whole, name)), name
    about = json.loads((place / "about.json").read_text())
    assert about["of"]["stride"] == 30 and "numba" in about["of"]["code"]
    assert [capture["name"] for capture in about["captures"]] == [c.name for c in whole.captures]


def test_a_second_call_reads_what_the_first_wrote(captures, made, whole, monkeypatch):
    monkeypatch.setattr(store, "stream", None)  # not called again
    before = {path: path.stat().st_mtime_ns for path in made[1].iterdir()}
    graphs = prepare(captures, 50, 30, folder=made[0])
    assert_same(graphs, whole)
    graphs.x[:] = -1  # in memory only
    assert graphs.key and graphs[:].key == "", "a part is another"
    assert_same(prepare(captures, 50, 30, folder=made[0]), whole)
    assert {path: path.stat().st_mtime_ns for path in made[1].iterdir()} == before


def test_every_part_of_the_key_counts(captures, made, monkeypatch):
    folder, keys = made[0], {made[1].name}
    one, two, three = captures
    altered = one.data.copy()
    altered[77, 0] ^= 1
    for changed in (
        [replace(one, data=altered), two, three],
        [two, one, three],
        [one, two],
        *([one.label(**{name: "other"}), two, three] for name in ("name", "scenario", "vehicle")),
        [one.label(recording="other"), two, three],
    ):
        keys.add(prepare(changed, 50, 30, folder=folder).key)
    keys |= {prepare(captures, *sizes, folder=folder).key for sizes in ((51, 30), (50, 31))}
    monkeypatch.setattr(store, "_SOURCES", ("frames",))
    keys.add(prepare(captures, 50, 30, folder=folder).key)
    monkeypatch.setattr(store, "EDGE_FEATURES", store.EDGE_FEATURES[:2])
    keys.add(prepare(captures, 50, 30, folder=folder).key)
    assert len(keys) == 12


def test_a_failure_leaves_nothing_behind(captures, tmp_path, monkeypatch):
    log = Log(captures[0], 1000)

    def broken():
        yield from captures[0][:3000].chunks(1000)
        raise OSError("the disk is gone")

    log.chunks = broken
    with pytest.raises(OSError, match="the disk is gone"):
        prepare([log, captures[1]], folder=tmp_path)
    assert not [*tmp_path.iterdir()]
    monkeypatch.setattr("os.replace", lambda *_: broken().throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        prepare(captures, folder=tmp_path)
    assert not [*tmp_path.iterdir()]


def rewritten(file, change):
    """A damage that changes the bytes of a file."""
    return lambda place: (place / file).write_bytes(change((place / file).read_bytes()))


def altered(name, change):
    """A damage that puts another array in the place of one."""
    return lambda place: np.save(place / f"{name}.npy", change(np.load(place / f"{name}.npy")))


DAMAGES = {
    "shorter": rewritten("x.npy", lambda content: content[:-1]),
    "longer": rewritten("x.npy", lambda content: content + b"\0"),
    "empty": rewritten("label.npy", lambda content: b""),
    "nonsense": rewritten("edge_ptr.npy", lambda content: b"\xff" * len(content)),
    "other shape": altered("x", lambda x: x[:-1]),
    "other type": altered("begin", lambda begin: begin.astype(np.float64)),
    "other order": altered("edge_index", np.asfortranarray),
    "pickled": altered("x", lambda x: x.astype(object)),
    "other pointers": altered("edge_ptr", lambda ptr: ptr + 1),
    "text for JSON": rewritten("about.json", lambda content: b"not JSON {"),
    "a list": rewritten("about.json", lambda content: b"[" * 100_000),
    "a number": rewritten("about.json", lambda content: b"7"),
    "one byte": rewritten("about.json", lambda c: c.replace(b'"frames": ', b'"frames": 1', 1)),
    "other key": lambda place: resealed(
        place / "about.json", lambda about: about["of"].update(stride=31)
    ),
    "no captures": lambda place: resealed(
        place / "about.json", lambda about: about.update(captures=[{}])
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=[*DAMAGES])
def test_damaged_files_are_made_again_and_said_so(captures, made, whole, damage):
    folder, place = made
    damage(place)
    line = rf"{re.escape(str(place))}.*; expected prepared graphs, whole; they are made again$"
    with pytest.warns(UserWarning, match=line) as said:
        graphs = prepare(captures, 50, 30, folder=folder)
    assert len(said) == 1 and "\n" not in str(said[0].message)
    assert said[0].filename == __file__
    assert_same(graphs, whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(prepare(captures, 50, 30, folder=folder), whole)


@pytest.mark.parametrize("lost", ["x.npy", "about.json"])
def test_what_is_not_all_there_is_made_again(captures, made, whole, lost):
    (made[1] / lost).unlink()
    with pytest.raises(FileNotFoundError, match=lost):
        open_graphs(made[0], made[1].name)
    assert_same(prepare(captures, 50, 30, folder=made[0]), whole)
    assert [*made[0].iterdir()] == [made[1]]


@pytest.mark.parametrize("key", ["", "x" * 64, "a" * 63, "../" + "a" * 61, "a" * 64 + "\n"])
def test_a_key_is_never_a_path(tmp_path, key):
    with pytest.raises(ValueError, match="is no key of graphs; expected 64 hexadecimal digits"):
        open_graphs(tmp_path, key)
