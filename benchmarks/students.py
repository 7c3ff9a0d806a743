"""What a smaller GAT costs in detection, and what a teacher gives back.

    CANGRAPH_DATA=… python benchmarks/students.py [--datasets hcrl_sa set_04] [--seeds 3]
        [--sizes 16x4x2 8x4x2 8x2x2 8x2x1] [--types 0 0.2] [--relation 0 1]
        [--quick]

For each dataset and seed a teacher is trained, then students of each size (hidden x heads x layers)
on the same draws: alone, and distilled from the teacher with each pair of weights given for the
soft targets of the attack types and for the relational distances.

All are scored on the test captures, by scenario: AUPRC (macro over captures), F1 at an even chance
and calibrated on the first 10 s of each capture; with them go parameters, bytes, and the latency of
one window on one thread: of all nets of a size the least, since other work on the machine only adds
to it; of several nets the sum. `gained` is the difference to the student alone, seed by seed, in
the mean over the scenarios that have an AUPRC. The last line is one JSON object; a figure of
several seeds is its mean, half of its 95 % interval (null for one seed) and the number of seeds.
"""

import argparse
import json
import time
from collections import defaultdict
from itertools import product

import numpy as np
from scipy import stats

import cangraph as cg
from cangraph.params import Params

RATE = 1e-3  # false alarms a window that calibration aims at
MEASURES = ("auprc", "f1", "f1 calibrated")
QUICK = {
    "teacher": {"epochs": 2},
    "student": {"epochs": 2},
    "synthesis": {"seconds": 60, "fleet": 1},
}


def figures(scores: cg.Scores, at: float) -> dict[str, dict[str, float]]:
    """AUPRC and F1 of each scenario that has them."""
    calibrated = cg.evaluation.recalibrated(scores, at, 10.0, RATE)
    again = {row["scenario"]: row["f1"] for row in cg.by_scenario(calibrated, 0.5)}
    return {
        row["scenario"]: {
            "auprc": row["auprc"], "f1": row["f1"], "f1 calibrated": again[row["scenario"]],
        }
        for row in cg.by_scenario(scores, at) if row["auprc"] is not None
    }  # fmt: skip


def gat(spec, size: dict, seed: int) -> cg.GAT:
    """A net with its first weights, the same ones with a teacher and without."""
    cg.seed_everything(seed)
    return cg.GAT(spec, **size)


