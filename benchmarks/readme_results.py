"""Write the figures of README.md and docs/design.md from JSON, so that none is typed by hand.

    make all SEEDS=2                                        # or make run DATASET=demo
    python benchmarks/detection.py --controls --across demo hcrl_sa set_04 | tail -n 1 \
        > docs/detection.json
    python benchmarks/readme_results.py --runs              # runs/ → docs/runs.json → README.md
    python benchmarks/readme_results.py                     # docs/*.json → README.md

The tables between the markers are written anew; of the sentences in `PROSE`, the figures.
docs/runs.json keeps of the reports in runs/ what the README shows, so that tests/test_readme.py can
tell without any run whether the two have drifted apart. The last line is one JSON object.
"""

import argparse
import json
import re
from collections.abc import Iterable
from pathlib import Path

import cangraph as cg

ROOT = Path(__file__).parents[1]
DATASETS = ("hcrl_sa", "set_04", "demo")  # those that docs/*.json tell of are shown
DETECTORS = ("GAT teacher", "GAT teacher, 10 s", "GAT student", "fusion", "calibrated count")
SHOWN = "GAT|trees|calibrated count"  # the rest stands in docs/detection.json
METRICS = ("auroc", "f1")
MEASURED = (("auroc", 3), ("f1 zero-shot", 3), ("f1 calibrated", 3))
ALARMS = (("events, zero-shot", 2), ("false alarms per hour, zero-shot", 0))
OPEN, CLOSE = "<!-- results -->\n", "<!-- /results -->"


def _against(one: str, other: str, scenario: str, metric: str) -> list[tuple]:
    """Where a figure of two detectors stands, with three digits."""
    return [(detector, scenario, metric, 3) for detector in (one, other)]


# file → a sentence's words with {} for each figure → where its figures stand in docs/detection.json
# and with how many digits; a list is read along its scenarios
SA_GAT, SET_GAT, SET_TREES = "hcrl_sa GAT, both", "set_04 GAT, both", "set_04 boosted trees, both"
ALONE = "hcrl_sa GAT, both, no other cars"
_ALL_FOUR = ["test_01", "test_02", "test_03", "test_04"]
PROSE = {
    "README.md": {
        "AUROC is {} / {} / {} and F1 {} / {} / {} on its known attacks": [
            (SA_GAT, f"set_04 {t}", m, 3 if m == "auroc" else 2)
            for m in ("auroc", "f1 zero-shot")
            for t in ("test_01", "test_02", "test_06")
        ],
        "set_04's unknown car: AUROC {} and {}": _against(SET_TREES, SET_GAT, "test_02", "auroc"),
        "but for masquerade ({} and {})": _against(SET_TREES, SET_GAT, "test_06", "auroc"),
        "misses most of its unknown car (F1 {} for {})": _against(
            SET_TREES, SET_GAT, "test_02", "f1 zero-shot"
        ),
        "on test 04 ({} for {}, one seed)": _against(ALONE, SA_GAT, "test_04", "f1 zero-shot"),
        "more on set_04 (its unknown car {} for {})": _against(
            ALONE, SA_GAT, "set_04 test_02", "f1 zero-shot"
        ),
        "without them F1 on set_04's unknown car is {} for {},": _against(
            "hcrl_sa GAT, both, no edges", SA_GAT, "set_04 test_02", "f1 zero-shot"
        ),
        "(AUPRC of set_04's unknown car {} for {})": _against(
            "set_04 GAT, both, 5 seeds as one", SET_GAT, "test_02", "auprc"
        ),
        "holds the zero-shot F1 of test 02 at {})": [
            ("hcrl_sa GAT, clean", "test_02", "f1 zero-shot", 2)
        ],
    },
    "docs/design.md": {
        "hcrl_sa without them {} / {} / {} / {}": [
            (ALONE, t, "f1 zero-shot", 2) for t in _ALL_FOUR
        ],
        "with them {} / {} / {} / {}.": [(SA_GAT, t, "f1 zero-shot", 2) for t in _ALL_FOUR],
    },
}


