"""The report of a run: one object, built once from what the stages left."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from pydantic import ConfigDict, Field

from cangraph import runs
from cangraph.data.datasets import DATASETS, read
from cangraph.data.protocol import states
from cangraph.data.splits import Split
from cangraph.evaluation import alarms, baselines, blame, calibration, scores
from cangraph.evaluation.alarms import AlarmRule, alarm_rule
from cangraph.evaluation.scores import METRICS, Scores
from cangraph.evaluation.stats import clustered, with_rate
from cangraph.files import home
from cangraph.frames import ATTACK_TYPES
from cangraph.fusion.verdict import SINGLE
from cangraph.params import Params
from cangraph.report.literature import citations, published
from cangraph.report.schema import VERSION, Findings

ALL = "all captures"  # the scenario of a row that takes the captures of all scenarios together
Kind = Literal["GAT", "VGAE", "fusion", "trees", "rule", "canary"]
_NETS: tuple[Kind, ...] = ("GAT", "VGAE")
_EVENT_METRICS = ("recall", "delay_median", "false_alarms_per_hour")
_SIZES = {"teacher": "teacher", "distillation": "student"}  # of a stage's nets
_BASELINES: dict[str, Kind] = {"boosted trees": "trees", "leak canary": "canary"}  # others: rules
_SHOWN = ("boosted trees", "calibrated count")  # of the baselines, in curves
_SEEN = 0.9  # AUROC from which on a detector is said to see an attack


@dataclass(frozen=True, eq=False)
class Judge:
    """A detector with its scores of the test windows."""

    name: str
    kind: Kind  # a canary detects the logger and not attacks
    scores: Scores
    rule: AlarmRule
    stage: str = ""  # which saved its net
    shown: bool = False  # in curves

    @property
    def at(self) -> float:
        """The threshold: windows with `value >= at` are called attacks."""
        return self.rule.at


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the stages of a run left: the windows in `data`, the detectors in `judges`, the JSON of
    each stage in `facts`, and of each stage that is `missing` the command that makes it. `states`
    says what was known of the captures of each test scenario (`data.protocol`); other seeds', of
    which it is the same, have none."""

    params: Params
    data: Split
    judges: list[Judge]
    facts: dict[str, dict]
    missing: dict[str, str]
    states: dict[str, str]

    @property
    def main(self) -> Judge:
        """The detector that the report is about: the first GAT, or else the fusion."""
        return next(judge for judge in self.judges if judge.kind in ("GAT", "fusion"))

    @property
    def stage(self) -> str:
        """The stage that saved the GAT that is explained."""
        return self.main.stage if self.main.kind == "GAT" else "distillation"

    @property
    def shown(self) -> list[Judge]:
        """The detectors that curves show and that judged some window, kind by kind."""
        shown = [judge for judge in self.judges if judge.shown and len(judge.scores)]
        return sorted(shown, key=lambda judge: get_args(Kind).index(judge.kind))

    @cached_property
    def task(self) -> Any:
        """That GAT, ready to score."""
        return runs.load_models(self.stage, self.params)["gat"]

    @cached_property
    def blame(self) -> np.ndarray:
        """Attack probability of each node of the test windows by that GAT, f8 (N,)."""
        return self.task.blame(self.data.test)


