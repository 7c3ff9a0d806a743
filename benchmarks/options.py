"""What each option of a training run changes: AUPRC, F1 and time against plain training.

    CANGRAPH_DATA=… python benchmarks/options.py [--datasets demo hcrl_sa] [--seeds 3]
        [--size student] [--only focal ema …]

The baseline is eight epochs and the weights of the last ones as they are: the defaults average them
and give a student more epochs, which hides what an option changes. A GAT is trained for each option
and seed on the same material, nothing else being changed, and scored on the test captures: mean
AUPRC and zero-shot F1 over the scenarios that have them, and the seconds of its training. The
difference to the baseline is taken seed by seed; its interval is half of the 95 % one (Student's
t). An option pays where the interval of the gain in AUPRC or F1 is above 0; the last line is one
JSON object of all figures.
"""

import argparse
import json
import time
from collections import defaultdict

import numpy as np
from scipy import stats

import cangraph as cg
from cangraph.params import Params

EPOCHS, PLAIN = 8, {"average": "none"}
OPTIONS = {
    "plain": {},
    "no weights": {"imbalance": "none"},
    "sampler": {"imbalance": "sampler"},
    "focal": {"imbalance": "focal"},
    "rate found": {"rate": "found"},
    "warmup .1": {"warmup": 0.1},
    "clip 10": {"clip": 10.0},
    "accumulate 2": {"accumulate": 2},
    "bf16": {"precision": "bf16-mixed"},
    "ema": {"average": "ema"},
    "swa": {"average": "swa"},
    "freeze .4": {"freeze": 0.4},
    "prune half": {"prune": 0.5},
}


def drawn(params: Params, captures, graphs) -> tuple[cg.data.Split, cg.Synthesis]:
    """Windows to test on and material to train on, which is the same for all options."""
    data = cg.split(graphs, params.split)
    material = cg.Synthesis(data, cg.clean_captures(captures), params)
    for epoch in range(EPOCHS):  # before the clock starts
        material.draw(epoch, epoch / (EPOCHS - 1))
    return data, material


def trial(params: Params, size: str, data, material) -> dict[str, float]:
    """Mean AUPRC and F1 over the scenarios of one training, and its seconds."""
    cg.seed_everything(params.seed)
    gat = cg.Detector(cg.GAT(data.graphs.spec, **params[size].gat))
    began = time.perf_counter()
    gat = cg.fit(gat, material, params, size)
    took = time.perf_counter() - began
    rows = cg.by_scenario(gat.score(data.test), gat.even_chance)
    known = [row for row in rows if row["auprc"] is not None]
    return {m: float(np.mean([row[m] for row in known])) for m in ("auprc", "f1")} | {
        "seconds": took
    }


def gain(values: list[float], base: list[float]) -> list[float | None]:
    """Mean of the differences seed by seed, and half of its 95 % interval."""
    apart = np.subtract(values, base)
    half = None
    if len(apart) > 1:
        half = round(float(stats.sem(apart) * stats.t.ppf(0.975, len(apart) - 1)), 4)
    return [round(float(apart.mean()), 4), half]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["demo", "hcrl_sa"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="student", choices=["teacher", "student"])
    parser.add_argument("--only", nargs="+", default=list(OPTIONS), choices=OPTIONS)
    given = parser.parse_args()
    record = {}
    for dataset in given.datasets:
        captures = cg.read(dataset)
        graphs = cg.to_graphs(captures)
        found: dict = defaultdict(lambda: defaultdict(list))
        names = [*dict.fromkeys(["plain", *given.only])]
        for seed in range(given.seeds):
            data, material = drawn(cg.load_params(dataset, seed=seed), captures, graphs)
            for name in names:
                sized = {given.size: {"epochs": EPOCHS}}
                params = cg.load_params(dataset, seed=seed, fit=PLAIN | OPTIONS[name], **sized)
                once = trial(params, given.size, data, material)
                for metric, value in once.items():
                    found[name][metric].append(value)
                print(f"# {dataset} seed {seed} {name}", once, flush=True)
        for name in names:
            line = {m: round(float(np.mean(v)), 4) for m, v in found[name].items()}
            if name != "plain":
                base = found["plain"]
                line |= {f"{m} gained": gain(found[name][m], base[m]) for m in ("auprc", "f1")}
                ratio = np.divide(found[name]["seconds"], base["seconds"])
                line["times as long"] = round(float(np.median(ratio)), 2)
            record[f"{dataset} | {name}"] = line
            print(f"## {dataset:<8} {name:<18}", line, flush=True)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
