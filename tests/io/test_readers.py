"""One door for every log: packed or plain, strict or lenient, whole or in chunks; real captures."""

import gzip
import hashlib
import lzma
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import HEADER, PACK, TABLE, database, joined, rows_of, same

from cangraph.io.readers import LogFile, read_frames
from cangraph.io.writers import write_frames

# files


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


def test_timestamps_may_step_back(read):
    frames = read(HEADER + "3,1,,0\n1,2,,0\n2,3,,0\n2,4,,1\n1,5,,0\n")
    assert rows_of(frames) == ["2#", "5#", "3#", "4# T", "1#"]
    assert frames.timestamp.tolist() == [1, 1, 2, 2, 3] and frames.report.reordered == 2


# errors


@pytest.mark.parametrize(
    ("content", "said"),
    [(c, "bus.csv: the file is empty") for c in ("", "\n", " \r\n\n", "\ufeff", ",,,\n")]
    + [(c, "a header and no rows") for c in (HEADER, HEADER.strip(), f"\ufeff{HEADER}\n\n")]
    # blank lines count, and the first of several faults is named
    + [(HEADER + "\n0.5,1A0,00,0\n\r\n\n0.6,1A0,0,0", "bus.csv:6: '0.6,1A0,0,0' has a payload")]
    + [(HEADER + "1,1A0,00,0\n2,1A0,0,0\n1,XYZ,00,0\n", "bus.csv:3: '2,1A0,0,0' has a payload")],
)
def test_a_faulty_file_is_refused(error_of, content, said):
    assert said in error_of(content)


@pytest.mark.parametrize("name", ["bus.lg", "bus.gz", "bus", "bus.parquet", "bus.blf"])
def test_the_content_says_what_a_file_is_not_its_ending(read, name):
    assert same(read(TABLE, name), read(TABLE))
    assert same(read(PACK[".xz"](TABLE.encode()), name), read(TABLE))