def gather(params: Params, with_baselines: bool = True) -> Gathered:
    """Read what the stages of a run left. Raises `FileNotFoundError`, with the command that helps,
    when the graphs of data_prep or all detectors are missing."""
    data, missing, judges = runs.load_data(params), {}, []
    facts = {"data_prep": runs.load("data_prep", params)}
    for stage in runs.STAGES[1:-1]:
        try:
            saved, facts[stage] = runs.load_scores(stage, params, data), runs.load(stage, params)
        except FileNotFoundError:
            missing[stage] = f"{stage}: {runs.remedy(params, stage)}"  # without the machine's paths
        else:
            judges += _saved_judges(stage, saved, facts[stage])
    if not judges:
        raise FileNotFoundError(next(iter(missing.values())))
    captures = read(params.dataset, params.seed) if with_baselines else []
    tested = set(data.test.scenario.tolist())
    opened = states(params.dataset, [c for c in captures if c.scenario in tested])
    # the captures are not kept: they may fill gigabytes
    run = Gathered(params, data, judges, facts, missing, opened)
    main, even = run.main, run.main.rule._replace(at=0.5)
    late = calibration.recalibrated(main.scores, main.at, 10.0)
    judges.append(Judge(f"{main.name}, 10 s", main.kind, late, even))
    if with_baselines:
        found = baselines.decided(data.train, data.test, captures)
        for name, (values, at) in found.items():
            kind = _BASELINES.get(name, "rule")
            judges.append(Judge(name, kind, values, alarm_rule(kind, at), shown=name in _SHOWN))
    return run


def _saved_judges(stage: str, saved: dict[str, Scores], record: dict) -> list[Judge]:
    """The detectors that a stage saved, from its scores and its JSON."""
    at = record["thresholds"]
    if stage == "fusion":  # as in the file that runs on a bus
        default = record["default"]
        rule = alarm_rule("GAT" if default == SINGLE[1] else "fusion", at[default])
        return [Judge("fusion", "fusion", saved["file/test"], rule, stage)]
    judges = []
    for kind in _NETS:
        net, name = kind.lower(), f"{kind} {_SIZES[stage]}"
        rule, shown = alarm_rule(kind, at[net]), kind == "GAT" or stage == "teacher"
        judges.append(Judge(name, kind, saved[f"{net}/test"], rule, stage, shown))
    return judges


def _other_seeds(params: Params) -> list[Gathered]:
    """The runs of the same dataset with other seeds: other weights, in the demo other drives."""
    found = []
    folders = (home() / "runs" / params.dataset).glob("seed_*")
    seeds = {0, *(int(folder.name.removeprefix("seed_")) for folder in folders)} - {params.seed}
    for seed in sorted(seeds):
        with suppress(FileNotFoundError):  # a run without detectors has nothing to add
            other = params.model_copy(update={"seed": seed})
            found.append(gather(other, with_baselines=False))
    return found


def _measured(run: Gathered) -> dict[str, list[dict]]:
    """The metrics of every detector in every capture: of `window`s, also of captures that one which
    is calibrated says nothing of, and of `event`s."""
    rows: dict[str, list[dict]] = {"window": [], "event": []}
    for judge in run.judges:
        name, nothing = {"detector": judge.name}, scores.metrics(judge.scores[:0], judge.at)
        silent = np.setdiff1d(run.data.test.capture, judge.scores.capture)
        rows["window"] += [name | row for row in scores.by_capture(judge.scores, judge.at)]
        rows["window"] += [name | scores.named(run.data.test.captures[k]) | nothing for k in silent]
        rows["event"] += [name | r for r in alarms.events_by_capture(judge.scores, *judge.rule)]
    return rows


def intervals(levels: Sequence[dict[str, list[dict]]]) -> list[dict]:
    """The mean of every metric with its 95 % interval (`clustered`): a `MeanRow` of the schema for
    each level, detector and scenario (`ALL`: all captures). `levels` holds rows of captures by
    level, of this run and then of other seeds."""
    means = []
    for level, here in levels[0].items():
        measures = _EVENT_METRICS if level == "event" else METRICS
        for name in dict.fromkeys(row["detector"] for row in here):
            mine = ([row for row in other[level] if row["detector"] == name] for other in levels)
            tables = [{(r["scenario"], r["capture"]): r for r in rows} for rows in mine if rows]
            for place in [ALL, *dict.fromkeys(scenario for scenario, _ in tables[0])]:
                chosen = [key for key in tables[0] if place in (ALL, key[0])]
                row = {"level": level, "detector": name, "scenario": place}
                row |= {"captures": len(chosen), "seeds": len(tables)}
                for metric in measures:
                    grid = [[table.get(key, {}).get(metric) for key in chosen] for table in tables]
                    row |= clustered(np.array(grid, np.float64)).of(metric)  # None: NaN
                means.append(row)
    return means


