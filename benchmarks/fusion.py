"""Does fusion pay? Every rule minus the best single model, by scenario, and what a fit costs.

    CANGRAPH_DATA=… python benchmarks/fusion.py [--datasets demo hcrl_sa] [--seeds 3]
        [--size student] [--runs] [--quick]

For each dataset and seed a VGAE and a GAT are trained (with `--runs`, their scores are taken from
what distillation.ipynb left in `runs/`), and every rule is fitted on the scores of calibration
windows. The default rule and the best single model are chosen on recordings held out from these;
thresholds are set there too. Test windows tell what each rule gains: AUPRC and F1 minus those of
the best single model, with an interval that resamples captures. Seconds are those of one fit; `all,
held out` is all rules on all folds. `--quick` trains for two epochs on the demo, to see that it
runs. The last line is one JSON object: by dataset and seed the default rule, the best single model,
held-out AUPRC, margins and seconds.
"""

import argparse
import json
import sys
import time

import numpy as np

import cangraph as cg
from cangraph.params import Params

ALL, METRICS = "all captures", ("auprc", "f1")


def gains(fused: dict[str, cg.Scores], at: dict[str, float], single: str) -> list[dict]:
    """AUPRC and F1 of each rule minus those of `single`, by scenario and over all captures: a row
    for each, with `captures`, and of each metric the difference, its `_low` and its `_high`.

    The difference is taken within each capture and averaged over the captures that define it. Its
    95 % interval resamples these captures with replacement (`evaluation.clustered`). None where
    nothing is defined: a capture of one class has no AUPRC, one without attacks no F1, and a single
    capture no interval. With two or three captures the interval is their range, and too short.
    """
    figures = {name: cg.by_capture(scores, at[name]) for name, scores in fused.items()}
    base, rows = figures[single], []
    scenario = np.array([row["scenario"] for row in base])
    for place in [*np.unique(scenario).tolist(), ALL]:
        here = np.flatnonzero((scenario == place) | (place == ALL))
        for name, mine in figures.items():
            row = {"detector": name, "scenario": place, "captures": len(here)}
            for metric in METRICS:
                pairs = [(mine[k][metric], base[k][metric]) for k in here]
                # metrics are rounded in float32: what is smaller is no difference
                apart = np.array([round(a - b, 6) for a, b in pairs if None not in (a, b)])
                row |= cg.evaluation.clustered(apart).of(metric)
            rows.append(row)
    return rows


def of_run(params: Params) -> tuple[list, list]:
    """Scores of the students in `runs/`, on calibration and on test windows."""
    scores = cg.runs.load_scores("distillation", params, cg.runs.load_data(params))
    return tuple(
        [scores[f"{name}/{part}"] for name in ("vgae", "gat")] for part in ("drawn", "test")
    )


def of_training(params: Params, size: str, captures, graphs) -> tuple[list, list]:
    """Scores of a VGAE and a GAT that are trained here, on calibration and on test windows."""
    data = cg.split(graphs, params.split)
    material = cg.Synthesis(data, cg.clean_captures(captures), params)
    tasks = []
    for kind, net in ((cg.Reconstructor, cg.VGAE), (cg.Detector, cg.GAT)):
        cg.seed_everything(params.seed)
        model = net(graphs.spec, **params[size][net.__name__.lower()])
        tasks.append(cg.fit(kind(model), material, params, size))
    return tuple([task.score(part) for task in tasks] for part in (material.calib, data.test))


def judge(params: Params, calib: list, test: list) -> dict:
    """What the rules gain on test windows, and the seconds that each takes to fit."""
    rules, seconds, fused = cg.fusion.all_rules(params.fusion, params.seed), {}, {}
    for name, rule in rules.items():
        began = time.perf_counter()
        fused[name] = rule.fit(calib).score(test)
        seconds[name] = round(time.perf_counter() - began, 3)
    began = time.perf_counter()
    again = cg.fusion.all_rules(params.fusion, params.seed)
    held = cg.fusion.held_out(again, calib, params.fusion.folds)
    seconds["all, held out"] = round(time.perf_counter() - began, 3)
    at = {name: rule.zero_shot(held.scores[name]) for name, rule in rules.items()}
    single = cg.fusion.best_single(held)
    rows = gains(fused, at, single)
    for metric in ("auprc", "f1"):
        print(f"{metric} minus {single}'s")
        ends = [metric, f"{metric}_low", f"{metric}_high"]
        print(cg.report.show(rows, ["detector", "scenario", *ends]))
    print("seconds:", seconds)
    return {
        "default": cg.fusion.default_rule(held),
        "single": single,
        "calibration windows": len(calib[0]),
        "held-out auprc": cg.fusion.mean_auprc(held),
        "margins": rows,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["demo", "hcrl_sa"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="student", choices=["teacher", "student"])
    parser.add_argument("--runs", action="store_true", help="scores that distillation.ipynb left")
    parser.add_argument("--quick", action="store_true", help="the demo, one seed, two epochs")
    given = parser.parse_args()
    if given.quick:
        given.datasets, given.seeds = ["demo"], 1
    record = {}
    for dataset in given.datasets:
        if not given.runs:
            captures = cg.read(dataset)
            graphs = cg.to_graphs(captures)
        for seed in range(given.seeds):
            short = {given.size: {"epochs": 2}} if given.quick else {}
            params = cg.load_params(dataset, seed=seed, **short)
            scores = (
                of_run(params) if given.runs else of_training(params, given.size, captures, graphs)
            )
            print(f"## {dataset}, seed {seed}")
            record[f"{dataset} | {seed}"] = judge(params, *scores)
            sys.stdout.flush()
    print(json.dumps(record))


if __name__ == "__main__":
    main()
