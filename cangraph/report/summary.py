"""Every run on one page: dataset × model, what it took, what is missing."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from cangraph.data.datasets import DATASETS, TRAIN, present, wanting
from cangraph.evaluation.ranking import interval
from cangraph.evaluation.scores import overall
from cangraph.files import put
from cangraph.params import data_home, home
from cangraph.report import literature
from cangraph.runs import STAGES, Run

__all__ = ["MODELS", "SCHEMA", "beside_published", "costs", "grid", "headline", "matrix"]
__all__ += ["missing", "no_dataset", "provenance", "save", "scenarios", "sized", "took"]

SCHEMA = 1  # of summary.json
MODELS = (
    "GAT teacher",
    "VGAE teacher",
    "GAT student",
    "VGAE student",
    "fusion",
    "GAT teacher, 10 s",
    "calibrated count",
)
_COSTED = {"gat_teacher": "GAT teacher", "vgae_teacher": "VGAE teacher"}
_COSTED |= {"gat": "GAT student", "vgae": "VGAE student"}


def _rows(run: Run) -> list[dict]:
    """Our own rows of a report's scenarios; published ones rest on no capture of ours."""
    report = run.stages.get("diagnostics", {})
    return [row for row in report.get("scenarios", []) if row.get("captures") is not None]


def _cell(values: Sequence[float]) -> dict:
    mean, half = interval(values)
    text, reach = f"{mean:.3f}", half
    if half is not None:
        text += f" ± {half:.3f}"
    elif len(values) == 2:
        text += f" ({min(values):.3f}, {max(values):.3f})"
        reach = float(np.ptp(values)) / 2
    return {"mean": mean, "half": half, "reach": reach, "seeds": len(values), "text": text}


def _undefined(text: str) -> dict:
    return {"mean": None, "half": None, "reach": None, "seeds": 0, "text": text}


def matrix(runs: Sequence[Run], metric: str) -> list[dict]:
    """One metric of each model on each dataset: a row for each pair with `mean`, `half` of the
    95 % interval over `seeds`, its `reach` in a figure (with two seeds, half of their difference),
    and `text`.

    A seed's figure is the plain mean over the scenarios that define the metric, of which each is a
    plain mean over captures. Datasets without a report come last: `absent`, or `no report` of an
    unfinished run.
    """
    rows = []
    reported = {run.dataset for run in runs if _rows(run)}
    for dataset in sorted(DATASETS, key=lambda name: name not in reported):
        reports = [_rows(run) for run in runs if run.dataset == dataset]
        figures = [overall(mine, metric) for mine in reports if mine]
        for model in MODELS:
            values = [mine[model] for mine in figures if model in mine]
            begun = any(run.dataset == dataset for run in runs)
            why = "undefined" if figures else "no report" if begun else "absent"
            cell = _cell(values) if values else _undefined(why)
            rows.append({"dataset": dataset, "label": dataset, "model": model} | cell)
    return rows


def grid(rows: Sequence[dict], key: str = "mean", down="label", across="model") -> np.ndarray:
    """One key of rows as a figure takes it, (down, across) in order of appearance: numbers as f8
    with NaN where there is none, or text.

    >>> grid([{"label": "demo", "model": "GAT", "mean": 0.9}])
    array([[0.9]])
    """
    sides, tops = (list(dict.fromkeys(row[name] for row in rows)) for name in (down, across))
    found = np.full((len(sides), len(tops)), "" if key == "text" else np.nan, object)
    for row in rows:
        if row[key] is not None:
            found[sides.index(row[down]), tops.index(row[across])] = row[key]
    return found if key == "text" else found.astype(np.float64)


def scenarios(runs: Sequence[Run], metric: str) -> list[dict]:
    """The same scenario by scenario, for the datasets that have a report: a mean over scenarios
    hides the weak one. A scenario without files here is `absent`."""
    rows = []
    for dataset, known in DATASETS.items():
        mine = [row for run in runs if run.dataset == dataset for row in _rows(run)]
        for scenario in known.scenarios if mine else ():
            here = [row for row in mine if row["scenario"] == scenario]
            for model in MODELS:
                one = [row[metric] for row in here if row["detector"] == model]
                values = [value for value in one if value is not None]
                files = any(row["captures"] for row in here)
                cell = _cell(values) if values else _undefined("undefined" if files else "absent")
                words = scenario.replace("vehicle", "car,").split("_")[2:]
                label = f"{dataset}: {' '.join(words)}"
                names = {"dataset": dataset, "scenario": scenario, "label": label, "model": model}
                rows.append(names | cell)
    return rows


def costs(runs: Sequence[Run]) -> list[dict]:
    """Parameters, bytes and latency of each net (a window on one thread, features included), by
    dataset; latencies are medians over seeds."""
    rows = []
    for dataset in DATASETS:
        mine = [
            row
            for run in runs
            if run.dataset == dataset
            for row in run.stages.get("distillation", {}).get("costs", [])
        ]
        for key, model in _COSTED.items():
            same = [row for row in mine if row["model"] == key]
            if same:
                took = {n: float(np.median([row[n] for row in same])) for n in ("p50_ms", "p99_ms")}
                sizes = {n: same[0][n] for n in ("parameters", "bytes")}
                rows.append({"dataset": dataset, "model": model} | sizes | took)
    return rows