def undefined(rows: Sequence[dict]) -> list[dict]:
    """What is undefined in the rows of captures, and why: a row for each `detector` (all of them:
    `all`) and reason `why`, with the `metrics` and the `captures`."""
    found: dict[tuple, list[str]] = defaultdict(list)
    for row in rows:
        reasons: dict[str, list[str]] = defaultdict(list)
        for metric in METRICS:
            if why := scores.why_undefined(row, metric):
                reasons[why].append(metric)
        label = f"{'_'.join(row['scenario'].split('_')[:2])} {row['capture']}"
        for why, names in reasons.items():
            found[label, why, ", ".join(names)].append(row["detector"])
    detectors = len({row["detector"] for row in rows})
    captures = len({(row["scenario"], row["capture"]) for row in rows})
    said: dict[tuple, list[str]] = defaultdict(list)
    for (label, why, names), of in found.items():
        for name in ["all"] if len(of) == detectors > 1 else of:
            said[name, names, why].append(label)
    return [
        dict(zip(("detector", "metrics", "why"), key, strict=True))
        | {"captures": f"all {captures}" if len(labels) == captures else ", ".join(labels)}
        for key, labels in said.items()
    ]


def _wrong(run: Gathered, number: int = 10) -> list[dict]:
    """The worst misses and the worst false alarms, at most so many of each (`blame.worst`)."""
    misses, false_alarms = blame.worst(run.main.scores, run.main.at, number).values()
    test, rows = run.data.test, []
    for place in [*misses.tolist(), *false_alarms.tolist()]:
        nodes, attacked = slice(*test.node_ptr[place : place + 2]), test.label[place]
        blamed = test.node_id[nodes][np.argmax(run.blame[nodes])]
        row: dict[str, Any] = {"kind": "miss" if attacked else "false alarm"}
        row |= {"capture": test.captures[test.capture[place]].label, "position": place}
        row |= {"start": float(test.start[place]), "value": float(run.main.scores.value[place])}
        row |= {"attack": ATTACK_TYPES[test.attack_type[place] if attacked else 0]}
        rows.append(row | {"blamed": f"{blamed:03X}"})
    return rows


def headline_of(run: Gathered, events: Sequence[dict], means: Sequence[dict]) -> str:
    """Three sentences made from the numbers: attacks found and false alarms; how sure that is, and
    the best baseline; what is not seen."""
    main = run.main.name
    (mine,) = (row for row in events if row["detector"] == main)
    said = "has no attack to find"
    if mine["events"]:
        said = f"raises an alarm for {mine['found']} of {mine['events']} attacks"
    if mine["found"]:
        said += f", half of them within {mine['delay_median']:.2f} s"
    if mine["false_alarms_per_hour"] is not None:
        low, high = (mine[f"false_alarms_per_hour_{end}"] for end in ("low", "high"))
        said += f", at {mine['false_alarms_per_hour']:.0f} false alarms an hour "
        said += f"({mine['false_alarms']} in {mine['benign_hours']:.2f} h; "
        said += f"95 % {low:.0f} to {high:.0f})"
    opened = ", ".join(dict.fromkeys(run.states.values()))
    sentences = [f"On {run.params.dataset} ({opened}) the {main} {said}."]
    windows = [row for row in means if row["level"] == "window"]
    total = {r["detector"]: r for r in windows if r["scenario"] == ALL and r["f1"] is not None}
    if main in total:
        said = f"Its mean window F1 is {_with_interval(total[main], 'f1')}"
        baseline = [judge.name for judge in run.judges if judge.kind in ("rule", "trees")]
        if known := [name for name in total if name in baseline]:
            best = max(known, key=lambda name: total[name]["f1"])
            said += f"; the best baseline, {best}, reaches {_with_interval(total[best], 'f1')}"
        sentences.append(said + ".")
    ours = [row for row in windows if row["detector"] == main and row["auroc"] is not None]
    unseen = [r["scenario"] for r in ours if r["scenario"] != ALL and r["auroc"] < _SEEN]
    blind = ", ".join(unseen).replace("_", " ")
    sees_all = f"In every scenario that can be measured its AUROC is {_SEEN} or more."
    return " ".join([*sentences, f"It hardly sees: {blind}." if blind else sees_all])


