"""Every row of a text log is read or named: the layouts, their oddities, and one-line errors."""

import can
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import CANDUMP, HCRL, HEADER, SPACED, TABLE, payloads, same

from cangraph.frames import ATTACK_TYPES, PAYLOAD_LENGTHS, Frames
from cangraph.io.pythoncan import columns_of
from cangraph.io.readers import read_frames
from cangraph.io.text import LAYOUTS

# layouts


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_the_row_that_stands_for_a_layout_is_one(read, layout):
    table = HEADER if layout.name == "can-train-and-test" else ""
    frames = read(f"{table}{layout.row}\n", "bus.log" if layout.name == "candump" else "bus.csv")
    assert len(frames) == 1 and frames.dlc[0] >= 5 and frames.timestamp[0] > 1.4e9
    assert frames.data.any() and not frames.attack.any()


def test_a_table_is_read_column_by_column(read):
    frames = read(TABLE, attack_type="fuzzing", scenario="s", vehicle="v")
    assert frames.timestamp.tolist() == [0.5, 1.25, 1.5]
    assert frames.arbitration_id.tolist() == [0x1A0, 0x7FF, 0x1C3E5A7]
    assert frames.dlc.tolist() == [2, 0, 8]
    assert payloads(frames) == ["00ff", "", "0102030405060708"]
    assert frames.data[0].tolist() == [0, 255, 0, 0, 0, 0, 0, 0]
    assert frames.is_extended_id.tolist() == [False, False, True]
    assert not frames.is_remote_frame.any()
    assert frames.attack.tolist() == [True, False, False]
    assert [ATTACK_TYPES[code] for code in frames.attack_type] == ["fuzzing", "benign", "benign"]
    assert (frames.name, frames.scenario, frames.vehicle) == ("bus", "s", "v")


def test_the_columns_of_a_table_may_stand_in_any_order(read):
    shuffled = "Attack, data_field ,TIMESTAMP,arbitration_id\n1,00FF,0.5,1A0\n"
    assert same(read(shuffled), read(HEADER + "0.5,1A0,00FF,1\n"))
    unlabelled = read("timestamp,arbitration_id,data_field\n0.5,1A0,00FF\n")
    assert unlabelled.attack.tolist() == [False]


def test_the_hcrl_flag_moves_with_the_dlc(read):
    frames = read(HCRL, attack_type="flooding")
    assert frames.arbitration_id.tolist() == [0x316, 0x18F, 0x260]
    assert payloads(frames) == ["052168092121006f", "fe5b", ""]
    assert frames.attack.tolist() == [False, True, False]
    assert ATTACK_TYPES[frames.attack_type[1]] == "flooding"


def test_spaced_lines_are_read(read):
    frames = read(SPACED, "normal_run_data.txt")
    assert frames.timestamp.tolist() == [1479121434.850202, 1479121434.850423, 1479121434.850977]
    assert frames.arbitration_id.tolist() == [0x350, 0x2C0, 0x430]
    assert payloads(frames)[:2] == ["052884666d0000a2", "14ff"]
    assert frames.is_remote_frame.tolist() == [False, False, True]
    assert frames.bytes_used.tolist() == [8, 2, 0]
    assert not frames.attack.any()


@pytest.mark.parametrize("text", [TABLE, HCRL, SPACED], ids=["table", "hcrl", "spaced"])
def test_what_a_spreadsheet_does_to_a_file_changes_nothing(read, text):
    plain = read(text)
    assert same(read(b"\xef\xbb\xbf" + text.encode()), plain), "byte order mark"
    assert same(read(text.replace("\n", "\r\n")), plain), "CRLF"
    assert same(read(text.rstrip("\n")), plain), "no newline at the end"
    assert same(read(text.replace("\n", "\n\n") + "\n \n"), plain), "blank lines"
    if text != SPACED:
        assert same(read(text.replace("\n", ",,,\n")), plain), "comma padding"
        assert same(read(text.replace(",", " ,\t")), plain), "space around fields"


