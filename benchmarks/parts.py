"""Which part earns what: each part left out, over vehicles that nothing was trained on.

    CANGRAPH_DATA=… python benchmarks/parts.py [--seeds 3] [--only VARIANT …] [--folder runs/parts]
        [--vehicles NAME …] [--table]

Every variant is trained as `box.py` trains the detector in the box, but shorter (`FLEET`, `EPOCHS`)
and on the same draws for all variants of a seed. Its threshold is what `CALLED` of the clean
windows of an hour of other simulated vehicles reach, its alarms are by evidence. Left out:

- a family of features (`schema.FAMILIES`): its columns are 0 in training and in judging;
- edges: no window has a succession;
- distillation: a student (`params.student`) with and without the reference GAT as its teacher;
- fusion: the DQN over a VGAE and the reference GAT, against that GAT;
- ensembling: the mean log-odds of the reference GATs of all seeds, against one;
- other cars: traffic of the demo's two training cars alone, about as many windows, under
  synthesised attacks; with half of its copies altered into other cars; or a fleet without the
  habits of real buses;
- synthesis: the labelled windows of hcrl_sa, against synthesised attacks in its clean captures.

Judged on the vehicles of clean/: alarms on the first `CLEAN` s of each log, and `vehicles.trials`
that begin later, of middle severity and of unseen kinds. A measure is the mean over the trials of a
vehicle, then over vehicles; differences are paired by vehicle and seed, and their 95 % interval
resamples both (`stats.clustered`). Boosted trees learn the same variants of the first seed, where
more than edges changes. Seconds of training (without drawing; of a student or fusion beside the
reference) and µs a frame (without features) are of one thread of a CPU. Results are kept in
`folder` by variant and seed, and a run goes on where one ended; a net that collapses has no row.
The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from box import CALLED, NET, SPLIT, quiet
from peers import attack_row
from vehicles import Trial, trials, vehicles

import cangraph as cg
from cangraph.data.graphs import join
from cangraph.evaluation import BoostedTrees
from cangraph.evaluation.alarms import alarm_rule, raise_alarms
from cangraph.evaluation.calibration import clean_threshold, log_odds
from cangraph.evaluation.stats import clustered, poisson
from cangraph.features.schema import FAMILIES, NODE_FEATURES
from cangraph.nn.models import n_parameters
from cangraph.params import Params
from cangraph.train.callbacks import CollapseError

FLEET, EPOCHS = 24, 8  # simulated vehicles in an epoch; the box has 48 and 12
CLEAN = 180.0  # s of each clean log
SEVERITIES = ("middle", "-")
AMOUNT = 480.0  # s of a few cars' traffic in a draw: about as many windows as of the fleet
LEAST = 100  # frames of a log
COSTS = ("us", "parameters", "seconds")
MEASURES = ("auroc", "found")

REFERENCE, STUDENT, DISTILLED = "reference", "student alone", "student distilled"
FUSION, ENSEMBLE = "fusion", "ensemble"
CARS = ("two cars", "two cars, altered", "fleet, not wild")
LABELLED, SYNTHESISED = "hcrl_sa, labelled", "hcrl_sa, synthesised"
# the part: the variant with it, and the one without
PARTS = {f"features: {family}": (REFERENCE, f"without {family}") for family in FAMILIES}
PARTS |= {
    "edges": (REFERENCE, "without edges"),
    "distillation": (DISTILLED, STUDENT),
    "fusion (DQN)": (FUSION, REFERENCE),
    "ensembling": (ENSEMBLE, REFERENCE),
    "other cars (for two)": (REFERENCE, CARS[0]),
    "other cars (for two, altered)": (REFERENCE, CARS[1]),
    "habits of real buses": (REFERENCE, CARS[2]),
    "synthesised attacks (for labelled ones)": (SYNTHESISED, LABELLED),
}
VARIANTS = tuple(dict.fromkeys(n for pair in PARTS.values() for n in pair if n != ENSEMBLE))
NO_TREES = ("without succession", "without edges", STUDENT, DISTILLED, FUSION)


def without(graphs: cg.Graphs, part: str) -> cg.Graphs:
    """The windows without `edges`, or with the features of a family 0."""
    if part == "edges":
        return replace(
            graphs,
            edge_index=graphs.edge_index[:, :0],
            edge_attr=graphs.edge_attr[:0],
            edge_ptr=np.zeros_like(graphs.edge_ptr),
        )
    if part == "succession":
        return replace(graphs, edge_attr=np.zeros_like(graphs.edge_attr))
    mine = np.array([feature.family == part for feature in NODE_FEATURES])
    return replace(graphs, x=np.where(mine, np.float32(0), graphs.x))


def as_in(name: str, graphs: cg.Graphs) -> cg.Graphs:
    """The windows as a variant sees them."""
    part = name.removeprefix("without ")
    return graphs if part == name else without(graphs, part)


# training


Trained = tuple[Callable[[cg.Graphs], np.ndarray], int, float]  # values of windows, its costs


def params_of(seed: int, dataset: str = "demo", train_on: str = "clean", **synthesis: Any):
    drawn = {"fleet": FLEET, "wild": True, "known": 0.5, "gross": 0.5, "subtle": 0.15}
    return cg.load_params(
        dataset, seed=seed, split=SPLIT, synthesis=drawn | synthesis,
        teacher={"gat": NET, "epochs": EPOCHS, "learning_rate": 0.002}, student={"epochs": EPOCHS},
        fit={"train_on": train_on, "batch_size": 128},
    )  # fmt: skip


@lru_cache(3)
def material(seed: int, name: str) -> tuple[Any, Params]:
    """What a variant learns from, every draw kept, and its parameters."""
    if name in (LABELLED, SYNTHESISED):
        how = "labelled" if name == LABELLED else "clean"
        params = params_of(seed, "hcrl_sa", how, fleet=0, varied=0.0, seconds=AMOUNT)
        captures = cg.read("hcrl_sa")
        data = cg.split(cg.to_graphs(captures), params.split)
        source: Any = cg.Synthesis(data, cg.clean_captures(captures), params)
    elif name in CARS[:2]:
        params = params_of(seed, fleet=0, varied=0.5 * (name == CARS[1]), seconds=AMOUNT)
        source = cg.train.stretch([cg.simulate(n, 60.0) for n in ("aster", "borage")], params)
    elif name in (REFERENCE, CARS[2]):
        wild = name == REFERENCE
        params, fleet = params_of(seed, wild=wild), "wild" if wild else "fleet"
        source = cg.train.stretch([cg.simulate(f"{fleet}-{2 * k}", 30.0) for k in range(4)], params)
    else:
        source, params = material(seed, REFERENCE)
    draw = cache(lambda number, progress=1.0: as_in(name, source.draw(number, progress)))
    val, calib = as_in(name, source.val), as_in(name, source.calib)
    return SimpleNamespace(draw=draw, val=val, calib=calib), params


def drawn(seed: int, name: str) -> list[cg.Graphs]:
    """The windows of each epoch."""
    source = material(seed, name)[0]
    return [source.draw(epoch, epoch / (EPOCHS - 1)) for epoch in range(EPOCHS)]


@cache
def gat(seed: int, name: str) -> tuple[Any, float]:
    """The GAT of a variant, and the s that training took: the windows are drawn before."""
    drawn(seed, name)
    source, params = material(seed, name)
    size = "student" if name in (STUDENT, DISTILLED) else "teacher"
    teacher = gat(seed, REFERENCE)[0] if name == DISTILLED else None
    cg.seed_everything(seed)
    net, began = cg.GAT(source.val.spec, **params[size].gat), time.process_time()
    task = cg.distill(teacher, net, params.distillation) if teacher else cg.Detector(net)
    return cg.fit(task, source, params, size), time.process_time() - began


def made(seed: int, name: str) -> Trained:
    """The net of a variant."""
    task, spent = gat(seed, REFERENCE if name == FUSION else name)
    if name != FUSION:
        return lambda graphs: task.score(graphs).value, n_parameters(task.model), spent
    (source, params), began = material(seed, REFERENCE), time.process_time()
    cg.seed_everything(seed)
    vgae = cg.Reconstructor(cg.VGAE(source.val.spec, **params.student.vgae))
    both = [cg.fit(vgae, source, params, "student"), task]
    rule = cg.DQNFusion(params.fusion, seed).fit([net.score(source.calib) for net in both])
    size = sum(map(n_parameters, (rule.net, *(net.model for net in both))))
    spent = time.process_time() - began
    return lambda graphs: rule.score([net.score(graphs) for net in both]).value, size, spent


def grown(seed: int, name: str) -> Trained:
    """Boosted trees of the first, a middle and the last draw of a variant."""
    every, began = drawn(seed, name), time.process_time()
    trees = BoostedTrees(join([every[0], every[EPOCHS // 2], every[-1]]), seed)
    return lambda graphs: trees.score(graphs).value, 0, time.process_time() - began


# judging


class Judged(NamedTuple):
    """A vehicle's windows: of its `clean` logs (so many captures), then of its trials."""

    name: str
    graphs: cg.Graphs
    clean: int
    trials: list[Trial]


