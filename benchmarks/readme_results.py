"""Write the figures of README.md and docs/*.md from docs/*.json, so that none is typed by hand.

    make all SEEDS=2                                        # or make run DATASET=demo
    python benchmarks/detection.py --datasets hcrl_sa set_04 demo --controls \
        --across demo hcrl_sa set_04 | tail -n 1 > docs/detection.json
    python benchmarks/readme_results.py --runs              # runs/ → docs/runs.json → the tables
    python benchmarks/readme_results.py                     # docs/*.json → the tables

The text between the markers is written anew: one table in README.md, those of docs/results.md, and
that of the constants in docs/method.md. Of the sentences in `PROSE`, only the figures are.
docs/runs.json keeps what the tables show of the reports in runs/, so that tests/test_readme.py can
compare text and figures without a run. docs/detection.json has controls and the training on clean
traffic alone of hcrl_sa, and of the other two datasets what was trained on both (`--train-on`).
docs/clean_traffic.json was entered by hand: the recordings that it was measured on may not be
passed on. The last line is one JSON object.
"""

import argparse
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev

import cangraph as cg
from cangraph.data.protocol import register
from cangraph.evaluation.stats import poisson

ROOT = Path(__file__).parents[1]
DATASETS = ("hcrl_sa", "set_04", "demo")  # those that docs/*.json tell of are shown
DETECTORS = ("GAT teacher", "GAT teacher, 10 s", "GAT student", "fusion", "calibrated count")
SHOWN = "GAT|trees|calibrated count"  # the rest stands in docs/detection.json
METRICS = ("auroc", "f1")
MEASURED = (("auroc", 3), ("f1 zero-shot", 3), ("f1 calibrated", 3))
ALARMS = (("events, zero-shot", 2), ("false alarms per hour, zero-shot", 0))
OPEN, CLOSE = "<!-- results -->\n", "<!-- /results -->"

# the table of the first page: unknown vehicles, unknown attacks, masquerade
ZERO_SHOT = (("auroc", 3), ("f1 zero-shot", 3))
CALIBRATED = (("auroc", 3), ("f1 calibrated", 3))
FIRST = {
    ("hcrl_sa", "test_02"): "hcrl_sa: unknown vehicle",
    ("hcrl_sa", "test_03"): "unknown attack",
    ("hcrl_sa", "test_04"): "both unknown",
    ("set_04", "test_02"): "set_04: unknown vehicle",
    ("set_04", "test_06"): "set_04: masquerade",
}
ABROAD = {"hcrl_sa": "set_04", "set_04": "hcrl_sa"}

# file → a sentence's words with {} for each figure → where its figures stand: (file, key, field,
# format); a key of docs/detection.json may end within the scenario's name
Place = tuple[str, str, str, str]


def _measured(detector: str, scenarios: Sequence[str], field: str, form: str = ".3f") -> list:
    return [("detection", f"{detector} | {scenario}", field, form) for scenario in scenarios]


def _against(one: str, other: str, scenario: str, field: str) -> list:
    """The same figure of two detectors."""
    return _measured(one, [scenario], field) + _measured(other, [scenario], field)


def _clean(dataset: str, *fields: str) -> list:
    return [("clean_traffic", dataset, field, "") for field in fields]


def _found(detector: str, rule: str) -> list:
    """Attacks that a rule for alarms finds, and its false alarms an hour."""
    key = f"{detector} | {rule}"
    found = ("alarm_rules", key, "found", "")
    return [found, ("alarm_rules", key, "false_alarms_per_hour", ".0f")]