def test_bytes_past_the_dlc_were_never_on_the_bus(read):
    padded = "1.5,02b0,5,ff,7f,00,05,49,11,22,33,R\n1.5,02b0,0,11,22,33,44,55,66,77,88,T\n"
    frames = read(padded)
    assert same(frames, read("1.5,02b0,5,ff,7f,00,05,49,R\n1.5,02b0,0,T\n"))
    assert frames.data[:, 5:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_remote_frame_has_a_dlc_and_no_data(read):
    frames = read("1.5,0316,8,R\n1.6,0316,1,7,R\n1.7,0316,3,T,,,\n")
    assert frames.is_remote_frame.tolist() == [True, False, True]
    assert frames.dlc.tolist() == [8, 1, 3]
    assert frames.bytes_used.tolist() == [0, 1, 0]
    assert frames.attack.tolist() == [False, False, True]


def test_labels_are_0_1_or_r_t(read):
    assert read("1.5,0316,1,07,R\n1.6,0316,1,07,T\n").attack.tolist() == [False, True]
    assert read("1.5,0316,1,07,0\n1.6,0316,1,07,1\n").attack.tolist() == [False, True]


def test_ids_and_payloads_that_look_like_numbers_stay_exact(read):
    frames = read(HEADER + "1,1E5,12E34567,0\n2,1e5,00000000,0\n3,007,1E10,0\n4,10,0001,0\n")
    assert frames.arbitration_id.tolist() == [0x1E5, 0x1E5, 7, 0x10]
    assert payloads(frames) == ["12e34567", "00000000", "1e10", "0001"]


@given(st.integers(0, 2**29 - 1), st.binary(max_size=8), st.booleans(), st.booleans())
def test_every_id_payload_and_label_survives(scratch, identifier, data, attack, upper):
    digits = f"{identifier:X},{data.hex().upper()}" if upper else f"{identifier:x},{data.hex()}"
    scratch.write_text(f"{HEADER}0.5,{digits},{attack:d}\n")
    frames = read_frames(scratch)
    assert frames.arbitration_id.tolist() == [identifier]
    assert frames.dlc.tolist() == [len(data)]
    assert payloads(frames) == [data.hex()]
    assert frames.attack.tolist() == [attack]


@given(st.lists(st.tuples(st.integers(0, 2**53 - 1), st.integers(5, 15)), min_size=1, max_size=9))
def test_timestamps_equal_pythons_float(scratch, numbers):
    texts = []
    for digits, places in numbers:
        whole, rest = divmod(digits, 10**places)
        texts.append(f"{whole}.{rest:0{places}d}" if places else str(whole))
    texts.sort(key=float)
    scratch.write_text(HEADER + "".join(f"{text},1A0,00,0\n" for text in texts))
    assert read_frames(scratch).timestamp.tolist() == [float(text) for text in texts]


def test_a_table_carries_can_fd_payloads(read):
    frames = read(HEADER + f"1,1A0,{'AB' * 64},0\n2,1A0,0102,0\n3,1A0,{'CD' * 12},0\n")
    assert frames.data.shape == (3, 64) and frames.dlc.tolist() == [64, 2, 12]
    assert payloads(frames) == ["ab" * 64, "0102", "cd" * 12]
    refused = read(
        HEADER + f"1,1A0,{'AB' * 65},0\n2,1A0,0102,0\n3,1A0,{'CD' * 9},0\n", strict=False
    )
    assert refused.data.shape == (1, 8) and refused.report.refused == 2


def test_r_is_a_remote_frame_and_eight_digits_are_29_bit(read):
    frames = read(HEADER + "1,000001A0,R8,0\n2,01A0,r,0\n3,1A0,00,0\n")
    assert frames.is_extended_id.tolist() == [True, False, False]
    assert frames.is_remote_frame.tolist() == [True, True, False]
    assert frames.dlc.tolist() == [8, 0, 1]


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


# rows that are none

BROKEN = {
    ("table", "too few fields"): ["0.5,1A0"],
    ("table", "timestamp"): [
        "nan,1A0,00FF,0", "inf,1A0,00FF,0", "-1.0,1A0,00FF,0", "noon,1A0,00FF,0",
        "1.2.3,1A0,00FF,0", "1e9,1A0,00FF,0", ",1A0,00FF,0", ".,1A0,00FF,0",
        "1513920254785.8,1A0,00FF,0", "1" * 19 + ",1A0,00FF,0",
    ],
    ("table", "arbitration ID"): [
        "0.5,1G0,00FF,0", "0.5,0x1A0,00FF,0", "0.5,,00FF,0", "0.5,20000000,00FF,0",
        "0.5,000000001,00FF,0",
    ],
    ("table", "payload"): ["0.5,1A0,00F,0", "0.5,1A0,00FX,0", "0.5,1A0,000102030405060708,0"],
    ("table", "label"): ["0.5,1A0,00FF,2", "0.5,1A0,00FF,attack", "0.5,1A0,00FF,"],
    ("table", "too many fields"): [
        "1,1A0,00,0,1", "1,1A0,00,0,,,x", "1,1A0,00,0" + "," * 30 + "x",
    ],
    ("hcrl", "too few fields"): ["1478198376.5,0316,8", "1478198376.5,0316"],
    ("hcrl", "DLC"): [
        "1478198376.5,0316,8,05,21", "1478198376.5,0316,8,05,21,R",
        "1478198376.5,0316,8,1,2,3,4,5,6,7,8,9,R", "1478198376.5,0316,9,1,2,3,4,5,6,7,8,R",
        "1478198376.5,0316,x,05,R", "1478198376.5,0316,1,05,R" + "," * 30 + "T",
    ],
    ("hcrl", "payload"): ["1478198376.5,0316,1,100,R", "1478198376.5,0316,1,0g,R"],
    ("hcrl", "label"): ["1478198376.5,0316,1,05,X"],
    ("spaced", "too few fields"): ["Timestamp: 1479121434.85  ID: 0350    000"],
    ("spaced", "DLC"): ["Timestamp: 1.5  ID: 0350 000 DLC: 8  05 28"],
    ("candump", "too few fields"): ["(1.5) can0", "(1.5) can0 1A0"],
    ("candump", "too many fields"): [
        "(1.5) can0 1A0#00 R R", "(1.5) can0 1A0#00 X", "(1.5) can0 1A0#00 RT",
    ],
    ("candump", "timestamp"): [
        "1.5 can0 1A0#00", "(1.5 can0 1A0#00", "(-1.5) can0 1A0#00", "() can0 1A0#00",
    ],
    ("candump", "arbitration ID"): [
        "(1.5) can0 01A0#00", "(1.5) can0 800#00", "(1.5) can0 #00", "(1.5) can0 40000000#00",
    ],
    ("candump", "payload"): [
        "(1.5) can0 1A0#0", "(1.5) can0 1A0#" + "00" * 12, "(1.5) can0 1A0#R9",
        "(1.5) can0 1A0##", "(1.5) can0 1A0##g00", "(1.5) can0 1A0##1R",
        "(1.5) can0 1A0##1" + "00" * 9, "(1.5) can0 20000080#0",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "about", "row"), [(*of, row) for of, rows in BROKEN.items() for row in rows]
)
def test_a_row_that_cannot_be_read_is_named(read, error_of, tmp_path, layout, about, row):
    text = {"table": TABLE, "hcrl": HCRL, "spaced": SPACED, "candump": CANDUMP}[layout]
    name = "bus.log" if layout == "candump" else "bus.csv"
    line = text.count("\n") + 2
    message = error_of(f"{text}\n{row}\n{row}\n", name)
    assert message.startswith(f"{tmp_path / name}:{line}: {row[:80]!r} has ")
    assert about in message.split(" has ")[1]
    rest = read(f"{text}\n{row}\n{row}\n", name, strict=False)
    assert rest.report.refused == 2 and same(rest, read(text, name))


def test_a_carriage_return_within_a_row_is_refused(read):
    with pytest.raises(ValueError, match=r"bus.csv:3: "):
        read(HEADER + "1,1A0,00,0\n2,1A0,00,0\r3,1A0,00,0\n4,1A0,00,0\n")


def test_a_row_behind_a_header_that_ends_in_a_carriage_return_is_not_lost(read):
    with pytest.raises(ValueError, match=r"bus.csv:1: the columns 'timestamp,.*0' are not known"):
        read(HEADER.strip() + "\r1,1A0,00,0\n2,1A0,00,0\n")


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


@pytest.mark.parametrize(
    "first",
    ["time,id,data", "timestamp,arbitration_id", "(1.5) can0 123#00FF", "0.5", "Date: 1 ID: 2"],
)
def test_unknown_columns_are_shown_beside_the_known(error_of, first):
    message = error_of(first + "\n1,2,3\n")
    assert f"bus.csv:1: the columns {first!r}" in message
    assert "expected timestamp,arbitration_id,data_field,attack" in message


def test_a_refused_row_leaves_nothing_in_the_next(read):
    frames = read("1,0316,2,ff,ff,X\n2,0316,4,R\n3,0316,1,zz,R\n4,0316,0,R\n", strict=False)
    assert frames.data.sum() == 0 and frames.is_remote_frame.tolist() == [True, False]
    assert frames.report.refused == 2


def test_padded_payloads_are_counted(read):
    assert read("1,02b0,1,ff,7f,R\n2,02b0,1,ff,R\n3,02b0,0,1,2,T\n").report.padded == 2


def test_a_broken_first_line_does_not_hide_the_layout(read):
    frames = read("\0\0broken\n" + HCRL, strict=False)
    assert (len(frames), frames.report.refused) == (3, 1)


def test_many_parts_are_read_as_one(read):
    rows = [f"{i / 1000:.3f},{i % 2048:03X},{i:016X},{i % 2}" for i in range(100_000)]
    text = HEADER + "\n".join(rows)
    frames = read(text)
    assert frames.timestamp.tolist() == [i / 1000 for i in range(100_000)]
    assert (frames.data.view(">u8")[:, 0] == np.arange(100_000)).all()
    rows[90_000], rows[95_000] = "", "broken"
    part = read(HEADER + "\n".join(rows), strict=False)
    assert len(part) == 99_998 and part.report.refused == 1
    assert "bus.csv:95002: 'broken'" in part.report.first_refused[0]


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
    path = scratch.with_name("bus.log")
    with can.CanutilsLogWriter(path) as log:
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
    with can.CanutilsLogReader(path) as log:
        messages = [*log]
    kept = [m for m in messages if not m.is_error_frame]
    expected = Frames.in_order(**columns_of(kept))
    frames = read_frames(path)
    assert frames.sha256() == expected.sha256()
    assert frames.report.error_frames == len(messages) - len(kept)