def on_road(names: Sequence[str] | None) -> Iterator[Judged]:
    for vehicle in vehicles(names):
        if vehicle.group not in ("clean", "race car"):
            continue
        logs = [log for log in vehicle.read(CLEAN) if len(log) >= LEAST]
        longest = max(logs, key=lambda log: log.duration)
        tried = [t for t in trials(longest) if t.when == "later" and t.severity in SEVERITIES]
        graphs = cg.to_graphs([*logs, *(trial.frames for trial in tried)])
        shown = [trial._replace(frames=trial.frames[:0]) for trial in tried]
        yield Judged(vehicle.name, graphs, len(logs), shown)


def figures(road: Judged, value: np.ndarray, at: float) -> dict[str, Any]:
    """What values of the windows of a vehicle are worth at a threshold."""
    scores, attacks = cg.Scores.of(road.graphs, value), []
    alarms = raise_alarms(scores, *alarm_rule("GAT", min(at, 1 - 1e-9)))
    for number, trial in enumerate(road.trials, road.clean):
        mine = [alarm for alarm in alarms if alarm.capture == number]
        attacks.append(attack_row(trial, scores[scores.capture == number], mine))
    return {
        "hours": sum(info.seconds for info in road.graphs.captures[: road.clean]) / 3600,
        "alarms": sum(alarm.capture < road.clean for alarm in alarms),
        "called": float((value[scores.capture < road.clean] >= at).mean()),
        "attacks": attacks,
    }


