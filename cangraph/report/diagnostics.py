"""The report of a run: what is gathered, measured and said. The figures are `figures.results`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from cangraph import runs
from cangraph.data.datasets import read
from cangraph.data.graphs import Graphs
from cangraph.data.splits import Split
from cangraph.evaluation import baselines
from cangraph.evaluation.alarms import (
    event_delays,
    event_metrics,
    events_by_capture,
    recall_at_false_alarms,
)
from cangraph.evaluation.blame import frame_scores
from cangraph.evaluation.calibration import log_odds, recalibrated, temper, temperature
from cangraph.evaluation.intervals import clustered
from cangraph.evaluation.scores import (
    METRICS,
    Scores,
    attack_spans,
    by_capture,
    metrics,
    why_undefined,
)
from cangraph.evaluation.watch import alarm_rule
from cangraph.fusion.verdict import SINGLE
from cangraph.params import Params

__all__ = ["ALL", "Run", "at_false_alarms", "delays", "drift", "events_of", "gather", "histories"]
__all__ += ["intervals", "measured", "seeds", "tempered", "timelines", "typical", "undefined"]
__all__ += ["waits"]

ALL = "all captures"
EVENT_METRICS = ("recall", "delay_median", "false_alarms_per_hour")
_STAGES = {"teacher": "teacher", "student": "distillation"}
_MAIN = ("GAT teacher", "GAT student", "fusion")
Detectors = dict[str, tuple[Scores, float]]


@dataclass(frozen=True, eq=False)
class Run:
    """What the stages of a run left: its `data`, `detectors` by name with their thresholds, the
    JSON of each stage in `facts`, and of each stage that is `missing` what makes it."""

    params: Params
    data: Split
    detectors: Detectors
    facts: dict[str, dict]
    missing: dict[str, str]

    @property
    def main(self) -> str:
        """The detector that the report is about: the GAT teacher, or what there is instead."""
        return next(name for name in _MAIN if name in self.detectors)

    @property
    def stage(self) -> str:
        """The stage that made the GAT which the report is about."""
        return "distillation" if self.main != "GAT teacher" else "teacher"

    @cached_property
    def captures(self) -> list:
        """The captures that the graphs were made of."""
        return read(self.params.dataset, self.params.seed)

    @cached_property
    def task(self) -> Any:
        """That GAT, ready to score."""
        return self.gat(self.stage)

    def gat(self, stage: str) -> Any:
        """The GAT that a stage saved, ready to score."""
        return runs.load_models(stage, self.params)["gat"]

    @cached_property
    def blame(self) -> np.ndarray:
        """Attack probability of each node of the test windows by `task`, f8 (N,)."""
        return self.task.blame(self.data.test)

    def part(self, stage: str, key: str, otherwise: Any = None) -> Any:
        """What a stage saved under `key`; `otherwise` where the stage is missing."""
        return self.facts.get(stage, {}).get(key, otherwise)

    def judged(self, name: str) -> tuple[Scores, float, int, int]:
        """A detector's scores and what raises an alarm of it (`watch.alarm_rule`)."""
        scores, at = self.detectors[name]
        gat = name.startswith("fusion") and self.part("fusion", "default") == SINGLE[1]
        gat |= name.startswith(("GAT ", "boosted trees"))  # as probable
        return scores, *alarm_rule("GAT" if gat else name, at)

    def frames(self, name: str) -> tuple[Scores, float]:
        """A detector's verdict on frames: of a GAT by window and ID, of others by window."""
        scores, at = self.detectors[name]
        blame = self.blame if name == self.main else None
        if blame is None and name.startswith("GAT ") and name.removeprefix("GAT ") in _STAGES:
            blame = self.gat(_STAGES[name.removeprefix("GAT ")]).blame(self.data.test)
        return frame_scores(scores, self.data.test, self.captures, blame), at


def gather(params: Params, with_baselines: bool = True) -> Run:
    """Read a run. Stages that are missing are named with what makes them; without the graphs of
    data_prep, or without any detector, there is nothing to report.

    Raises `FileNotFoundError` then, with the command.
    """
    data = runs.load_data(params)
    detectors: Detectors = {}
    facts, missing = {"data_prep": runs.load("data_prep", params)}, {}
    for stage in runs.STAGES[1:-1]:
        try:
            scores, facts[stage] = runs.load_scores(stage, params, data), runs.load(stage, params)
        except FileNotFoundError:
            missing[stage] = f"{stage}: {runs.remedy(params, stage)}"  # without the machine's paths
            continue
        at = facts[stage]["thresholds"]
        if stage == "fusion":
            rule = facts[stage]["default"]
            detectors["fusion"] = scores["file/test"], at[rule]  # of the file that runs on a bus
        for size in (size for size, made_by in _STAGES.items() if made_by == stage):
            for net in ("gat", "vgae"):
                detectors[f"{net.upper()} {size}"] = scores[f"{net}/test"], at[net]
    if not detectors:
        raise FileNotFoundError(next(iter(missing.values())))
    found = Run(params, data, detectors, facts, missing)
    detectors[f"{found.main}, 10 s"] = recalibrated(*detectors[found.main], 10.0), 0.5
    if with_baselines:
        detectors |= baselines.decided(data.train, data.test, found.captures)
    return found