SA_GAT, SET_GAT, SET_TREES = "hcrl_sa GAT, both", "set_04 GAT, both", "set_04 boosted trees, both"
ALONE = "hcrl_sa GAT, both, no other cars"
_ALL_FOUR = ["test_01", "test_02", "test_03", "test_04"]
PROSE: dict[str, dict[str, list[Place]]] = {
    "README.md": {
        "{} false alarms in {} hours of clean traffic of {} vehicles (upper 95 % bound {}": [
            ("box", "clean", "alarms", ""),
            ("box", "clean", "hours", ".2f"),
            ("box", "clean", "vehicles", ""),
            ("box", "clean", "high", ".0f"),
        ],
        "it finds {} ± {}, {} ± {} and {} ± {}, at {} ± {} and {} ± {} false alarms": [
            ("seeds", name, field, form)
            for name, form in (
                *((f"found, {severity}", ".2f") for severity in ("gross", "middle", "subtle")),
                ("clean: alarms", ".1f"),
                ("race car: alarms", ".0f"),
            )
            for field in ("mean", "half")
        ],
        "on a student race car {} an hour ({} in {} hours)": [
            ("box", "race car", "per hour", ".0f"),
            ("box", "race car", "alarms", ""),
            ("box", "race car", "hours", ".2f"),
        ],
        "subtle ones (95 % over {} vehicles)": [("box", "gross later", "vehicles", "")],
        "as a baseline {}, {} and {}, and false alarms fall from {} to {} (race car: {} to {})": [
            *(("known", f"{s} later", "found", ".2f") for s in ("gross", "middle", "subtle")),
            *(
                ("known", f"{detector} {group}", "alarms", "")
                for group in ("clean", "race car")
                for detector in ("onnx", "onnx+")
            ),
        ],
        "finds {} ({} to {}) of the gross ones, {} ({} to {}) of the middle and {} ({} to {})": [
            ("box", f"{severity} later", field, ".2f")
            for severity in ("gross", "middle", "subtle")
            for field in ("found", "low", "high")
        ],
    },
    "docs/results.md": {
        "AUROC is {} / {} / {} and zero-shot F1 is {} / {} / {} on its known attacks": [
            *_measured(SA_GAT, [f"set_04 {t}" for t in ("test_01", "test_02", "test_06")], "auroc"),
            *_measured(
                SA_GAT,
                [f"set_04 {t}" for t in ("test_01", "test_02", "test_06")],
                "f1 zero-shot",
                ".2f",
            ),
        ],
        "AUROC on set_04's unknown car: {} and {}": _against(
            SET_TREES, SET_GAT, "test_02", "auroc"
        ),
        "except for masquerade ({} and {})": _against(SET_TREES, SET_GAT, "test_06", "auroc"),
        "F1 on its unknown car is {} for the trees and {} for the GAT": _against(
            SET_TREES, SET_GAT, "test_02", "f1 zero-shot"
        ),
        "most on test 04 ({} instead of {}, one seed)": _against(
            ALONE, SA_GAT, "test_04", "f1 zero-shot"
        ),
        "on set_04's unknown car it is {} instead of {}": _against(
            ALONE, SA_GAT, "set_04 test_02", "f1 zero-shot"
        ),
        "without edges is {} instead of {}": _against(
            "hcrl_sa GAT, both, no edges", SA_GAT, "set_04 test_02", "f1 zero-shot"
        ),
        "(AUPRC of set_04's unknown car: {} instead of {})": _against(
            "set_04 GAT, both, 5 seeds as one", SET_GAT, "test_02", "auprc"
        ),
        "zero-shot F1 of test 02 at {}": _measured(
            "hcrl_sa GAT, clean", ["test_02"], "f1 zero-shot", ".2f"
        ),
        "{} alarms in {} hours ({} an hour; 95 % up to {})": _clean(
            "hcrl_sa", "alarms", "hours", "alarms per hour", "at most"
        ),
        "{} % of all windows called (mean over vehicles)": _clean("hcrl_sa", "windows called"),
        "median vehicle has {} an hour": _clean("hcrl_sa", "median vehicle"),
        "{} of {} vehicles have none": _clean("hcrl_sa", "silent vehicles", "vehicles"),
        "Trained on set_04 alone it raises {} an hour": _clean("set_04", "alarms per hour"),
        "on the demo alone {}": _clean("demo", "alarms per hour"),
        "finds {} at {} false alarms an hour and evidence finds {} at {}": [
            *_found("set_04", "2 of 3 windows at .5"),
            *_found("set_04", "evidence (in use)"),
        ],
        "they find {} at {} and {} at {}": [
            *_found("hcrl_sa on set_04", "2 of 3 windows at .5"),
            *_found("hcrl_sa on set_04", "evidence (in use)"),
        ],
        "is {} at an even chance, {} at a threshold from 10 s, and {} at the higher": [
            ("alarm_rules", f"hcrl_sa on set_04 | {cut}", "f1", ".2f")
            for cut in ("an even chance", "calibrated", "calibrated, never under it (in use)")
        ],
    },
    "docs/design.md": {
        "without simulated cars is {} / {} / {} / {}": _measured(
            ALONE, _ALL_FOUR, "f1 zero-shot", ".2f"
        ),
        "with them {} / {} / {} / {}": _measured(SA_GAT, _ALL_FOUR, "f1 zero-shot", ".2f"),
    },
}