class Court(NamedTuple):
    """What variants are judged on, an hour that is quiet and vehicles, and where that is kept."""

    hour: cg.Graphs
    road: list[Judged]
    folder: Path

    def judge(self, name: str, seed: int, net: Trained) -> None:
        (value, *costs), part = net, name.removeprefix("trees, ")
        began = time.process_time()
        values = [value(as_in(part, self.hour))]
        us = 1e6 * (time.process_time() - began) / (len(self.hour) * self.hour.window)
        values += [value(as_in(part, one.graphs)) for one in self.road]
        np.savez_compressed(self.folder / f"{name}, {seed}.npz", *values)
        self.keep(name, seed, values, dict(zip(COSTS, (us, *costs), strict=True)))

    def keep(self, name: str, seed: int, values: list[np.ndarray], costs: dict) -> None:
        at = clean_threshold(cg.Scores.of(self.hour, values[0]), CALLED)
        pairs = zip(self.road, values[1:], strict=True)
        record = {"at": at, "vehicles": {r.name: figures(r, value, at) for r, value in pairs}}
        (self.folder / f"{name}, {seed}.json").write_text(json.dumps(record | costs))

    def ensemble(self) -> None:
        """The mean log-odds of the reference nets that are kept, as one detector."""
        paths = sorted(self.folder.glob(f"{REFERENCE}, *.npz"))
        each = zip(*(np.load(path).values() for path in paths), strict=True)
        means = [1 / (1 + np.exp(-log_odds(np.stack(values)).mean(0))) for values in each]
        nets = [json.loads(path.with_suffix(".json").read_text()) for path in paths]
        costs = {cost: sum(net[cost] for net in nets) for cost in COSTS}
        seeds = [int(path.stem.split(", ")[1]) for path in paths]
        self.keep(ENSEMBLE, 0, means, costs | {"seeds": seeds})


# tables


def matrix(of_seeds: Sequence[dict], measure: str) -> np.ndarray:
    """Of each vehicle the mean AUROC of its trials, or the share of its attacks that is found, f8
    (seeds, vehicles)."""

    def of(rows: list[dict]) -> float:
        if measure == "found":
            return sum(r["found"] for r in rows) / max(sum(r["events"] for r in rows), 1)
        return float(np.mean([row["auroc"] for row in rows if row["auroc"] is not None] or np.nan))

    return np.array([[of(v["attacks"]) for v in kept["vehicles"].values()] for kept in of_seeds])


