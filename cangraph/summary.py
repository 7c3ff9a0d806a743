"""Every run on one page: dataset × model, ranks over datasets, what it took, what is missing."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from cangraph import literature, prepared
from cangraph.archive import Run
from cangraph.datasets import DATASETS, TRAIN, present, wanting
from cangraph.params import data_home, home
from cangraph.scores import overall

__all__ = ["MODELS", "SCHEMA", "Ranks", "beside_published", "costs", "headline", "interval"]
__all__ += ["matrix", "missing", "no_dataset", "ranks", "save", "scenarios", "took"]

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
_FEW = 6  # datasets; with fewer, ranks are a description


def _rows(run: Run) -> list[dict]:
    """Our own rows of a report's scenarios; published ones rest on no capture of ours."""
    report = run.stages.get("diagnostics", {})
    return [row for row in report.get("scenarios", []) if "captures" in row]


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over seeds and half of its 95 % interval (Student's t; None for a single seed).

    >>> mean, half = interval([0.90, 0.92, 0.94])
    >>> round(mean, 3), round(half, 3)
    (0.92, 0.05)
    >>> interval([0.9])
    (0.9, None)
    """
    mean, n = float(np.mean(values)), len(values)
    return mean, float(stats.sem(values) * stats.t.ppf(0.975, n - 1)) if n > 1 else None


def _cell(values: Sequence[float]) -> dict:
    mean, half = interval(values)
    text = f"{mean:.4f}" + ("" if half is None else f" ± {half:.4f}")
    return {"mean": mean, "half": half, "seeds": len(values), "text": text}


def _undefined(text: str) -> dict:
    return {"mean": None, "half": None, "seeds": 0, "text": text}


def matrix(runs: Sequence[Run], metric: str) -> list[dict]:
    """One metric of each model on each dataset: a row for each pair with `mean`, `half` of the
    95 % interval over `seeds`, and `text`.

    A seed's figure is the plain mean over the scenarios that define the metric, of which each is a
    plain mean over captures. Datasets without a report have rows that say so.
    """
    rows = []
    for dataset in DATASETS:
        reports = [_rows(run) for run in runs if run.dataset == dataset]
        figures = [overall(mine, metric) for mine in reports if mine]
        for model in MODELS:
            values = [mine[model] for mine in figures if model in mine]
            cell = _cell(values) if values else _undefined("undefined" if figures else "absent")
            rows.append({"dataset": dataset, "model": model} | cell)
    return rows


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
                rows.append({"dataset": dataset, "scenario": scenario, "model": model} | cell)
    return rows


class Ranks(NamedTuple):
    """Mean `rank` of each of k `models` over n `datasets` (1: the best), the p of Friedman's test
    that all are alike, and the least difference of two ranks that is one (`critical`)."""

    models: list[str]
    datasets: list[str]
    rank: list[float]
    p: float | None
    critical: float | None
    words: str


def ranks(rows: Sequence[dict], models: Sequence[str] = MODELS, seed: int = 0) -> Ranks:
    """Ranks of the models over the datasets of a `matrix`, as in Demšar (2006), JMLR 7:1-30.

    The statistic is Friedman's χ² (scipy). Its p comes from ranks shuffled within each dataset
    (scipy's `permutation_test`), since the χ² distribution is no approximation for seven datasets
    or fewer. Nemenyi's critical difference is q sqrt(k (k + 1) / 6 n), with q the 95 % quantile of
    the studentised range over sqrt 2. Models that some dataset lacks are left out.

    >>> rows = [{"dataset": d, "model": m, "mean": v} for d in "abcdef"
    ...         for m, v in [("one", 0.9), ("two", 0.8), ("three", 0.7)]]
    >>> found = ranks(rows, ["one", "two", "three"])
    >>> found.rank, round(found.critical, 2), found.p < 0.01
    ([1.0, 2.0, 3.0], 1.35, True)
    """
    value = {(row["dataset"], row["model"]): row["mean"] for row in rows}
    datasets = [d for d in dict.fromkeys(d for d, _ in value) if _any(value, d, models)]
    kept = [m for m in models if all(value.get((d, m)) is not None for d in datasets)]
    table = np.array([[value[d, m] for m in kept] for d in datasets]).reshape(len(datasets), -1)
    n, k = table.shape
    if n < 2 or k < 3:
        words = (
            f"Nothing to rank: {n} datasets with {k} models each; expected two datasets and three "
            "models or more."
        )
        return Ranks(kept, datasets, [], None, None, words)
    order = stats.rankdata(-np.round(table, 6), axis=1)
    mean = order.mean(0)
    q = stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    p = None
    if np.ptp(order, axis=1).any():
        p = float(
            stats.permutation_test(
                tuple(order.T),
                lambda *columns: stats.friedmanchisquare(*columns).statistic,
                permutation_type="samples",
                alternative="greater",
                n_resamples=999,
                vectorized=False,
                rng=np.random.default_rng(seed),
            ).pvalue
        )
    return Ranks(kept, datasets, mean.tolist(), p, critical, _verdict(kept, mean, n, p, critical))


def _any(value: dict, dataset: str, models: Sequence[str]) -> bool:
    return any(value.get((dataset, model)) is not None for model in models)


def _verdict(models: list[str], mean: np.ndarray, n: int, p: float | None, critical: float) -> str:
    best, spread = models[int(mean.argmin())], float(np.ptp(mean))
    said = f"Best mean rank over {n} datasets: {best}, {mean.min():.1f}."
    if p is None:
        return f"{said} All models tie on every dataset."
    said += f" Friedman p = {p:.3f}; two ranks differ beyond chance from {critical:.1f} on, "
    said += f"and the widest difference is {spread:.1f}."
    if n < _FEW:
        said += (
            f" {n} datasets are too few for this to mean anything: of {len(models)} models the "
            f"ranks can differ by {len(models) - 1} at most. Read the table, not the ranks."
        )
    return said


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


def took(runs: Sequence[Run]) -> list[dict]:
    """Wall time and processor time of each stage of each run, in s; None where a stage is missing
    or was saved before it was timed."""
    rows = []
    for run in runs:
        for stage, record in run.stages.items():
            cost = record.get("cost") or dict.fromkeys(("seconds", "cpu_seconds", "threads"))
            rows.append({"run": run.name, "stage": stage} | cost)
    return rows


def beside_published(runs: Sequence[Run], metric: str, models=MODELS) -> list[dict]:
    """Ours beside what others published of the same scenario, as `text` by `row` and `detector`;
    only scenarios of which something is published and that are here."""
    rows = []
    for row in scenarios(runs, metric):
        name = f"{row['dataset']} {row['scenario'][:7]}"
        theirs = literature.published(row["dataset"], [row["scenario"]])
        theirs = [other for other in theirs if metric in other]
        if theirs and row["model"] in models:
            rows.append({"scenario": name, "detector": row["model"], "text": row["text"]})
            for other in theirs:
                text = f"{other[metric]:.4f}"
                rows.append({"scenario": name, "detector": other["detector"], "text": text})
    return rows


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
        f"{len(datasets)} of {len(DATASETS)} datasets, {len(reported)} runs. The weakest spot of "
        f"the {low['model']} is {low['scenario'].replace('_', ' ')} of {low['dataset']}: "
        f"{metric.upper()} {low['text']}."
    )


def save(runs: Sequence[Run], metrics: Sequence[str] = ("auroc", "auprc", "f1", "mcc")) -> dict:
    """Write all of this to `runs/summary.json` and return it."""
    facts = {
        "schema": SCHEMA,
        "headline": headline(runs),
        "runs": [
            {"run": run.name, "dataset": run.dataset, "seed": run.seed, "stages": [*run.stages]}
            for run in runs
        ],
        "matrix": {metric: matrix(runs, metric) for metric in metrics},
        "scenarios": {metric: scenarios(runs, metric) for metric in metrics},
        "ranks": {metric: ranks(matrix(runs, metric))._asdict() for metric in metrics},
        "costs": costs(runs),
        "took": took(runs),
        "missing": missing(runs),
    }
    text = json.dumps(facts, indent=1, allow_nan=False)
    prepared.put(home() / "runs" / "summary.json", [text.encode()])
    return facts
