"""Time and memory of each notebook on captures as large as Car-Hacking, and whether they grow
in proportion to the frames.

    python benchmarks/scale.py [--frames 17.5e6 60e6] [--stages data_prep teacher …] [--whole]
        [--folder runs/scale]

Simulated are the five files of Car-Hacking, under their names, in their formats and proportions:
the bus of the demo, a new drive every four minutes. In the files with attacks a burst of 3 to 5 s
comes every 8 s, as in the original: flooding, fuzzing, and spoofing of one ID. They are made once.

Each stage is what `make run DATASET=hcrl_ch` makes of it: papermill on one OpenMP thread, then the
page. Given are the seconds on the clock and on processors, the largest resident set of a process in
GB (with the pages of mapped files, which the system may take back at any time), and the seconds of
the cells that take longest. What was measured stays in `scale.json` in the folder of each size, and
is not run again. `--whole` trains the GAT teacher of each size once more, on all labelled windows
in every epoch in place of `split.most`: what that costs and what it is worth. Less than 4e5 frames
are too few for a split. The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

import cangraph as cg
from cangraph.bus.attacks import inject
from cangraph.runs import STAGES

ROOT = Path(__file__).parents[1]
# (Seo, Song and Kim 2018; the figures of the dataset's page, from memory): frames of each file
FILES = {
    "DoS_dataset.csv": ("flooding", 3_665_771),
    "Fuzzy_dataset.csv": ("fuzzing", 3_838_860),
    "gear_dataset.csv": ("spoofing", 4_443_142),
    "RPM_dataset.csv": ("spoofing", 4_621_702),
    "normal_run_data.txt": ("", 988_987),
}
ALL = sum(frames for _, frames in FILES.values())
DRIVE, BEGAN = 240.0, 1_478_198_376.0  # s of a drive; since 1970, of the first file
LINEAR, MOST_GB = 1.2, 8.0  # growth and memory that are asked for


def capture(attack: str, frames: int, number: int) -> Iterator[cg.Frames]:
    """So many frames of file `number`, drive by drive."""
    sent, drive = 0, 0
    while sent < frames:
        seed, start = 10_000 * (number + 1) + drive, BEGAN + 1e4 * number + DRIVE * drive
        log = cg.simulate("aster", DRIVE, seed=seed, start=start)
        if attack:
            rng = np.random.default_rng(seed)
            spans = [(a, a + rng.uniform(3, 5)) for a in np.arange(3, DRIVE - 8, 8)]
            log = inject(log, attack, spans=spans, severity=0.5, seed=seed)
        log = log[: frames - sent]
        yield log
        sent, drive = sent + len(log), drive + 1


def write(log: cg.Frames, file: BinaryIO, text: bool) -> None:
    """Append lines as in the original files: CSV, or the text of the drive without attacks."""
    import polars as pl  # not where gpu.py only simulates

    digits = np.array([f"{byte:02x}{' ' if text else ','}" for byte in range(256)], "S3")
    data = pl.Series(digits[log.data].reshape(-1).view("S24"), dtype=pl.Binary).cast(pl.String)
    ids, place = np.unique(log.arbitration_id, return_inverse=True)
    second, micro = np.divmod(np.rint(log.timestamp * 1e6).astype(np.int64), 10**6)
    columns = {
        "second": second,
        "micro": pl.Series(micro).cast(pl.String).str.zfill(6),
        "id": pl.Series([f"{code:04x}" for code in ids.tolist()]).gather(place),
        "dlc": log.dlc,
        "data": data.str.head(pl.Series(3 * log.dlc.astype(np.int64))),
        "label": np.where(log.attack, "T", "R"),
    }
    row = "Timestamp: {}.{}        ID: {}    000    DLC: {}    {}" if text else "{}.{},{},{},{}{}"
    table = pl.DataFrame(columns).select(pl.format(row, *list(columns)[: row.count("{}")]))
    table.write_csv(file, include_header=False, quote_style="never")


def simulated(folder: Path, frames: int) -> None:
    """The dataset below `folder`, which is made whole or not at all."""
    if folder.is_dir():
        return
    part = folder.with_name("part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, (name, (attack, share)) in enumerate(FILES.items()):
        with (part / name).open("wb") as file:
            for log in capture(attack, round(frames * share / ALL), number):
                write(log, file, name.endswith(".txt"))
    part.rename(folder)


def call(command: Sequence[str], env: dict[str, str]) -> tuple[float, resource.struct_rusage]:
    """Seconds on the clock, and what a command and all that it started used."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=env, cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: ended with {process.returncode}")
    return time.perf_counter() - began, used


