"""What the detector sees of known and unknown vehicles and attacks, beside every baseline.

    CANGRAPH_DATA=… python benchmarks/detection.py [--datasets hcrl_sa set_04] [--seeds 5]
        [--train-on both clean] [--size student] [--controls ["no edges" …]]
        [--across demo hcrl_sa set_04]

For each dataset, kind of training and seed a GAT is trained and scored on the test captures of
every scenario: AUROC and AUPRC inside each capture (macro over captures), window F1 zero-shot
(at an even chance of an attack, whatever the car) and calibrated on the first
10 s of each capture (a GAT never under an even chance), share of detected windows whose attacked ID
is the one blamed most, events found and false alarms an hour by the rule for alarms
(`alarm_rule`), zero-shot and calibrated, also on clean captures that are not trained on. One row
more is of all seeds' nets together, their mean. Suppression is synthesised into those captures, if
there are any, and into the clean training captures: of these the traffic is known, the attacks are
not. Baselines do not depend on the seed and learn from the labelled windows; the boosted trees also
from the synthesised ones.
With `--across`, the nets of each dataset are scored on the test captures and the clean ones of the
other datasets as well: cars, recorders and attackers of which nothing was trained on.
The last line is one JSON object; each figure is the mean over the seeds, half of its 95 % interval
(null for one seed) and the number of seeds.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit, logit

import cangraph as cg
from cangraph.data.graphs import join
from cangraph.params import Params

RATE = 1e-3  # false alarms a window that calibration aims at


def suppressed(captures, scenario: str) -> cg.Graphs:
    """Clean captures with three suppressions in each."""
    made = []
    for number, capture in enumerate(captures):
        clean = capture.label(scenario=scenario)
        third = (clean.duration - 8) / 3
        spans = [(8 + third * k, 8 + third * k + min(4, 0.7 * third)) for k in range(3)]
        made.append(cg.inject(clean, "suppression", spans=spans, severity=0.5, seed=number))
    return cg.to_graphs(made)


def foreign(dataset: str) -> cg.Graphs:
    """The test captures of a dataset and its clean ones, their scenarios with its name."""
    clean = "train_01_attack_free"
    mine = [c for c in cg.read(dataset) if c.scenario.startswith("test") or c.scenario == clean]
    return cg.to_graphs([c.label(scenario=f"{dataset} {c.scenario}") for c in mine])


def figures(scores, at: float, calibrated, kind="", located=None) -> dict[str, dict[str, float]]:
    """Metrics of each scenario by name. `calibrated` decides at an even chance, of rules at 0."""
    found: dict[str, dict] = {}
    even = 0.5 if kind == "GAT" else 0.0
    for row in cg.by_scenario(scores, at):
        found[row["scenario"]] = {
            "auroc": row["auroc"], "auprc": row["auprc"], "f1 zero-shot": row["f1"],
        }  # fmt: skip
    for row in cg.by_scenario(calibrated, even):
        found[row["scenario"]]["f1 calibrated"] = row["f1"]
        found[row["scenario"]]["fpr calibrated"] = row["fpr"]
    for scenario, mine in found.items():
        part = scores[scores.scenario == scenario]
        ten = calibrated[calibrated.scenario == scenario]
        rules = cg.evaluation.alarm_rule(kind, at), cg.evaluation.alarm_rule(kind, even)
        for how, which, rule in zip(("zero-shot", "calibrated"), (part, ten), rules, strict=True):
            if np.isfinite(rule.at) and len(which):
                told = cg.evaluation.event_metrics(which, *rule)
                mine[f"events, {how}"] = told["recall"]
                mine[f"false alarms per hour, {how}"] = told["false_alarms_per_hour"]
                mine[f"false alarms, {how}"] = told["false_alarms"]
                mine[f"benign hours, {how}"] = told["benign_hours"]
        if located is not None:
            seen = scores.label & (scores.value >= at) & (scores.scenario == scenario)
            mine["localised"] = float(located[seen].mean()) if seen.any() else None
    return found


def without_edges(graphs: cg.Graphs) -> cg.Graphs:
    """Control: the same nodes, and nothing between them."""
    none = {"edge_index": graphs.edge_index[:, :0], "edge_attr": graphs.edge_attr[:0]}
    return replace(graphs, **none, edge_ptr=np.zeros_like(graphs.edge_ptr))


def shuffled(graphs: cg.Graphs) -> cg.Graphs:
    """Control: the labels of other windows and nodes."""
    rng = np.random.default_rng(0)
    windows, nodes = rng.permutation(len(graphs)), rng.permutation(len(graphs.x))
    labels = {name: getattr(graphs, name)[windows] for name in ("label", "attack_type")}
    return replace(graphs, **labels, node_attack=graphs.node_attack[nodes])


QUIET = "clean captures not trained on"
CONTROLS = {
    "no edges": without_edges,
    "shuffled labels": shuffled,
    "no other cars": None,
    "hard benign twice": None,
}


class Altered:
    """Training material with every window changed."""

    def __init__(self, material: cg.Synthesis, change):
        self.draw = lambda number, progress: change(material.draw(number, progress))
        self.val = change(material.val)


class Mined:
    """Training material in which the fifth of the benign windows that a VGAE explains worst stands
    twice."""

    def __init__(self, material: cg.Synthesis, params: Params, size: str):
        cg.seed_everything(params.seed)
        spec = material.val.spec
        self.vgae = cg.fit(
            cg.Reconstructor(cg.VGAE(spec, **params[size].vgae)), material, params, size
        )
        self.material, self.val = material, material.val

    def draw(self, number: int, progress: float) -> cg.Graphs:
        graphs = self.material.draw(number, progress)
        value = np.where(graphs.label, -np.inf, self.vgae.score(graphs).value)
        hardest = np.argsort(-value, kind="stable")[: int((~graphs.label).sum()) // 5]
        return join([graphs, graphs[np.sort(hardest)]])


def ensemble(members: list[cg.Scores]) -> cg.Scores:
    """Mean over the seeds of the log-odds, as a probability."""
    odds = [logit(scores.value.clip(1e-12, 1 - 1e-12)) for scores in members]
    return replace(members[0], value=expit(np.mean(odds, axis=0)))


def judged(gat: cg.Detector, test: cg.Graphs) -> tuple[dict, cg.Scores]:
    """Figures of a trained net by scenario, and its scores."""
    scores, at = gat.score(test), gat.even_chance
    calibrated = cg.evaluation.recalibrated(scores, at, 10.0, RATE)
    return figures(
        scores, at, calibrated, "GAT", cg.evaluation.localised(test, gat.blame(test))
    ), scores


def train(data, clean, params, size, control="", nets: Path | None = None) -> cg.Detector:
    """One trained net, or as it was left below `nets` by a script that trained it before."""
    given, change = cg.Synthesis(data, clean, params), CONTROLS.get(control)
    material = Altered(given, change) if change else given
    if control == "hard benign twice":
        material = Mined(given, params, size)
    cg.seed_everything(params.seed)
    gat = cg.Detector(cg.GAT(data.train.spec, **params[size].gat))
    # what it is trained on is part of what `fit` knows a net by: a control is another one
    kept = nets and nets / f"{params.dataset} GAT {size} {params.seed}"
    return cg.fit(gat, material, params, size, kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["hcrl_sa", "set_04"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train-on", nargs="+", default=["both", "clean"])
    parser.add_argument("--size", default="teacher", choices=["teacher", "student"])
    parser.add_argument(
        "--controls",
        nargs="*",
        choices=CONTROLS,
        metavar="CONTROL",
        help=f"of the first kind of training and seed 0: {', '.join(CONTROLS)}, or all of them",
    )
    parser.add_argument("--across", nargs="*", default=[], help="datasets to score all nets on")
    parser.add_argument("--nets", type=Path, help="where trained nets lie and are left")
    given = parser.parse_args()
    table: dict = defaultdict(lambda: defaultdict(list))
    abroad = {name: foreign(name) for name in given.across}
    for dataset in given.datasets:
        captures = cg.read(dataset)
        graphs = cg.to_graphs(captures)
        clean = cg.clean_captures(captures)
        quiet = [
            c.label(scenario=QUIET)
            for c in captures
            if c.scenario == "train_01_attack_free" and all(c is not mine for mine in clean)
        ]
        others = [suppressed(clean, "suppression in training captures")]
        if quiet:
            others += [cg.to_graphs(quiet), suppressed(quiet, f"suppression in {QUIET}")]
        others += [graphs for name, graphs in abroad.items() if name != dataset]
        trials = [(kind, seed, "") for kind in given.train_on for seed in range(given.seeds)]
        if given.controls is not None:
            trials += [(given.train_on[0], 0, control) for control in given.controls or CONTROLS]
        members = defaultdict(list)
        for train_on, seed, control in trials:
            params = cg.load_params(
                dataset,
                seed=seed,
                fit={"train_on": train_on},
                synthesis={"fleet": 0, "varied": 0.0} if control == "no other cars" else {},
            )
            data = cg.split(graphs, params.split)
            test = join([data.test, *others])
            began = time.time()
            gat = train(data, clean, params, given.size, control, given.nets)
            rows, scores = judged(gat, without_edges(test) if control == "no edges" else test)
            name = f"{dataset} GAT, {train_on}" + (f", {control}" if control else "")
            members[name].append(scores)
            print(f"## {name}, seed {seed}: {time.time() - began:.0f} s")
            for row in cg.by_capture(scores, gat.even_chance):  # a name may be in several scenarios
                shown = {k: row[k] for k in ("auroc", "auprc", "f1", "fpr")}
                print("  ", row["scenario"][:14], row["capture"], shown)
            for scenario, mine in rows.items():
                for metric, value in mine.items():
                    table[name, scenario][metric].append(value)
            sys.stdout.flush()
        for name, of_seeds in members.items():
            if len(of_seeds) > 1:
                scores = ensemble(of_seeds)
                calibrated = cg.evaluation.recalibrated(scores, 0.5, 10.0, RATE)
                for scenario, mine in figures(scores, 0.5, calibrated, "GAT").items():
                    for metric, value in mine.items():
                        table[f"{name}, {len(of_seeds)} seeds as one", scenario][metric] = [value]
        params = cg.load_params(dataset)
        data = cg.split(graphs, params.split)
        test, material = join([data.test, *others]), cg.Synthesis(data, clean, params)
        rules = cg.evaluation.decided(data.train, test)
        rules = {name: scores for name, (scores, _) in rules.items()}
        drawn = join([material.draw(k) for k in range(3)])
        rules["boosted trees, both"] = cg.evaluation.BoostedTrees(drawn).score(test)
        for name, scores in rules.items():
            if "trees" in name:  # probabilities, which decide and alarm as a GAT's do
                found = figures(
                    scores, 0.5, cg.evaluation.recalibrated(scores, 0.5, 10.0, RATE), "GAT"
                )
            else:  # a rule has no threshold from other vehicles
                calibrated = cg.evaluation.calibrated(scores, 10.0, RATE, otherwise=np.inf)
                found = figures(scores, np.inf, calibrated)
                for mine in found.values():
                    mine.pop("f1 zero-shot")
            for scenario, mine in found.items():
                for metric, value in mine.items():
                    table[f"{dataset} {name}", scenario][metric].append(value)
        canary = cg.evaluation.leak_canary(captures, data.test)
        for row in cg.by_scenario(canary, 0.5):
            table[f"{dataset} leak canary", row["scenario"]]["auroc"].append(row["auroc"])
    report(table)


def report(table: dict) -> None:
    """Mean and half the width of the 95 % interval over seeds (Student's t) of each figure."""
    record = {}
    for (detector, scenario), metrics in table.items():
        line = {}
        for metric, values in metrics.items():
            known = [v for v in values if v is not None]
            if not known:
                continue
            half = None
            if len(known) > 1:
                half = round(float(stats.sem(known) * stats.t.ppf(0.975, len(known) - 1)), 4)
            line[metric] = [round(float(np.mean(known)), 4), half, len(known)]
        record[f"{detector} | {scenario}"] = line
        print(f"{detector:<32} {scenario:<40}", line)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
