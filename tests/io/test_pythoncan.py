"""Every line of the logs that python-can reads is a frame, an error frame, a remark or refused."""

import gc
import gzip
import re
import struct

import can
import numpy as np
import pytest
from logs import CANDUMP, database, rows_of, same

from cangraph.io.readers import LogFile, read_frames

ASC = (
    "date Sun Nov 22 15:56:23.691 2026\nbase hex  timestamps absolute\n"
    "Begin Triggerblock Thu Jan 01 00:01:40.500 1970\n 0.000000 Start of measurement\n"
    " 0.000000 1  1A0             Rx   d 2 01 02\n // a remark\n"
    " 1.000000 1  1A0x            Rx   r 4\n 1.100000 1  ErrorFrame\n"
    " 1.200000 1  Statistic: D 1 R 0\nEnd TriggerBlock\n"
)
TRC = (
    ";$FILEVERSION=2.1\n;$STARTTIME=25569.0\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n;---\n"
    "      1       500.000 DT  1     01A0 Rx -  2    01 02\n"
    "      2       600.000 FD  1 000001A0 Rx -  9    " + "AB " * 12 + "\n"
    "      3       700.000 RR  1     01A0 Rx -  4\n"
    "      4       800.000 ER  1        - Rx -  5    04 00 02 00 00\n"
    "      5       900.000 ST  1        - Rx -  4    00 00 00 08\n"
)
CSV = (
    "timestamp,arbitration_id,extended,remote,error,dlc,data\n"
    "0.5,0x1a0,0,0,0,2,AP8=\n0.6,0x1a0,1,1,0,4,\n0.7,0x0,0,0,1,0,\n\n"
)


def test_asc(read):
    for text in (ASC, "\n" + ASC, ASC.split("Begin")[0] + ASC[ASC.index(" 0.000000 1") :]):
        frames = read(text, "bus.asc")
        assert frames.timestamp.tolist() == [0, 1]
        assert rows_of(frames) == ["1a0#0102", "1a0x#R4"]
        report = frames.report
        assert (len(frames), report.error_frames, report.refused) == (2, 1, 0)
        assert report.rows == 3 + report.others and report.dialect == "Vector .asc"


def test_trc(read):
    frames = read(TRC, "bus.trc")
    assert frames.timestamp.round(6).tolist() == [0.5, 0.6, 0.7]
    assert rows_of(frames) == ["1a0#0102", "1a0x#" + "ab" * 12, "1a0#R4"]
    assert frames.report[:5] == (9, 0, 0, 1, 0) and frames.report.others == 5


def test_python_cans_own_csv_is_known_by_its_header(read):
    frames = read(CSV, "bus.csv")
    assert rows_of(frames) == ["1a0#00ff", "1a0x#R4"]
    assert frames.report[:5] == (3, 0, 0, 1, 0)


@pytest.mark.parametrize(
    "text, name, broken",
    [
        (CANDUMP, "bus.log", "(1.650000) can0 1A0#00F"),
        (CANDUMP, "bus.log", "(1.65"),
        (CANDUMP, "bus.log", "(nan) can0 1A0#00"),
        (CANDUMP, "bus.log", "(1.650000) can0 40000000#00"),
        (CANDUMP, "bus.log", "(1.650000) can0 1A0#000102030405060708"),
        (ASC, "bus.asc", " 1.300000 1  1A0             Rx   d 2 01"),
        (ASC, "bus.asc", " 1.300000 1  8A0             Rx   d 1 01"),
        (ASC, "bus.asc", " 1.300000 1  1A0             Rx   d z 01"),
        (ASC, "bus.asc", " 1.300000 1  1A"),
        (TRC, "bus.trc", "      6      1000.000 DT  1     01A0 Rx -  2    01"),
        (TRC, "bus.trc", "      6      1000.000 DT  1"),
        (TRC, "bus.trc", "      6      1000.000 XX  1     01A0 Rx -  2    01 02"),
        (CSV, "bus.csv", "-0.8,0x1a0,0,0,0,2,AP8="),
        (CSV, "bus.csv", "0.8,0x1a0,0,0,0,3,AP8="),
        (CSV, "bus.csv", "0.8,0x1a0,0,0"),
    ],
)
def test_a_line_that_is_no_frame_is_refused_by_number(read, text, name, broken):
    frame = next(row for row in text.splitlines() if re.search("1A0#|Rx   d|DT|AP8=", row))
    text = text.strip("\n") + "\n" + (frame + "\n") * 250  # two rows are less than 1 in 100
    whole, number = read(text, name), text.count("\n") + 1
    named = re.escape(f"{name}:{number}: {broken.strip()!r}")
    with pytest.raises(ValueError, match=named):
        read(text + broken + "\n", name)
    again = ["(1.700000) can0 20000080#00"] if name == "bus.log" else []  # an error frame
    frames = read(text + "\n".join([broken, broken, *again]), name, strict=False)
    assert frames.report.refused == 2 and len(frames) == len(whole)
    assert re.search(named, frames.report.first_refused[0])
    assert frames.report.error_frames == whole.report.error_frames + len(again)


def test_a_database_is_read(tmp_path):
    rows = [(0.5, 0x1A0, 0, 0, 0, 2, b"\0\xff"), (None, 0x1A0, 0, 0, 0, 0, b"")]
    database(tmp_path / "bus.db", rows)
    frames = read_frames(tmp_path / "bus.db", strict=False)
    assert rows_of(frames) == ["1a0#00ff"] and frames.report.refused == 1
    with pytest.raises(ValueError, match=r"bus.db: message 2 has a field that is no number"):
        read_frames(tmp_path / "bus.db")


