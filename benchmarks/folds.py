"""How much the result depends on which span, recording, vehicle or attack was held out.

    CANGRAPH_DATA=… python benchmarks/folds.py [--datasets demo hcrl_sa] [--seeds 1] [--official]
        [--by time recording vehicle attack] [--folds 4] [--train-on both] [--quick]

The student is trained in each fold of the training captures (with `--official`, of all captures) on
what is not held out, labelled and under synthesised attacks, and scored on what is: AUROC, AUPRC
beside the share of attack windows, and F1 at the threshold of the fold's calibration windows, plain
means over the captures of the fold that have both classes. An attack that is held out is still
among the synthesised ones; with `--train-on labelled` it is unknown in every way. The last line is
one JSON object; each fold's figures are means over the seeds, `spread` is the standard deviation
over the folds.
"""

import argparse
import json
from collections import defaultdict

import numpy as np
from cross_validation import Fold, leave_out, walk_forward

import cangraph as cg
from cangraph.params import Params

METRICS = ("auroc", "auprc", "prevalence", "f1", "fpr")
BY = ("time", "recording", "vehicle", "attack")


def measured(fold: Fold, clean: list[cg.Frames], params: Params) -> dict[str, float | None]:
    """Figures of the student of one fold; None where no capture defines them."""
    material = fold.material(clean, params)
    cg.seed_everything(params.seed)
    gat = cg.Detector(cg.GAT(fold.graphs.spec, **params.student.gat))
    gat = cg.fit(gat, material, params, "student")
    rows = cg.by_capture(gat.score(fold.test), cg.threshold(gat.score(material.calib)))
    for row in rows:
        row["prevalence"] = row["attack_windows"] / row["windows"]
    both = [row for row in rows if row["auroc"] is not None]
    defined = dict.fromkeys(METRICS, both) | {"fpr": [r for r in rows if r["fpr"] is not None]}
    return {
        metric: float(np.mean([row[metric] for row in of])) if of else None
        for metric, of in defined.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["demo"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--by", nargs="+", default=list(BY), choices=BY)
    parser.add_argument("--folds", type=int, default=4, help="spans of time")
    parser.add_argument("--official", action="store_true", help="test captures take part")
    kinds = ["both", "clean", "labelled"]
    parser.add_argument("--train-on", default="both", choices=kinds)
    parser.add_argument("--quick", action="store_true", help="two epochs of little material")
    given = parser.parse_args()
    values: dict = {"fit": {"train_on": given.train_on}}
    if given.quick:
        values["teacher"] = values["student"] = {"epochs": 2}
        values["synthesis"] = {"seconds": 40, "fleet": 1}
    record: dict = {}
    for dataset in given.datasets:
        captures = cg.read(dataset)
        graphs, clean = cg.to_graphs(captures), cg.clean_captures(captures)
        for by in given.by:
            found = defaultdict(list)
            for seed in range(given.seeds):
                params = cg.load_params(dataset, seed=seed, **values)
                if by == "time":
                    folds = walk_forward(graphs, params.split, given.folds)
                else:
                    folds = leave_out(graphs, params.split, by, official=given.official)
                for fold in folds:
                    found[fold.held].append(measured(fold, clean, params))
            record[f"{dataset} by {by}"] = table(f"{dataset}, held out by {by}", found)
    print(json.dumps(record))


def table(title: str, found: dict[str, list[dict]]) -> dict:
    """Means over the seeds of each fold, their mean and spread over the folds, shown."""
    rows = {}
    for held, of_seeds in found.items():
        known = {m: [f[m] for f in of_seeds if f[m] is not None] for m in METRICS}
        rows[held] = {m: round(float(np.mean(v)), 4) if v else None for m, v in known.items()}
    for name, over in (("mean", np.mean), ("spread", np.std)):
        known = {m: [row[m] for h, row in rows.items() if h in found and row[m] is not None]
                 for m in METRICS}  # fmt: skip
        rows[name] = {m: round(float(over(v)), 4) if v else None for m, v in known.items()}
    print(f"## {title}")
    shown = [{"fold": held} | row for held, row in rows.items()]
    print(cg.report.show(shown, ["fold", *METRICS]))
    return rows


if __name__ == "__main__":
    main()
