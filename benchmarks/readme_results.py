"""Write the README's results from finished runs, so that no number there is typed by hand.

make run DATASET=hcrl_sa && make run DATASET=demo
python benchmarks/readme_results.py
"""

import json
from pathlib import Path

import cangraph as cg

DATASETS = ("hcrl_sa", "set_04", "demo")  # those with a finished run are shown
DETECTORS = ("GAT teacher", "GAT student", "DQN fusion", "calibrated count")


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
    papers = cg.published(record["dataset"], scenarios)
    for name in dict.fromkeys(row["detector"] for row in papers):
        mine = [{}] + [row for row in papers if row["detector"] == name]
        shown = []
        for scenario in scenarios:
            auroc, f1 = (
                next((f"{r[m]:.3f}" for r in mine if r.get("scenario") == scenario and m in r), "–")
                for m in ("auroc", "f1")
            )
            shown.append(f"{auroc} / {f1}")
        lines.append(f"| *{name}* | " + " | ".join(shown) + " |")
    return lines


params = {d: cg.load_params(d) for d in DATASETS}
records = {
    d: cg.runs.load("diagnostics", p)
    for d, p in params.items()
    if (cg.runs.folder(p) / "diagnostics.json").is_file()
}
text = [
    "AUROC / window F1, plain means over captures, one seed, zero-shot, thresholds fixed without",
    "test labels. Rows in italics are as published. Made by `benchmarks/readme_results.py` from",
    "`runs/`.",
]
for record in records.values():
    text += ["", *table(record)]
path = Path(__file__).parents[1] / "README.md"
before, rest = path.read_text(encoding="utf-8").split("<!-- results -->")
_, after = rest.split("<!-- /results -->")
path.write_text(
    before + "<!-- results -->\n" + "\n".join(text) + "\n<!-- /results -->" + after,
    encoding="utf-8",
)
print(json.dumps({d: r["summary"] for d, r in records.items()}))