def seeds(params: Params) -> list[Run]:
    """The runs of the same dataset with other seeds, as far as they lie in their folders. Another
    seed draws other weights; in the demo, other drives too."""
    found = []
    for folder in [None, *sorted((runs.home() / "runs" / params.dataset).glob("seed_*"))]:
        number = 0 if folder is None else int(folder.name.removeprefix("seed_"))
        if number != params.seed:
            try:
                other = params.model_copy(update={"seed": number})
                found.append(gather(other, with_baselines=False))
            except FileNotFoundError:
                continue
    return found


def measured(run: Run, frames: Sequence[str] = ()) -> dict[str, list[dict]]:
    """Metrics of every detector capture by capture, at three levels: `window`, `event`, and `frame`
    for the detectors named there. Each row says `detector`, `scenario`, `capture`."""
    kinds = {
        "window": {name: by_capture(*pair) for name, pair in run.detectors.items()},
        "frame": {name: by_capture(*run.frames(name)) for name in frames},
        "event": {name: events_by_capture(*run.judged(name)) for name in run.detectors},
    }
    return {
        level: [{"detector": name} | row for name, rows in of.items() for row in rows]
        for level, of in kinds.items()
    }


def intervals(levels: Sequence[Mapping[str, list[dict]]]) -> list[dict]:
    """Means of every metric with their intervals, from what `measured` says of each seed, this run
    first: a row for each level, detector and scenario, with `captures`, `seeds`, and of each metric
    the mean, its `_low` and `_high`. The scenario `ALL` takes all captures together."""
    rows = []
    for level, here in levels[0].items():
        measures = EVENT_METRICS if level == "event" else METRICS
        for name in dict.fromkeys(row["detector"] for row in here):
            mine = [row for row in here if row["detector"] == name]
            keys = [(row["scenario"], row["capture"]) for row in mine]
            tables = [table for other in levels if (table := _table(other[level], name))]
            for place in [ALL, *dict.fromkeys(scenario for scenario, _ in keys)]:
                chosen = [key for key in keys if place in (ALL, key[0])]
                row = {"level": level, "detector": name, "scenario": place}
                row |= {"captures": len(chosen), "seeds": len(tables)}
                for metric in measures:
                    grid = [
                        [_float(table.get(k, {}).get(metric)) for k in chosen] for table in tables
                    ]
                    found = clustered(np.array(grid))
                    row |= {metric: found.mean, f"{metric}_low": found.low}
                    row |= {f"{metric}_high": found.high}
                rows.append(row)
    return rows


def _table(rows: Sequence[dict], name: str) -> dict[tuple, dict]:
    return {(row["scenario"], row["capture"]): row for row in rows if row["detector"] == name}


def _float(value: float | None) -> float:
    return np.nan if value is None else value


def undefined(rows: Sequence[dict]) -> list[dict]:
    """What is undefined in rows of `measured` windows or frames, and why: a row for each `detector`
    and reason, with the `metrics` and the `captures`. What is so for all detectors is said once."""
    found: dict[tuple, list[str]] = {}
    for row in rows:
        reasons: dict[str, list[str]] = {}
        for metric in METRICS:
            if why := why_undefined(row, metric):
                reasons.setdefault(why, []).append(metric)
        label = f"{'_'.join(row['scenario'].split('_')[:2])} {row['capture']}"
        for why, names in reasons.items():
            found.setdefault((label, why, ", ".join(names)), []).append(row["detector"])
    everyone = {row["detector"] for row in rows}
    said: dict[tuple, list[str]] = {}
    for (label, why, names), of in found.items():
        for name in ["all"] if len(of) == len(everyone) > 1 else of:
            said.setdefault((name, why, names), []).append(label)
    number = len({(row["scenario"], row["capture"]) for row in rows})
    return [
        {
            "detector": name,
            "metrics": names,
            "why": why,
            "captures": f"all {number}" if len(labels) == number else ", ".join(labels),
        }
        for (name, why, names), labels in said.items()
    ]


