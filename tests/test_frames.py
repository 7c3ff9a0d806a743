"""`Frames` holds columns of one length, sorted by time, and knows what it is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.frames import ATTACK_TYPES, Frames, ReadReport, attack_code

TIMES = st.lists(st.integers(0, 50), max_size=40)


def bus(timestamp=(0.0, 0.5, 2.0), **columns):
    columns = {"arbitration_id": np.arange(len(timestamp))} | columns
    return Frames(np.array(timestamp, float), **columns)


@pytest.mark.parametrize("n", [0, 3])
def test_columns_have_the_documented_types(n):
    frames = bus(timestamp=range(n))
    dtypes = {"timestamp": "f8", "arbitration_id": "u4", "dlc": "u1", "attack_type": "u1"}
    dtypes |= dict.fromkeys(("is_extended_id", "is_remote_frame", "attack"), "?")
    for column, dtype in dtypes.items():
        assert getattr(frames, column).dtype == np.dtype(dtype), column
        assert len(getattr(frames, column)) == n, column
    assert (frames.data.dtype, frames.data.shape) == (np.uint8, (n, 8))
    assert len(frames) == frames.info.frames == n and frames.duration == max(n - 1, 0)


def test_what_is_not_given_follows_from_what_is():
    frames = bus(arbitration_id=[0x7FF, 0x800, 0x1FFFFFFF], attack=[False, True, False])
    assert frames.is_extended_id.tolist() == [False, True, True]
    assert [ATTACK_TYPES[code] for code in frames.attack_type] == ["benign", "other", "benign"]
    assert bus(attack_type=[0, 2, 0]).attack.tolist() == [False, True, False]
    assert bus(dlc=[8, 64, 0], data=np.zeros((3, 64))).data.shape == (3, 64)


LONG = {"data": np.zeros((4, 8))} | dict.fromkeys(
    ("arbitration_id", "dlc", "attack", "attack_type"), np.zeros(4)
)
NOT_SORTED = [(0.0, 2.0, 1.0), (0.0, np.nan, 1.0), (0.0, 1.0, np.inf), (-np.inf, 0.0, 1.0)]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        *(({name: wrong}, f"'x': {name} has 4 rows; expected 3") for name, wrong in LONG.items()),
        *(({"timestamp": wrong}, "not finite and ascending.*in_order") for wrong in NOT_SORTED),
        ({"attack": [True, False, False], "attack_type": [0, 0, 0]}, "attack_type disagree"),
        ({"dlc": [8, 9, 0]}, r"shape \(3, 8\) and dlc goes up to 9; expected at least 8"),
    ],
)
def test_columns_that_do_not_fit_are_named(columns, said):
    with pytest.raises(ValueError, match=said):
        bus(name="x", **columns)


@given(TIMES)
def test_in_order_sorts_stably_and_counts_the_steps_back(times):
    order = np.arange(len(times))
    frames = Frames.in_order(np.array(times, float), arbitration_id=order, dlc=order % 9)
    expected = sorted(zip(times, order.tolist(), strict=True))
    assert list(zip(frames.timestamp, frames.arbitration_id, strict=True)) == expected
    assert frames.dlc.tolist() == [i % 9 for _, i in expected]
    assert frames.report.reordered == sum(b < a for a, b in pairwise(times))


def test_an_index_cuts_every_column():
    frames = bus(
        dlc=np.array([1, 2, 3]), data=np.arange(24).reshape(3, 8), attack=np.array([0, 1, 0])
    )
    part = frames[frames.attack]
    found = [getattr(part, name).tolist() for name in ("timestamp", "arbitration_id", "dlc")]
    assert found == [[0.5], [1], [2]]
    assert part.data.tolist() == [list(range(8, 16))]
    assert part.attack_type.tolist() == [attack_code("other")]


def test_a_remote_frame_uses_no_bytes():
    frames = bus(dlc=[8, 8, 3], is_remote_frame=[False, True, False])
    assert frames.bytes_used.tolist() == [8, 0, 3]


def test_the_hash_follows_the_content_and_not_the_name():
    frames = bus()
    assert frames.label(name="a").sha256() == frames.sha256()
    seen = {frames.sha256()}
    for column in ("timestamp", "arbitration_id", "dlc", "data", "attack", "attack_type"):
        values = getattr(frames, column).copy()
        values.reshape(-1)[-1] = 7 if column == "dlc" else values.reshape(-1)[-1] + 1
        columns = {"timestamp": frames.timestamp, "arbitration_id": frames.arbitration_id}
        seen.add(Frames(**columns | {column: values}).sha256())
    assert len(seen) == 7


def test_info_sums_up_the_capture():
    named = {"name": "n", "scenario": "s", "vehicle": "v", "recording": "r"}
    report = ReadReport(7, 2, 1, 3, 1, ("why",))
    frames = bus(arbitration_id=[5, 5, 9], attack=[0, 0, 1], report=report, **named)
    info = frames.info
    assert info[:9] == ("n", "s", "v", "r", 3, 1, 2.0, 2, 2)
    assert info.sha256 == frames.sha256()
    assert (info.padded, info.error_frames, info.refused) == (1, 3, 1)


@pytest.mark.parametrize("wrong", ["car", "timestamp"])
def test_label_refuses_what_is_no_label(wrong):
    with pytest.raises(ValueError, match=rf"'{wrong}'.*unknown; expected some of.*'vehicle'"):
        bus().label(**{wrong: "kia"})


def test_attack_codes_are_positions():
    assert [attack_code(name) for name in ATTACK_TYPES] == list(range(len(ATTACK_TYPES)))
    with pytest.raises(ValueError, match="'dos' is unknown; expected one of benign, flooding"):
        attack_code("dos")


def suppressed():
    spans = [(1.0, 2.0, "suppression", 5), (6.0, 8.0, "suppression", 7)]
    return Frames(np.arange(10.0) + 50, np.arange(10) % 3, attack_spans=spans, name="a")


def test_a_part_counts_spans_from_its_own_first_frame():
    frames = suppressed()
    assert frames[:].attack_spans == frames.attack_spans == frames.label(name="b").attack_spans
    assert [s[:2] for s in frames[1:8].attack_spans] == [(0.0, 1.0), (5.0, 6.0)]
    assert [s[:2] for s in frames[2:7].attack_spans] == [(0.0, 0.0), (4.0, 4.0)]
    assert [s.arbitration_id for s in frames[4:].attack_spans] == [7]
    assert frames[3:5].attack_spans == frames[:0].attack_spans == ()
    assert [s[:2] for s in frames[frames.arbitration_id == 1].attack_spans] == [(0, 1), (5, 6)]


@pytest.mark.parametrize("size", [1, 3, 9, 10, 99])
def test_chunks_put_together_are_the_whole(size):
    report = ReadReport(rows=12, padded=1, refused=2)
    frames = replace(suppressed(), report=report)
    chunks = list(frames.chunks(size))
    assert [len(chunk) for chunk in chunks] == [
        len(range(10)[i : i + size]) for i in range(0, 10, size)
    ]
    for name in ("timestamp", "arbitration_id"):
        assert np.array_equal(
            np.concatenate([getattr(c, name) for c in chunks]), getattr(frames, name)
        )
    said = [(c.attack_spans, c.report) for c in chunks]
    assert said[0] == (frames.attack_spans, report)
    assert set(said[1:]) <= {((), ReadReport())}


def test_a_log_without_frames_is_one_chunk_with_its_report():
    frames = replace(Frames(np.zeros(0), np.zeros(0)), report=ReadReport(rows=1, refused=1))
    assert [(len(c), c.report.refused) for c in frames.chunks()] == [(0, 1)]


def test_spans_count_as_content():
    assert suppressed().sha256() != suppressed().label(attack_spans=()).sha256()


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ((2.0, 1.0, "suppression", 1), "from 2.0 to 1.0 s; expected 0 <= start <= end; count"),
        ((-1.0, 1.0, "suppression", 1), "from -1.0"),
        ((float("nan"), 1.0, "suppression", 1), "from nan"),
        ((0.0, 1.0, "theft", 1), "'theft' is unknown"),
    ],
)
def test_a_span_that_is_none_is_refused(span, message):
    with pytest.raises(ValueError, match=message):
        suppressed().label(attack_spans=[span])


# buses


def test_a_log_of_two_buses_is_two_streams_of_one_recording():
    codes = np.arange(100) % 3 % 2
    log = Frames(
        np.arange(100.0), np.arange(100), bus=codes, bus_names=("can0", "can1"), name="drive"
    ).label(recording="r")
    streams = log.by_bus()
    for code, (bus, part) in enumerate(streams.items()):
        assert bus == f"can{code}" and part.name == f"drive can{code}" and part.recording == "r"
        assert part.timestamp.tolist() == np.flatnonzero(codes == code).tolist()
        assert part.bus_names == (bus,) and not part.bus.any() and part.by_bus().keys() == {bus}
    assert "on 2 buses" in repr(log) and log[10:].bus_names == log.bus_names


def test_the_hash_of_a_log_of_one_bus_does_not_depend_on_it():
    one = Frames(np.arange(3.0), np.arange(3))
    assert one.sha256() == replace(one, bus_names=("can7",)).sha256()
    two = replace(one, bus=np.array([0, 1, 0]), bus_names=("a", "b"))
    assert two.sha256() != one.sha256()


def test_a_bus_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"bus goes up to 1; expected an index"):
        Frames(np.arange(3.0), np.arange(3), bus=np.array([0, 1, 0]))