def stage(name: str, home: Path) -> dict:
    """What a stage costs."""
    env = os.environ | {"CANGRAPH_HOME": str(home), "CANGRAPH_DATA": "data"}
    env |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    place = home / "runs" / "hcrl_ch"
    place.mkdir(parents=True, exist_ok=True)
    given = [str(ROOT / "notebooks" / f"{name}.ipynb"), str(place / f"{name}.ipynb")]
    given += ["--kernel", "python3", "--no-progress-bar", "-p", "dataset", "hcrl_ch"]
    clock, used = call([sys.executable, "-m", "papermill", *given], env)
    page, more = call([sys.executable, "-m", "cangraph.report.pages", given[1]], env)
    took = {}
    for cell in json.loads(Path(given[1]).read_text())["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).removeprefix("cg.seed_everything(params.seed)\n")
            took[lines.splitlines()[0]] = round(cell["metadata"]["papermill"]["duration"] or 0)
    longest = sorted(took.items(), key=lambda item: -item[1])[:6]
    return {
        "clock_s": round(clock + page, 1),
        "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in (used, more)), 1),
        "GB": round(max(used.ru_maxrss, more.ru_maxrss) / 2**20, 2),  # Linux counts KiB
        "cells": dict(longest),
    }


def measured(folder: Path, frames: int, stages: Sequence[str]) -> dict[str, dict]:
    """The stages of one size, in order, with those that were measured before."""
    home = folder / f"{frames:.3g}".replace("+", "")
    simulated(home / "data" / "hcrl_ch", frames)
    print(f"{frames:,} frames", flush=True)
    known = home / "scale.json"
    found = json.loads(known.read_text()) if known.is_file() else {}
    for name in stages:
        if name not in found:
            found[name] = stage(name, home)
            known.write_text(json.dumps(found, indent=1))
        row = found[name]
        line = f"{name:<14}{row['clock_s']:>9,.1f} s{row['cpu_s']:>9,.1f} s on processors"
        print(f"{line}{row['GB']:>7.2f} GB  {row['cells']}", flush=True)
    return found


def whole(folder: Path, frames: int) -> dict[str, dict]:
    """AUROC and F1 of the GAT teacher by scenario, and the seconds of a processor that it took: as
    the stage left it, and on all labelled windows in every epoch."""
    home = folder / f"{frames:.3g}".replace("+", "")
    os.environ |= {"CANGRAPH_HOME": str(home), "CANGRAPH_DATA": str(home / "data")}
    params = cg.load_params("hcrl_ch")
    data = cg.runs.load_data(params)
    found: dict[str, dict] = {"labelled": {row["part"]: row["windows"] for row in data.counts()}}
    kept = [row for row in cg.runs.load("teacher", params)["scenarios"] if row["detector"] == "gat"]
    material = cg.Synthesis(replace(data, most=None), cg.clean_captures(cg.read("hcrl_ch")), params)
    cg.seed_everything(params.seed)
    began = time.process_time()
    gat = cg.fit(cg.Detector(cg.GAT(data.graphs.spec, **params.teacher.gat)), material, params)
    found["whole"] = {"cpu_s": time.process_time() - began}
    rows = {"as it is": kept, "whole": cg.by_scenario(gat.score(data.test), 0.5)}
    for name, mine in rows.items():
        scores = {row["scenario"]: [row["auroc"], row["f1"]] for row in mine}
        found[name] = found.get(name, {}) | scores
    print(frames, found, flush=True)
    return found


def verdict(found: dict[int, dict[str, dict]]) -> dict:
    """Each size's stages and total, the growth of each stage from size to size (of the processors'
    seconds, over that of the frames), and whether both are as asked for."""
    sizes: dict[int, dict] = {}
    for frames, rows in sorted(found.items()):
        total = {k: round(sum(row[k] for row in rows.values()), 1) for k in ("clock_s", "cpu_s")}
        sizes[frames] = rows | {"all": total | {"GB": max(row["GB"] for row in rows.values())}}
    growth: dict[str, dict] = {}
    for a, b in pairwise(sizes):
        both = [name for name in (*STAGES, "all") if name in sizes[a].keys() & sizes[b].keys()]
        ratio = {name: sizes[b][name]["cpu_s"] / sizes[a][name]["cpu_s"] * a / b for name in both}
        growth[f"{a} to {b}"] = {name: round(value, 2) for name, value in ratio.items()}
    linear = all(value <= LINEAR for row in growth.values() for value in row.values())
    small = max(row["all"]["GB"] for row in sizes.values()) <= MOST_GB
    return {"sizes": sizes, "growth": growth, "linear": linear, "within 8 GB": small}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", nargs="+", type=float, default=[17.5e6, 60e6])
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "scale")
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    found = {n: measured(given.folder.resolve(), n, given.stages) for n in map(int, given.frames)}
    record = verdict(found) | {"cores": os.cpu_count()}
    if given.whole:
        record["whole"] = {n: whole(given.folder.resolve(), n) for n in found}
    print(record["growth"], json.dumps(record), sep="\n")


if __name__ == "__main__":
    main()
