"""The report in words: the headline, the summary, plain text, and what is saved beside the page."""

from collections.abc import Mapping, Sequence

import numpy as np

from cangraph import runs
from cangraph.figures.style import percent
from cangraph.files import put
from cangraph.frames import ATTACK_TYPES
from cangraph.params import Params
from cangraph.report import tables
from cangraph.report.diagnostics import ALL, Run
from cangraph.report.schema import VERSION, Report
from cangraph.train.explain import Explanation

__all__ = [
    "basis",
    "cells",
    "exhibit",
    "explained_row",
    "false_alarms",
    "headline",
    "misses",
    "save",
]
__all__ += ["summary", "text", "windows_of", "wrong_rows"]

_SEEN = 0.9  # AUROC from which on a detector is said to see an attack


def headline(run: Run, events: Sequence[dict], means: Sequence[dict]) -> str:
    """What a manager should know, in three sentences made from the numbers: attacks found and false
    alarms; how sure, and beside what; and what is not seen."""
    main = run.main
    (mine,) = (row for row in events if row["detector"] == main)
    said = f"On {run.params.dataset} the {main} has no attack to find"
    if mine["events"]:
        said = f"On {run.params.dataset} the {main} raises an alarm for {mine['found']} of "
        said += f"{mine['events']} attacks"
        if mine["found"]:
            said += f", half of them within {mine['delay_median']:.2f} s"
    if mine["false_alarms_per_hour"] is not None:
        said += f", at {mine['false_alarms_per_hour']:.0f} false alarms an hour"
    sentences = [said + "."]
    total = {row["detector"]: row for row in means if (row["level"], row["scenario"]) == _TOTAL}
    if main in total and total[main]["f1"] is not None:
        others = [n for n in total if n not in run.detectors or n in _RULES]
        known = [n for n in others if total[n]["f1"] is not None]
        best = max(known, key=lambda n: total[n]["f1"], default=None)
        said = f"Its mean window F1 is {_interval(total[main], 'f1')}"
        if best:
            said += f"; the best baseline, {best}, reaches {_interval(total[best], 'f1')}"
        sentences.append(said + ".")
    blind = [
        row["scenario"].replace("_", " ")
        for row in means
        if row["level"] == "window" and row["detector"] == main and row["scenario"] != ALL
        and row["auroc"] is not None and row["auroc"] < _SEEN
    ]  # fmt: skip
    sentences.append(
        f"It hardly sees: {', '.join(blind)}."
        if blind
        else f"In every scenario that can be measured its AUROC is {_SEEN} or more."
    )
    return " ".join(sentences)


_TOTAL = ("window", ALL)
_RULES = {"count", "ID set", "entropy", "gap ratio", "payload novelty", "boosted trees"}
_RULES |= {"calibrated count", "calibrated ID set", "calibrated entropy"}


def _interval(row: dict, metric: str) -> str:
    value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "undefined"
    digits = 0 if metric.endswith("per_hour") else 3
    ends = "" if low is None else f" ({low:.{digits}f}, {high:.{digits}f})"
    return f"{value:.{digits}f}{ends}"


def cells(means: Sequence[dict], level: str, metrics: Sequence[str]) -> tables.Table:
    """Means over all captures with their intervals, a row a detector, as text."""
    rows = [row for row in means if row["level"] == level and row["scenario"] == ALL]
    return tables.show(
        [
            {"detector": row["detector"]}
            | {metric.replace("_", " "): _interval(row, metric) for metric in metrics}
            for row in rows
        ]
    )


def basis(means: Sequence[dict]) -> str:
    """What the means rest on, in words: captures and seeds."""
    rows = [row for row in means if row["scenario"] == ALL and row["level"] == "window"]
    seeds, captures = (max(row[name] for row in rows) for name in ("seeds", "captures"))
    said = (
        f"Over {captures} captures and {seeds} seeds" if seeds > 1 else f"Over {captures} captures"
    )
    some = "" if seeds > 1 else "; one seed, so the interval knows nothing of other trainings"
    few = ". With three captures or fewer an interval is their range, a hint" * (captures <= 3)
    return f"{said}{some}{few}."


def summary(run: Run, scenarios: Sequence[dict], total: Mapping) -> list[str]:
    """Three numbers of the main detector."""
    ours = [row for row in scenarios if row["detector"] == run.main and row["auroc"] is not None]
    if not ours:
        return [f"{run.main}: no scenario with both classes, so nothing to rank"]
    worst = min(ours, key=lambda row: row["auroc"])
    mean = np.mean([row["f1"] for row in ours])
    return [
        f"worst AUROC of the {run.main}: {worst['auroc']:.4f} ({worst['scenario']})",
        f"its mean window F1 over scenarios: {mean:.4f}",
        f"its false alarms: {percent(total['fpr'])} of the benign test windows",
    ]