def kept(dataset: str) -> dict | None:
    """What the tables show of the reports of a dataset: the mean over seeds of each figure, half
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
                    mean, half = cg.evaluation.interval(values)
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
    lines, published = [], cg.report.published(dataset, scenarios)
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


def alarm_cell(row: dict) -> str:
    """Share of the attacks found / false alarms an hour, with the 95 % Poisson interval of their
    mean count over seeds, which see the same hours."""
    found, rate = (figure(row.get(metric), n) for metric, n in ALARMS)
    found, rate = found.replace(" ± 0.00", ""), re.sub(r" ± 0$", "", rate)
    count, hours = (row.get(f"{name}, zero-shot") for name in ("false alarms", "benign hours"))
    if not (count and hours):
        return f"{found} / {rate}"
    low, high = poisson(count[0], hours[0])
    return f"{found} / {rate} ({count[0]:.2g} in {hours[0]:.2g} h: {low:.0f} to {high:.0f})"


def first_page(record: dict) -> str:
    """The table of README.md: AUROC and F1 of the GAT, boosted trees, the count rule and the
    published GAT where vehicle or attack is unknown, and what the GAT is as an alarm."""

    def row(name: str, detector: str, metrics: Sequence[tuple[str, int]], abroad=False) -> str:
        rows = []
        for dataset, scenario in FIRST:
            home, where = (ABROAD[dataset], f"{dataset} ") if abroad else (dataset, "")
            key = f"{home} {detector} | {where}{scenario}"
            rows.append(next((v for k, v in record.items() if k.startswith(key)), {}))
        cells = [" / ".join(f"{r[m][0]:.{n}f}" for m, n in metrics if m in r) or "–" for r in rows]
        return f"| {name} | {' | '.join(cells)} |"

    lines = head("AUROC / F1", list(FIRST.values()))
    for name, detector in (("GAT", "GAT, both"), ("boosted trees", "boosted trees, both")):
        lines.append(row(name, detector, ZERO_SHOT))
        lines.append(row(f"{name}, trained on the other dataset", detector, ZERO_SHOT, abroad=True))
    lines.append(row("count rule, set on 10 s of each capture", "calibrated count", CALIBRATED))
    whole = [next(s for s in cg.data.DATASETS[d].scenarios if s.startswith(t)) for d, t in FIRST]
    cells = []
    for (dataset, _), scenario in zip(FIRST, whole, strict=True):
        found: dict = {}
        for published in cg.report.published(dataset, [scenario]):
            if published["detector"].startswith("GAT ("):
                found |= published
        cells.append(" / ".join(f"{found[m]:.3f}" if m in found else "–" for m in METRICS))
    lines.append(f"| *published GAT* | {' | '.join(cells)} |")
    rows = [
        next(v for k, v in record.items() if k.startswith(f"{d} GAT, both | {t}")) for d, t in FIRST
    ]
    cells = [re.sub(r" ± [\d.]+", "", alarm_cell(one)) for one in rows]
    lines.append(f"| **GAT: attacks found / false alarms an hour** | {' | '.join(cells)} |")
    entries = register()
    opened = [
        min((e.state for e in entries.values() if e.name.startswith(f"{d}/{t}")), default="absent")
        for d, t in FIRST
    ]
    lines.append(f"| *what these captures were to us* | {' | '.join(opened)} |")
    return "\n".join(lines) + "\n"


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
        cells = [alarm_cell(row) for row in rows]
        if mine:
            lines.append(f"| {dataset} | {' | '.join(cells)} |")
    return lines


def tables(runs: dict, measured: dict) -> str:
    """What stands between the markers of docs/results.md."""
    shown = [dataset for dataset in DATASETS if dataset in runs]
    seeds = ", ".join(f"{dataset} {runs[dataset]['seeds']}" for dataset in shown)
    text = [
        "## What `make run` reports",
        "",
        "AUROC / window F1, zero-shot: plain means over captures and seeds, ± half of the 95 %",
        f"interval over seeds where there are three (seeds: {seeds}). Rows in italics are",
        "published results. The row marked *10 s* sets its threshold on the first 10 clean seconds",
        "of each capture.",
    ]
    for dataset in shown:
        text += ["", *reported(dataset, runs[dataset])]
    there = [d for d in DATASETS if any(key.startswith(d) for key in measured)]
    text += [
        "",
        "## From one dataset to another",
        "",
        "Vehicles, recorders and attackers of which nothing was trained on, by",
        "`benchmarks/detection.py`: AUROC / F1 zero-shot / F1 calibrated on the first 10 s of each",
        "capture, mean over seeds ± half of the 95 % interval. What was trained on the demo has",
        "seen no real car.",
    ]
    for dataset in (d for d in there if d != "demo"):
        text += ["", *abroad(measured, dataset)]
    text += [
        "",
        "## Alarms",
        "",
        "Share of attacks found / false alarms an hour, zero-shot, by the rule for alarms that a",
        "monitor uses (the same script); in brackets the mean count over seeds, the hours of",
        "benign traffic, and the exact 95 % Poisson interval of the rate.",
        "",
        *alarms(measured),
        "",
        "## Over seeds, with every control",
        "",
        "AUROC / F1 zero-shot / F1 calibrated. *Both* and *clean* say what the GAT was trained on:",
        "labelled and synthesised attacks, or synthesised ones alone. A control has one seed;",
        "rules and trees do not depend on one. With shuffled labels nothing can be learnt, and F1",
        "only says how many windows were called. More rules and metrics, and the leak canary, are",
        "in docs/detection.json.",
    ]
    for dataset in there:
        text += ["", *detection(measured, dataset)]
    return "\n".join(text) + "\n"


def strangers(record: dict) -> str:
    """What the detector in the box does on vehicles that it was not trained on, as tables."""
    quiet = ["hours", "alarms", "an hour (95 %)", "silent", "windows called", "under alarm"]
    quiet += ["0–10 s", "10–60 s", "later"]

    def row(name: str, r: dict, silent: str) -> str:
        rate = f"{r['per hour']:.1f} ({r['low']:.1f} to {r['high']:.1f})"
        shares = [r[key] for key in ("called", "under alarm", "0–10 s", "10–60 s", "later")]
        told = ["–" if s is None else f"{s:.4f}" for s in shares]
        cells = [name, f"{r['hours']:.3f}", str(r["alarms"]), rate, silent, *told]
        return f"| {' | '.join(cells)} |"

    lines = ["## The detector in the box", "", *head("clean traffic", quiet)]
    for total in record["totals"]:
        silent = f"{total['silent']} of {total['vehicles']}"
        lines.append(row(f"**{total['group']}**", total, silent))
    lines += [row(v["vehicle"], v, "–") for v in record["vehicles"] if v["group"] == "clean"]
    names = ["severity", "begins", "events", "found (95 %, over vehicles)", "within 1 s", "AUROC"]
    lines += ["", *head("attacks put into 24 real vehicles", names)]
    for r in record["severities"] + record["kinds"]:
        auroc = "–" if r["auroc"] is None else f"{r['auroc']:.3f}"
        cells = [r["severity"], r["when"], str(r["events"])]
        cells.append(f"{r['found']:.3f} ({r['low']:.2f} to {r['high']:.2f})")
        cells += [f"{r['within 1 s']:.3f}", auroc]
        lines.append(f"| {r.get('kind', '**all**')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def from_seeds(record: dict) -> str:
    """The same training from other seeds, as a table; half of the 95 % interval of each mean."""
    columns = ["alarms, clean", "race car", "found, gross", "middle", "subtle", "other kinds"]
    keys = ["clean: alarms", "race car: alarms"]
    keys += [f"found, {severity}" for severity in ("gross", "middle", "subtle", "-")]
    lines = ["### From other seeds", "", *head("seed", columns)]
    for name, part in record.items():
        for seed, row in enumerate(part["seeds"]):
            cells = [f"{row[key]:.{3 * key.startswith('found')}f}" for key in keys]
            lines.append(f"| {seed}, {name} | {' | '.join(cells)} |")
        pairs = [(part["mean"][key], 1 + 2 * key.startswith("found")) for key in keys]
        cells = [f"{mean:.{digits}f} ± {half:.{digits}f}" for (mean, half), digits in pairs]
        lines.append(f"| **mean, {name}** | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


BEGINNINGS = {"onnx": "none", "onnx+": "the log's beginning", "onnx++": "and the other logs"}


def known_vehicles(record: dict) -> str:
    """What a baseline of the vehicle changes, as a table."""
    columns = ["hours", "alarms", "an hour (95 %)", "silent", "race car, an hour"]
    columns += ["found, gross", "middle", "subtle", "from the first frame on, gross", "middle"]
    lines = ["## With a baseline", "", *head("baseline", columns)]
    for detector, name in BEGINNINGS.items():
        mine = {r["group"]: r for r in record["totals"] if r["detector"] == detector}
        found = {
            (r["severity"], r["when"]): r["found"]
            for r in record["severities"]
            if r["detector"] == detector
        }
        quiet = mine["clean"]
        rate = f"{quiet['per hour']:.1f} ({quiet['low']:.1f} to {quiet['high']:.1f})"
        cells = [f"{quiet['hours']:.3f}", str(quiet["alarms"]), rate]
        cells += [f"{quiet['silent']} of {quiet['vehicles']}"]
        cells += [f"{mine['race car']['per hour']:.0f}"]
        severities = [("gross", "later"), ("middle", "later"), ("subtle", "later")]
        severities += [("gross", "first"), ("middle", "first")]
        cells += [f"{found[severity]:.3f}" for severity in severities]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def evidence(record: dict) -> str:
    """What each constant of the evidence is worth, as a table."""
    columns = ["alarms", "an hour (95 %)", "silent", "found, gross", "middle", "subtle"]
    lines = ["## What is usual in a stream", "", *head("constants of `alarms.Evidence`", columns)]
    for row in record["rows"]:
        rate = f"{row['per hour']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        cells = [
            row["constants"],
            str(row["alarms"]),
            rate,
            f"{row['silent']} of {row['vehicles']}",
        ]
        cells += [f"{row[severity]:.3f}" for severity in ("gross", "middle", "subtle")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


PEERS_ON = ("hcrl_sa", "set_04", "demo", "vehicles")


def _rate(row: dict, count: str) -> str:
    """False alarms: the count in so many hours, and the rate with its interval."""
    ends = f"{row['an hour']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
    return f"{row[count]:g} in {row['hours']:.2f} h: {ends}"


def _ranks(record: dict) -> list[str]:
    """Rank and mean AUROC of each peer on each dataset, the best mean rank first."""
    shown = [dataset for dataset in PEERS_ON if dataset in record]
    places: dict[str, dict[str, tuple[int, float]]] = {}
    for dataset in shown:
        for rank, row in enumerate(record[dataset], 1):
            if row["auroc"] is not None:
                places.setdefault(row["peer"], {})[dataset] = rank, row["auroc"]
    most = {name: len(mine) for name, mine in places.items()}
    mean = {name: sum(r for r, _ in mine.values()) / len(mine) for name, mine in places.items()}
    lines = head("rank (AUROC)", shown)
    for name in sorted(places, key=lambda name: (most[name] < 3, mean[name])):
        cells = [
            f"{places[name][d][0]} ({places[name][d][1]:.3f})" if d in places[name] else "–"
            for d in shown
        ]
        lines.append(f"| {_ours(name)} | {' | '.join(cells)} |")
    return lines


def _ours(name: str) -> str:
    ours = ("in the box", "boosted trees", "GAT", "student", "fusion")
    return f"**{name}**" if name.startswith(ours) else name


def peers(record: dict) -> str:
    """The tables of `benchmarks/peers.py`; empty before it was run."""
    if not record:
        return ""
    lines = [
        "## Published detectors in the same run",
        "",
        *_about_peers(record),
        "",
        *_ranks(record),
    ]
    for dataset in (d for d in PEERS_ON[:3] if d in record):
        columns = [
            "after",
            "seeds",
            "AUROC (± over seeds)",
            "F1",
            "attacks found",
            "delay of all, s",
        ]
        lines += ["", *head(dataset, [*columns, "false alarms an hour (95 %)", "µs a frame"])]
        for row in record[dataset]:
            delay = "–" if row["delay"] is None else f"{row['delay']:.2f}"
            spread = f" ± {row['auroc ±']:.3f}" if row["auroc ±"] is not None else ""
            auroc = f"{row['auroc']:.3f}{spread}"
            cells = [row["source"], str(row["seeds"]), auroc, f"{row['f1']:.3f}"]
            cells += [f"{row['found']:.2f} of {row['events']}", delay, _rate(row, "false")]
            cells.append(f"{row['us']:.2f}")
            lines.append(f"| {_ours(row['peer'])} | {' | '.join(cells)} |")
    if "vehicles" in record:
        lines += ["", *_on_vehicles(record["vehicles"])]
    return "\n".join([*lines, "", *_splits(record)]) + "\n\n"


def _about_peers(record: dict) -> list[str]:
    """How the tables were made, and where a peer is ahead of all of ours."""
    text = [
        "`benchmarks/peers.py` (docs/peers.json) runs detectors written anew from their papers,",
        "or taken from PyOD and river, on the captures, splits, windows and alarms of ours",
        "(**bold**). Ranks are by AUROC inside a capture, the mean over scenarios. *own 5 s*:",
        "learnt on the first 5 clean seconds of each test capture, calibrated on the next 5,",
        "tested on the rest; all others learn from the training captures, and a rule that knows",
        "a car by its IDs ties at .5 where the car is unknown. On `vehicles` a peer learns from",
        "the beginning of each log, or, if it needs labels, from hcrl_sa; shares found are means",
        "over vehicles. All these captures were developed on, by us. Times are CPU seconds.",
        "",
    ]
    for dataset in (d for d in PEERS_ON if d in record):
        names = [row["peer"] for row in record[dataset]]
        best = next(k for k, name in enumerate(names) if _ours(name) != name)
        ahead = f"ahead of all of ours: {', '.join(names[:best])}" if best else "no peer is ahead"
        text.append(f"- {dataset}: {ahead}.")
    return text


def _on_vehicles(rows: list[dict]) -> list[str]:
    kinds = ("gross", "middle", "subtle", "masquerade", "unseen")
    columns = ["vehicles", "alarms an hour (95 %)", "silent", "found", *kinds]
    lines = head("vehicles", [*columns[:-1], "other kinds"])
    for row in rows:
        shares = ["–" if row[k] is None else f"{row[k][0]:.2f}" for k in kinds]
        mean, low, high = row["found"]
        found = f"{mean:.2f}" if low is None else f"{mean:.2f} ({low:.2f} to {high:.2f})"
        cells = [str(row["vehicles"]), _rate(row, "alarms"), str(row["silent"]), found, *shares]
        lines.append(f"| {_ours(row['peer'])} | {' | '.join(cells)} |")
    return lines


def _splits(record: dict) -> list[str]:
    """What a random split does to trees on raw bytes: AUROC / F1 of frames."""
    lines = head("trees on raw bytes, AUROC / F1 of frames", ["random 80 %", "official scenarios"])
    for dataset in (d for d in PEERS_ON if f"{d}, split" in record):
        found = record[f"{dataset}, split"]
        official = [
            f"{' '.join(name.split('_')[:2])} {row['auroc']:.3f} / {row['f1']:.3f}"
            for name, row in sorted(found["official"].items())
        ]
        random = f"{found['random']['auroc']:.4f} / {found['random']['f1']:.4f}"
        lines.append(f"| {dataset} | {random} | {'; '.join(official)} |")
    return lines


def parts(record: dict) -> str:
    """What each part earns, by `benchmarks/parts.py`; empty before it was run."""
    if not record:
        return ""

    def earned(row: dict | None, measure: str) -> str:
        if row is None:
            return "–"
        mean, low, high = row[measure]
        sure = "**" * (low > 0 or high < 0)
        return f"{sure}{mean:+.3f}{sure} ({low:+.3f} to {high:+.3f})"

    text = [
        "`benchmarks/parts.py` (docs/parts.json) trains the detector in the box shorter (24 cars",
        "an epoch in place of 48, 8 epochs of 12), with each part and without it, and judges both",
        f"on {record['vehicles']} vehicles of clean/, under attacks of middle severity and unseen",
        "kinds that begin later. Thresholds call 1 % of the clean windows of simulated cars.",
        "Differences are means over vehicles, paired by vehicle and seed; intervals resample both:",
        "those of one seed lack what another seed would change. **Bold**: the interval excludes 0.",
        "",
    ]
    hours = record["variants"]["reference"]["hours"]
    columns = ["AUROC with", "earns, AUROC (95 %)", "seeds over 0", "earns, share found (95 %)"]
    columns += [
        f"false alarms in {hours:.2f} h, with / without",
        "training s",
        "µs a frame",
        "trees: AUROC (95 %)",
    ]
    lines = head("part", columns)
    for row in record["parts"]:
        pair = [record["variants"][row[key]] for key in ("with", "without")]
        by_seed = row["GAT"]["auroc by seed"]
        cells = [row["part"], f"{row['GAT']['auroc with']:.3f}", earned(row["GAT"], "auroc")]
        cells += [f"{sum(mean > 0 for mean in by_seed)} of {len(by_seed)}"]
        cells += [earned(row["GAT"], "found"), " / ".join(f"{one['alarms']:.3g}" for one in pair)]
        cells += [" / ".join(f"{one['seconds']:.0f}" for one in pair)]
        cells += [" / ".join(f"{one['us']:.2f}" for one in pair), earned(row["trees"], "auroc")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(["## Which part earns what", "", *text, *lines]) + "\n\n"


def evasion(record: dict) -> str:
    """The budgets of `benchmarks/evasion.py`; empty before it was run."""
    if not record:
        return ""
    columns = ["detector", "seen at some level", "least that is seen: median", "range"]
    lines = [
        "## What goes unseen",
        "",
        "`benchmarks/evasion.py` (docs/evasion.json) lets an attack on one ID of a real vehicle",
        "grow from level to level until an alarm finds it: extra frames (to 128 in 8 s), bits",
        "flipped in 16 of them (to 32), their distance behind a genuine frame, a replay of the",
        "whole bus (10 ms to 2.56 s), bits flipped for 4 s (to 32) or in so many frames (to 128).",
        "Whoever stays under the median goes unseen on half of the vehicles. Nothing else is",
        "optimised against the detector: an attacker who knows it may do more unseen. Of",
        f"{', '.join(record['vehicles'])}; *none*: most never see any level.",
        "",
        *head("attack", columns),
    ]
    for row in record["rows"]:
        median = "none" if row["median"] is None else f"{row['median']:.3g}"
        ends = "–" if row["least"] is None else f"{row['least']:.3g} to {row['most']:.3g}"
        cells = [row["detector"], f"{row['seen']} of {row['victims']}", median, ends]
        lines.append(f"| {row['kind']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def relations(record: dict) -> str:
    """The section on `benchmarks/relations.py` and `surprise.py`; empty before they were run."""
    if not record:
        return ""
    parts = [_edges(record["edges"]), _lies(record["vehicles"]), _long(record["long"])]
    parts.append(_learning(record["constants"]))
    return "\n\n".join("\n".join(part) for part in parts) + "\n\n"


def _edges(found: dict) -> list[str]:
    seeds = len(next(iter(next(iter(found.values())).values())))
    names = [*next(iter(found.values()))]
    lines = [
        "## Messages that should agree",
        "",
        "`benchmarks/relations.py --edges` (docs/relations.json): AUROC inside a capture of a net,",
        "and of trees that see its nodes, that learnt from 20 cars under attacks and lies",
        f"about signals, {seeds} seeds, mean ± standard deviation. *nodes*: three features of what",
        "relations between signals say; *edges*: edges for relations beside those for successions;",
        "*both*. A burst of the demo's masquerade sends what would have been sent anyway: *with a",
        "trace* is without it. They are learnt from a baseline, zero-shot from the first 10 s.",
        "",
        *head("tested on", names),
    ]
    for name, row in found.items():
        cells = [f"{mean(v):.3f} ± {stdev(v) if len(v) > 1 else 0:.3f}" for v in row.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


OF_LIES = ("lies", "covered", "relations", "of the covered", "the box", "either", "blamed")


def _lies(record: dict) -> list[str]:
    rates = {who: _rate(row, "alarms") for who, row in record["alarms"].items()}
    lines = [
        f"`--vehicles`: lies of 8 s put into the clean traffic of {record['vehicles']} real",
        "vehicles, each with a baseline of half a log and its other logs (10 to 120 s). Relations",
        "raise an alarm where an ID contradicts the median of its partners by twice what they",
        f"allow: false alarms {rates['relations']};",
        f"the box with a baseline {rates['box']}. Covered: the victim has partners at all.",
        "Blamed: of what relations found, the liar comes first in `Relations.blamed`. Constants",
        "were chosen on simulated cars and on these vehicles.",
        "",
        *head("lie", OF_LIES),
    ]
    return lines + [_of_lies(kind, row) for kind, row in record["found"].items()]


def _of_lies(name: str, row: dict) -> str:
    three = [row[who] for who in ("relations", "box", "either")]
    share = [f"{r['share']:.2f} ({r['low']:.2f} to {r['high']:.2f})" for r in three]
    part = ["–" if row[k] is None else f"{row[k]:.2f}" for k in ("of covered", "blamed")]
    cells = [str(row["lies"]), f"{row['covered']:.2f}", share[0], part[0], *share[1:], part[1]]
    return f"| {name} | {' | '.join(cells)} |"


def _long(record: dict) -> list[str]:
    rates = {who: _rate(row, "alarms") for who, row in record["alarms"].items()}
    by = [str(row["alarms"]["relations"]) for row in record["cars"].values()]
    lines = [
        f"`--long`: the same on {record['vehicles']} logs of three vehicles, each with a baseline",
        "of all other logs of its vehicle, five minutes at least, as `cangraph scan` wants them to",
        f"tell of contradictions. On clean traffic it tells {rates['relations']},",
        f"by vehicle {', '.join(by)}; alarms of",
        f"the box with a baseline {rates['box']}. Intervals draw whole logs.",
        "",
        *head("vehicle", OF_LIES),
    ]
    return lines + [_of_lies(name, row) for name, row in record["cars"].items()]


def _learning(rows: list[dict]) -> list[str]:
    groups = ("simulated", "real")
    lines = [
        "`--constants`: what relations do alone when a constant of learning is changed, on eight",
        "simulated cars and on the real vehicles (a minute of each): share of the signals with",
        "partners, alarms on clean traffic, share of the lies of six kinds that is found.",
        "",
        *head("constant", [f"{g}: {w}" for g in groups for w in ("covered", "alarms", "found")]),
    ]
    for one, other in zip(rows[::2], rows[1::2], strict=True):
        name = one["constant"] + ("" if one["value"] is None else f" = {one['value']}")
        cells = [f"{r['covered']:.2f} | {r['alarms']} | {r['found']:.2f}" for r in (one, other)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def constants(record: dict) -> str:
    """The section of docs/method.md on `benchmarks/constants.py`; empty before it was measured."""
    if not record:
        return ""
    rows = [
        [name, f"{one['value']:.4g}"]
        + [
            f"{1e3 * one[way]['auprc']:+.1f} ({one[way]['differs']:.1%})" if way in one else ""
            for way in ("-25 %", "+25 %", "off")
        ]
        for name, one in record["constants"].items()
    ]
    text = [
        "## Constants",
        "",
        "What each constant of the features is worth on attack-free training captures under",
        f"synthesised attacks (`benchmarks/constants.py`, {record['seeds']} seeds): by how many",
        f"thousandths the AUPRC of boosted trees, {record['auprc']:.4f}, changes when the constant",
        "is 25 % smaller, 25 % larger, or switched off where that is possible; in brackets the",
        f"share of node features that change. Changes under {1e3 * record['floor']:.1f}",
        "thousandths are noise. What a constant does stands beside it in the code. Four show",
        "nothing here: `scale.rounding` is for times since 1970, `flips.rest` for speed, and half",
        "a minute under attacks of 6 s at most is too short for `silence.gone` and `rules.faded`.",
        "Measured before the features of the bus: `pause`, `company`, and `settle`, `down`, `up`,",
        "`drift` of the clock are not in it yet, and `silence.gone` was 60 s.",
        "",
        *head("constant", ["value", "−25 %", "+25 %", "off"]),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(text) + "\n"


def figures(where: list[Place], stored: dict[str, dict]) -> list[str]:
    """The figures of a sentence, as prose writes them: `.98`, not `0.98`."""
    found = []
    for file, key, field, form in where:
        (row,) = (v for k, v in stored[file].items() if k == key or k.startswith(f"{key}_"))
        value = row[field][0] if isinstance(row[field], list) else row[field]
        found.append(re.sub(r"^0\.", ".", f"{value:{form}}"))
    return found


def written(name: str, text: str, stored: dict[str, dict]) -> str:
    """A file of the documentation with the figures that docs/*.json hold.

    Raises `ValueError` where a marker or a sentence of `PROSE` is not there once.
    """
    if name in BLOCKS:
        if text.count(OPEN) != 1 or text.count(CLOSE) != 1:
            raise ValueError(f"{name}: expected {OPEN.strip()} and {CLOSE} once each")
        before, rest = text.split(OPEN)
        text = before + OPEN + BLOCKS[name](stored) + CLOSE + rest.split(CLOSE)[1]
    for words, where in PROSE.get(name, {}).items():
        # a line may break at any space of the sentence
        pattern = re.escape(words).replace(r"\ ", r"\s+").replace(r"\{\}", r"(\d*\.?\d+)")
        found = list(re.finditer(pattern, text))
        if len(found) != 1:
            raise ValueError(f"{name}: {words!r} stands there {len(found)} times; expected once")
        for place, value in reversed([*enumerate(figures(where, stored), 1)]):
            start, end = found[0].span(place)
            text = text[:start] + value + text[end:]
    return text


BLOCKS = {
    "README.md": lambda stored: first_page(stored["detection"]),
    "docs/results.md": lambda stored: (
        strangers(stored["any_vehicle"])
        + from_seeds(stored["box_seeds"])
        + known_vehicles(stored["baseline"])
        + evidence(stored["evidence"])
        + peers(stored["peers"])
        + parts(stored["parts"])
        + evasion(stored["evasion"])
        + relations(stored["relations"])
        + tables(stored["runs"], stored["detection"])
    ),
    "docs/method.md": lambda stored: constants(stored["constants"]),
}


def read_stored() -> dict[str, dict]:
    """docs/*.json that figures come from, by name."""
    paths = {
        name: ROOT / f"docs/{name}.json"
        for name in (
            "runs",
            "detection",
            "clean_traffic",
            "alarm_rules",
            "constants",
            "any_vehicle",
            "box_seeds",
            "baseline",
            "evidence",
            "peers",
            "parts",
            "evasion",
            "relations",
        )
    }
    found = {
        name: json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for name, path in paths.items()
    }
    groups = {row["group"]: row for row in found["any_vehicle"]["totals"]}
    severities = found["any_vehicle"]["severities"]
    rows = {f"{row['severity']} {row['when']}": row for row in severities}
    known = {
        f"{r['severity']} {r['when']}": r
        for r in found["baseline"]["severities"]
        if r["detector"] == "onnx+"
    }
    known |= {f"{row['detector']} {row['group']}": row for row in found["baseline"]["totals"]}
    pairs = found["box_seeds"]["zero-shot"]["mean"].items()
    seeds = {name: {"mean": mean, "half": half} for name, (mean, half) in pairs}
    return found | {"box": groups | rows, "known": known, "seeds": seeds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", action="store_true", help="read runs/ and renew docs/runs.json")
    stored = read_stored()
    if parser.parse_args().runs:
        stored["runs"] |= {d: record for d in DATASETS if (record := kept(d))}
        runs = json.dumps(stored["runs"])
        (ROOT / "docs/runs.json").write_text(runs + "\n", encoding="utf-8")
    for name in dict.fromkeys((*BLOCKS, *PROSE)):
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        path.write_text(written(name, text, stored), encoding="utf-8")
    print(json.dumps({dataset: record["seeds"] for dataset, record in stored["runs"].items()}))


if __name__ == "__main__":
    main()
