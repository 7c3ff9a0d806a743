"""Several trainings: one after the other on all cores, or side by side on a core each?

    python benchmarks/side_by_side.py [--rounds 3] [--epochs 1] [--size teacher]

`make all` has as many runs as datasets and seeds, and every core can train one. Each training is a
process of its own, as a notebook's kernel is: the GAT on the demo. Printed are, as medians over
rounds in which both ways take turns, the seconds on the clock until all of them are done (start and
data included), those of the training alone, and those of processors while it trained. The last
line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median


def train(size: str, epochs: int) -> None:
    """One training; prints what `fit` alone took."""
    import cangraph as cg

    params = cg.load_params("demo", **{size: {"epochs": epochs}})
    captures = cg.read("demo")
    graphs = cg.to_graphs(captures, params.window, params.stride)
    data = cg.split(graphs, params.split)
    cg.seed_everything(0)
    material = cg.Synthesis(data, cg.clean_captures(captures), params)
    gat = cg.Detector(cg.GAT(graphs.spec, **params[size].gat))
    began, used = time.perf_counter(), time.process_time()
    cg.fit(gat, material, params, size=size)
    print(json.dumps([time.perf_counter() - began, time.process_time() - used]))


def started(threads: int, options: argparse.Namespace) -> subprocess.Popen:
    command = [sys.executable, __file__, "--train", "--size", options.size]
    env = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        [*command, "--epochs", str(options.epochs)], env=env, stdout=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen) -> list[float]:
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a training ended with {process.returncode}")
    return json.loads(out.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", choices=("teacher", "student"), default="teacher")
    parser.add_argument("--train", action="store_true", help="one training, for this script")
    options = parser.parse_args()
    if options.train:
        return train(options.size, options.epochs)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ways = {
        "one after the other": lambda: [ended(started(cores, options)) for _ in range(cores)],
        "side by side": lambda: [ended(p) for p in [started(1, options) for _ in range(cores)]],
    }
    clock = {name: [] for name in ways}
    fit, cpu = ({name: [] for name in ways} for _ in range(2))
    for _ in range(options.rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            took = way()
            clock[name].append(time.perf_counter() - began)
            # side by side the trainings overlap, one after the other they add up
            together = max if name == "side by side" else sum
            fit[name].append(together(seconds for seconds, _ in took))
            cpu[name].append(sum(used for _, used in took))
    found = {"cores": cores, "trainings": cores, "size": options.size, "rounds": options.rounds}
    for name in ways:
        row = {"clock_s": clock, "fit_s": fit, "fit_cpu_s": cpu}
        row = {key: round(median(values[name]), 1) for key, values in row.items()}
        print(f"{name:20}", *(f"{key} {value:7.1f}" for key, value in row.items()), sep="  ")
        found[name] = row
    print(json.dumps(found))


if __name__ == "__main__":
    main()