def wrong_rows(run: Run, places: Mapping[str, np.ndarray]) -> list[dict]:
    """The windows that `blame.worst` found, as rows."""
    test, (scores, _) = run.data.test, run.detectors[run.main]
    rows = []
    for kind, name in (("misses", "miss"), ("false_alarms", "false alarm")):
        for place in places[kind].tolist():
            nodes = slice(*test.node_ptr[place : place + 2])
            blamed = test.node_id[nodes][np.argmax(run.blame[nodes])]
            rows.append(
                {
                    "kind": name,
                    "capture": test.captures[test.capture[place]].label,
                    "start": float(test.start[place]),
                    "value": float(scores.value[place]),
                    "attack": ATTACK_TYPES[test.attack_type[place] if test.label[place] else 0],
                    "blamed": f"{blamed:03X}",
                    "position": place,
                }
            )
    return rows


def windows_of(run: Run, rows: Sequence[dict], kind: str) -> list[dict]:
    """The windows of `wrong_rows` of a kind, as `figures.portraits` draws them."""
    found = []
    for row in (row for row in rows if row["kind"] == kind):
        place = row["position"]
        one, nodes = run.data.test[place], slice(*run.data.test.node_ptr[place : place + 2])
        what = f" {row['attack']}" if kind == "miss" else ""
        found.append(
            {
                "caption": f"{row['capture']}{what}\n"
                f"{row['start']:.1f} s, score {row['value']:.3f}",
                "arbitration_id": one.node_id,
                "edge_index": one.edge_index,
                "score": run.blame[nodes],
                "attack": one.node_attack,
            }
        )
    return found


def misses(run: Run, rows: Sequence[dict]) -> str:
    """A title for the worst misses, made from the numbers."""
    scores, at = run.detectors[run.main]
    missed, attacks = int((scores.label & (scores.value < at)).sum()), int(scores.label.sum())
    if not missed:
        return f"None of {attacks:,} attack windows was missed" if attacks else "No attack to miss"
    first = next(row for row in rows if row["kind"] == "miss")
    said = f"{missed:,} of {attacks:,} attack windows were missed; worst: {first['attack']} in "
    return f"{said}{first['capture']}, score {first['value']:.3f}"


def false_alarms(run: Run, rows: Sequence[dict]) -> str:
    """A title for the worst false alarms, made from the numbers."""
    scores, at = run.detectors[run.main]
    benign = int((~scores.label).sum())
    called = int((~scores.label & (scores.value >= at)).sum())
    if not called:
        return f"None of {benign:,} benign windows was called"
    first = next(row for row in rows if row["kind"] == "false alarm")
    said = f"{called:,} of {benign:,} benign windows were called; worst: {first['capture']}, where "
    return f"{said}{first['blamed']} is blamed"


def exhibit(run: Run, place: int, why: Explanation) -> dict:
    """The explanation of a test window as `figures.explanation` draws it."""
    one = run.data.test[place]
    return {
        "arbitration_id": one.node_id,
        "edge_index": one.edge_index,
        "edge_share": why.edge,
        "attack": one.node_attack,
        "features": why.features(one.node_id),
    }


def explained_row(run: Run, place: int, why: Explanation) -> dict:
    """The explanation of a test window in numbers."""
    test, (scores, _) = run.data.test, run.detectors[run.main]
    return {
        "capture": test.captures[test.capture[place]].label,
        "start": float(test.start[place]),
        "value": float(scores.value[place]),
        "value_with_the_rest_hidden": why.probability,
        "features": why.features(test[place].node_id),
    }


def text(report: Report) -> str:
    """The report as plain text."""
    rows = [row.model_dump() for row in report.scenarios]
    for row in rows:  # a published row reports what it reports
        if row["captures"] is None:
            for name in [name for name, value in row.items() if value is None]:
                del row[name]
    parts = [f"cangraph diagnostics: {report.dataset}, seed {report.seed}", report.headline]
    parts += [*report.summary]
    for metric in ("f1", "auroc", "fpr"):
        parts += [
            "",
            f"{metric} by scenario",
            repr(tables.wide(rows, "detector", "scenario", metric)),
        ]
    columns = ["detector", "events", "found", "delay_median", "false_alarms_per_hour", "duty"]
    parts += ["", "alarms", repr(tables.show(report.events, columns))]
    parts += ["", "costs", repr(tables.show(report.costs, digits=3)) if report.costs else "absent"]
    if report.undefined:
        undefined = [row.model_dump() for row in report.undefined]
        parts += ["", "undefined, and why", repr(tables.show(undefined))]
    parts += [f"missing: {what}" for what in report.missing.values()]
    parts += ["", "sources", *report.citations, ""]
    return "\n".join(parts)


def save(params: Params, **facts) -> Report:
    """Save the report's numbers: `diagnostics.json`, checked against its schema, and the same as
    plain text in `diagnostics.txt`.

    Raises `pydantic.ValidationError` when a fact is missing, or not what the schema says.
    """
    about = {"stage": "diagnostics", "dataset": params.dataset, "seed": params.seed}
    about |= {"params": params.model_dump(), "versions": {}, "inputs": {}, "cost": {}}
    Report.model_validate(about | facts)  # before anything is written
    runs.save("diagnostics", params, schema_version=VERSION, **facts)
    report = Report.model_validate(runs.load("diagnostics", params))
    put(runs.folder(params) / "diagnostics.txt", [text(report).encode()])
    return report