@pytest.fixture
def blf(tmp_path):
    """The bytes of three frames."""
    with can.BLFWriter(tmp_path / "whole.blf", compression_level=0) as log:
        for i in range(3):
            log.on_message_received(can.Message(i / 10, 0x1A0, data=bytes(8), is_extended_id=False))
    return (tmp_path / "whole.blf").read_bytes()


def test_a_blf_that_ends_early_is_refused(read, blf):
    assert len(read(blf, "bus.blf")) == 3
    with pytest.raises(ValueError, match=r"bus.blf: after message"):
        read(blf[:-30], "bus.blf")
    frames = read(blf[:-30], "bus.blf", strict=False)
    assert len(frames) == 2 and frames.report.refused == 1


@pytest.mark.parametrize("fd", [False, True])
def test_a_request_to_send_and_the_frame_sent_are_one(tmp_path, read, fd):
    with can.BLFWriter(tmp_path / "whole.blf", compression_level=0) as log:
        for i in range(6):
            log.on_message_received(
                can.Message(i / 10, 0x1A0 + i // 2, False, data=bytes([i]), is_rx=False, is_fd=fd)
            )
    raw = bytearray((tmp_path / "whole.blf").read_bytes())
    at = raw.index(b"LOBJ", 148)  # behind the file's header and the container's
    for _ in range(3):  # the former of two becomes TxRq
        header, _, size = struct.unpack_from("<HHL", raw, at + 4)
        raw[at + header + 2] = 2
        at = raw.index(b"LOBJ", at + size)
        at = raw.find(b"LOBJ", at + 4)
    frames = read(bytes(raw), "bus.blf")
    assert rows_of(frames) == ["1a0#01", "1a1#03", "1a2#05"]
    assert (frames.report.rows, frames.report.others) == (6, 3)
    assert sum(len(part) for part in LogFile(tmp_path / "bus.blf").chunks(2)) == 3


def test_an_object_without_size_does_not_hang_the_reader(read, blf):
    second = blf.index(b"LOBJ", blf.index(b"LOBJ", 144) + 4)
    still = blf[: second + 8] + struct.pack("<L", 0) + blf[second + 12 :]
    with pytest.raises(ValueError, match="an object of 0 bytes"):
        read(still, "bus.blf")


# asammdf's MDF4.__del__ fails after its __init__ has
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_mf4_is_read(tmp_path):
    pytest.importorskip("asammdf", reason="needs asammdf")
    path = tmp_path / "bus.mf4"
    kinds = (
        {"data": bytes(range(5))},
        {"data": bytes(range(64)), "is_fd": True},
        {"is_remote_frame": True, "dlc": 4},
        {"is_error_frame": True},
    )
    with can.MF4Writer(path) as log:
        for i in range(40):
            wide, time = i % 3 == 0, 1.5e9 + i / 100
            log.on_message_received(can.Message(time, 0x1A0 + i, wide, **kinds[i % 4]))
    frames = read_frames(path)
    assert frames.report[:5] == (40, 0, 0, 10, 0)
    sent = np.array([i for i in range(40) if i % 4 < 3])
    assert np.allclose(frames.timestamp, 1.5e9 + sent / 100, rtol=0, atol=1e-6)
    shown = [bytes(range(5)).hex(), bytes(range(64)).hex(), "R4"]
    ids = [f"{0x1A0 + i:x}{'x' * (i % 3 == 0)}" for i in sent.tolist()]
    assert rows_of(frames) == [f"{name}#{shown[i % 3]}" for i, name in enumerate(ids)]
    whole, other = path.read_bytes(), tmp_path / "other.mf4.gz"
    other.write_bytes(gzip.compress(whole))
    assert same(read_frames(other), frames)
    assert sum(len(chunk) for chunk in LogFile(path).chunks(7)) == 30
    for cut in (200, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"bus.mf4: "):
            read_frames(path)
    gc.collect()


def test_pcapng_is_read(tmp_path):
    dpkt = pytest.importorskip("dpkt", reason="needs dpkt")
    path, flags = tmp_path / "bus.pcapng", (0x1A0, 0x1A0 | 1 << 31, 1 << 30 | 0x1A0, 1 << 29)
    with path.open("wb") as file:
        packets = dpkt.pcapng.Writer(file, linktype=227)
        for i, word in enumerate(flags):
            packets.writepkt(struct.pack(">IB3x", word, 2) + b"\x01\x02", ts=1.5 + i)
    frames = read_frames(path)
    assert rows_of(frames) == ["1a0#0102", "1a0x#0102", "1a0#R2"]
    assert frames.timestamp.tolist() == [1.5, 2.5, 3.5] and frames.report.error_frames == 1


def test_mf4_names_the_package_it_needs(read, monkeypatch):
    monkeypatch.setattr("cangraph.io.pythoncan.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"bus.mf4: .*needs.*asammdf; pip install asammdf"):
        read(b"MDF     4.10", "bus.mf4")


@pytest.mark.parametrize("name", ["bus.blf", "bus.db", "bus.asc", "bus.trc", "bus.log"])
def test_garbage_is_refused_in_one_line(error_of, name):
    for garbage in (b"\0\xff" * 200, b"LOGG" + bytes(20), b"x,y\n1,2\n"):
        assert name in error_of(garbage, name) and name in error_of(garbage, name, strict=False)