def summary(of_seeds: Sequence[dict]) -> dict[str, Any]:
    """A variant by itself; false alarms are means over seeds, which see the same hours."""
    every = [[*kept["vehicles"].values()] for kept in of_seeds]
    alarms = float(np.mean([sum(one["alarms"] for one in logs) for logs in every]))
    hours = sum(one["hours"] for one in every[0])
    low, high = poisson(alarms, hours)
    row = {"seeds": len(every), "alarms": alarms, "hours": hours, "an hour": alarms / hours}
    row |= {"low": low, "high": high}
    row |= {measure: float(np.nanmean(matrix(of_seeds, measure))) for measure in MEASURES}
    row["called"] = float(np.mean([np.mean([one["called"] for one in logs]) for logs in every]))
    return row | {cost: float(np.mean([kept[cost] for kept in of_seeds])) for cost in COSTS}


def difference(having: dict[int, dict], lacking: dict[int, dict]) -> dict[str, Any] | None:
    """Of each measure what a part earns in the seeds of both: the mean with the part, the mean
    difference with its interval, and that of each seed."""
    seeds, found = sorted(having.keys() & lacking.keys()), dict[str, Any]()
    for measure in MEASURES if seeds else ():
        with_it = matrix([having[seed] for seed in seeds], measure)
        apart = with_it - matrix([lacking[seed] for seed in seeds], measure)
        found |= {f"{measure} with": float(np.nanmean(with_it)), measure: list(clustered(apart))}
        found[f"{measure} by seed"] = np.nanmean(apart, axis=1).tolist()
    return found or None


def table(folder: Path) -> dict[str, Any]:
    """Print and return what is kept."""
    kept: dict[str, dict[int, dict]] = {}
    for name in [f"{kind}{name}" for kind in ("", "trees, ") for name in (*VARIANTS, ENSEMBLE)]:
        paths = {seed: folder / f"{name}, {seed}.json" for seed in range(10)}
        kept[name] = {
            s: json.loads(path.read_text()) for s, path in paths.items() if path.is_file()
        }
    variants = {name: summary([*mine.values()]) for name, mine in kept.items() if mine}
    kept[ENSEMBLE] = {s: one for one in kept[ENSEMBLE].values() for s in one["seeds"]}
    parts = []
    for part, (one, other) in PARTS.items():
        row: dict[str, Any] = {"part": part, "with": one, "without": other}
        if one in variants and other in variants:
            row["GAT"] = difference(kept[one], kept[other])
            row["trees"] = difference(kept[f"trees, {one}"], kept[f"trees, {other}"])
            parts.append(row)
            print(row)
    print(cg.report.show([{"variant": n} | row for n, row in variants.items()], digits=3))
    cars = next(iter(kept[REFERENCE].values()))["vehicles"]
    return {"vehicles": len(cars), "variants": variants, "parts": parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*VARIANTS], choices=VARIANTS)
    parser.add_argument("--folder", type=Path, default=Path("runs/parts"))
    parser.add_argument("--vehicles", nargs="+", metavar="NAME")
    parser.add_argument("--table", action="store_true", help="only show what is kept")
    given = parser.parse_args()
    if not given.table:
        given.folder.mkdir(parents=True, exist_ok=True)
        hour = cg.to_graphs([log for log in quiet(1.0, 0) if len(log) >= LEAST])
        court = Court(hour, [*on_road(given.vehicles)], given.folder)
        for seed, name in product(range(given.seeds), given.only):
            makers = {name: made}
            makers |= {} if seed or name in NO_TREES else {f"trees, {name}": grown}
            for label, make in makers.items():
                if not (given.folder / f"{label}, {seed}.json").is_file():
                    try:
                        net = make(seed, name)
                    except CollapseError as error:
                        print(f"{label}, {seed} has no row: {error}", flush=True)
                        continue
                    court.judge(label, seed, net)
                    print(
                        f"{label}, {seed}: {time.process_time():.0f} s since the start", flush=True
                    )
        court.ensemble()
    print(json.dumps(table(given.folder)))


if __name__ == "__main__":
    main()