def sized(costs: Sequence[dict], rows: Sequence[dict]) -> tuple[list, list, list]:
    """Parameters, mean over datasets of the `matrix` rows, and name of each model that has both."""
    size = {row["model"]: row["parameters"] for row in costs}
    value = {m: [r["mean"] for r in rows if r["model"] == m and r["seeds"]] for m in size}
    names = [model for model in size if value[model]]
    return [size[m] for m in names], [float(np.mean(value[m])) for m in names], names


def took(runs: Sequence[Run]) -> list[dict]:
    """Wall time and processor time of each stage of each run, in s, and both as `text`; None where
    the stage was saved before stages were timed."""
    rows = []
    for run in runs:
        for stage, record in run.stages.items():
            cost = record.get("cost") or dict.fromkeys(("seconds", "cpu_seconds", "threads"))
            text = "not timed"
            if cost["seconds"] is not None:
                text = f"{cost['seconds']:,.0f} ({cost['cpu_seconds']:,.0f})"
            rows.append({"run": run.name, "stage": stage} | cost | {"text": text})
    return rows


def provenance(runs: Sequence[Run]) -> list[dict]:
    """Of each run: its stages, versions, and a hash over those of its captures."""
    rows = []
    for run in runs:
        last = [*run.stages.values()][-1]
        captures = run.stages.get("data_prep", {}).get("captures", [])
        digest = hashlib.sha256("".join(sorted(c["sha256"] for c in captures)).encode())
        row = {"run": run.name, "stages": f"{len(run.stages)} of {len(STAGES)}"}
        row |= {"captures": len(captures), "data": digest.hexdigest()[:12]}
        rows.append(row | last["versions"])
    return rows


def beside_published(runs: Sequence[Run], metric: str) -> list[dict]:
    """Ours, means over seeds, beside what others published of the same scenario: `text` by
    `scenario` and `detector`. Only scenarios that are here and of which something is published."""
    ours: list[dict] = []
    theirs: dict[tuple, str] = {}
    for row in scenarios(runs, metric):
        name, text = f"{row['dataset']} {row['scenario'][:7]}", row["text"].partition(" ")[0]
        others = literature.published(row["dataset"], [row["scenario"]])
        others = [other for other in others if metric in other]
        if others and text != "absent":
            ours.append({"scenario": name, "detector": row["model"], "text": text})
            theirs |= {(name, other["detector"]): f"{other[metric]:.3f}" for other in others}
    return ours + [{"scenario": s, "detector": d, "text": t} for (s, d), t in theirs.items()]


def missing(runs: Sequence[Run]) -> list[dict]:
    """What is not on the page: `what`, `why`, and the command or source that brings it."""
    rows, here = [], present()
    for dataset, known in DATASETS.items():
        mine = [run for run in runs if run.dataset == dataset]
        if dataset not in here and not mine:
            rows.append({"what": dataset, "why": "no data", "remedy": wanting(dataset)})
        elif not mine:
            remedy = f"make run DATASET={dataset}, or make all"
            rows.append({"what": dataset, "why": "data, but no run", "remedy": remedy})
        for run in mine:
            if run.next_stage:
                why = f"stops before {run.next_stage}"
                if (home() / "runs" / run.name / f"{run.next_stage}.failed.ipynb").is_file():
                    why += f", which failed: see {run.next_stage}.failed.ipynb in runs/{run.name}/"
                rows.append({"what": run.name, "why": why, "remedy": run.command})
        done = [run.stages["data_prep"] for run in mine if "data_prep" in run.stages]
        if done:
            there = {capture["scenario"] for capture in done[0]["captures"]}
            gone = [name for name in TRAIN + known.scenarios if name not in there]
            if gone:
                remedy = f"{known.publisher}; then {mine[0].command}"
                why = f"no files of {', '.join(gone)}"
                rows.append({"what": f"{dataset}, in part", "why": why, "remedy": remedy})
    return rows


def no_dataset() -> list[str]:
    """Folders of `CANGRAPH_DATA` that no dataset of the catalog is named like."""
    place = data_home()
    folders = (path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else ()
    return sorted(name for name in folders if name not in DATASETS and not name.startswith("."))


def headline(runs: Sequence[Run], metric: str = "auroc") -> str:
    """The page in one sentence; without a report, the command that makes one."""
    reported = [run for run in runs if _rows(run)]
    if not reported:
        return "No run is finished: `make demo` makes one of the demo, `make all` all that can be."
    datasets = dict.fromkeys(run.dataset for run in reported)
    worst = [row for row in scenarios(reported, metric) if row["mean"] is not None]
    fewest = [row for row in worst if row["model"] == "GAT teacher"] or worst
    low = min(fewest, key=lambda row: row["mean"])
    return (
        f"{len(datasets)} of {len(DATASETS)} datasets, {len(reported)} finished "
        f"run{'s' if len(reported) > 1 else ''}. The weakest spot of "
        f"the {low['model']} is {low['scenario'].replace('_', ' ')} of {low['dataset']}: "
        f"{metric.upper()} {low['text']}."
    )


def save(runs: Sequence[Run], metrics: Sequence[str] = ("auroc", "auprc", "f1", "mcc")) -> dict:
    """Write all of this to `runs/summary.json` and return it."""
    facts = {
        "schema": SCHEMA,
        "headline": headline(runs),
        "matrix": {metric: matrix(runs, metric) for metric in metrics},
        "scenarios": {metric: scenarios(runs, metric) for metric in metrics},
        "costs": costs(runs),
        "took": took(runs),
        "provenance": provenance(runs),
        "missing": missing(runs),
    }
    text = json.dumps(facts, indent=1, allow_nan=False)
    put(home() / "runs" / "summary.json", [text.encode()])
    return facts