@pytest.mark.parametrize("packed", [".gz", ".zst", ".xz"])
def test_a_broken_package_is_refused(error_of, packed):
    whole = PACK[packed](TABLE.encode() * 50)
    for broken in (whole[: len(whole) // 2], whole[:20] + b"\0\0" + whole[22:]):
        assert f"bus.csv{packed}: " in error_of(broken, f"bus.csv{packed}")
    assert "bus.parquet: cannot be unpacked" in error_of(b"PAR1" * 9, "bus.parquet")


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "no.csv", tmp_path):
        with pytest.raises(FileNotFoundError, match=path.name):
            read_frames(path)
    with pytest.raises(FileNotFoundError, match=r"no.csv"):
        next(LogFile(tmp_path / "no.csv").chunks())


# leniently


@pytest.mark.parametrize("packed", PACK)
def test_a_lenient_reader_returns_the_rest_and_counts(read, tmp_path, packed):
    rows = ["3,1A0,00FF,1", "nan,1A0,00FF,0", "", "1,7FF,0011,0", "inf,1A0,00FF,0", "2,1A0,0,0",
            "2.5,20000000,00,0", "2.5"]  # fmt: skip
    calm = [f"{4 + i / 10:.1f},1A0,00FF,0" for i in range(400)]
    text = (HEADER + "\n".join(rows + calm)).encode()
    frames = read(PACK[packed](text), f"bus.csv{packed}", strict=False)
    assert frames.timestamp[:2].tolist() == [1, 3]
    assert rows_of(frames[:2]) == ["7ff#0011", "1a0#00ff T"]
    assert frames.report[:5] == (407, 1, 0, 0, 5)
    lines = [re.match(r".*bus[.a-z0-9]*:(\d+): '(.*)' has", m) for m in frames.report.first_refused]
    assert [(int(m[1]), m[2]) for m in lines] == [(i + 2, rows[i]) for i in (1, 5, 6, 7)]
    assert (frames.info.refused, frames.info.reordered) == (5, 1)


@pytest.mark.parametrize("size", [None, 100])
@pytest.mark.parametrize("where", [10, 90_000], ids=["first rows", "far behind"])
def test_a_file_of_which_99_rows_in_100_do_not_fit_is_refused_whole(tmp_path, where, size):
    rows = [f"{i / 100:.2f},1A0,00FF,0" for i in range(100_000)]
    path = tmp_path / "bus.csv"
    for refused in (999, 1002):
        rows[where : where + refused] = ["(1.5) can0 1A0#00"] * refused
        path.write_text(HEADER + "\n".join(rows))

        def read(path=path):
            log = LogFile(path, strict=False)
            return [read_frames(path, strict=False)] if size is None else [*log.chunks(size)]

        if refused < 1000 and where > 1000:
            assert sum(frames.report.refused for frames in read()) == 999
        else:
            with pytest.raises(ValueError, match="can-train-and-test"):
                read()


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
        form = odd[rng.integers(len(odd))] if i % 150 == 80 else row
        data = f"{i % 256:02X}{i % 7:02X}"
        attack = bool(rng.random() < 0.2)
        listed = {"h": f"{data[:2]},{data[2:]}", "b": f"{data[:2]} {data[2:]}", "f": "RT"[attack]}
        lines.append(form.format(t=t, i=i % 2048, d=data, a=attack, **listed))
    return "\n".join(lines).encode()


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
    assert same(frames, whole) and report == whole.report


@pytest.mark.parametrize("ending", [".parquet", ".parquet.gz", ".blf", ".asc", ".db"])
@pytest.mark.parametrize("size", [1, 64, 299, 10_000])
def test_chunks_of_other_formats_in_a_row_are_the_file(tmp_path, clean, ending, size):
    path = tmp_path / f"bus{ending}"
    frames = clean[:300]
    if ending == ".db":
        columns = (frames.timestamp.tolist(), frames.arbitration_id.tolist(), frames.data)
        rows = zip(*columns, strict=True)
        database(path, [(time, i, 0, 0, 0, 8, row.tobytes()) for time, i, row in rows])
    else:
        write_frames(frames, tmp_path / f"bus{ending.removesuffix('.gz')}")
    if ending.endswith(".gz"):
        path.write_bytes(gzip.compress((tmp_path / "bus.parquet").read_bytes()))
    whole, chunks = read_frames(path), [*LogFile(path).chunks(size)]
    assert [len(c) for c in chunks] == [min(size, 300 - at) for at in range(0, 300, size)]
    assert same(joined(chunks)[0], whole) and joined(chunks)[1] == whole.report


def test_a_log_that_steps_back_too_far_is_refused_in_chunks(tmp_path):
    path = tmp_path / "bus.csv"
    rows = [f"{100 + i / 10:.1f},1A0,00,0" for i in range(300)]
    path.write_text(HEADER + "\n".join([*rows, "119.8,1A0,00,0"]))
    message = r"bus.csv: a row at 119.8.* s comes behind one at 129.9.* s; expected .* 10 s"
    for size in (1, 100, 1000):
        with pytest.raises(ValueError, match=message):
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
    rows = [f"{i}.5,1A0,00,0" for i in range(10_000)]
    path.write_text(HEADER + "\n".join([*rows, "broken"]))
    chunks = LogFile(path).chunks(100)
    assert len(next(chunks)) == 100
    with pytest.raises(ValueError, match=r"bus.csv:10002: 'broken' has "):
        next(chunk for chunk in chunks if not len(chunk))
    with pytest.raises(ValueError, match="size is 0; expected at least 1"):
        next(LogFile(path).chunks(0))
    with pytest.raises(ValueError, match="attack type: 'burglary' is unknown"):
        LogFile(path, attack_type="burglary")


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
        "print(sum(len(c) for c in cg.io.LogFile(sys.argv[1]).chunks(20_000)))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    path, peaks = tmp_path / "bus.csv", []
    for rows in (100_000, 1_000_000):
        lines = (f"{i / 2000:.4f},1A0,0011223344556677,0\n" for i in range(rows))
        path.write_text(HEADER + "".join(lines))
        output = subprocess.check_output([sys.executable, "-c", code, path], text=True)
        read, peak = map(int, output.split())
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
