"""What a layout asks of each of its rows: labels on all or none, no field too many, candump."""

import re

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.frames import PAYLOAD_LENGTHS, Frames
from cangraph.io.readers import read_frames

HEADER = "timestamp,arbitration_id,data_field,attack\n"


@pytest.fixture
def read(tmp_path):
    def of(content, name="bus.csv", **how):
        path = tmp_path / name
        path.write_bytes(content.encode())
        return read_frames(path, **how)

    return of


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One file that the examples of a property overwrite."""
    return tmp_path_factory.mktemp("scratch") / "bus.log"


# labels


def test_a_row_without_label_is_refused_where_others_have_one(read):
    rows = "1,0316,2,05,21,R\n2,0316,2,05,21\n3,0316,0\n4,0316,2,05,21,T\n5,0316,8,R\n"
    with pytest.raises(ValueError, match=r"bus.csv:2: '2,0316,2,05,21' has no label although oth"):
        read(rows)
    frames = read(rows, strict=False)
    assert frames.timestamp.tolist() == [1, 4, 5] and frames.report.refused == 2
    assert frames.attack.tolist() == [False, True, False]
    assert frames.is_remote_frame.tolist() == [False, False, True]


def test_a_label_is_refused_where_the_first_rows_have_none(read):
    rows = [f"{i / 1000:.3f},0316,2,05,21" for i in range(300)]  # more than tell the layout
    frames = read("\n".join(rows))
    assert len(frames) == 300 and not frames.attack.any()
    rows[250] += ",1"
    with pytest.raises(ValueError, match=r"bus.csv:251: .* has no label .*or one although they"):
        read("\n".join(rows))


def test_one_digit_is_a_byte_where_no_row_has_a_label(read):
    frames = read("1,0316,1,0\n2,0316,2,5,21\n3,0316,0\n")
    assert frames.dlc.tolist() == [1, 2, 0] and frames.data[1, :2].tolist() == [5, 0x21]
    assert not frames.is_remote_frame.any()


def test_bytes_may_be_set_apart_by_blanks(read):
    """The clean files of HCRL's Survival set for Soul and Spark."""
    frames = read("1,0316,8,05 22 68 09 22 20 00 75\n2,02b0,2, ff  7f \n3,02b0,0,\n", "a.txt")
    same = read("1,0316,8,05,22,68,09,22,20,00,75\n2,02b0,2,ff,7f\n3,02b0,0\n", "b.txt")
    assert frames.sha256() == same.sha256() and frames.dlc.tolist() == [8, 2, 0]


# fields


def test_a_field_too_many_is_refused(read):
    assert len(read(HEADER + "1,1A0,00,0,,,\n2,1A0,00,0\n")) == 2, "but commas that pad"
    for rest in (",1", ",,,x", "," * 30 + "x"):
        with pytest.raises(ValueError, match=r"bus.csv:2: '1,1A0,00,0,.*' has too many fields"):
            read(f"{HEADER}1,1A0,00,0{rest}\n2,1A0,00,0\n")
    with pytest.raises(ValueError, match=r"a DLC that does not fit"):
        read("1,0316,1,05,R" + "," * 30 + "T\n2,0316,1,05,R\n")


@pytest.mark.parametrize("name", ["bus.csv", "bus.txt", "bus.log", "bus.asc", "can.csv"])
def test_lines_that_end_in_a_carriage_return_alone_are_named(read, name):
    rows = {
        "bus.csv": HEADER + "1,1A0,00,0\n",
        "bus.log": "(1.5) can0 1A0#00\n" * 2,
        "bus.asc": "base hex  timestamps absolute\n 1.000000 1  1A0   Rx   d 1 01\n",
        "can.csv": "timestamp,arbitration_id,extended,remote,error,dlc,data\n1,0x1,0,0,0,0,\n",
    }
    old = rows.get(name, "1,0316,1,05,R\n2,0316,1,05,R\n").replace("\n", "\r")
    with pytest.raises(ValueError, match=f"{name}: the lines end in a carriage return alone.*tr"):
        read(old, name)


def test_a_carriage_return_within_a_row_is_refused(read):
    with pytest.raises(ValueError, match=r"bus.csv:3: "):
        read(HEADER + "1,1A0,00,0\n2,1A0,00,0\r3,1A0,00,0\n4,1A0,00,0\n")


def test_a_row_behind_a_header_that_ends_in_a_carriage_return_is_not_lost(read):
    with pytest.raises(ValueError, match=r"bus.csv:1: the columns 'timestamp,.*0' are not known"):
        read(HEADER.strip() + "\r1,1A0,00,0\n2,1A0,00,0\n")


# candump

