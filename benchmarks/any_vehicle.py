"""How silent a detector is on the clean buses of strangers, and how sharp on attacks there.

    CANGRAPH_DATA=… python benchmarks/any_vehicle.py --train simulator|demo|hcrl_sa|set_04|folds
        [--models gat trees count] [--size teacher|student] [--seed 0] [--injected]
        [--detector FILE.onnx] [--vehicles NAME …] [--limit SECONDS] [--baseline SECONDS]
        [--out runs/any_vehicle.json]

The vehicles are those of `vehicles.vehicles`: clean/, the attack-free captures of hcrl_sa and
set_04, simulated cars. Each log is a stream of its own, with its own warm-up. A detector raises
alarms by the package's rule at its zero-shot threshold; the count rule (2 windows of 3) takes the
first 10 s of each log for clean, which flatters it. `--train simulator` learns from the fleet
alone, `folds` leaves out a fifth of the vehicles in turn and learns from at most 60 s of each
other one of clean/, from the clean training captures of hcrl_sa and set_04 and from the fleet.
A vehicle that was trained on (*) counts in no total. With `--detector` nothing is trained. With
`--baseline` the rests of the logs are judged, without a baseline, with one of the same log's
beginning (`+`: so many seconds, half of it at most), and with one of the vehicle's other logs too,
which may be of other modes, buses and cars (`++`).

For each vehicle: hours, alarms, alarms an hour with their exact 95 % Poisson interval, share of
windows called, share of the time under alarm, share called by time since the recording began.
`--injected` puts `vehicles.trials` into the first 20 s of each vehicle's longest log. An attack is
found if an alarm begins between its first frame and 1 s behind its last, or an earlier attack's
alarm is still on; one that was under false alarm before counts as `on before` and is not found.
`blamed`: the ID blamed most in the alarm's worst window is under attack. `auroc` is inside a log.
The last line is one JSON object.
"""

import argparse
import json
import os
import pickle
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score
from vehicles import Vehicle, drives, trials, vehicles

import cangraph as cg
from cangraph.data.graphs import join
from cangraph.evaluation.alarms import Alarm, AlarmRule, alarm_rule, raise_alarms
from cangraph.evaluation.baselines import COUNT_THRESHOLD, BoostedTrees, calibrated_count
from cangraph.evaluation.blame import localised
from cangraph.evaluation.calibration import clean_stretch
from cangraph.evaluation.stats import poisson
from cangraph.features.baseline import Baseline
from cangraph.params import Params

MODELS = ("gat", "trees", "count")
FOLDS = 5
SHARE = 60.0  # s of a vehicle that others' detectors learn from
PHASES = {"0–10 s": 10.0, "10–60 s": 60.0, "later": np.inf}
BEHIND = 1.0  # s behind an attack in which an alarm still counts
KEYS = ("called", *PHASES)


class CountRule:
    """The count rule, calibrated on what comes before the first attack in the first 10 s of each
    log; where an attack comes first, on the first 10 s whatever they hold."""

    def score(self, graphs: cg.Graphs) -> cg.Scores:
        known = graphs.capture[clean_stretch(graphs)]
        blind = ~np.isin(graphs.capture, known)
        calibrated = calibrated_count(replace(graphs, label=graphs.label & ~blind))
        return cg.Scores.of(graphs, calibrated.value)


class Judge(NamedTuple):
    """A detector by name: its `score`s, its `rule`; `blame` where it has nodes to blame."""

    name: str
    detector: Any
    rule: AlarmRule

    @classmethod
    def of(cls, name: str, detector: Any) -> "Judge":
        """`detector` is an `Exported`, or one of `MODELS`, and then at its zero-shot threshold."""
        if isinstance(detector, cg.Exported):
            return cls(name, detector, detector.rule)
        kind = {"gat": "GAT", "trees": "trees", "count": "count"}[name]
        return cls(name, detector, alarm_rule(kind, COUNT_THRESHOLD if kind == "count" else 0.5))


# training


