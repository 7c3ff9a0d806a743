"""Write the README's results from finished runs, so that no number there is typed by hand.

make run DATASET=demo
python benchmarks/detection.py --controls | tail -n 1 > docs/detection.json
python benchmarks/readme_results.py
"""

import json
import re
from pathlib import Path

import cangraph as cg

DATASETS = ("hcrl_sa", "set_04", "demo")  # those with a finished run are shown
DETECTORS = ("GAT teacher", "GAT teacher, 10 s", "GAT student", "fusion", "calibrated count")


SHOWN = "GAT|trees|calibrated count"  # the rest stands in docs/detection.json


def cells(row: dict) -> str:
    if row["captures"] == 0:
        return "absent"
    if row["auroc"] is None:
        return "undefined"
    return f"{row['auroc']:.4f} / {row['f1']:.4f}"


def table(record: dict) -> list[str]:
    rows = [row for row in record["scenarios"] if "captures" in row]
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    heads = [" ".join(s.split("_")[:2]) + ": " + " ".join(s.split("_")[2:]) for s in scenarios]
    lines = [
        f"| {record['dataset']} | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for detector in DETECTORS:
        mine = {row["scenario"]: cells(row) for row in rows if row["detector"] == detector}
        lines.append(f"| {detector} | " + " | ".join(mine[s] for s in scenarios) + " |")
    lines += papers(record["dataset"], scenarios)
    return lines


def papers(dataset: str, scenarios: list[str]) -> list[str]:
    """AUROC and F1 as published, a row for each paper."""
    lines, published = [], cg.published(dataset, scenarios)
    for name in dict.fromkeys(row["detector"] for row in published):
        mine = [row for row in published if row["detector"] == name]
        shown = []
        for scenario in scenarios:
            auroc, f1 = (
                next((f"{r[m]:.3f}" for r in mine if r["scenario"] == scenario and m in r), "–")
                for m in ("auroc", "f1")
            )
            shown.append(f"{auroc} / {f1}")
        lines.append(f"| *{name}* | " + " | ".join(shown) + " |")
    return lines


def figure(values: list | None) -> str:
    """Mean and half of the 95 % interval."""
    if not values:
        return "–"
    mean, half, _ = values
    return f"{mean:.3f}" + (f" ± {half:.3f}" if half is not None else "")


def detection(record: dict, dataset: str) -> list[str]:
    """AUROC and both kinds of F1 of each detector of `benchmarks/detection.py`, by scenario."""
    names = [key.split(" | ") for key in record if key.startswith(dataset)]
    shown = [n for n in dict.fromkeys(n for n, _ in names) if re.search(SHOWN, n)]
    scenarios = sorted({s for _, s in names if s.startswith("test") and "suppress" not in s})
    heads = [" ".join(s.split("_")[:2]) for s in scenarios]
    lines = [f"| {dataset} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in shown:
        cells = []
        for scenario in scenarios:
            mine = record.get(f"{name} | {scenario}", {})
            metrics = ("auroc", "f1 zero-shot", "f1 calibrated")
            cells.append(" / ".join(figure(mine.get(metric)) for metric in metrics))
        lines.append(f"| {name.removeprefix(dataset).strip()} | " + " | ".join(cells) + " |")
    return lines + papers(dataset, scenarios)


params = {d: cg.load_params(d) for d in DATASETS}
records = {
    d: cg.runs.load("diagnostics", p)
    for d, p in params.items()
    if (cg.runs.folder(p) / "diagnostics.json").is_file()
}
text = ["Rows in italics are as published, AUROC / F1. Made by `benchmarks/readme_results.py`."]
if records:
    text += ["", "AUROC / window F1 of `make run`, one seed, zero-shot; plain means over captures."]
for record in records.values():
    text += ["", *table(record)]
root = Path(__file__).parents[1]
if (root / "docs/detection.json").is_file():
    measured = json.loads((root / "docs/detection.json").read_text(encoding="utf-8"))
    text += [
        "",
        "Over seeds, by `benchmarks/detection.py`: AUROC / F1 zero-shot / F1 calibrated on the",
        "first 10 s of each capture, mean ± half of the 95 % interval. *both* and *clean* say what",
        "the GAT was trained on; a control has one seed; rules and trees do not depend on one.",
        "More rules, metrics and the leak canary are in docs/detection.json.",
    ]
    there = {key.split()[0] for key in measured}
    for dataset in (d for d in DATASETS if d in there):
        text += ["", *detection(measured, dataset)]
path = root / "README.md"
before, rest = path.read_text(encoding="utf-8").split("<!-- results -->")
_, after = rest.split("<!-- /results -->")
path.write_text(
    before + "<!-- results -->\n" + "\n".join(text) + "\n<!-- /results -->" + after,
    encoding="utf-8",
)
print(json.dumps({d: r["summary"] for d, r in records.items()}))