def drift(run: Run) -> list[dict]:
    """How far the scores of benign windows have moved from the training windows: a row for each
    part and test capture with the quantiles of their log-odds (`low` 5 %, `median`, `high` 95 %),
    the two-sample Kolmogorov-Smirnov distance `ks` and its `p` (scipy), None for the reference."""
    train: Graphs = run.data.train
    parts = {"train": run.task.score(train[~train.label]).value}
    drawn = runs.load_scores(run.stage, run.params, run.data)["gat/drawn"]
    parts["calib (drawn)"] = drawn.value[~drawn.label]
    test, _ = run.detectors[run.main]
    for number in np.unique(test.capture):
        mine = (test.capture == number) & ~test.label
        parts[test.captures[number].label] = test.value[mine]
    rows = []
    for name, value in parts.items():
        if not len(value):
            continue
        low, median, high = np.quantile(log_odds(value), [0.05, 0.5, 0.95]).tolist()
        row = {"part": name, "windows": len(value), "low": low, "median": median, "high": high}
        found = ks_2samp(value, parts["train"], method="asymp") if name != "train" else None
        row |= {"ks": None if found is None else float(found.statistic)}
        rows.append(row | {"p": None if found is None else float(found.pvalue)})
    return rows


def events_of(run: Run, names: Sequence[str] = ()) -> list[dict]:
    """`event_metrics` of detectors, all captures pooled: a row each."""
    chosen = names or run.detectors
    return [{"detector": name} | event_metrics(*run.judged(name)) for name in chosen]


def at_false_alarms(run: Run, names: Sequence[str]) -> list[dict]:
    """`recall_at_false_alarms` of detectors in every scenario: `detector`, `scenario`, `recall`."""
    rows = []
    for name in names:
        scores, _ = run.detectors[name]
        for scenario in np.unique(scores.scenario).tolist():
            best = recall_at_false_alarms(scores[scores.scenario == scenario])
            rows.append({"detector": name, "scenario": scenario, "recall": best.get("recall")})
    return rows


def delays(run: Run) -> dict[str, list[float | None]]:
    """Delays of the main detector by capture, of captures with attacks."""
    scores, *rule = run.judged(run.main)
    found = event_delays(scores, *rule)
    return {scores.captures[number].label: mine for number, mine in found.items() if mine}


def waits(run: Run, seconds: Sequence[float]) -> list[dict]:
    """Window metrics of the main detector with thresholds from so many clean seconds."""
    scores, at = run.detectors[run.main]
    rows = []
    for clean in seconds:
        windows = recalibrated(scores, at, clean)
        rows.append({"clean seconds": clean, "windows": len(windows)} | metrics(windows, 0.5))
    return rows


def timelines(run: Run) -> list[dict]:
    """The main detector's captures as `figures.timelines` draws them."""
    scores, _ = run.detectors[run.main]
    panels = []
    for number in np.unique(scores.capture):
        mine = scores[scores.capture == number]
        panel = {"name": mine.captures[number].label, "spans": attack_spans(mine)}
        panels.append(panel | {name: getattr(mine, name) for name in ("start", "end", "value")})
    return panels


def tempered(run: Run) -> dict[str, Scores]:
    """The main detector's scores as trained and after a temperature fitted on calibration windows;
    the first alone where those hold one class."""
    scores, _ = run.detectors[run.main]
    drawn = runs.load_scores(run.stage, run.params, run.data)["gat/drawn"]
    kinds = {"as trained": scores}
    if drawn.label.any() and not drawn.label.all():
        heat = temperature(drawn)
        kinds[f"temperature {heat:.2f}"] = temper(scores, heat)
    return kinds


def histories(run: Run) -> dict[str, list[dict]]:
    """The training history of every net that the stages saved, by name."""
    return {
        f"{net.split('_')[0].upper()} {size}{', alone' * net.endswith('_alone')}": epochs
        for size, stage in _STAGES.items()
        for net, epochs in run.part(stage, "history", {}).items()
    }


def typical(run: Run) -> int:
    """Position of the test window to explain: of the attack windows found, that of middling score;
    where none was found, the attack window with the highest; without attacks, any."""
    scores, at = run.detectors[run.main]
    found = np.flatnonzero(scores.label & (scores.value >= at))
    if not len(found):
        return int(np.argmax(np.where(scores.label, scores.value, -np.inf)))
    return int(found[np.argsort(scores.value[found], kind="stable")[len(found) // 2]])
