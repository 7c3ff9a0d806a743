"""Which rule raises alarms, and which threshold calls windows: the ones in use beside others.

    make run DATASET=demo       # or any other; then
    CANGRAPH_DATA=… python benchmarks/alarm_rules.py [--datasets demo hcrl_sa set_04]
        [--across hcrl_sa set_04]

The scores of a run's GAT teacher on its test windows, and on the captures of other datasets
(`detection.foreign`), zero-shot, by each rule for alarms: attacks found, false alarms an hour of
benign time, median delay in s; all captures pooled. By each threshold: F1 and false-positive rate,
means over captures, on the windows behind the first 10 s. And the alarms of the rule in use on
captures without attacks, one by one: when, and which ID is blamed. The last line is one JSON
object.
"""

import argparse
import json

import numpy as np
from detection import foreign

import cangraph as cg

CLEAN, RATE = 10.0, 1e-3
RULES = {
    "2 of 3 windows at .5": (0.5, 2, 3),
    "a window at .5": (0.5, 1, 1),
    "a window at .95": (0.95, 1, 1),
    "evidence (in use)": cg.evaluation.alarm_rule("GAT", 0.5),
}


def thresholds(scores: cg.Scores) -> dict[str, tuple[cg.Scores, float]]:
    """Windows behind the clean stretch, and the threshold that decides on them."""
    behind = scores[~cg.evaluation.clean_stretch(scores, CLEAN)]
    return {
        "an even chance": (behind, 0.5),
        "calibrated": (cg.evaluation.calibrated(scores, CLEAN, RATE, otherwise=0.5), 0.0),
        "calibrated, never under it (in use)": (
            cg.evaluation.recalibrated(scores, 0.5, CLEAN, RATE),
            0.5,
        ),
    }


def mean(rows: list[dict], metric: str) -> float:
    known = [row[metric] for row in rows if row[metric] is not None]
    return round(sum(known) / len(known), 4)


def rows(where: str, scores: cg.Scores) -> dict[str, dict]:
    """A row for each rule and each threshold."""
    found = {}
    for name, rule in RULES.items():
        told = cg.evaluation.event_metrics(scores, *rule)
        kept = ("found", "events", "false_alarms_per_hour", "false_alarms", "benign_hours")
        kept += ("delay_median", "delay_of_all")
        found[f"{where} | {name}"] = {key: told[key] for key in kept}
    for name, pair in thresholds(scores).items():
        judged = cg.by_capture(*pair)
        found[f"{where} | {name}"] = {metric: mean(judged, metric) for metric in ("f1", "fpr")}
    return found


def unfounded(gat: cg.Detector, graphs: cg.Graphs) -> list[tuple[str, float, str]]:
    """The alarms on attack-free captures: the capture, s since its first frame, the ID blamed."""
    graphs = graphs[np.char.find(graphs.scenario, "attack_free") >= 0]
    scores, blame, found = gat.score(graphs), gat.blame(graphs), []
    for alarm in cg.evaluation.raise_alarms(
        scores, *cg.evaluation.alarm_rule("GAT", gat.even_chance)
    ):
        about = (scores.capture == alarm.capture) & (scores.value == alarm.peak)
        window = np.flatnonzero(about & (scores.end <= alarm.end))[-1]
        nodes = slice(*graphs.node_ptr[window : window + 2])
        who = f"{graphs.node_id[nodes][blame[nodes].argmax()]:X}"
        found.append((scores.captures[alarm.capture].name, round(alarm.start, 2), who))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["demo"])
    parser.add_argument("--across", nargs="*", default=[], help="datasets to judge as well")
    given = parser.parse_args()
    abroad = {name: foreign(name) for name in given.across}
    record = {}
    for dataset in given.datasets:
        params = cg.load_params(dataset)
        gat = cg.runs.load_models("teacher", params)["gat"]
        test = {dataset: cg.runs.load_data(params).test}
        test |= {
            f"{dataset} on {name}": graphs for name, graphs in abroad.items() if name != dataset
        }
        for where, graphs in test.items():
            record |= rows(where, gat.score(graphs))
        for name, graphs in abroad.items():
            record[f"{dataset} on {name} | alarms without an attack"] = unfounded(gat, graphs)
    for name, row in record.items():
        print(f"{name:<60}", row)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