def material(how: str, left_out: Sequence[str], seed: int) -> tuple[cg.Synthesis, Params]:
    """What to learn from, and with which parameters."""
    if how not in ("simulator", "folds"):
        params = cg.load_params(how, seed=seed)
        captures = cg.read(how)
        data = cg.split(cg.to_graphs(captures), params.split)
        return cg.Synthesis(data, cg.clean_captures(captures), params), params
    cut = {"blocks": 8, "val": 0.125, "calib": 0.125, "gap": 0.2}  # logs may last 8 s only
    if how == "simulator":
        params = cg.load_params("demo", seed=seed, split=cut, synthesis={"fleet": 32})
        cars = [cg.simulate(f"fleet-{2 * k}", 30.0) for k in range(4)]
        return cg.train.stretch(cars, params), params
    params = cg.load_params("hcrl_sa", seed=seed, split=cut)
    clean = [c for name in ("hcrl_sa", "set_04") for c in cg.clean_captures(cg.read(name))]
    for vehicle in vehicles():
        left = SHARE
        for log in vehicle.read() if vehicle.group in ("clean", "race car") else ():
            if left > 5 and vehicle.name not in left_out:
                clean.append(log[log.timestamp <= log.timestamp[0] + left])
                left -= clean[-1].duration
    return cg.train.stretch(clean, params), params


def trained(
    left_out: Sequence[str], how: str, models: Sequence[str], size: str, seed: int
) -> bytes:
    """The `models` by name, pickled, that learnt from what `how` says but for `left_out`."""
    found: dict[str, Any] = {"count": CountRule()} if "count" in models else {}
    if "gat" in models or "trees" in models:
        source, params = material(how, left_out, seed)
        if "gat" in models:
            cg.seed_everything(seed)
            gat = cg.Detector(cg.GAT(source.val.spec, **params[size].gat))
            found["gat"] = cg.Detector(cg.fit(gat, source, params, size).model)
        if "trees" in models:
            found["trees"] = BoostedTrees(join([source.draw(k) for k in range(3)]), seed)
    return pickle.dumps({name: found[name] for name in models})


def seen(how: str, vehicle: Vehicle) -> bool:
    """Whether that training knows the vehicle: it is then judged, and not counted."""
    return how == vehicle.group or (how == "folds" and vehicle.group in ("hcrl_sa", "set_04"))


# judging


def by_phase(start: np.ndarray, called: np.ndarray) -> dict[str, float | None]:
    """Share of windows called by when they start, s since the recording began; None without any."""
    found, since = {}, 0.0
    for name, until in PHASES.items():
        mine = called[(start >= since) & (start < until)]
        found[name], since = float(mine.mean()) if len(mine) else None, until
    return found


def silence(scores: cg.Scores, rule: AlarmRule) -> dict[str, Any]:
    """What a detector does on clean logs."""
    alarms = raise_alarms(scores, *rule)
    seconds = sum(info.seconds for info in scores.captures)
    called = scores.value >= rule.at
    low, high = poisson(len(alarms), seconds / 3600)
    return {
        "logs": len(scores.captures),
        "hours": seconds / 3600,
        "alarms": len(alarms),
        "per hour": len(alarms) / seconds * 3600,
        "low": low,
        "high": high,
        "called": float(called.mean()),
        "under alarm": sum(alarm.end - alarm.start for alarm in alarms) / seconds,
        **by_phase(scores.start, called),
    }


def told(
    events: Sequence[tuple[float, float]], alarms: Sequence[Alarm]
) -> Iterator[tuple[Alarm | None, bool]]:
    """The alarm that finds each event, in order of time, and whether a false one was on before."""
    right: set[Alarm] = set()
    for start, end in events:
        mine = [a for a in alarms if start <= a.start <= end + BEHIND]
        on = [a for a in alarms if a.start < start <= a.end]
        mine = [a for a in on if a in right] + mine
        right.update(mine)
        yield (mine[0] if mine else None), bool(on) and not mine


def blames_right(judge: Judge, graphs: cg.Graphs, value: np.ndarray, alarm: Alarm, event) -> bool:
    """Whether the ID blamed most is under attack, in the window with the highest value of those
    that the alarm and the event share."""
    since, until = max(alarm.start, event[0]), min(alarm.end, event[1] + BEHIND)
    about = np.flatnonzero((graphs.end >= since) & (graphs.end <= max(since, until)))
    if not len(about):  # a window may be longer than a short event
        about = np.flatnonzero(graphs.end >= since)[:1]
    worst = graphs[about[[value[about].argmax()]]]
    return bool(localised(worst, judge.detector.blame(worst)).all())


