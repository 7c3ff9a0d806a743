"""Every row of a log is read or named: three layouts, their oddities, and one-line errors."""

import gzip
import hashlib
import lzma
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cangraph.frames import ATTACK_TYPES, Frames, ReadReport
from cangraph.io.readers import LogFile, read_frames
from cangraph.io.writers import write_frames

HEADER = "timestamp,arbitration_id,data_field,attack\n"
TABLE = HEADER + "0.5,1A0,00FF,1\n1.25,7ff,,0\n1.5,1C3E5A7,0102030405060708,0\n"
HCRL = (
    "1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R\n"
    "1478198376.389636,018f,2,fe,5b,T\n"
    "1478198376.389864,0260,0,R\n"
)
SPACED = (
    "Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2\n"
    "Timestamp: 1479121434.850423        ID: 02c0    000    DLC: 2    14 ff\n"
    "Timestamp: 1479121434.850977        ID: 0430    100    DLC: 8\n"
)
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda raw: zstandard.ZstdCompressor().compress(raw),
    ".xz": lzma.compress,
}


@pytest.fixture
def read(tmp_path):
    """Reads text or bytes as a log of that name."""

    def of(content, name="bus.csv", **where):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_frames(path, **where)

    return of


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One file that the examples of a property overwrite."""
    return tmp_path_factory.mktemp("scratch") / "bus.csv"


def payloads(frames):
    used = zip(frames.data, frames.dlc, strict=True)
    return [bytes(row[:dlc]).hex() for row, dlc in used]


def same(one, two):
    return one.sha256() == two.sha256()


# layouts


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


def test_a_table_without_labels_is_benign(read):
    frames = read("timestamp,arbitration_id,data_field\n0.5,1A0,00FF\n")
    assert frames.attack.tolist() == [False]


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


@pytest.mark.parametrize("packed", PACK)
def test_a_packed_file_reads_as_the_plain_one(read, packed):
    frames = read(PACK[packed](TABLE.encode()), f"bus.csv{packed}")
    assert same(frames, read(TABLE))
    assert frames.name == "bus"


def test_parquet_reads_as_the_table_it_holds(tmp_path, read):
    table = HEADER + "0.5,1E5,12E34567,1\n1513920254.785861,7ff,0102030405060708,0\n"
    path = tmp_path / "bus.parquet"
    as_text = {"arbitration_id": pl.String, "data_field": pl.String}
    pl.read_csv(table.encode(), schema_overrides=as_text).write_parquet(path)
    assert same(read_frames(path), read(table))


def test_parquet_that_is_none_is_refused(read):
    assert "bus.parquet: cannot be unpacked" in error_of(read, b"PAR1" * 9, "bus.parquet")


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


def test_timestamps_may_step_back(read):
    frames = read(HEADER + "3,1,,0\n1,2,,0\n2,3,,0\n2,4,,1\n1,5,,0\n")
    assert frames.timestamp.tolist() == [1, 1, 2, 2, 3]
    assert frames.arbitration_id.tolist() == [2, 5, 3, 4, 1]
    assert frames.attack.tolist() == [False, False, False, True, False]
    assert frames.report.reordered == 2


# errors


def error_of(read, content, name="bus.csv"):
    with pytest.raises(ValueError) as caught:
        read(content, name)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, "one line"
    return message


ROWS = {
    "no fields behind the ID": ("0.5,1A0", "too few fields", "table"),
    "timestamp nan": ("nan,1A0,00FF,0", "timestamp", "table"),
    "timestamp inf": ("inf,1A0,00FF,0", "timestamp", "table"),
    "timestamp negative": ("-1.0,1A0,00FF,0", "timestamp", "table"),
    "timestamp as text": ("noon,1A0,00FF,0", "timestamp", "table"),
    "timestamp with two points": ("1.2.3,1A0,00FF,0", "timestamp", "table"),
    "timestamp with an exponent": ("1e9,1A0,00FF,0", "timestamp", "table"),
    "timestamp empty": (",1A0,00FF,0", "timestamp", "table"),
    "timestamp of only a point": (".,1A0,00FF,0", "timestamp", "table"),
    "timestamp in milliseconds": ("1513920254785.8,1A0,00FF,0", "timestamp", "table"),
    "timestamp without end": ("1" * 19 + ",1A0,00FF,0", "timestamp", "table"),
    "ID not hexadecimal": ("0.5,1G0,00FF,0", "arbitration ID", "table"),
    "ID with 0x": ("0.5,0x1A0,00FF,0", "arbitration ID", "table"),
    "ID empty": ("0.5,,00FF,0", "arbitration ID", "table"),
    "ID over 29 bit": ("0.5,20000000,00FF,0", "arbitration ID", "table"),
    "ID of nine digits": ("0.5,000000001,00FF,0", "arbitration ID", "table"),
    "payload of odd length": ("0.5,1A0,00F,0", "payload", "table"),
    "payload not hexadecimal": ("0.5,1A0,00FX,0", "payload", "table"),
    "payload of nine bytes": ("0.5,1A0,000102030405060708,0", "payload", "table"),
    "label unknown": ("0.5,1A0,00FF,2", "label", "table"),
    "label as a word": ("0.5,1A0,00FF,attack", "label", "table"),
    "label empty": ("0.5,1A0,00FF,", "label", "table"),
    "row cut behind the DLC": ("1478198376.5,0316,8", "too few fields", "hcrl"),
    "row cut behind the ID": ("1478198376.5,0316", "too few fields", "hcrl"),
    "row cut in the payload": ("1478198376.5,0316,8,05,21", "DLC", "hcrl"),
    "fewer bytes than the DLC": ("1478198376.5,0316,8,05,21,R", "DLC", "hcrl"),
    "more than 8 bytes": ("1478198376.5,0316,8,1,2,3,4,5,6,7,8,9,R", "DLC", "hcrl"),
    "DLC over 8": ("1478198376.5,0316,9,1,2,3,4,5,6,7,8,R", "DLC", "hcrl"),
    "DLC not a number": ("1478198376.5,0316,x,05,R", "DLC", "hcrl"),
    "byte over 255": ("1478198376.5,0316,1,100,R", "payload", "hcrl"),
    "byte not hexadecimal": ("1478198376.5,0316,1,0g,R", "payload", "hcrl"),
    "flag unknown": ("1478198376.5,0316,1,05,X", "label", "hcrl"),
    "line cut": ("Timestamp: 1479121434.85  ID: 0350    000", "too few fields", "spaced"),
    "bytes missing": ("Timestamp: 1.5  ID: 0350 000 DLC: 8  05 28", "DLC", "spaced"),
}


@pytest.mark.parametrize("row, about, layout", ROWS.values(), ids=ROWS)
def test_a_row_that_cannot_be_read_is_named(read, tmp_path, row, about, layout):
    before = {"table": TABLE, "hcrl": HCRL, "spaced": SPACED}[layout]
    line = before.count("\n") + 1
    message = error_of(read, f"{before}{row}\n{row}\n")
    assert message.startswith(f"{tmp_path / 'bus.csv'}:{line}: {row[:80]!r} has ")
    assert about in message.split(" has ")[1]
    assert message.endswith("; mend or delete the line")


def test_blank_lines_count_in_the_line_of_an_error(read):
    message = error_of(read, HEADER + "\n0.5,1A0,00,0\n\r\n\n0.6,1A0,0,0")
    assert "bus.csv:6: '0.6,1A0,0,0' has a payload" in message


def test_the_first_of_several_faults_is_named(read):
    assert "bus.csv:3" in error_of(read, HEADER + "1,1A0,00,0\n2,1A0,0,0\n1,XYZ,00,0\n")


@pytest.mark.parametrize("content", ["", "\n", " \r\n\n", "\ufeff", ",,,\n"])
def test_an_empty_file_is_refused(read, content):
    assert re.search(r"bus\.csv: the file is empty; .*download it again", error_of(read, content))


@pytest.mark.parametrize("content", [HEADER, HEADER.strip(), "\ufeff" + HEADER + "\n\n"])
def test_a_header_alone_is_refused(read, content):
    assert "bus.csv: a header and no rows; expected" in error_of(read, content)


@pytest.mark.parametrize(
    "first",
    ["time,id,data", "timestamp,arbitration_id", "(1.5) can0 123#00FF", "0.5", "Date: 1 ID: 2"],
)
def test_unknown_columns_are_shown_beside_the_known(read, first):
    message = error_of(read, first + "\n1,2,3\n")
    assert f"bus.csv:1: the columns {first!r}" in message
    assert "expected timestamp,arbitration_id,data_field,attack" in message


@pytest.mark.parametrize("name", ["bus.lg", "bus.gz", "bus", "bus.csv.zip", "bus.ascii.zst"])
def test_an_unknown_ending_names_the_known(read, name):
    message = error_of(read, TABLE, name)
    assert f"{name}: the ending is not known; expected .csv or .txt" in message
    assert "can_logconvert" in message


@pytest.mark.parametrize("packed", [".gz", ".zst", ".xz"])
def test_a_broken_package_is_refused(read, packed):
    whole = PACK[packed](TABLE.encode() * 50)
    for broken in (TABLE.encode(), whole[: len(whole) // 2], whole[:20] + b"\0\0" + whole[22:]):
        message = error_of(read, broken, f"bus.csv{packed}")
        assert f"bus.csv{packed}: " in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.csv: there is no such file.*check the path"):
        read_frames(tmp_path / "no.csv")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_frames(tmp_path)


# leniently


@pytest.mark.parametrize("packed", PACK)
def test_a_lenient_reader_returns_the_rest_and_counts(read, tmp_path, packed):
    rows = [
        "3,1A0,00FF,1",
        "nan,1A0,00FF,0",
        "",
        "1,7FF,0011,0",
        "inf,1A0,00FF,0",
        "2,1A0,0,0",
        "2.5,20000000,00,0",
        "2.5",
    ]
    frames = read(
        PACK[packed]((HEADER + "\n".join(rows)).encode()), f"bus.csv{packed}", strict=False
    )
    assert frames.timestamp.tolist() == [1, 3]
    assert payloads(frames) == ["0011", "00ff"]
    report = frames.report
    assert report[:5] == (7, 1, 0, 0, 5)
    lines = [re.match(r".*bus[.a-z]*:(\d+): '(.*)' has", m) for m in report.first_refused]
    assert [(int(m[1]), m[2]) for m in lines] == [
        (3, rows[1]),
        (7, rows[5]),
        (8, rows[6]),
        (9, rows[7]),
    ]
    assert (frames.info.refused, frames.info.reordered) == (5, 1)


def test_a_refused_row_leaves_nothing_in_the_next(read):
    frames = read("1,0316,2,ff,ff,X\n2,0316,4,R\n3,0316,1,zz,R\n4,0316,0,R\n", strict=False)
    assert frames.data.sum() == 0 and frames.is_remote_frame.tolist() == [True, False]
    assert frames.report.refused == 2


def test_padded_payloads_are_counted(read):
    assert read("1,02b0,1,ff,7f,R\n2,02b0,1,ff,R\n3,02b0,0,1,2,T\n").report.padded == 2


def test_a_broken_first_line_does_not_hide_the_layout(read):
    frames = read("\0\0broken\n" + HCRL, strict=False)
    assert (len(frames), frames.report.refused) == (3, 1)


def test_a_file_without_a_readable_row_is_refused_leniently_too(read):
    with pytest.raises(ValueError, match=r"bus.csv:2: .*; no other of the 2 rows can be read eith"):
        read(HEADER + "nan,1A0,00FF,0\n-1,1A0,00FF,0\n", strict=False)


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


# CAN FD, remote frames and 29-bit IDs in a table


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


# in chunks

FAULTY = {
    ".csv": ("{t:.3f},{i:03X},{d},{a:d}", ["{t:.3f},{i:03X},{d}x,0", "", "nan,1A0,00,0", "1,2"]),
    ".hcrl.csv": ("{t:.3f},{i:04x},2,{h},{f}", ["{t:.3f},0316,8,R", "{t:.3f},0316,1,0,1,R", "x,"]),
    ".txt": (
        "Timestamp: {t:.6f}  ID: {i:04x}    000    DLC: 2    {b}",
        ["Timestamp: {t:.6f} ID: 0350 100 DLC: 8", "Timestamp:", "\r"],
    ),
    ".log": (
        "({t:.6f}) can0 {i:03X}#{d} R",
        ["({t:.6f}) can0 20000080#", "({t:.6f}) can0 1A0#R4", "()",
         "({t:.6f}) can0 1A0##1" + "AB" * 12],
    ),
}  # fmt: skip


def faulty(ending, seed, rows):
    """A log with odd rows and faults among its rows, and times that step back by up to 9 s."""
    rng = np.random.default_rng(seed)
    row, odd = FAULTY[ending]
    lines = [] if ending != ".csv" else [HEADER.strip()]
    time = 100 + np.arange(rows) * 0.05 - 9 * (rng.random(rows) < 0.1) * rng.random(rows)
    time[rng.random(rows) < 0.1] = 105.0  # ties, some of them far apart
    time = np.maximum(time, np.maximum.accumulate(time) - 9.5).round(3)
    for i, t in enumerate(time.tolist()):
        form = odd[rng.integers(len(odd))] if i > 5 and rng.random() < 0.05 else row
        data = f"{i % 256:02X}{i % 7:02X}"
        attack = bool(rng.random() < 0.2)
        listed = {"h": f"{data[:2]},{data[2:]}", "b": f"{data[:2]} {data[2:]}", "f": "RT"[attack]}
        lines.append(form.format(t=t, i=i % 2048, d=data, a=attack, **listed))
    return "\n".join(lines).encode()


def joined(chunks):
    """The frames of all chunks, and the sum of their reports."""
    width = max(c.data.shape[1] for c in chunks)
    columns = ("timestamp", "arbitration_id", "dlc", "is_extended_id", "is_remote_frame",
               "attack", "attack_type")  # fmt: skip
    whole = {column: np.concatenate([getattr(c, column) for c in chunks]) for column in columns}
    pad = [np.pad(c.data, ((0, 0), (0, width - c.data.shape[1]))) for c in chunks]
    reports = zip(*(c.report for c in chunks), strict=True)
    return Frames(**whole, data=np.concatenate(pad)), ReadReport(
        *(sum(part, () if isinstance(part[0], tuple) else 0) for part in reports)
    )


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("ending", FAULTY)
@given(seed=st.integers(0, 9), rows=st.integers(1, 1500), size=st.integers(1, 2000))
@settings(max_examples=12)
def test_chunks_in_a_row_are_the_file(scratch, ending, packed, seed, rows, size):
    path = scratch.with_name(f"bus{ending}{packed}")
    path.write_bytes(PACK[packed](faulty(ending, seed, rows)))
    whole = read_frames(path, strict=False, attack_type="fuzzing", vehicle="v")
    log = LogFile(path, strict=False, attack_type="fuzzing", vehicle="v")
    chunks = [*log.chunks(size)]
    assert [len(c) for c in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert all(c.report.rows == len(c) + c.report.error_frames + c.report.refused for c in chunks)
    assert all((c.name, c.vehicle) == ("bus", "v") for c in chunks)
    frames, report = joined(chunks)
    assert same(frames, whole)
    assert report == whole.report


@pytest.mark.parametrize("ending", [".parquet", ".parquet.gz", ".blf", ".asc", ".db"])
@pytest.mark.parametrize("size", [1, 64, 299, 10_000])
def test_chunks_of_other_formats_in_a_row_are_the_file(tmp_path, clean, ending, size):
    path = tmp_path / f"bus{ending}"
    frames = clean[:300]
    if ending == ".db":
        with closing(sqlite3.connect(path)) as base:
            base.execute("CREATE TABLE messages (ts, id, extended, remote, error, dlc, data)")
            rows = zip(frames.timestamp.tolist(), frames.arbitration_id.tolist(), frames.data,
                       strict=True)  # fmt: skip
            rows = [(time, i, 0, 0, 0, 8, row.tobytes()) for time, i, row in rows]
            base.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            base.commit()
    else:
        write_frames(frames, tmp_path / f"bus{ending.removesuffix('.gz')}")
    if ending.endswith(".gz"):
        path.write_bytes(gzip.compress((tmp_path / "bus.parquet").read_bytes()))
    whole, chunks = read_frames(path), [*LogFile(path).chunks(size)]
    assert [len(c) for c in chunks] == [*[size] * (300 // size), *[300 % size] * (300 % size > 0)]
    assert same(joined(chunks)[0], whole) and joined(chunks)[1] == whole.report


def test_a_log_that_steps_back_too_far_is_refused_in_chunks(tmp_path):
    path = tmp_path / "bus.csv"
    rows = [f"{100 + i / 10:.1f},1A0,00,0" for i in range(300)]
    path.write_text(HEADER + "\n".join([*rows, "119.8,1A0,00,0"]))
    message = (
        r"bus.csv: a row at 119.8.* s comes behind one at 129.9.* s; expected steps back .* 10 s"
    )
    for size in (1, 100, 1000):
        with pytest.raises(ValueError, match=message + ".*read_frames, or sort it"):
            [*LogFile(path).chunks(size)]
    assert read_frames(path).report.reordered == 1
    path.write_text(HEADER + "\n".join([*rows, "119.9,1A0,00,0"]))
    assert same(joined([*LogFile(path).chunks(7)])[0], read_frames(path))


def test_chunks_are_refused_as_the_file_is(tmp_path):
    path = tmp_path / "bus.csv"
    for content in ("", HEADER, "x,y\n", HEADER + "nan,1A0,00,0\n" * 500, "\n" * 9000 + HEADER):
        path.write_text(content)
        for strict in (True, False):
            with pytest.raises(ValueError) as whole:
                read_frames(path, strict=strict)
            with pytest.raises(ValueError) as chunks:
                [*LogFile(path, strict=strict).chunks(100)]
            assert str(chunks.value) == str(whole.value)
    rows = [f"{i},1A0,00,0" for i in range(1000)]
    path.write_text(HEADER + "\n".join([*rows, "broken"]))
    chunks = LogFile(path).chunks(100)
    assert len(next(chunks)) == 100
    with pytest.raises(ValueError, match=r"bus.csv:1002: 'broken' has too few fields"):
        next(chunk for chunk in chunks if not len(chunk))
    with pytest.raises(ValueError, match="size is 0; expected at least 1"):
        next(LogFile(path).chunks(0))
    with pytest.raises(ValueError, match="attack type: 'burglary' is unknown"):
        LogFile(path, attack_type="burglary")
    with pytest.raises(FileNotFoundError, match=r"no.csv: there is no such file"):
        next(LogFile(tmp_path / "no.csv").chunks())


def test_a_log_file_has_a_name_and_the_hash_of_its_bytes(tmp_path):
    path = tmp_path / "bus.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    log = LogFile(str(path), scenario="s", recording="r")
    assert (log.name, log.scenario, log.vehicle, log.recording) == ("bus", "s", "", "r")
    assert log.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert LogFile(path, name="mine").name == "mine"
    (frames,) = log.chunks()
    assert same(frames, read_frames(path)) and frames.info[:4] == ("bus", "s", "", "r")


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Peak of a process of its own: as much for 100,000 rows as for ten times as many."""
    if not Path("/proc/self/status").exists():  # getrusage counts what the parent process held
        pytest.skip("needs /proc")
    code = (
        "import re, sys, cangraph as cg\n"
        "rows = sum(len(c) for c in cg.io.LogFile(sys.argv[1]).chunks(20_000))\n"
        "print(rows, re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    peaks = []
    for rows in (100_000, 1_000_000):
        path = tmp_path / f"{rows}.csv"
        row = "{:.4f},1A0,0011223344556677,0\n"
        path.write_text(HEADER + "".join(row.format(i / 2000) for i in range(rows)))
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        read, peak = map(int, done.stdout.split())
        assert read == rows
        peaks.append(peak / 1024)
    assert peaks[1] < peaks[0] + 12, peaks  # MiB; the file is 38 MiB, its columns are 28


# real captures


def test_every_row_of_the_real_captures_is_read(real_data):
    files = sorted(p for p in real_data.rglob("*") if re.search(r"\.(csv|txt)(\.\w+)?$", p.name))
    assert files
    unpack = {".gz": gzip.open, ".xz": lzma.open, ".zst": zstandard.open}
    for path in files:
        with unpack.get(path.suffix, open)(path, "rb") as stream:
            raw = stream.read()
        lines = raw.count(b"\n") + (not raw.endswith(b"\n"))
        header = raw.lstrip(b"\xef\xbb\xbf").startswith(b"timestamp,")
        frames = read_frames(path)
        assert len(frames) == lines - header, path
        marked = len(re.findall(rb",[1T][\r,]*\n", raw + b"\n"))
        assert frames.attack.sum() == marked, path
        chunked, report = joined([*LogFile(path).chunks(1 << 16)])
        assert np.array_equal(chunked.data, frames.data), path
        assert np.array_equal(chunked.timestamp, frames.timestamp), path
        assert report == frames.report, path