def kept(dataset: str) -> dict | None:
    """What the README shows of the reports of a dataset: the mean over seeds of each figure, half
    of its 95 % interval (None below three seeds), and the number of seeds."""
    runs = [run for run in cg.runs.all_runs() if run.dataset == dataset]
    reports = [run.stages["diagnostics"] for run in runs if run.next_stage is None]
    rows = [row for report in reports for row in report["scenarios"]]
    rows = [row for row in rows if row.get("captures") is not None]
    if not rows:
        return None
    found = {}
    for detector in DETECTORS:
        for scenario in cg.data.DATASETS[dataset].scenarios:
            mine = [r for r in rows if (r["detector"], r["scenario"]) == (detector, scenario)]
            cell: dict = {"captures": mine[0]["captures"]} if mine else {"captures": 0}
            for metric in METRICS:
                values = [row[metric] for row in mine if row[metric] is not None]
                if values:
                    mean, half = cg.ranking.interval(values)
                    half = None if half is None else round(half, 4)
                    cell[metric] = [round(mean, 4), half, len(values)]
            found[f"{detector} | {scenario}"] = cell
    return {"seeds": len(reports), "figures": found}


def head(name: str, cells: list[str]) -> list[str]:
    return [f"| {name} | {' | '.join(cells)} |", "|---" * (len(cells) + 1) + "|"]


def figure(values: list | None, digits: int = 3) -> str:
    """Mean and half of the 95 % interval."""
    if not values:
        return "–"
    mean, half, _ = values
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if half is not None else "")


def cell(row: dict) -> str:
    if row["captures"] == 0:
        return "absent"
    if "auroc" not in row:
        return "undefined"
    return " / ".join(figure(row.get(metric), 4) for metric in METRICS)


def reported(dataset: str, record: dict) -> list[str]:
    """A table of the reports of a dataset: AUROC and F1 by detector and scenario."""
    rows = record["figures"]
    scenarios = list(cg.data.DATASETS[dataset].scenarios)
    words = [s.split("_") for s in scenarios]
    lines = head(dataset, [f"{w[0]} {w[1]}: {' '.join(w[2:])}" for w in words])
    for name in DETECTORS:
        cells = [cell(rows[f"{name} | {scenario}"]) for scenario in scenarios]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines + papers(dataset, scenarios)


def papers(dataset: str, scenarios: list[str]) -> list[str]:
    """AUROC and F1 as published, a row for each paper."""
    lines, published = [], cg.published(dataset, scenarios)
    for name in dict.fromkeys(row["detector"] for row in published):
        mine = [row for row in published if row["detector"] == name]
        shown = []
        for scenario in scenarios:
            auroc, f1 = (
                next((f"{r[m]:.3f}" for r in mine if r["scenario"] == scenario and m in r), "–")
                for m in METRICS
            )
            shown.append(f"{auroc} / {f1}")
        lines.append(f"| *{name}* | " + " | ".join(shown) + " |")
    return lines


def measured_cells(rows: Iterable[dict], metrics=MEASURED) -> list[str]:
    """Figures of `benchmarks/detection.py`, a cell for each row."""
    return [" / ".join(figure(row.get(metric), n) for metric, n in metrics) for row in rows]


def detection(record: dict, dataset: str) -> list[str]:
    """AUROC and both kinds of F1 of each detector of `benchmarks/detection.py`, by scenario."""
    names = [key.split(" | ") for key in record if key.startswith(dataset)]
    shown = [n for n in dict.fromkeys(n for n, _ in names) if re.search(SHOWN, n)]
    scenarios = sorted({s for _, s in names if s.startswith("test") and "suppress" not in s})
    lines = head(dataset, [" ".join(s.split("_")[:2]) for s in scenarios])
    for name in shown:
        cells = measured_cells(record.get(f"{name} | {scenario}", {}) for scenario in scenarios)
        lines.append(f"| {name.removeprefix(dataset).strip()} | " + " | ".join(cells) + " |")
    return lines + papers(dataset, scenarios)


def abroad(record: dict, dataset: str) -> list[str]:
    """The same on a dataset of which nothing was trained on: a row for each where it was."""
    scenarios = [
        s for s in cg.data.DATASETS[dataset].scenarios
        if any(f" | {dataset} {s}" in key and "auroc" in row for key, row in record.items())
    ]  # fmt: skip
    lines = head(f"on {dataset}", [" ".join(s.split("_")[:2]) for s in scenarios])
    for home in (d for d in DATASETS if d != dataset):
        for name in ("GAT, both", "boosted trees, both"):
            rows = [record.get(f"{home} {name} | {dataset} {s}", {}) for s in scenarios]
            cells = measured_cells(rows)
            if any(rows):
                lines.append(f"| {name.split(',')[0]}, trained on {home} | {' | '.join(cells)} |")
    return lines


