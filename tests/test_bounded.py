"""Hostile input is bounded: a bomb, an endless line, a wild time or an endless view costs less than
1 GB of memory and of temporary files, is said in one line, and what can be read is judged."""

import bz2
import gzip
import json
import lzma
import os
import sqlite3
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import can
import numpy as np
import pytest
import zstandard

from cangraph.__main__ import main
from cangraph.io.readers import LogFile, read_frames
from cangraph.io.unpack import Limits
from cangraph.io.writers import write_frames

pytestmark = pytest.mark.acceptance

ROWS = 3000
HOSTILE = ["line.log", "late.log", "early.log", "bomb.csv.zst", "bomb.csv.gz", "bomb.csv.xz",
           "bomb.csv.bz2", "bomb.csv.zip", "bomb.blf", "bomb.blf.gz", "view.db", "cut.csv.gz",
           "bomb.parquet"]  # fmt: skip
# the commands, one after the other; peak memory is that of all
CHILD = r"""
import json, re, sys
from pathlib import Path
from cangraph.__main__ import main
from cangraph.deploy.box import boxed
main(["scan", sys.argv[1], "--json"])  # compiles
for path in sys.argv[2:]:
    print(json.dumps({"event": "log", "path": path}), flush=True)
    status = main(["monitor", "--log", path]), main(["scan", path, "--json"])
    # not what getrusage says: that counts the process which this one was forked of
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    print(json.dumps({"event": "end", "status": status, "peak": peak}), flush=True)
"""


def rows(n=ROWS, begin=0.0):
    return [f"({begin + k * 1e-3:.6f}) can0 {0x100 + k % 7:X}#{k % 256:016X}\n" for k in range(n)]


def zeros(packed, size):
    """So many zeros, packed in parts."""
    return packed(bytes(1 << 24)) * (size >> 24)


def blf(path, bomb):
    """A log in which a container unpacks to a hundred times what it should."""
    with can.BLFWriter(path) as writer:
        for k in range(ROWS):
            message = can.Message(1.6e9 + k * 1e-3, 0x100 + k % 7, data=bytes([k % 256] * 8))
            writer(message)
    if bomb:
        packed = zlib.compress(bytes(1 << 30), 1)
        header = len(packed) + 32
        container = b"LOBJ" + np.array([16, 1], "<u2").tobytes()
        container += np.array([header, 10], "<u4").tobytes() + np.array([2, 0], "<u2").tobytes()
        container += bytes(4) + np.array([1 << 30, 0], "<u4").tobytes() + packed
        path.write_bytes(path.read_bytes() + container + bytes(header % 4))


