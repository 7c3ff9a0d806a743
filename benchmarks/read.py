"""How fast capture files are read, beside polars' own CSV reader and python-can's in the same run.

    CANGRAPH_DATA=… python benchmarks/read.py [--frames 5000000]

Every case runs in a process of its own, twice in a row: the second time is reported, the memory is
the largest resident set of the process; the rate a second of CPU is that of one core, and the same
on a busy machine. polars reads the file and casts the columns that it can cast (IDs and payloads
from hexadecimal text stay text). python-can reads the first twentieth of the candump log and keeps
nothing. The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

import cangraph as cg


def with_cangraph(files: list[str]) -> int:
    return sum(len(cg.read_frames(file)) for file in files)


def with_polars(files: list[str]) -> int:
    import polars as pl

    as_text = {"arbitration_id": pl.String, "data_field": pl.String}
    rows = 0
    for file in files:
        table = pl.read_csv(file, schema_overrides=as_text).with_columns(
            pl.col("arbitration_id").str.to_integer(base=16).cast(pl.UInt32),
            pl.col("data_field").fill_null("").str.decode("hex"),
            pl.col("attack").cast(pl.Boolean),
        )
        rows += table.sort("timestamp", maintain_order=True).height
    return rows


def in_chunks(files: list[str]) -> int:
    return sum(len(frames) for file in files for frames in cg.io.LogFile(file).chunks())


def with_python_can(files: list[str]) -> int:
    import can

    rows = 0
    for file in files:
        with can.CanutilsLogReader(file) as log:
            rows += sum(1 for _ in log)
    return rows


CASES = {
    "cangraph": with_cangraph,
    "cangraph in chunks": in_chunks,
    "polars": with_polars,
    "python-can": with_python_can,
}
TABLES = ("cangraph", "cangraph in chunks", "polars")
CANDUMP = ("cangraph", "cangraph in chunks")


def generated(frames: int, path: Path) -> None:
    """A capture of as many frames: 64 IDs, eight random bytes, 2,000 frames a second."""
    rng = np.random.default_rng(0)
    cg.write_frames(
        cg.Frames(
            1.5e9 + np.arange(frames) * 0.0005,
            rng.choice(2048, 64)[rng.integers(0, 64, frames)],
            data=rng.integers(0, 256, (frames, 8), np.uint8),
        ),
        path,
    )


def as_candump(table: Path, path: Path, rows: int) -> None:
    """The first `rows` rows of a generated capture as candump would have logged them."""
    with table.open() as source, path.open("w") as log:
        next(source)
        for line in islice(source, rows):
            time, identifier, payload, _ = line.split(",")
            log.write(f"({float(time):.6f}) can0 {identifier}#{payload}\n")


def measure(case: str, files: list[str]) -> dict:
    done = subprocess.run(
        [sys.executable, __file__, "--case", case, *files],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5_000_000)
    parser.add_argument("--case", choices=[*CASES, "generate"])
    parser.add_argument("files", nargs="*")
    given = parser.parse_args()
    if given.case == "generate":
        return generated(given.frames, Path(given.files[0]))
    if given.case:
        for _ in range(2):
            began, began_cpu = time.perf_counter(), time.process_time()
            rows = CASES[given.case](given.files)
            seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB; Linux counts KiB
        rate, of_cpu = (round(rows / spent / 1e6, 2) for spent in (seconds, cpu))
        rates = {"million_frames_per_s": rate, "million_frames_per_cpu_s": of_cpu}
        print(json.dumps({"frames": rows} | rates | {"peak_MiB": round(peak)}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bus.csv")
        # in a process of its own too: a child inherits the peak memory of its parent
        make = [sys.executable, __file__, "--case", "generate", "--frames", str(given.frames)]
        subprocess.run([*make, str(path)], check=True)
        log, part = path.with_name("bus.log"), path.with_name("part.log")
        as_candump(path, log, given.frames)
        as_candump(path, part, given.frames // 20)
        inputs = {"generated": [str(path)]}
        if data := os.environ.get("CANGRAPH_DATA"):
            inputs["hcrl_sa"] = [str(p) for p in sorted(Path(data, "hcrl_sa").rglob("*.csv"))]
        record = {}
        for name, files, cases in (
            *((name, files, TABLES) for name, files in inputs.items()),
            ("candump", [str(log)], CANDUMP),
            ("candump", [str(part)], ("python-can",)),
        ):
            for case in cases:
                record[f"{name} {case}"] = measure(case, files)
                print(f"{name} {case}:", record[f"{name} {case}"])
    print(json.dumps(record))


if __name__ == "__main__":
    main()