LINES = {
    "(1.5) can0 1A0#00FF": ([1.5], 0x1A0, False, False, b"\0\xff"),
    "(1.5)  vcan0\t001a0000# T": ([1.5], 0x1A0000, True, False, b""),
    "(1.5) can0 1A0#R": ([1.5], 0x1A0, False, True, 0),
    "(1.5) 0 000001A0#r8 r": ([1.5], 0x1A0, True, True, 8),
    "(1436509052.249713) can0 1A0##3" + "AB" * 64: ([1436509052.249713], 0x1A0, False, False,
                                                    b"\xab" * 64),
    "(1.5) can0 7FF##0": ([1.5], 0x7FF, False, False, b""),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_candump_line_is_read(read, line):
    frames = read(line + "\r\n", "bus.log")
    time, identifier, extended, remote, data = LINES[line]
    assert frames.timestamp.tolist() == time
    assert frames.arbitration_id.tolist() == [identifier]
    assert frames.is_extended_id.tolist() == [extended]
    assert frames.is_remote_frame.tolist() == [remote]
    assert frames.dlc.tolist() == [data if remote else len(data)]
    assert remote or bytes(frames.data[0, : len(data)]) == data


@pytest.mark.parametrize(
    "line, about",
    {
        "(1.5) can0": "too few fields",
        "(1.5) can0 1A0": "too few fields",
        "(1.5) can0 1A0#00 R R": "too many fields",
        "(1.5) can0 1A0#00 X": "too many fields",
        "(1.5) can0 1A0#00 RT": "too many fields",
        "1.5 can0 1A0#00": "timestamp",
        "(1.5 can0 1A0#00": "timestamp",
        "(-1.5) can0 1A0#00": "timestamp",
        "() can0 1A0#00": "timestamp",
        "(1.5) can0 01A0#00": "arbitration ID",
        "(1.5) can0 800#00": "arbitration ID",
        "(1.5) can0 #00": "arbitration ID",
        "(1.5) can0 40000000#00": "arbitration ID",
        "(1.5) can0 1A0#0": "payload",
        "(1.5) can0 1A0#" + "00" * 12: "payload",
        "(1.5) can0 1A0#R9": "payload",
        "(1.5) can0 1A0##": "payload",
        "(1.5) can0 1A0##g00": "payload",
        "(1.5) can0 1A0##1R": "payload",
        "(1.5) can0 1A0##1" + "00" * 9: "payload",
        "(1.5) can0 20000080#0": "payload",
    }.items(),
)
def test_a_candump_line_that_is_none_is_named(read, line, about):
    text = f"(1.4) can0 1A0#00FF\n\n{line}\n(1.6) can0 1A0#R\n"
    with pytest.raises(ValueError, match=re.escape(f"bus.log:3: {line[:80]!r} has ")) as caught:
        read(text, "bus.log")
    assert about in str(caught.value).split(" has ")[1]
    frames = read(text, "bus.log", strict=False)
    assert frames.timestamp.tolist() == [1.4, 1.6] and frames.report.rows == 3
    assert frames.data[:, :2].tolist() == [[0, 255], [0, 0]]


def test_error_frames_of_candump_are_counted(read):
    text = "(1.4) can0 20000088#0000000000000000\n(1.5) can0 1A0#00\n(1.6) can0 20000080# R\n"
    assert read(text, "bus.log").report[:5] == (3, 0, 0, 2, 0)


FRAME = st.tuples(
    st.integers(0, 10**9),
    st.integers(0, 2**29 - 1),
    st.sampled_from(["standard", "extended"]),
    st.sampled_from(["data", "fd", "remote", "error"]),
    st.sampled_from(PAYLOAD_LENGTHS).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    st.booleans(),
)


@given(st.lists(FRAME, min_size=1, max_size=20))
def test_what_python_can_writes_as_candump_reads_as_python_can_reads_it(scratch, rows):
    with can.CanutilsLogWriter(scratch) as log:
        for time, identifier, width, kind, data, received in [*rows, (0, 1, "", "data", b"", True)]:
            message = can.Message(
                timestamp=1.5e9 + time / 1000,
                arbitration_id=identifier & (0x1FFFFFFF if width == "extended" else 0x7FF),
                is_extended_id=width == "extended",
                is_remote_frame=kind == "remote",
                is_error_frame=kind == "error",
                is_fd=kind == "fd",
                is_rx=received,
                data=None if kind in ("remote", "error") else data if kind == "fd" else data[:8],
            )
            log.on_message_received(message)
    with can.CanutilsLogReader(scratch) as log:
        messages = [*log]
    kept = [m for m in messages if not m.is_error_frame]
    width = 64 if any(m.dlc > 8 for m in kept) else 8
    data = b"".join(bytes(m.data).ljust(width, b"\0") for m in kept)
    expected = Frames.in_order(
        np.array([m.timestamp for m in kept]),
        arbitration_id=np.array([m.arbitration_id for m in kept]),
        dlc=np.array([m.dlc for m in kept]),
        data=np.frombuffer(data, np.uint8).reshape(-1, width),
        is_extended_id=np.array([m.is_extended_id for m in kept]),
        is_remote_frame=np.array([m.is_remote_frame for m in kept]),
    )
    frames = read_frames(scratch)
    assert frames.sha256() == expected.sha256()
    assert frames.report.error_frames == len(messages) - len(kept)