def _with_interval(row: Mapping, metric: str) -> str:
    value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "undefined"
    digits = 0 if metric.endswith("per_hour") else 3
    ends = "" if low is None else f" ({low:.{digits}f}, {high:.{digits}f})"
    return f"{value:.{digits}f}{ends}"


class Report(Findings):
    """What a report finds in a run, which `save` writes, and what its figures draw."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    run: Gathered = Field(exclude=True, repr=False)

    @property
    def at(self) -> float:
        """The main detector's threshold."""
        return self.run.main.at

    def over_captures(self, level: str) -> list[Mapping]:
        """The means over all captures at a level: a row a detector."""
        return [row for row in self.means if (row["level"], row["scenario"]) == (level, ALL)]

    def with_intervals(self, level: str, *metrics: str) -> list[dict]:
        """The same as text with intervals."""
        return [
            {"detector": row["detector"]} | {m: _with_interval(row, m) for m in metrics}
            for row in self.over_captures(level)
        ]

    @property
    def curves(self) -> dict[str, tuple]:
        """What `figures.roc` draws: value, label and threshold by detector."""
        return {j.name: (j.scores.value, j.scores.label, j.at) for j in self.run.shown}

    @property
    def timelines(self) -> list[dict]:
        """The scores of every test capture, as `figures.timelines` draws them."""
        panels, every = [], self.run.main.scores
        for number in np.unique(every.capture):
            mine = every[every.capture == number]
            panel = {"name": mine.captures[number].label, "spans": scores.attack_spans(mine)}
            panels.append(panel | {n: getattr(mine, n) for n in ("start", "end", "value")})
        return panels

    @property
    def histories(self) -> dict[str, list[dict]]:
        """The training history of every net that the stages saved, by name."""
        return {
            f"{net.split('_')[0].upper()} {size}{', alone' * net.endswith('_alone')}": epochs
            for stage, size in _SIZES.items()
            for net, epochs in self.run.facts.get(stage, {}).get("history", {}).items()
        }

    def save(self) -> None:
        """Write `diagnostics.json`, a `schema.Record`."""
        runs.save("diagnostics", self.run.params, schema_version=VERSION, **self.model_dump())


def build(params: Params) -> Report:
    """The report of a run, from what its stages left; trains nothing but the boosted trees, a
    baseline. Raises `FileNotFoundError` as `gather` does."""
    run, others = gather(params), _other_seeds(params)
    main, expected = run.main, DATASETS[params.dataset].scenarios
    levels = _measured(run)
    means = intervals([levels, *map(_measured, others)])
    pooled = {j.name: alarms.event_metrics(j.scores, *j.rule) for j in run.judges}
    events = [{"detector": name} | with_rate(row) for name, row in pooled.items()]
    ours = scores.compare({j.name: (j.scores, j.at) for j in run.judges}, expected)
    findings = {
        "run": run,
        "headline": headline_of(run, events, means),
        "detector": main.name,
        "missing": run.missing,
        "seeds": [params.seed, *(other.params.seed for other in others)],
        "scenarios": ours + published(params.dataset, expected),
        "states": run.states,
        "thresholds": {judge.name: judge.at for judge in run.judges},
        "by_capture": levels,
        "means": means,
        "undefined": undefined(levels["window"]),
        "called": blame.by_attack_and_capture(main.scores, main.at),
        "events": events,
        "calibration": {c.__name__: c(main.scores) for c in (calibration.ece, calibration.brier)},
        "worst": _wrong(run),
        "blamed": blame.blamed_ids(main.scores, main.at, run.data.test, run.blame),
        "costs": [row for found in run.facts.values() for row in found.get("costs", [])],
        "citations": citations(params.dataset),
    }
    return Report.model_validate(findings)
