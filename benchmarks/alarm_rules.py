"""Which rule raises alarms, and which threshold calls windows: the ones in use beside others.

    make run DATASET=demo       # or any other; then
    CANGRAPH_DATA=… python benchmarks/alarm_rules.py [--datasets demo hcrl_sa set_04]

The scores of a run's GAT teacher on its test windows, zero-shot, by each rule for alarms: attacks
found, false alarms an hour of benign time, median delay in s; all captures pooled. And by each
threshold: F1 and false-positive rate, means over captures, on the windows behind the first 10 s.
The last line is one JSON object.
"""

import argparse
import json

import cangraph as cg

CLEAN, RATE = 10.0, 1e-3
RULES = {
    "2 of 3 windows at .5": (0.5, 2, 3),
    "a window at .5": (0.5, 1, 1),
    "a window at .95": (0.95, 1, 1),
    "evidence (in use)": cg.alarm_rule("GAT", 0.5),
}


def thresholds(scores: cg.Scores) -> dict[str, tuple[cg.Scores, float]]:
    """Windows behind the clean stretch, and the threshold that decides on them."""
    behind = scores[~cg.clean_stretch(scores, CLEAN)]
    return {
        "an even chance": (behind, 0.5),
        "calibrated": (cg.calibrated(scores, CLEAN, RATE, otherwise=0.5), 0.0),
        "calibrated, never under it (in use)": (cg.recalibrated(scores, 0.5, CLEAN, RATE), 0.5),
    }


def mean(rows: list[dict], metric: str) -> float:
    known = [row[metric] for row in rows if row[metric] is not None]
    return round(sum(known) / len(known), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["demo"])
    record = {}
    for dataset in parser.parse_args().datasets:
        params = cg.load_params(dataset)
        data = cg.runs.load_data(params)
        scores = cg.runs.load_scores("teacher", params, data)["gat/test"]
        for name, rule in RULES.items():
            told = cg.event_metrics(scores, *rule)
            kept = ("found", "events", "false_alarms_per_hour", "delay_median")
            record[f"{dataset} | {name}"] = row = {key: told[key] for key in kept}
            print(f"{dataset:<9}{name:<38}", row)
        for name, pair in thresholds(scores).items():
            rows = cg.by_capture(*pair)
            record[f"{dataset} | {name}"] = row = {m: mean(rows, m) for m in ("f1", "fpr")}
            print(f"{dataset:<9}{name:<38}", row)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