def alarms(record: dict) -> list[str]:
    """Attacks found and false alarms an hour by the rule for alarms, zero-shot, of each dataset."""
    columns = ["test_01", "test_02", "test_03", "test_04", "test_06"]
    columns += ["suppression in training captures", "clean captures not trained on"]
    lines = head("GAT, both", [" ".join(c.split("_")) for c in columns])
    for dataset in DATASETS:
        begin = f"{dataset} GAT, both | "
        mine = {k.removeprefix(begin): v for k, v in record.items() if k.startswith(begin)}
        rows = [next((v for k, v in mine.items() if k.startswith(c)), {}) for c in columns]
        cells = measured_cells(rows, ALARMS)
        if mine:
            lines.append(f"| {dataset} | {' | '.join(cells)} |")
    return lines


def tables(runs: dict, measured: dict) -> str:
    """What stands between the markers, from docs/runs.json and docs/detection.json."""
    text = ["Rows in italics are as published, AUROC / F1. Made by `benchmarks/readme_results.py`."]
    shown = [dataset for dataset in DATASETS if dataset in runs]
    if shown:
        seeds = ", ".join(f"{dataset} {runs[dataset]['seeds']}" for dataset in shown)
        text += [
            "",
            "AUROC / window F1 of `make run`, zero-shot; plain means over captures and seeds",
        ]
        text += [f"(seeds: {seeds}), ± half of the 95 % interval over seeds where there are three."]
    for dataset in shown:
        text += ["", *reported(dataset, runs[dataset])]
    there = [d for d in DATASETS if any(key.startswith(d) for key in measured)]
    text += [
        "",
        "From one dataset to another (`benchmarks/detection.py`, over seeds, mean ± half of the",
        "95 % interval): nets and trees on cars, recorders and attackers of which nothing was",
        "trained on, AUROC / F1 zero-shot / F1 calibrated on the first 10 s of each capture. What",
        "was trained on the demo has seen no real car.",
    ]
    for dataset in (d for d in there if d != "demo"):
        text += ["", *abroad(measured, dataset)]
    text += [
        "",
        "As alarms (`watch.alarm_rule`, zero-shot): attacks found / false alarms an hour.",
        "",
        *alarms(measured),
        "",
        "<details><summary>The same over seeds, with every control and baseline</summary>",
        "",
        "AUROC / F1 zero-shot / F1 calibrated; *both* and *clean* say what the GAT was trained on;",
        "a control has one seed; rules and trees do not depend on one. Of shuffled labels nothing",
        "is learnt: F1 says there only how many windows were called. More rules, metrics and the",
        "leak canary are in docs/detection.json.",
    ]
    for dataset in there:
        text += ["", *detection(measured, dataset)]
    text += ["", "</details>"]
    return "\n".join(text) + "\n"


def figures(measured: dict, where: list[tuple]) -> list[str]:
    """The figures of a sentence, as prose writes them: `.98`, not `0.98`."""
    found = []
    for detector, scenario, metric, digits in where:
        (key,) = (k for k in measured if k.startswith(f"{detector} | {scenario}"))
        found.append(f"{measured[key][metric][0]:.{digits}f}".removeprefix("0"))
    return found


def written(name: str, text: str, runs: dict, measured: dict) -> str:
    """A file of the documentation with the figures that docs/*.json say.

    Raises `ValueError` where a marker or a sentence of `PROSE` is not there once.
    """
    if name == "README.md":
        if text.count(OPEN) != 1 or text.count(CLOSE) != 1:
            raise ValueError(f"{name}: expected {OPEN.strip()} and {CLOSE} once each")
        before, rest = text.split(OPEN)
        text = before + OPEN + tables(runs, measured) + CLOSE + rest.split(CLOSE)[1]
    for words, where in PROSE[name].items():
        # a line may break at any space of the sentence
        pattern = re.escape(words).replace(r"\ ", r"\s+").replace(r"\{\}", r"(\d*\.\d+)")
        found = list(re.finditer(pattern, text))
        if len(found) != 1:
            raise ValueError(f"{name}: {words!r} stands there {len(found)} times; expected once")
        for place, value in reversed([*enumerate(figures(measured, where), 1)]):
            start, end = found[0].span(place)
            text = text[:start] + value + text[end:]
    return text


def stored(name: str) -> dict:
    path = ROOT / "docs" / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", action="store_true", help="read runs/ and renew docs/runs.json")
    runs = stored("runs.json")
    if parser.parse_args().runs:
        runs |= {d: record for d in DATASETS if (record := kept(d))}
        (ROOT / "docs/runs.json").write_text(json.dumps(runs) + "\n", encoding="utf-8")
    measured = stored("detection.json")
    for name in PROSE:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        path.write_text(written(name, text, runs, measured), encoding="utf-8")
    print(json.dumps({dataset: record["seeds"] for dataset, record in runs.items()}))


if __name__ == "__main__":
    main()