def sharpness(
    log: cg.Frames, judges: Sequence[Judge], baseline: Baseline | None
) -> list[dict[str, Any]]:
    """A row for each detector and trial in a clean log."""
    rows = []
    for trial in trials(log):
        graphs = cg.to_graphs([trial.frames], baselines=[baseline])
        both = graphs.label.any() and not graphs.label.all()
        for judge in judges:
            value = judge.detector.score(graphs).value
            alarms = raise_alarms(cg.Scores.of(graphs, value), *judge.rule)
            found = [*zip(trial.events, told(trial.events, alarms), strict=True)]
            right = [(event, alarm) for event, (alarm, _) in found if alarm is not None]
            blames = right if hasattr(judge.detector, "blame") else []
            rows.append(
                {"detector": judge.name, "kind": trial.kind}
                | {"severity": trial.severity, "when": trial.when, "events": len(found)}
                | {"delays": [max(0.0, alarm.start - event[0]) for event, alarm in right]}
                | {"on before": sum(on for _, (_, on) in found)}
                | {"blamed": [blames_right(judge, graphs, value, a, event) for event, a in blames]}
                | {"auroc": float(roc_auc_score(graphs.label, value)) if both else None}
            )
    return rows


def judged(
    task: tuple[Vehicle, bytes | str], injected: bool, limit: float, baseline: float = 0.0
) -> dict[str, list]:
    """The rows of one vehicle: `clean`, and `attacks` if wanted."""
    vehicle, given = task
    named = {"onnx": cg.Exported(given)} if isinstance(given, str) else pickle.loads(given)
    logs = vehicle.read(limit)
    known: list[dict[str, Baseline]] = [{}]
    if baseline:
        cut = drives(logs, baseline)
        logs = [drive.rest for drive in cut]
        known += [{d.rest.name: Baseline.learn([d.begin]) for d in cut}]
        known += [{d.rest.name: Baseline.learn([*d.others, d.begin]) for d in cut}]
    longest = max(logs, key=lambda log: log.duration)
    who, clean, attacks = {"vehicle": vehicle.name, "group": vehicle.group}, [], []
    for number, baselines in enumerate(known):
        graphs = cg.to_graphs(logs, baselines=[baselines.get(log.name) for log in logs])
        judges = [Judge.of(name, detector) for name, detector in named.items()]
        judges = [judge._replace(name=judge.name + "+" * number) for judge in judges]
        for judge in judges:
            found = silence(judge.detector.score(graphs), judge.rule)
            clean.append(who | {"detector": judge.name} | found)
        if injected:
            rows = sharpness(longest, judges, baselines.get(longest.name))
            attacks += [who | row for row in rows]
    return {"clean": clean, "attacks": attacks}


# tables


def mean(values) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def totals(rows: Sequence[dict]) -> list[dict]:
    """Of each detector and group of vehicles that were not trained on."""
    groups = defaultdict(list)
    for row in rows:
        if not row["seen"]:
            groups[row["detector"], row["group"]].append(row)
    found = []
    for (detector, group), mine in groups.items():
        hours, alarms = sum(r["hours"] for r in mine), sum(r["alarms"] for r in mine)
        low, high = poisson(alarms, hours)
        found.append(
            {"detector": detector, "group": group, "vehicles": len(mine), "hours": hours}
            | {"alarms": alarms, "per hour": alarms / hours, "low": low, "high": high}
            | {"median": float(np.median([r["per hour"] for r in mine]))}
            | {"silent": sum(not r["alarms"] for r in mine)}
            | {key: mean(r[key] for r in mine) for key in (*KEYS, "under alarm")}
        )
    return found


def over_vehicles(rows: Sequence[dict]) -> dict[str, float]:
    """The 95 % interval of the share found: a percentile bootstrap that draws whole vehicles."""
    names = sorted({row["vehicle"] for row in rows})
    each = [[row for row in rows if row["vehicle"] == name] for name in names]
    found = np.array([sum(len(row["delays"]) for row in mine) for mine in each])
    events = np.array([sum(row["events"] for row in mine) for mine in each])
    drawn = np.random.default_rng(0).integers(len(names), size=(2000, len(names)))
    low, high = np.quantile(found[drawn].sum(1) / events[drawn].sum(1), [0.025, 0.975])
    return {"low": float(low), "high": float(high)}


KIND = ("detector", "kind", "severity", "when")


