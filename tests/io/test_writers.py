"""What is written is read again: every column in tables, all but labels in logs."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from logs import same

from cangraph.frames import PAYLOAD_LENGTHS, Frames
from cangraph.io.readers import read_frames
from cangraph.io.writers import write_frames

FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/fuzz_readers.py"))["fuzz"]
TABLES = (".csv", ".parquet")
ROUNDING = {".log": 0.51e-6, ".asc": 1.01e-6, ".blf": 2e-9, ".trc": 2e-6}  # s
CONTENT = ("arbitration_id", "dlc", "data", "is_extended_id", "is_remote_frame")
EPOCH = 1.5e9  # s

ROW = st.tuples(
    st.integers(0, 10**13),  # ns
    st.booleans(),
    st.integers(0, 2**29 - 1),
    st.booleans(),
    st.sampled_from(PAYLOAD_LENGTHS).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    st.booleans(),
)


def frames_of(rows, since=0.0):
    times, extended, ids, remote, payloads, attack = zip(*sorted(rows), strict=True)
    dlc = np.array([len(p) for p in payloads])
    remote = np.array(remote) & (dlc <= 8)
    width = 64 if dlc.max() > 8 else 8
    data = b"".join(
        (b"" if r else p).ljust(width, b"\0") for p, r in zip(payloads, remote, strict=True)
    )
    return Frames(
        since + np.array(times) / 1e9,
        np.array([i if e else i & 0x7FF for i, e in zip(ids, extended, strict=True)]),
        dlc=dlc,
        data=np.frombuffer(data, np.uint8).reshape(-1, width),
        is_extended_id=np.array(extended),
        is_remote_frame=remote,
        attack=np.array(attack),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


@pytest.mark.parametrize("ending", TABLES)
@given(rows=st.lists(ROW, min_size=1, max_size=9), since=st.sampled_from([0.0, EPOCH]))
def test_a_table_keeps_every_column(folder, ending, rows, since):
    frames = frames_of(rows, since)
    write_frames(frames, folder / f"bus{ending}")
    assert same(read_frames(folder / f"bus{ending}"), frames)


@pytest.mark.parametrize("ending", ROUNDING)
@given(rows=st.lists(ROW, min_size=1, max_size=9))
def test_a_log_keeps_the_frames(folder, ending, rows):
    frames = frames_of(rows, EPOCH)
    if ending == ".trc":
        frames = frames[~frames.is_remote_frame & (frames.dlc <= 8)]
        frames = replace(frames, data=frames.data[:, :8])
        assume(len(frames))
    path = folder / f"bus{ending}"
    write_frames(frames, path)
    again = read_frames(path)
    for column in CONTENT:
        assert np.array_equal(getattr(again, column), getattr(frames, column)), column
    since = frames.timestamp[0] if ending == ".asc" else 0.0
    error = np.abs(again.timestamp - (frames.timestamp - since)).max()
    assert error <= ROUNDING[ending] + np.spacing(EPOCH)
    report = again.report
    assert report[1:6] == (0, 0, 0, 0, ()) and report.rows == len(frames) + report.others
    assert not again.attack.any()


def test_a_blf_of_early_times_begins_at_its_first_millisecond(folder):
    write_frames(Frames(np.array([100.0007, 100.5]), np.array([1, 2])), folder / "bus.blf")
    again = read_frames(folder / "bus.blf").timestamp
    assert again.tolist() == pytest.approx([0.0007, 0.5], abs=2e-9)


def test_an_attack_type_is_the_readers_to_name(folder):
    frames = Frames(np.zeros(2), np.ones(2), attack=np.array([True, False]))
    write_frames(frames, folder / "bus.csv")
    again = read_frames(folder / "bus.csv", attack_type="fuzzing")
    assert again.attack.tolist() == [True, False] and again.attack_type.tolist() == [2, 0]


def test_what_cannot_be_written_is_refused(tmp_path):
    frames = Frames(np.array([0.0, 1.0]), np.array([1, 2]), is_remote_frame=np.array([True, False]))
    for wrong, name, message in (
        (frames, "bus.xlsx", "the ending is not known; expected .csv"),
        (frames, "bus.trc", "1 remote frames and 0 of more than 8 bytes came"),
        (frames[:0], "bus.csv", "there are no frames to write"),
        (Frames(np.array([-1.0]), np.ones(1)), "bus.csv", "the times run from -1 to -1 s"),
        (Frames(np.array([1e12]), np.ones(1)), "bus.blf", "expected 0 to 1e.11; shift them"),
    ):
        with pytest.raises(ValueError, match=message):
            write_frames(wrong, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_three_hundred_broken_logs_are_read_or_refused_by_name(tmp_path):
    faults = []
    counts = FUZZ(300, 1, tmp_path, faults.append)
    assert faults == []
    total = sum(sum(c.values()) for c in counts.values())
    assert total == 600 and sum(c["strict refused"] for c in counts.values()) > 100
    assert sum(c["lenient partly"] for c in counts.values()) > 20