class Trials:
    """All trainings of one dataset, and what they came to."""

    def __init__(self, dataset: str, given: argparse.Namespace):
        self.dataset, self.given = dataset, given
        self.captures = cg.read(dataset)
        self.clean = cg.clean_captures(self.captures)
        self.graphs = cg.to_graphs(self.captures)
        self.bus = cg.simulate("aster", 5.0 if given.quick else 20.0)
        self.rows: dict = defaultdict(list)  # name → the figures of each seed
        self.nets: dict[str, list[str]] = {}
        self.costs: dict[str, dict] = {}  # of each size of net

    def material(self, seed: int) -> tuple[Params, cg.Synthesis]:
        params = cg.load_params(self.dataset, seed=seed, **(QUICK if self.given.quick else {}))
        data = cg.split(self.graphs, params.split)
        self.test = data.test
        return params, cg.Synthesis(data, self.clean, params)

    def note(self, name: str, scores: cg.Scores, at: float, *nets: cg.GAT) -> None:
        """Score a detector of some nets, whose costs add up."""
        self.rows[name].append(figures(scores, at))
        self.nets[name] = [str(net.config) for net in nets]
        for net in nets:
            cost = cg.deploy.footprint(net, self.bus, self.graphs.window)
            before = self.costs.get(str(net.config), cost)
            self.costs[str(net.config)] = {key: min(cost[key], before[key]) for key in cost}
        print(f"## {self.dataset} {name}:", self.rows[name][-1], flush=True)

    def cost(self, name: str) -> dict[str, float]:
        each = [self.costs[net] for net in self.nets[name]]
        return {key: round(sum(cost[key] for cost in each), 3) for key in each[0]}

    def teacher(self, seed: int, params: Params, material: cg.Synthesis) -> cg.Detector:
        task = cg.Detector(gat(self.graphs.spec, params.teacher.gat, seed))
        return cg.fit(task, material, params)

    def run(self) -> None:
        for seed in self.given.seeds:
            params, material = self.material(seed)
            teacher = self.teacher(seed, params, material)
            self.note("teacher", teacher.score(self.test), teacher.even_chance, teacher.model)
            for size in self.given.sizes:
                self.students(size, seed, params, material, teacher)

    def students(self, size: str, seed: int, params, material, teacher) -> None:
        """The students of one size on the draws of one seed."""
        given = self.given
        config = dict(zip(("hidden", "heads", "layers"), map(int, size.split("x")), strict=True))
        variants: dict = {"alone": None}
        for types, relation in product(given.types, given.relation):
            name = "distilled" + f", types {types:g}" * bool(types)
            name += f", relation {relation:g}" * bool(relation)
            weights = params.distillation.model_copy(update={"types": types, "relation": relation})
            variants[name] = weights
        for name, weights in variants.items():
            net = gat(self.graphs.spec, config, seed)
            task = cg.distill(teacher, net, weights) if weights else cg.Detector(net)
            began = time.perf_counter()
            task = cg.fit(task, material, params, "student")
            print(f"## {size} {name}, seed {seed}: {time.perf_counter() - began:.0f} s")
            self.note(f"{size} {name}", task.score(self.test), task.even_chance, task.model)

    def means(self, name: str, measure: str) -> list[float]:
        """The mean over scenarios, of each seed."""
        return [float(np.mean([of[measure] for of in row.values()])) for row in self.rows[name]]

    def report(self) -> dict[str, dict]:
        """Print the table, and return all figures."""
        record = {}
        scenarios = list(dict.fromkeys(s for rows in self.rows.values() for r in rows for s in r))
        print(f"\n{self.dataset}: AUPRC / F1 / F1 calibrated")
        heads = ["", "parameters", "bytes", "p50 ms", "mean", *(s[:22] for s in scenarios)]
        print(f"{heads[0]:<40}", *(f"{head:>22}" for head in heads[1:]))
        for name, rows in self.rows.items():
            line: dict = self.cost(name)
            line["mean"] = {m: summary(self.means(name, m)) for m in MEASURES}
            for scenario in scenarios:
                line[scenario] = {m: summary([row[scenario][m] for row in rows]) for m in MEASURES}
            alone = f"{name.split()[0]} alone"
            if "distilled" in name:
                pairs = {m: (self.means(name, m), self.means(alone, m)) for m in MEASURES}
                line["gained"] = {m: summary(np.subtract(*pair)) for m, pair in pairs.items()}
            record[f"{self.dataset} | {name}"] = line
            cells = [f"{line['parameters']:,}", f"{line['bytes']:,}", f"{line['p50_ms']:.2f}"]
            for of in ("mean", *scenarios):
                cells.append(" / ".join(f"{line[of][m][0]:.3f}" for m in MEASURES))
            print(f"{name:<40}", *(f"{cell:>22}" for cell in cells))
        for name, line in record.items():
            if "gained" in line:
                print(f"{name} gained", line["gained"])
        return record


def summary(values) -> list:
    """Mean, half of the 95 % interval (Student's t), number."""
    half = None
    if len(values) > 1:
        half = round(float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)), 4)
    return [round(float(np.mean(values)), 4), half, len(values)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["hcrl_sa", "set_04"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["16x4x2", "8x4x2", "8x2x2", "8x2x1"])
    parser.add_argument("--types", nargs="+", type=float, default=[0.0])
    parser.add_argument("--relation", nargs="+", type=float, default=[0.0])
    parser.add_argument("--quick", action="store_true", help="the demo, two epochs, two sizes")
    given = parser.parse_args()
    if given.quick:
        given.datasets, given.sizes, given.seeds = ["demo"], given.sizes[-2:], min(given.seeds, 2)
    given.seeds = range(given.seeds)
    record = {}
    for dataset in given.datasets:
        trials = Trials(dataset, given)
        trials.run()
        record |= trials.report()
    print(json.dumps(record))


if __name__ == "__main__":
    main()
