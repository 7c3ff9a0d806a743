"""Every row of a text log is read or named: the layouts, their oddities, and one-line errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import CANDUMP, HCRL, HEADER, SPACED, TABLE, rows_of, same

from cangraph.frames import ATTACK_TYPES
from cangraph.io import rows as matcher
from cangraph.io.dialects import DIALECTS
from cangraph.io.readers import LogFile, read_frames

# dialects


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_the_row_that_stands_for_a_dialect_is_one(dialect):
    if dialect.header:
        pytest.skip("the header of a table")
    head = ";$COLUMNS=N,O,T,I,d,l,D"
    patterns = dialect.frames(head) if callable(dialect.frames) else dialect.frames
    program = matcher.compiled([(p, matcher.FRAME) for p in patterns], dialect.separator)
    found = matcher.read_rows(dialect.example.encode(), 0, program)
    assert len(found.columns["data"]) == 1 and found.columns["dlc"][0] > 0


def test_names_of_dialects_are_distinct():
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)


def test_a_table_is_read_column_by_column(read):
    frames = read(TABLE, attack_type="fuzzing", scenario="s", vehicle="v")
    assert frames.timestamp.tolist() == [0.5, 1.25, 1.5]
    assert rows_of(frames) == ["1a0#00ff T", "7ff#", "1c3e5a7x#0102030405060708"]
    assert frames.data[0].tolist() == [0, 255, 0, 0, 0, 0, 0, 0]
    assert [ATTACK_TYPES[code] for code in frames.attack_type] == ["fuzzing", "benign", "benign"]
    assert (frames.name, frames.scenario, frames.vehicle) == ("bus", "s", "v")


ROWS = {
    "HCRL": (HCRL, ["316#052168092121006f", "18f#fe5b T", "260#"]),
    "spaced": (SPACED, ["350#052884666d0000a2", "2c0#14ff", "430#R8"]),
    "bytes past the DLC were never on the bus": (
        "1.5,02b0,5,ff,7f,00,05,49,11,22,33,R\n1.5,02b0,0,11,22,33,44,55,66,77,88,T\n",
        ["2b0#ff7f000549", "2b0# T"],
    ),
    "a remote frame has a DLC and no data": (
        "1.5,0316,8,R\n1.6,0316,1,07,R\n1.7,0316,3,T,,,\n", ["316#R8", "316#07", "316#R3 T"],
    ),
    "labels R and T": ("1.5,0316,1,07,R\n1.6,0316,1,07,T\n", ["316#07", "316#07 T"]),
    "labels 0 and 1": ("1.5,0316,1,07,0\n1.6,0316,1,07,1\n", ["316#07", "316#07 T"]),
    "no labels": ("timestamp,arbitration_id,data_field\n0.5,1A0,00FF\n", ["1a0#00ff"]),
    "what looks like a number stays exact": (
        HEADER + "1,1E5,12E34567,0\n2,1e5,00000000,0\n3,007,1E10,0\n4,10,0001,0\n",
        ["1e5#12e34567", "1e5#00000000", "7#1e10", "10#0001"],
    ),
    "R is a remote frame, eight digits are 29 bit": (
        HEADER + "1,000001A0,R8,0\n2,01A0,r,0\n3,1A0,00,0\n", ["1a0x#R8", "1a0#R0", "1a0#00"],
    ),
    "blanks between bytes, as in HCRL's Survival set": (
        "1,0316,8,05 22 68 09 22 20 00 75\n2,02b0,2, ff  7f \n3,02b0,0,\n",
        ["316#0522680922200075", "2b0#ff7f", "2b0#"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("text, rows", ROWS.values(), ids=ROWS)
def test_rows_are_read(read, text, rows):
    frames = read(text)
    assert rows_of(frames) == rows
    assert not frames.data[np.arange(8) >= frames.bytes_used[:, None]].any()


def test_payloads_of_can_fd_widen_the_data(read):
    rows = f"1,1A0,{'AB' * 64},0\n2,1A0,0102,0\n3,1A0,{'CD' * 12},0\n"
    frames = read(HEADER + rows)
    assert frames.data.shape == (3, 64)
    assert rows_of(frames) == ["1a0#" + "ab" * 64, "1a0#0102", "1a0#" + "cd" * 12]
    refused = read(
        HEADER + "4,1A0,0102,0\n" + rows.split("3,")[0].replace("B,", "BFF,"), strict=False
    )
    assert refused.data.shape == (2, 8) and refused.report.refused == 1


def test_the_columns_of_a_table_may_stand_in_any_order(read):
    shuffled = "Attack, data_field ,TIMESTAMP,arbitration_id\n1,00FF,0.5,1A0\n"
    assert same(read(shuffled), read(HEADER + "0.5,1A0,00FF,1\n"))


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


@given(st.integers(0, 2**29 - 1), st.binary(max_size=8), st.booleans(), st.booleans())
def test_every_id_payload_and_label_survives(scratch, identifier, data, attack, upper):
    digits = f"{identifier:x},{data.hex()}"
    scratch.write_text(f"{HEADER}0.5,{digits.upper() if upper else digits},{attack:d}\n")
    frames = read_frames(scratch)
    extended = "x" * (identifier > 0x7FF or len(f"{identifier:x}") == 8)
    assert rows_of(frames) == [f"{identifier:x}{extended}#{data.hex()}{' T' * attack}"]


@given(st.lists(st.tuples(st.integers(0, 2**53 - 1), st.integers(5, 15)), min_size=1, max_size=9))
def test_timestamps_equal_pythons_float(scratch, numbers):
    split = [(*divmod(digits, 10**places), places) for digits, places in numbers]
    texts = sorted((f"{whole}.{rest:0{n}d}" for whole, rest, n in split), key=float)
    scratch.write_text(HEADER + "".join(f"{text},1A0,00,0\n" for text in texts))
    assert read_frames(scratch).timestamp.tolist() == [float(text) for text in texts]


# labels


def test_a_row_without_label_is_refused_where_others_have_one(read):
    rows = "1,0316,2,05,21,R\n2,0316,2,05,21\n4,0316,2,05,21,T\n5,0316,8,R\n"
    with pytest.raises(ValueError, match=r"bus.csv:2: '2,0316,2,05,21' has too few fields"):
        read(rows)
    frames = read(rows, strict=False)
    assert frames.timestamp.tolist() == [1, 4, 5] and frames.report.refused == 1
    assert rows_of(frames) == ["316#0521", "316#0521 T", "316#R8"]


def test_a_label_is_refused_where_the_first_rows_have_none(read):
    rows = [f"{i / 1000:.3f},0316,2,05,21" for i in range(300)]  # more than tell the layout
    frames = read("\n".join(rows))
    assert len(frames) == 300 and not frames.attack.any()
    rows[250] += ",1"
    with pytest.raises(ValueError, match=r"bus.csv:251: .* has too many fields"):
        read("\n".join(rows))


# rows that are none

BROKEN = {
    ("table", "too few fields"): ["0.5,1A0", "0.5,1A0,00FF,"],
    ("table", "timestamp"): [
        "nan,1A0,00FF,0", "inf,1A0,00FF,0", "-1.0,1A0,00FF,0", "noon,1A0,00FF,0",
        "1.2.3,1A0,00FF,0", "1e999,1A0,00FF,0", ",1A0,00FF,0", ".,1A0,00FF,0",
        "1513920254785.8,1A0,00FF,0", "1" * 19 + ",1A0,00FF,0",
    ],
    ("table", "arbitration ID"): [
        "0.5,1G0,00FF,0", "0.5,0x,00FF,0", "0.5,,00FF,0", "0.5,20000000,00FF,0",
        "0.5,000000001,00FF,0",
    ],
    ("table", "payload"): ["0.5,1A0,00F,0", "0.5,1A0,00FX,0", "0.5,1A0,000102030405060708,0"],
    ("table", "label"): ["0.5,1A0,00FF,2", "0.5,1A0,00FF,perhaps"],
    ("table", "too many fields"): [
        "1,1A0,00,0,1", "1,1A0,00,0,,,x", "1,1A0,00,0" + "," * 30 + "x",
    ],
    ("hcrl", "too few fields"): ["1478198376.5,0316,8", "1478198376.5,0316"],
    ("hcrl", "DLC"): [
        "1478198376.5,0316,8,05,21", "1478198376.5,0316,8,05,21,R",
        "1478198376.5,0316,8,01,02,03,04,05,06,07,08,09,R", "1478198376.5,0316,x,05,R",
        "1478198376.5,0316,16,01,02,R",
    ],
    ("hcrl", "too many fields"): ["1478198376.5,0316,1,05,R" + "," * 30 + "T"],
    ("hcrl", "label"): [
        "1478198376.5,0316,1,05,X", "1478198376.5,0316,1,100,R", "1478198376.5,0316,1,0g,R",
    ],
    ("spaced", "too few fields"): ["Timestamp: 1479121434.85  ID: 0350    000"],
    ("spaced", "DLC"): ["Timestamp: 1.5  ID: 0350 000 DLC: 8  05 28"],
    ("candump", "too few fields"): ["(1.5) can0", "(1.5) can0 1A0", "(1.5) can0 1A0##"],
    ("candump", "too many fields"): [
        "(1.5) can0 1A0##1R",
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
        "(1.5) can0 1A0##g00",
        "(1.5) can0 1A0##1" + "00" * 9, "(1.5) can0 20000080#0",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "about", "row"), [(*of, row) for of, rows in BROKEN.items() for row in rows]
)
def test_a_row_that_cannot_be_read_is_named(read, error_of, tmp_path, layout, about, row):
    text = {"table": TABLE, "hcrl": HCRL, "spaced": SPACED, "candump": CANDUMP}[layout]
    name = "bus.log" if layout == "candump" else "bus.csv"
    head = HEADER if layout == "table" else ""
    text = head + text.removeprefix(head) * 70  # so that two rows are less than one in a hundred
    line = text.count("\n") + 2
    message = error_of(f"{text}\n{row}\n{row}\n", name)
    assert message.startswith(f"{tmp_path / name}:{line}: {row[:80]!r} has ")
    assert about in message.split(" has ")[1]
    rest = read(f"{text}\n{row}\n{row}\n", name, strict=False)
    assert rest.report.refused == 2 and same(rest, read(text, name))


def test_a_carriage_return_within_a_line_is_refused(error_of):
    row = HEADER + "1,1A0,00,0\n2,1A0,00,0\r3,1A0,00,0\n"
    assert "bus.csv:3: " in error_of(row)
    assert "bus.csv:1: " in error_of(HEADER.strip() + "\r1,1A0,00,0\n")


@pytest.mark.parametrize("text", [TABLE, HCRL, SPACED, CANDUMP])
def test_lines_may_end_in_a_carriage_return_alone(read, text):
    assert same(read(text.replace("\n", "\r")), read(text))


UNKNOWN = "alpha,beta,gamma", "timestamp,arbitration_id", "0.5", "Date: 1 ID: 2"


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("first", UNKNOWN)
def test_what_is_unknown_is_shown_with_the_call_that_names_its_columns(error_of, first, strict):
    message = error_of(first + "\n1,2\n3,4\n", strict=strict)
    assert f"bus.csv:1: '{first}'" in message or "the columns timestamp, arbitration_id" in message
    assert ("read_frames('bus.csv', columns=" in message) == ("," in first)


def test_a_refused_row_leaves_nothing_in_the_next(read):
    frames = read("1,0316,2,ff,ff,X\n2,0316,4,R\n4,0316,0,R\n", strict=False)
    assert frames.data.sum() == 0 and frames.is_remote_frame.tolist() == [True, False]
    assert frames.report.refused == 1


def test_padded_payloads_are_counted(read):
    assert read("1,02b0,1,ff,7f,R\n2,02b0,1,ff,R\n3,02b0,0,01,02,T\n").report.padded == 2


def test_a_broken_first_line_does_not_hide_the_layout(read):
    assert read("\0\0broken\n" + HCRL, strict=False).report[:5] == (4, 0, 0, 0, 1)


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
    "(1.5) can0 1A0#00FF": (1.5, "1a0#00ff"),
    "(1.5)  vcan0\t001a0000# T": (1.5, "1a0000x#"),
    "(1.5) can0 1A0#R": (1.5, "1a0#R0"),
    "(1.5) 0 000001A0#r8 r": (1.5, "1a0x#R8"),
    "(1436509052.249713) can0 1A0##3" + "AB" * 64: (1436509052.249713, "1a0#" + "ab" * 64),
    "(1.5) can0 7FF##0": (1.5, "7ff#"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_candump_line_is_read(read, line):
    frames = read(line + "\r\n", "bus.log")
    assert (frames.timestamp[0], *rows_of(frames)) == LINES[line]


def test_error_frames_of_candump_are_counted(read):
    text = "(1.4) can0 20000088#0000000000000000\n(1.5) can0 1A0#00\n(1.6) can0 20000080# R\n"
    assert read(text, "bus.log").report[:5] == (3, 0, 0, 2, 0)


# oddities of dialects

ROW = "1  100   Rx   d 1"
ODD = {
    "blocks that begin anew, with dates": (
        "base hex  timestamps absolute\nBegin Triggerblock Mit Jan 15 10:30:00.000 2026\n"
        f" 0.01 {ROW} 01\n 0.02 {ROW} 02\nEnd Triggerblock\n"
        f"Begin Triggerblock Mit Jan 15 10:31:00.500 2026\n 0.01 {ROW} 03\n 0.02 {ROW} 04\n",
        [0.01, 0.02, 60.51, 60.52],
    ),
    "blocks that begin anew, without": (
        f"base hex\nBegin Triggerblock\n 1.0 {ROW} 01\n 2.0 {ROW} 02\n"
        f"Begin Triggerblock\n 0.5 {ROW} 03\n", [1.0, 2.0, 2.5],
    ),
    "blocks that go on": (
        "base hex\nBegin Triggerblock Wed Jan 15 10:30:00.000 am 2026\n"
        f" 1.0 {ROW} 01\nBegin Triggerblock Wed Jan 15 11:30:00.000 am 2026\n 7.5 {ROW} 03\n",
        [1.0, 7.5],
    ),
    "a date that no calendar has": (
        f"base hex\nBegin Triggerblock Mit Feb {'9' * 20} 10:30:00.000 2026\n 1.0 {ROW} 01\n",
        [1.0],
    ),
    "a beginning that is no number": (
        ";$FILEVERSION=2.0\n;$STARTTIME=44363.66407.682\n;$COLUMNS=N,O,T,I,d,l,D\n"
        " 1 1000.0 DT 0300 Rx 1 00\n", [1.0],
    ),
    "past midnight": (
        "23:59:59.900 R 15FD0723 01\n00:00:00.100 R 15FD0723 02\n", [86399.9, 86400.1],
    ),
    "a timer of 16 bit": ("t1000EA5F\nt10000001\nt10000005\n", [59.999, 60.001, 60.005]),
    "differences": (
        "***RELATIVE MODE***\n00:00:00:0010 Rx 1 0x023 s 1 40\n00:00:00:0020 Rx 1 0x023 s 1 41\n",
        [0.001, 0.003],
    ),
    "candump -td": (
        "".join(f" (000.{i * 3 % 7 + 1:03d}000)  can0  1A0   [1]  00\n" for i in range(9)),
        np.cumsum([i * 3 % 7 + 1 for i in range(9)]) / 1000,
    ),
    "other time zones": (
        "timestamp,id,data\n1970-01-01T01:00:01.5+01:00,1A0,00\n1970-01-01 00:00:02.5Z,1A0,00\n",
        [1.5, 2.5],
    ),
    "scientific, as pandas writes": (
        "timestamp,id,data\n9e-06,1A0,\"\"\n1.5e+1,1A0,00\n", [9e-6, 15],
    ),
}  # fmt: skip


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize(("text", "times"), ODD.values(), ids=ODD)
def test_times_are_those_of_the_bus(read, tmp_path, text, times, size):
    whole = read(text)
    assert whole.timestamp.tolist() == pytest.approx(list(times), abs=1e-9)
    if size:
        chunks = LogFile(tmp_path / "bus.csv").chunks(size)
        assert [c.timestamp[0] for c in chunks] == whole.timestamp.tolist()


@pytest.mark.parametrize("said", ["CAN 1 Status:chip status error active", "1  Statistic: D 1 R 0",
                                  "1  J1939TP FEE3p 6 0 0 - Rx d 23", "Start der Messung",
                                  "Li 1  3c Rx 8 01", "SV: 2 0 1 ::Sys::Var = 5"])  # fmt: skip
def test_what_a_recorder_says_is_no_frame_and_counted(read, said):
    frames = read(f" 1.0 {ROW} 29\n 1.05 {said}\n 1.1 {ROW} 2A\n")
    assert len(frames) == 2 and frames.report[3:5] == (0, 0) and frames.report.others == 1


def test_what_was_asked_to_be_sent_is_no_second_frame(read):
    text = " 1.0 1  69E  TxRq d 1 29\n 1.1 1  69E  Tx   d 1 29\n 1.2 1  69E  Rx   d 1 29\n"
    frames = read(text)
    assert frames.timestamp.tolist() == [1.1, 1.2] and frames.report.others == 1


def test_a_bus_has_one_code_in_all_parts_and_chunks(read, tmp_path):
    rows = [f"({i / 1000:.3f}) can{i // 60_000} 1A0#{i % 256:02X}\n" for i in range(180_000)]
    frames = read("".join(rows), "bus.log")
    assert frames.bus_names == ("can0", "can1", "can2")
    assert [len(part) for part in frames.by_bus().values()] == [60_000] * 3
    chunks = [*LogFile(tmp_path / "bus.log").chunks(50_000)]
    assert np.array_equal(np.concatenate([c.bus for c in chunks]), frames.bus)
    with pytest.raises(ValueError, match=r"bus.log:17: .* has a bus that is not known"):
        read("".join(f"({i}.5) can{i} 1A0#00\n" for i in range(17)), "bus.log")
