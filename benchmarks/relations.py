"""What relations between signals earn: who contradicts them, and edges for them in a graph.

    CANGRAPH_DATA=… python benchmarks/relations.py [--vehicles] [--long] [--edges]
        [--seeds 5] [--cars 20] [--fleet fleet|twin] [--constants] [--out docs/relations.json]

`--vehicles`: on the real vehicles of `vehicles.py`, each with a baseline of its other logs and the
log's beginning (60 s of each at most). On the rests: how often relations raise an alarm (an ID
contradicts the median of its partners by more than `LIMIT` times the most that clean traffic did,
which no simulated car does), and the box, with the baseline too. Then each masquerade of a signal
(`bus.lies`, and `pair`) for 8 s in the middle of each vehicle's longest rest, `DRAWS` victims each:
found by relations, by the box (`any_vehicle.told`), by either; `covered`: the victim has partners;
`blamed`: of what relations find, the victim comes first in `Relations.blamed`. `us`: what following
them costs a frame, of one thread.

`--long`: the same on the vehicles of which there is enough that `cangraph baseline` would learn
relations: the training captures of set_04, without the frames of attacks, and the race car. Each
log is judged, and lied to, with a baseline of all the others of its vehicle.

`--edges`: a GAT learns from `--cars` simulated cars under all attacks and under lies about signals,
each with a baseline of another drive, in epochs by turns; tested on the masquerades of the demo,
with a baseline of 5 minutes and with relations learnt in the first 10 s of the capture; on other
simulated cars, on twins (`twin-<n>`, whose signals are related as those of real cars are) and on
real vehicles under lies. `with a trace`: without the burst of the demo that
sends what the victim would have sent anyway. AUROC inside a capture, mean over captures, by seed.
`nothing`: successions alone; `nodes`: what relations say of nodes too; `edges`: edges for
relations alone too; `both`. Boosted trees see nodes alone.

`--constants`: what relations find alone, and their alarms on clean traffic, on eight simulated cars
and on the real ones, when a constant of learning is changed. The last line is one JSON object.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from any_vehicle import over_vehicles, told
from vehicles import RACE_CAR, Drive, drives, vehicles

import cangraph as cg
from cangraph.bus.attacks import NoVictimError
from cangraph.bus.lies import LIES
from cangraph.bus.simulator import CAPTURES
from cangraph.data.graphs import join
from cangraph.data.related import related
from cangraph.data.synthesis import attacked
from cangraph.deploy.box import BOX
from cangraph.evaluation import BoostedTrees
from cangraph.evaluation.alarms import raise_alarms
from cangraph.evaluation.scores import by_capture
from cangraph.evaluation.stats import poisson
from cangraph.features import relations as learning
from cangraph.features.baseline import LONG, Baseline
from cangraph.features.relations import LIMIT, QUIET, Contradiction, Following, Relations

LIES_AND_PAIR = (*LIES, "pair")
SECONDS = 8.0  # of a lie
DRAWS = 3  # victims
# the drive of the demo's first masquerade: one for each capture, in their order
MASQUERADES = " ".join(CAPTURES.values()).split().index("masquerade-aster")
VARIANTS = ("nothing", "nodes", "edges", "both")
Known = tuple[Baseline | None, Relations]


def lied(log: cg.Frames, kind: str, spans, seed: int) -> cg.Frames:
    """The log with that masquerade in each of the spans that have a victim."""
    for number, span in enumerate(spans):
        with suppress(NoVictimError):
            dice = 100 * seed + number
            log = cg.inject(log, "masquerade", spans=[span], payload=kind, seed=dice)
    return log


# vehicles


def alarms_of(said: Contradiction, limit: float) -> int:
    """How often a contradiction comes over the limit; those within `QUIET` s are one."""
    over = said.ticks[(said.value > limit).any(axis=1)]
    return int(len(over) > 0) + int((np.diff(over) > QUIET).sum())


def on_vehicle(name: str, cut: Sequence[Drive], box: cg.Exported) -> tuple[dict, list[dict]]:
    """What happens on the clean rests of a vehicle, and a row for each lie in the longest."""
    clean = {"vehicle": name, "hours": 0.0, "relations": 0, "box": 0, "signals": 0, "covered": 0}
    clean |= {"frames": 0, "seconds": 0.0}
    rows, longest = [], max(cut, key=lambda drive: drive.rest.duration)
    for drive in cut:
        before = [*drive.others, drive.begin]
        relations, baseline = Relations.learn(before), Baseline.learn(before)
        began = time.process_time()
        said = Following(relations).feed(drive.rest)
        clean["seconds"] += time.process_time() - began
        clean["frames"] += len(drive.rest)
        clean["hours"] += drive.rest.duration / 3600
        clean["relations"] += alarms_of(said, LIMIT)
        scores = box.score(cg.to_graphs([drive.rest], baselines=[baseline]))
        clean["box"] += len(raise_alarms(scores, *box.rule))
        if drive is longest:
            clean["signals"] = len(relations.signals)
            clean["covered"] = len(np.unique(relations.relations["target"]))
            rows = list(lies_of(name, drive.rest, relations, baseline, box))
    return clean, rows


def lies_of(name, log, relations: Relations, baseline: Baseline, box) -> Iterator[dict]:
    """A row for each lie in a clean log."""
    start = 0.3 * log.duration
    span = start, min(start + SECONDS, 0.8 * log.duration)
    ids = relations.signals["arbitration_id"][np.unique(relations.relations["target"])]
    for kind in LIES_AND_PAIR:
        for draw in range(DRAWS):
            lie = lied(log, kind, [span], draw)
            if lie.attack.sum() < 5:
                continue
            time = (lie.timestamp - lie.timestamp[0])[lie.attack]
            event, victims = (
                (float(time[0]), float(time[-1])),
                np.unique(lie.arbitration_id[lie.attack]),
            )
            said = Following(relations).feed(lie)
            before = max(
                relations.contradicting(said, event[0] - 1, event[0]).values(), default=0.0
            )
            most = relations.contradicting(said, event[0], event[1] + 1)
            liar = next(iter(relations.blamed(said, event[0], event[1] + 1)), -1)
            by_relations = max(most.values(), default=0.0) > LIMIT >= before
            scores = box.score(cg.to_graphs([lie], baselines=[baseline]))
            by_box = next(told([event], raise_alarms(scores, *box.rule)))[0] is not None
            found = {"relations": by_relations, "box": by_box, "either": by_relations or by_box}
            yield {"vehicle": name, "kind": kind, "covered": bool(np.isin(victims, ids).any())} | {
                **found,
                "blamed": liar in victims.tolist() if by_relations else None,
            }


def share(rows: Sequence[dict], what: str) -> dict[str, float]:
    """The share of the rows that hold, with an interval that draws whole vehicles."""
    as_events = [row | {"delays": [0.0] * row[what], "events": 1} for row in rows]
    return {"share": float(np.mean([row[what] for row in rows]))} | over_vehicles(as_events)


def short(names: list[str] | None) -> Iterator[tuple[str, list[Drive]]]:
    """Real vehicles, of which there is a minute or two."""
    for vehicle in vehicles(names):
        cut = drives(vehicle.read(), 60.0) if vehicle.group != "simulated" else []
        if cut:
            yield vehicle.name, cut


def long() -> Iterator[tuple[str, list[Drive]]]:
    """Those with more: each log behind all others of its vehicle."""
    cars = {"race car": [log for v in vehicles([RACE_CAR]) for log in v.read()]}
    for log in cg.read("set_04"):
        if log.scenario.startswith("train"):
            clean = log[~log.attack].label(attack_spans=())
            cars.setdefault(f"set_04 {log.vehicle}", []).append(clean)
    for name, logs in cars.items():
        for log in logs:
            first, *others = (other for other in logs if other is not log)
            if sum(other.duration for other in (first, *others)) >= LONG:
                yield f"{name}, {log.name}", [Drive(log, first, others)]


def of_lies(rows: Sequence[dict]) -> dict[str, Any]:
    """What was found of some lies."""
    right = [row["blamed"] for row in rows if row["blamed"] is not None]
    covered = [row["relations"] for row in rows if row["covered"]]
    found: dict[str, Any] = {w: share(rows, w) for w in ("relations", "box", "either") if rows}
    found |= {"lies": len(rows), "covered": len(covered) / max(len(rows), 1)}
    found |= {"of covered": float(np.mean(covered)) if covered else None}
    return found | {"blamed": float(np.mean(right)) if right else None, "told": len(right)}


def run_vehicles(cases: Iterable[tuple[str, list[Drive]]]) -> dict[str, Any]:
    box, clean, rows = cg.Exported(BOX), [], []
    few = [cg.simulate("fleet-1", 20.0)]
    Following(Relations.learn(few)).feed(few[0])  # compiled before the clock runs
    for name, cut in cases:
        mine, more = on_vehicle(name, cut, box)
        clean.append(mine)
        rows += more
    hours = sum(row["hours"] for row in clean)
    rates = {}
    for who in ("relations", "box"):
        count = sum(row[who] for row in clean)
        low, high = poisson(count, hours)
        rates[who] = {"alarms": count, "hours": hours, "an hour": count / hours}
        rates[who] |= {"low": low, "high": high}
    found = {
        kind: of_lies([row for row in rows if kind in (row["kind"], "all")])
        for kind in (*LIES_AND_PAIR, "all")
    }
    cars = {}
    for name in dict.fromkeys(row["vehicle"].partition(",")[0] for row in clean):
        logs, mine = ([r for r in some if r["vehicle"].startswith(name)] for some in (clean, rows))
        sums = {k: sum(row[k] for row in logs) for k in ("hours", "relations", "box")}
        cars[name] = of_lies(mine) | {"logs": len(logs), "alarms": sums}
    cost = sum(row["seconds"] for row in clean) / sum(row["frames"] for row in clean)
    print(cg.report.show(clean, list(clean[0]), digits=3), end="\n\n")
    lines = [
        {"kind": kind, "lies": row["lies"]}
        | {what: row[what]["share"] for what in ("relations", "box", "either")}
        | {k: row[k] for k in ("covered", "of covered", "blamed")}
        for kind, row in found.items()
    ]
    print(cg.report.show(lines, list(lines[0]), digits=3), end="\n\n", flush=True)
    record = {"hours": hours, "vehicles": len(clean), "us": 1e6 * cost}
    return record | {"alarms": rates, "found": found, "clean": clean, "cars": cars}


# edges


class Case(NamedTuple):
    """Windows with what relations say of them, and the logs that they are of."""

    graphs: cg.Graphs
    logs: list[cg.Frames]

    @classmethod
    def of(cls, logs: Sequence[cg.Frames], known: Sequence[Known]) -> "Case":
        graphs = cg.to_graphs(logs, baselines=[baseline for baseline, _ in known])
        return cls(related(graphs, logs, [relations for _, relations in known]), [*logs])


def known_of(logs: Sequence[cg.Frames]) -> Known:
    return Baseline.learn(logs), Relations.learn(logs)


def lie_all_along(log: cg.Frames, seed: int) -> cg.Frames:
    """Every 9 s another lie of 4 s."""
    rng = np.random.default_rng(seed)
    for number, start in enumerate(np.arange(4.0, log.duration - 5, 9.0)):
        kind = str(rng.choice(LIES_AND_PAIR))
        log = lied(log, kind, [(start, start + 4.0)], 1000 * seed + number)
    return log


def taught(cars: Sequence[int], seed: int, fleet: str = "fleet") -> Case:
    """The windows of simulated cars, each under all attacks and under lies."""
    logs, known = [], []
    for car in cars:
        name = f"{fleet}-{car}"
        mine = known_of([cg.simulate(name, 60.0, seed=1000 + seed)])
        drive = cg.simulate(name, 40.0, seed=seed)
        logs += [
            attacked(drive, np.random.default_rng([seed, car]), 0.3),
            lie_all_along(drive, car),
        ]
        known += [mine, mine]
    return Case.of(logs, known)


def with_trace(graphs: cg.Graphs, captures: Sequence[cg.Frames]) -> cg.Graphs:
    """The windows of the demo's masquerades without those attacked ones in which every frame says
    what the same drive says without an attack: one burst replays what it would have sent anyway."""
    keep = np.ones(len(graphs), bool)
    for number, capture in enumerate(captures):
        clean = cg.simulate(capture.vehicle, 40.0, seed=MASQUERADES + number)
        changed = np.append(0, np.cumsum((capture.data != clean.data).any(axis=1)))
        begin = graphs.begin[graphs.capture == number]
        same = changed[begin + graphs.window] == changed[begin]
        keep[graphs.capture == number] = ~(same & graphs.label[graphs.capture == number])
    return graphs[keep]


def under_lies(fleet: str) -> Case:
    """The windows of simulated cars that nothing learns from."""
    cars = [f"{fleet}-{2 * k + 1}" for k in range(8)]
    logs = [lie_all_along(cg.simulate(car, 60.0, seed=6), k) for k, car in enumerate(cars)]
    return Case.of(logs, [known_of([cg.simulate(car, 60.0, seed=5)]) for car in cars])


def real() -> Case:
    """The windows of real vehicles, a minute of each."""
    logs, known = [], []
    for number, vehicle in enumerate(vehicles()):
        cut = drives(vehicle.read(), 60.0)
        if vehicle.group == "simulated" or not cut:
            continue
        drive = max(cut, key=lambda drive: drive.rest.duration)
        rest = drive.rest[drive.rest.timestamp <= drive.rest.timestamp[0] + 60]
        if rest.duration > 9:
            logs.append(lie_all_along(rest, number))
            known.append(known_of([*drive.others, drive.begin]))
    return Case.of(logs, known)


def tested() -> dict[str, Case]:
    """The windows that nothing learns from, by name."""
    demo = [c for c in cg.read("demo") if c.scenario == "test_06_masquerade"]
    five = [known_of([cg.simulate(c.vehicle, 300.0, seed=777)]) for c in demo]
    first: list[Known] = [(None, Relations.learn([c[c.timestamp < 10]])) for c in demo]
    found = {"demo, 5 minutes": Case.of(demo, five), "demo, zero-shot": Case.of(demo, first)}
    found |= {f"{n}, with a trace": Case(with_trace(*c), c.logs) for n, c in found.items()}
    cars = {name: under_lies(fleet) for name, fleet in (("simulated", "fleet"), ("twins", "twin"))}
    return found | cars | {"real": real()}


def without(graphs: cg.Graphs, variant: str) -> cg.Graphs:
    """The windows without what a variant does not see."""
    x, attr = graphs.x, graphs.edge_attr
    if variant in ("nothing", "nodes"):
        keep = attr[:, -3] == 0
        window = np.repeat(np.arange(len(graphs)), np.diff(graphs.edge_ptr))[keep]
        pointer = np.searchsorted(window, np.arange(len(graphs) + 1))
        ends = graphs.edge_index[:, keep]
        graphs = replace(graphs, edge_index=ends, edge_attr=attr[keep, :-3], edge_ptr=pointer)
    return replace(graphs, x=x[:, :-3]) if variant in ("nothing", "edges") else graphs


def auroc(graphs: cg.Graphs, value: np.ndarray) -> float:
    """Inside each capture, mean over captures in which it is defined."""
    rows = by_capture(cg.Scores.of(graphs, value), at=0.5)
    return float(np.mean([row["auroc"] for row in rows if row["auroc"] is not None]))


def learnt(parts: Sequence[cg.Graphs], val: cg.Graphs, seed: int, epochs: int) -> cg.Detector:
    params = cg.load_params(
        "demo", seed=seed, student={"epochs": epochs}, fit={"train_on": "clean", "batch_size": 128}
    )
    cg.seed_everything(seed)
    net = cg.Detector(cg.GAT(val.spec, **params.student.gat))
    source: Any = SimpleNamespace(draw=lambda n, _: parts[n % len(parts)], val=val, calib=val)
    return cg.Detector(cg.fit(net, source, params, "student").model)


def run_edges(cars: int, seeds: int, epochs: int, fleet: str) -> dict[str, Any]:
    each = 10  # cars of an epoch
    parts = [taught(range(2 * k, 2 * (k + each), 2), k, fleet).graphs for k in range(0, cars, each)]
    val = taught(range(1000, 1016, 2), 50, fleet).graphs
    tests = {name: case.graphs for name, case in tested().items()}
    found: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for variant in VARIANTS:
        seen = partial(without, variant=variant)
        mine, sets = [*map(seen, parts)], {name: seen(graphs) for name, graphs in tests.items()}
        for seed in range(seeds):
            nets = {f"GAT, {variant}": learnt(mine, seen(val), seed, epochs)}
            if variant in ("nothing", "nodes"):
                nets[f"trees, {variant}"] = BoostedTrees(join(mine), seed)
            for who, net in nets.items():
                for name, graphs in sets.items():
                    found[name][who].append(auroc(graphs, net.score(graphs).value))
            print(
                variant, seed, {n: [*who.values()][-1][-1] for n, who in found.items()}, flush=True
            )
    rows = [
        {"test": name, "detector": who, "mean": np.mean(v), "sd": np.std(v, ddof=len(v) > 1)}
        for name, mine in found.items()
        for who, v in mine.items()
    ]
    print(cg.report.show(rows, list(rows[0]), digits=3), end="\n\n", flush=True)
    return {name: dict(mine) for name, mine in found.items()}


# constants

TRIED = {  # of `features.relations`: what is learnt depends on them
    "ALIKE": (0.4, 0.8),
    "TOGETHER": (0.0, 0.8),
    "TIGHT": (0.12, 0.5),
    "PARTNERS": (2, 8),
    "TURNS": (0, 3),
    "LAG": (0.9, 1.0),
    "USUAL": (0.5, 1.0),
    "SMOOTH": (0.01, 100.0),
}


def judged(cases: Sequence[tuple[list[cg.Frames], cg.Frames]]) -> dict[str, float]:
    """With the constants of now: the share of signals with partners; alarms on clean traffic; of
    two lies of each kind, the share found. `cases`: what is learnt from, and a clean log."""
    signals = covered = alarms = 0
    found = []
    for before, log in cases:
        relations = Relations.learn(before)
        signals += len(relations.signals)
        covered += len(np.unique(relations.relations["target"]))
        alarms += alarms_of(Following(relations).feed(log), LIMIT)
        start = 0.3 * log.duration
        span = start, min(start + SECONDS, 0.8 * log.duration)
        for kind in LIES:
            for draw in range(2):
                lie = lied(log, kind, [span], draw)
                said = Following(relations).feed(lie)
                most = max(relations.contradicting(said, *span).values(), default=0.0)
                found.append(most > LIMIT)
    share = covered / max(signals, 1)
    row = {"signals": signals, "covered": share, "alarms": alarms}
    return row | {"found": np.mean(found).item()}


def run_constants() -> list[dict]:
    groups: dict[str, list] = {"simulated": [], "real": []}
    for fleet in ("fleet", "twin"):
        for car in (f"{fleet}-{2 * k + 1}" for k in range(4)):
            clean = [cg.simulate(car, 60.0, seed=seed) for seed in (5, 6)]
            groups["simulated"].append((clean[:1], clean[1]))
    for vehicle in vehicles():
        cut = drives(vehicle.read(60.0), 60.0) if vehicle.group != "simulated" else []
        if cut:
            drive = max(cut, key=lambda drive: drive.rest.duration)
            groups["real"].append(([*drive.others, drive.begin], drive.rest))
    rows = []
    for name, values in {"as it is": (None,), **TRIED}.items():
        for value in values:
            usual = getattr(learning, f"_{name}", None)
            setattr(learning, f"_{name}", value)
            for group, cases in groups.items():
                rows.append({"constant": name, "value": value, "cars": group} | judged(cases))
                print(rows[-1], flush=True)
            setattr(learning, f"_{name}", usual)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vehicles", nargs="*", metavar="NAME", help="all, or these")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--edges", action="store_true")
    parser.add_argument("--constants", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cars", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--fleet", default="fleet", choices=["fleet", "wild", "twin"])
    parser.add_argument("--out", type=Path, default=Path("runs/relations.json"))
    given = parser.parse_args()
    began, record = time.perf_counter(), {}
    if given.out.exists():
        record = json.loads(given.out.read_text())
    if given.vehicles is not None:
        record["vehicles"] = run_vehicles(short(given.vehicles or None))
    if given.long:
        record["long"] = run_vehicles(long())
    if given.edges:
        record["edges"] = run_edges(given.cars, given.seeds, given.epochs, given.fleet)
    if given.constants:
        record["constants"] = run_constants()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{time.perf_counter() - began:.0f} s; {given.out}")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