def database(path):
    """A logger's table by the name of another, and an endless view by its own."""
    with can.SqliteWriter(path) as writer:
        writer(can.Message(1.0, 0x100, data=bytes(8)))
    with sqlite3.connect(path) as base:
        base.execute("alter table messages rename to held")
        base.execute(
            "create view messages as with recursive n(k) as (select 1 union all select k + 1 "
            "from n) select k * 1e-3, 256, 0, 0, 0, 8, zeroblob(8) from n"
        )
    base.close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The hostile logs: rows that can be read, and what is hostile behind them."""
    folder = tmp_path_factory.mktemp("hostile")
    table = "".join(f"{k * 1e-3:.3f},{0x100 + k % 7:X},{k % 256:016X}\n" for k in range(ROWS))
    table = f"timestamp,arbitration_id,data_field\n{table}".encode()
    zst = zstandard.ZstdCompressor(level=19).compress
    packages = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst}
    for name, packed in packages.items():
        (folder / f"bomb.csv.{name}").write_bytes(packed(table) + zeros(packed, 1 << 33))
    options = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(folder / "bomb.csv.zip", "w", **options) as package:
        package.writestr("bomb.csv", table + bytes(1 << 30))
    (folder / "cut.csv.gz").write_bytes(gzip.compress(table) + gzip.compress(table)[:15])
    text = rows()
    with (folder / "line.log").open("w") as log:
        log.writelines(text[:2000])
        for _ in range(1200):
            log.write("9" * (1 << 20))
        log.writelines(["\n", *text[2000:]])
    wild = "(9999999999.000000) can0 123#00\n"
    (folder / "late.log").write_text("".join([*text[:2000], wild, *text[2000:]]))
    (folder / "early.log").write_text("".join([*rows(2000, 1e9), text[0], *rows(1000, 1e9 + 2)]))
    blf(folder / "bomb.blf", bomb=True)
    blf(folder / "plain.blf", bomb=False)
    packed = gzip.compress((folder / "plain.blf").read_bytes())
    (folder / "bomb.blf.gz").write_bytes(packed + zeros(gzip.compress, 1 << 30))
    database(folder / "view.db")
    import polars as pl

    pl.DataFrame({"timestamp": [0.0], "arbitration_id": [1], "data": ["00"]}).lazy().select(
        pl.all().repeat_by(20_000_000).explode()
    ).sink_parquet(folder / "bomb.parquet", row_group_size=10_000_000)
    return folder


@pytest.fixture(scope="module")
def told(logs, tmp_path_factory, clean):
    """By log, what the monitor and the scan of each said, and what it cost; in one process, whose
    temporary files are watched from the outside."""
    warm = tmp_path_factory.mktemp("warm") / "bus.log"
    write_frames(clean[:300], warm)
    temporary = tmp_path_factory.mktemp("temporary")
    environment = os.environ | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-c", CHILD, str(warm), *(str(logs / name) for name in HOSTILE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    (logs / "line.log").unlink()  # pytest keeps its folders
    assert "Traceback" not in done.stderr, done.stderr
    assert not list(temporary.glob("tmp*"))
    found, name = {}, ""
    for line in done.stdout.splitlines():
        said = json.loads(line)
        if said.get("event") == "log":
            name = Path(said["path"]).name
            found[name] = []
        elif name:
            found[name].append(said)
    return found


def test_nothing_costs_a_gigabyte(told):
    assert [*told] == HOSTILE
    peaks = {name: said[-1]["peak"] for name, said in told.items()}  # kB, of all up to this one
    assert max(peaks.values()) < 1_000_000, peaks


@pytest.mark.parametrize("name", [n for n in HOSTILE if n not in ("view.db", "bomb.parquet")])
def test_every_row_that_can_be_read_is_judged_and_one_line_says_what_is_not(name, told):
    *events, scanned, end = told[name]
    judged = next(e["windows"] for e in reversed(events) if e["event"] == "statistics")
    lost = [e for e in events if e["event"] in ("refused", "unreadable")]
    assert judged == ROWS // 100 and len(lost) == 1 and name in lost[0]["why"]
    assert "\n" not in lost[0]["why"] and len(lost[0]["why"]) < 600
    (log,) = scanned["logs"]
    assert log["read"]["frames"] == ROWS and log["buses"][0]["windows"] == ROWS // 100
    assert log["read"]["refused"] == 1 and name in log["read"]["first_refused"][0]
    assert end["status"][0] in (0, 1)


@pytest.mark.parametrize("name", ["view.db", "bomb.parquet"])
def test_what_has_no_end_is_not_begun(name, told):
    scanned, end = told[name]
    assert end["status"] == [2, 2] and name in scanned["logs"][0]["why"]


def test_a_log_that_is_cut_while_it_is_read_ends_and_no_signal_comes(tmp_path):
    path = tmp_path / "bus.log"
    path.write_text("".join(rows(60_000)))
    chunks = LogFile(path, strict=False).chunks(1000)
    first = len(next(chunks))
    os.truncate(path, 1_000_000)
    assert first < first + sum(map(len, chunks)) < 60_000


def test_the_limits_are_parameters(tmp_path):
    path = tmp_path / "bus.log.xz"
    path.write_bytes(lzma.compress("".join(rows()).encode()))
    tight = Limits(ratio=1, free=60_000)
    some = read_frames(path, strict=False, limits=tight)
    assert 0 < len(some) < ROWS and "more than 1 times as many" in some.report.first_refused[-1]
    assert sum(map(len, LogFile(path, strict=False, limits=tight).chunks())) == len(some)
    with pytest.raises(ValueError, match=r"bus\.log\.xz: cannot be unpacked"):
        read_frames(path, limits=tight)
    assert len(read_frames(path)) == ROWS
    blf(tmp_path / "bus.blf", bomb=False)
    (tmp_path / "bus.blf.gz").write_bytes(gzip.compress((tmp_path / "bus.blf").read_bytes()))
    with pytest.raises(ValueError, match="unpack it first"):
        read_frames(tmp_path / "bus.blf.gz", strict=False, limits=Limits(temporary=1000))


@pytest.mark.parametrize("words", [["monitor", "--log"], ["scan"]])
def test_a_clock_that_was_set_is_no_stray(words, tmp_path, capsys):
    path = tmp_path / "bus.log"
    path.write_text("".join([*rows(2000), *rows(2000, 500.0)]))
    assert main([*words, str(path)]) in (0, 1)
    assert "refused" not in capsys.readouterr().out
