"""Every run on one page: models and datasets, what the runs took, what is missing.

Rows of the same keys, for `report.show`, `report.wide` and `grid`, from the JSON of runs alone.
"""

import json
from collections.abc import Sequence
from typing import Any

from cangraph.data.datasets import DATASETS, present
from cangraph.evaluation.scores import overall
from cangraph.evaluation.stats import interval
from cangraph.files import home, put
from cangraph.report.compare import Comparison, Rows
from cangraph.runs import Run, make_run

MODELS = ("GAT teacher", "VGAE teacher", "GAT student", "VGAE student", "fusion",
          "GAT teacher, 10 s", "calibrated count")  # fmt: skip
_METRICS = ("auroc", "auprc", "f1", "mcc")  # that are saved; the page shows some


def _reported(run: Run) -> Rows:
    """The report's scenarios, without published rows, which rest on no capture of ours."""
    report = run.stages.get("diagnostics", {})
    return [row for row in report.get("scenarios", []) if row.get("captures") is not None]


def _cell(values: Sequence[float], otherwise: str) -> dict[str, Any]:
    """The mean over seeds, and as text with half of its 95 % interval (of two seeds: with both)."""
    if not values:
        return {"mean": None, "seeds": 0, "text": otherwise}
    mean, reach = interval(values)
    text = f"{mean:.3f}"
    if reach is not None:
        text += f" ± {reach:.3f}"
    elif len(values) == 2:
        text += f" ({min(values):.3f}, {max(values):.3f})"
    return {"mean": mean, "seeds": len(values), "text": text}


def model_by_dataset(runs: Sequence[Run], metric: str) -> Rows:
    """One metric of each model on each dataset: `mean` over `seeds`, and `text`.

    A seed's figure is the plain mean over the scenarios that define the metric, of which each is a
    plain mean over captures. Datasets without a report come last.
    """
    rows: Rows = []
    reported = {run.dataset for run in runs if _reported(run)}
    for dataset in sorted(DATASETS, key=lambda name: name not in reported):
        mine = [run for run in runs if run.dataset == dataset]
        seeds = [overall(_reported(run), metric) for run in mine if _reported(run)]
        why = "undefined" if seeds else "no report" if mine else "absent"
        for model in MODELS:
            cell = _cell([seed[model] for seed in seeds if model in seed], why)
            rows.append({"dataset": dataset, "model": model} | cell)
    return rows


def model_by_scenario(runs: Sequence[Run], metric: str) -> Rows:
    """The same scenario by scenario, for datasets with a report. Without files it is `absent`."""
    rows: Rows = []
    for dataset, known in DATASETS.items():
        mine = [row for run in runs if run.dataset == dataset for row in _reported(run)]
        for scenario in known.scenarios if mine else ():
            here = [row for row in mine if row["scenario"] == scenario]
            why = "undefined" if any(row["captures"] for row in here) else "absent"
            words = " ".join(scenario.replace("vehicle", "car,").split("_")[2:])
            names = {"dataset": dataset, "scenario": scenario, "label": f"{dataset}: {words}"}
            for model in MODELS:
                values = [row[metric] for row in here if row["detector"] == model]
                cell = _cell([value for value in values if value is not None], why)
                rows.append(names | {"model": model} | cell)
    return rows


def time_taken(runs: Sequence[Run]) -> Rows:
    """Wall time and processor time of each stage of each run, in s, and both as `text`."""
    return [
        {"run": run.name, "stage": stage}
        | record["cost"]
        | {"text": f"{record['cost']['seconds']:,.0f} ({record['cost']['cpu_seconds']:,.0f})"}
        for run in runs
        for stage, record in run.stages.items()
    ]


def missing(runs: Sequence[Run]) -> Rows:
    """Runs that are not on the page, or stopped: `what`, `why`, and the command that is the
    `remedy`. What data is missing, and where it is published, `cangraph data` says."""
    ran = {run.dataset for run in runs}
    rows = [
        {"what": dataset, "why": "data, but no run", "remedy": f"{make_run(dataset)}, or make all"}
        for dataset in present()
        if dataset not in ran
    ]
    for run in runs:
        if stage := run.next_stage:
            failed = f"runs/{run.name}/{stage}.failed.ipynb"
            why = f", which failed: see {failed}" if (home() / failed).is_file() else ""
            why = f"stops before {stage}{why}"
            rows.append({"what": run.name, "why": why, "remedy": run.command})
    return rows


def weakest_spot(runs: Sequence[Run], metric: str = "auroc") -> str:
    """The page in one sentence: how many runs, and the GAT teacher's weakest scenario."""
    known = [row for row in model_by_scenario(runs, metric) if row["mean"] is not None]
    if not known:
        return "No run is finished: `make demo` makes one of the demo, `make all` all that can be."
    low = min(known, key=lambda row: (row["model"] != "GAT teacher", row["mean"]))
    datasets = [run.dataset for run in runs if _reported(run)]
    return (
        f"{len({*datasets})} of {len(DATASETS)} datasets, {len(datasets)} finished "
        f"run{'s' if len(datasets) > 1 else ''}. The weakest spot of the {low['model']} is "
        f"{low['scenario'].replace('_', ' ')} of {low['dataset']}: {metric.upper()} {low['text']}."
    )


def save_page(runs: Sequence[Run], compared: Comparison) -> dict[str, Any]:
    """Write what the page says and return it: to `runs/compare.json` where two runs are compared,
    else to `runs/summary.json`."""
    if compared.detectors:
        facts = compared._asdict() | {"verdict": compared.verdict}
    else:
        facts = {
            "headline": weakest_spot(runs),
            "matrix": {metric: model_by_dataset(runs, metric) for metric in _METRICS},
            "scenarios": {metric: model_by_scenario(runs, metric) for metric in _METRICS},
            "took": time_taken(runs),
            "missing": missing(runs),
        }
    facts = {"schema": 3} | facts
    text = json.dumps(facts, indent=1, allow_nan=False)
    name = "compare" if compared.detectors else "summary"
    put(home() / "runs" / f"{name}.json", text.encode())
    return facts
