"""What the detector sees of known and unknown vehicles and attacks, beside every baseline.

    CANGRAPH_DATA=… python benchmarks/detection.py [--datasets hcrl_sa set_04] [--seeds 5]
        [--train-on both clean] [--size student]

For each dataset, kind of training and seed a GAT is trained and scored on the test captures of
every scenario: AUROC and AUPRC inside each capture (macro over captures), window F1 zero-shot
(threshold from the training vehicles) and calibrated on the first 10 s of each capture, share of
detected windows whose attacked ID is the one blamed most, events found at no more than 5 false
alarms an hour, and false alarms an hour on clean captures after calibration. Suppression is
synthesised into the clean training captures: their traffic is known, these attacks are not.
Baselines do not depend on the seed.
The last line is one JSON object; each figure is mean and 95 % interval over the seeds.
"""

import argparse
import json
import sys
import time
from collections import defaultdict

import numpy as np
from scipy import stats

import cangraph as cg
from cangraph.graphs import join

RATE = 1e-3  # false alarms a window that calibration aims at


def suppressed(captures) -> cg.Graphs:
    """Clean captures with three suppressions in each."""
    made = []
    for number, capture in enumerate(captures):
        clean = capture.label(scenario="suppression in clean captures")
        third = (clean.duration - 8) / 3
        spans = [(8 + third * k, 8 + third * k + min(4, 0.7 * third)) for k in range(3)]
        made.append(cg.inject(clean, "suppression", spans=spans, severity=0.5, seed=number))
    return cg.to_graphs(made)


def figures(scores, at: float, calibrated, located=None) -> dict[str, dict[str, float]]:
    """Metrics of each scenario by name."""
    found: dict[str, dict] = {}
    for row in cg.by_scenario(scores, at):
        found[row["scenario"]] = {
            "auroc": row["auroc"], "auprc": row["auprc"], "f1 zero-shot": row["f1"],
        }  # fmt: skip
    for row in cg.by_scenario(calibrated, 0.0):
        found[row["scenario"]]["f1 calibrated"] = row["f1"]
        found[row["scenario"]]["fpr calibrated"] = row["fpr"]
    for scenario, mine in found.items():
        part = scores[scores.scenario == scenario]
        mine["events at 5/h"] = cg.recall_at_false_alarms(part)["recall"]
        if located is not None:
            seen = scores.label & (scores.value >= at) & (scores.scenario == scenario)
            mine["localised"] = float(located[seen].mean()) if seen.any() else None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["hcrl_sa", "set_04"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train-on", nargs="+", default=["both", "clean"])
    parser.add_argument("--size", default="teacher", choices=["teacher", "student"])
    parser.add_argument("--set", nargs="*", default=[], help="group.name=value, for a trial")
    given = parser.parse_args()
    table: dict = defaultdict(lambda: defaultdict(list))
    for dataset in given.datasets:
        captures = cg.read(dataset)
        graphs = cg.to_graphs(captures)
        clean = cg.clean_captures(captures)
        silent = suppressed(clean)
        for train_on in given.train_on:
            for seed in range(given.seeds):
                values: dict = {"fit": {"train_on": train_on}}
                for setting in given.set:
                    name, value = setting.split("=")
                    group, name = name.split(".")
                    values.setdefault(group, {})[name] = json.loads(value)
                params = cg.load_params(dataset, seed=seed, **values)
                data = cg.split(graphs, params.split)
                test = join([data.test, silent])
                began = time.time()
                cg.seed_everything(seed)
                gat = cg.Detector(cg.GAT(graphs.spec, **params[given.size].gat))
                gat = cg.fit(gat, cg.Synthesis(data, clean, params), params, given.size)
                scores, calib = gat.score(test), gat.score(data.calib)
                calibrated = cg.calibrated(scores, 10.0, RATE, otherwise=cg.threshold(calib))
                located = cg.localised(test, gat.blame(test))
                rows = figures(scores, cg.threshold(calib), calibrated, located)
                free = cg.clean_threshold(calib, RATE)
                for row in cg.by_scenario(scores, free):
                    rows[row["scenario"]]["f1 label-free"] = row["f1"]
                quiet = calibrated[[not calibrated.captures[c].attack_frames
                                    and calibrated.captures[c].scenario.startswith("test")
                                    for c in calibrated.capture]]  # fmt: skip
                if len(quiet):
                    hourly = cg.event_metrics(quiet, 0.0)["false_alarms_per_hour"]
                    rows["clean test captures"] = {"false alarms per hour": hourly}
                print(f"## {dataset} {train_on} seed {seed}: {time.time() - began:.0f} s")
                for row in cg.by_capture(scores, cg.threshold(calib)):
                    shown = {k: row[k] for k in ("scenario", "capture", "auroc", "auprc", "f1")}
                    print("  ", *shown.values())
                for scenario, mine in rows.items():
                    print("  ", scenario, {k: v and round(v, 4) for k, v in mine.items()})
                    for name, value in mine.items():
                        table[f"{dataset} GAT {train_on}", scenario][name].append(value)
                sys.stdout.flush()
        test = join([data.test, silent])
        for name, scores in cg.all_baselines(data.train, test).items():
            calibrated = cg.calibrated(scores, 10.0, RATE, otherwise=np.inf)
            at = cg.clean_threshold(scores[cg.clean_stretch(scores)], RATE)
            for scenario, mine in figures(scores, at, calibrated).items():
                for metric, value in mine.items():
                    table[f"{dataset} {name}", scenario][metric].append(value)
    record = {}
    for (detector, scenario), metrics in table.items():
        line = {}
        for metric, values in metrics.items():
            known = [v for v in values if v is not None]
            if not known:
                continue
            half = 0.0
            if len(known) > 1:
                half = stats.sem(known) * stats.t.ppf(0.975, len(known) - 1)
            line[metric] = [round(float(np.mean(known)), 4), round(float(half), 4)]
        record[f"{detector} | {scenario}"] = line
        print(f"{detector:<28} {scenario:<40}", line)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
