"""What fine-tuning to a new vehicle buys with some seconds of its clean traffic.

    CANGRAPH_DATA=… python benchmarks/transfer.py [--datasets demo hcrl_sa] [--seeds 3]
        [--seconds 10 60 300] [--sources alone others] [--rate 0.002] [--quick]

A student is trained on the old vehicles (demo: aster; else all training captures), on them `alone`
or with `others` (cars made of them, simulated ones). On the test captures of the new vehicle (demo:
clover; else those of test_02 and test_04) stand beside each other:

- as it is: the detector and its threshold, unchanged;
- threshold alone: the detector as it is, the threshold set on the new vehicle's stretch;
- frozen, gradual, discriminative: `adapt`, at the learning rate `--rate`;
- from scratch: a new detector of the same size from the same seconds, by `fit`.

The clean stretch of a real vehicle is what comes before the first attack of one of its captures; no
capture that shares its recording is tested on, and all of its captures take turns. Seconds that no
stretch has are left out, and said. The figures are plain means over test captures that have both
classes, turns and seeds, AUROC of the old vehicles among them: what is forgotten. The last line is
one JSON object, with the standard deviation over seeds beside each mean.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import cangraph as cg
from cangraph.params import Params
from cangraph.train.adapt import stretch

HOWS = ("frozen", "gradual", "discriminative")
SOURCES = {"alone": {"fleet": 0, "varied": 0.0}, "others": {}}
UNKNOWN = ("test_02", "test_04")  # scenarios of unknown vehicles
# of a short stretch much is to be learnt from, and no other car
ADAPTING = {"split": {"blocks": 10, "gap": 0.1}}
OWN = {"seconds": 120, "fleet": 0, "varied": 0.0}


class Turn(NamedTuple):
    """A stretch of the new vehicle, the seconds of it, and the windows to test on."""

    clean: cg.Frames
    seconds: float
    test: cg.Graphs


def turns(dataset: str, captures, wanted: list[int], seed: int) -> Iterator[Turn]:
    """The stretches of a dataset's new vehicle."""
    if dataset == "demo":
        test = cg.to_graphs([c for c in captures if c.vehicle == "clover"])
        drive = cg.simulate("clover", max(wanted), seed=1000 + seed)  # no drive of the demo
        for seconds in wanted:
            yield Turn(first(drive, seconds), seconds, test)
        return
    mine = [c for c in captures if c.scenario.startswith(UNKNOWN)]
    for capture in mine:
        others = [c for c in mine if c.recording != capture.recording]
        if not others:
            print(f"{dataset} {capture.name}: all captures of its vehicle are one recording")
            continue
        until = capture.timestamp[np.flatnonzero(capture.attack)[0]] - capture.timestamp[0]
        for seconds in wanted:
            if seconds > until:
                print(
                    f"{dataset} {capture.name}: {until:.1f} s are clean, {seconds} s not measured"
                )
                continue
            yield Turn(first(capture, seconds), seconds, cg.to_graphs(others))


def first(capture: cg.Frames, seconds: float) -> cg.Frames:
    """The first seconds of a capture."""
    return capture[: int(np.searchsorted(capture.timestamp - capture.timestamp[0], seconds))]


def figures(task: cg.train.Task, at: float, test: cg.Graphs, old: cg.Graphs) -> dict[str, float]:
    """Means over the captures that have both classes."""
    rows = [row for row in cg.by_capture(task.score(test), at) if row["auroc"] is not None]
    found = {m: float(np.mean([row[m] for row in rows])) for m in ("auroc", "auprc", "f1", "fpr")}
    before = [row["auroc"] for row in cg.by_capture(task.score(old), at)]
    return found | {"old auroc": float(np.mean([v for v in before if v is not None]))}


def student(material, params: Params, spec) -> cg.train.Task:
    cg.seed_everything(params.seed)
    return cg.fit(cg.Detector(cg.GAT(spec, **params.student.gat)), material, params, "student")


def measure(dataset, captures, source: str, seed: int, given, table) -> None:
    epochs = {"epochs": 3} if given.quick else {}
    less = {"seconds": 30} if given.quick else {}
    params = cg.load_params(dataset, seed=seed, synthesis=SOURCES[source] | less, student=epochs)
    known = [c for c in captures if dataset != "demo" or c.vehicle == "aster"]
    graphs = cg.to_graphs([c for c in known if not c.scenario.startswith(UNKNOWN)])
    data = cg.split(graphs, params.split)
    material = cg.Synthesis(data, cg.clean_captures(known), params)
    task = student(material, params, graphs.spec)
    zero_shot = cg.threshold(task.score(material.calib))
    own = cg.load_params(
        dataset, seed=seed, synthesis=OWN | less, student=epochs | {"learning_rate": given.rate},
        **ADAPTING,
    )  # fmt: skip
    scratch = cg.load_params(
        dataset, seed=seed, synthesis=OWN | less, student=epochs, **ADAPTING,
    )  # fmt: skip
    for clean, seconds, test in turns(dataset, captures, given.seconds, seed):
        row = table[dataset, source, seconds]

        def note(name, who, at, row=row, test=test, seconds=seconds):
            found = figures(who, at, test, data.test)
            row[name][seed].append(found)
            shown = {metric: round(value, 4) for metric, value in found.items()}
            print(f"# {dataset} | {source} | {seconds} s | {name} | seed {seed}", shown, flush=True)

        new = stretch([clean], own)
        note("as it is", task, zero_shot)
        note("threshold alone", task, cg.threshold(task.score(new.calib)))
        for how in HOWS:
            found = cg.adapt(task, [clean], own, how, "student")
            note(how, found.task, found.threshold)
        alone = student(stretch([clean], scratch), scratch, graphs.spec)
        note("from scratch", alone, cg.threshold(alone.score(new.calib)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["demo"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", nargs="+", type=int, default=[10, 60, 300])
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--rate", type=float, default=0.002, help="of adapt; from scratch .002")
    parser.add_argument("--quick", action="store_true", help="little, to see that it runs")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.seconds, given.sources = 1, [10], given.sources[:1]
    table: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for dataset in given.datasets:
        captures = cg.read(dataset)
        for source in given.sources:
            for seed in range(given.seeds):
                measure(dataset, captures, source, seed, given, table)
    report(table)


def report(table: dict) -> None:
    """Mean over turns and seeds, and standard deviation over seeds, of each figure."""
    record = {}
    for (dataset, source, seconds), methods in table.items():
        rows = []
        for method, seeds in methods.items():
            mean, spread = {}, {}
            for metric in next(iter(seeds.values()))[0]:
                values = [np.mean([turn[metric] for turn in of_seed]) for of_seed in seeds.values()]
                mean[metric] = round(float(np.mean(values)), 4)
                spread[metric] = round(float(np.std(values)), 4)
            rows.append({"method": method} | mean)
            name = f"{dataset} | {source} | {seconds} s | {method}"
            record[name] = {m: [mean[m], spread[m]] for m in mean}
        print(f"## {dataset}, trained on the old vehicles ({source}), {seconds} s of the new one")
        print(cg.report.show(rows))
    print(json.dumps(record))


if __name__ == "__main__":
    main()