def kinds(rows: Sequence[dict], keys: Sequence[str] = KIND) -> list[dict]:
    """Of each combination of the `keys`, over the real vehicles not trained on."""
    groups = defaultdict(list)
    for row in rows:
        if not row["seen"] and row["group"] != "simulated":
            groups[tuple(row[key] for key in keys)].append(row)
    found = []
    for key, mine in groups.items():
        events, delays = sum(r["events"] for r in mine), [d for r in mine for d in r["delays"]]
        found.append(
            dict(zip(keys, key, strict=True))
            | {"vehicles": len({r["vehicle"] for r in mine}), "events": events}
            | {"found": len(delays) / events}
            | over_vehicles(mine)
            | {"within 1 s": sum(d <= 1 for d in delays) / events}
            | {"delay": float(np.median(delays)) if delays else None}
            | {"on before": sum(r["on before"] for r in mine) / events}
            | {"blamed": mean(b for r in mine for b in r["blamed"])}
            | {"auroc": mean(r["auroc"] for r in mine)}
        )
    return sorted(found, key=lambda row: (row["detector"], row["severity"] == "-"))


def show(rows: list[dict], *left_out: str) -> None:
    columns = [name for name in rows[0] if name not in left_out] if rows else []
    print(cg.report.show(rows, columns, digits=3), end="\n\n", flush=True)


def rounded(value: Any) -> Any:
    """Rows as they are kept: five decimals; the detector where there are several."""
    if isinstance(value, list):
        several = len({row["detector"] for row in value}) > 1
        left_out = {"seen"} if several else {"seen", "detector"}
        return [{k: rounded(v) for k, v in row.items() if k not in left_out} for row in value]
    return round(value, 5) if isinstance(value, float) else value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = ["simulator", "demo", "hcrl_sa", "set_04", "folds"]
    parser.add_argument("--train", default="simulator", choices=choices)
    parser.add_argument("--detector", help="an exported detector, instead of training")
    parser.add_argument("--models", nargs="+", default=[*MODELS], choices=MODELS)
    parser.add_argument("--size", default="teacher", choices=["teacher", "student"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vehicles", nargs="+", metavar="NAME")
    parser.add_argument("--injected", action="store_true", help="attacks as well")
    parser.add_argument("--limit", type=float, default=np.inf, help="s of each clean log")
    parser.add_argument("--baseline", type=float, default=0.0, help="s of each vehicle's own")
    parser.add_argument("--out", type=Path, default=Path("runs/any_vehicle.json"))
    return parser.parse_args()


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes, two cores
    given, began = arguments(), time.perf_counter()
    real = [v for v in vehicles(given.vehicles) if v.group in ("clean", "race car")]
    others = [v for v in vehicles(given.vehicles) if v not in real]
    folded = given.train == "folds" and not given.detector
    folds = [real[k::FOLDS] for k in range(FOLDS)] if folded else [real]
    folds = [fold for fold in folds if fold]
    folds = [folds[0] + others, *folds[1:]] if folds else [others]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        if given.detector:
            made: list = [given.detector]
        else:
            learn = partial(trained, how=given.train, models=given.models, size=given.size)
            left_out = [[vehicle.name for vehicle in fold] for fold in folds]
            made = list(pool.map(partial(learn, seed=given.seed), left_out))
        took = {"training": round(time.perf_counter() - began)}
        tasks = [(v, made[k]) for k, fold in enumerate(folds) for v in fold]
        tasks.sort(key=lambda task: task[0].group != "race car")  # the longest first
        how = {"injected": given.injected, "limit": given.limit, "baseline": given.baseline}
        rows = list(pool.map(partial(judged, **how), tasks))
    took["all"] = round(time.perf_counter() - began)
    known = {} if given.detector else {v.name: seen(given.train, v) for v, _ in tasks}
    clean, attacks = (
        [row | {"seen": known.get(row["vehicle"], False)} for found in rows for row in found[part]]
        for part in ("clean", "attacks")
    )
    clean.sort(key=lambda row: (row["detector"], row["seen"], row["group"], row["vehicle"]))
    show([row | {"vehicle": row["vehicle"] + "*" * row["seen"]} for row in clean], "seen", "group")
    show(totals(clean))
    show(kinds(attacks))
    severities = kinds(attacks, ("detector", "severity", "when"))
    show(severities)
    record: dict = {"detector": given.detector or f"{given.train}, {given.size}, {given.seed}"}
    record |= {"totals": totals(clean), "severities": severities}
    record |= {"kinds": kinds(attacks), "vehicles": clean}
    record = {key: rounded(value) for key, value in record.items()}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{took} s; {given.out}")
    print(json.dumps({k: v for k, v in record.items() if k != "vehicles"}))


if __name__ == "__main__":
    main()
