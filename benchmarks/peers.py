"""Published detectors and ours in one run: the same captures, splits, windows and alarms.

    CANGRAPH_DATA=… python benchmarks/peers.py [--datasets hcrl_sa set_04 demo vehicles]
        [--only PEER …] [--seeds 1] [--folder runs/peers] [--table]

On hcrl_sa, set_04 and the demo every peer learns from the training windows of the split that
`detection.py` uses: from the benign ones, or from all with their labels. `own` peers also learn
each test capture's first 5 clean seconds alone, calibrate on those up to 10 s and are tested on the
rest, as their authors have one detector for each vehicle. A peer that knows vehicles apart learns
from the training captures of the test capture's vehicle, where there are any. On `vehicles`, the
real ones of clean/, a peer learns from the beginning of each log (60 s, half of it at most),
calibrates on its last third, and is tested on the rest: alarms on it as it is, and, in the longest
log, the attacks of `vehicles.trials` that begin later. Those that need labels learnt on hcrl_sa.

A value of a frame, or of a block of frames, counts in the window of 100 frames that holds its last
frame; of several, the largest (of DAGA, which says yes or no, the mean). Thresholds: probabilities
call from an even chance on, all others from what one benign window in a thousand reaches
(`clean_threshold`) of those that calibrate. Alarms: by `alarm_rule`, evidence for probabilities and
2 windows of 3 for others. False alarms an hour have their count, hours and exact Poisson interval;
a missed attack censors the delay; the interval of the share found resamples vehicles. µs a frame
are those of one thread of a CPU to score, features included. Intervals over seeds are Student's t.
Results are kept in `folder` by peer, dataset and seed, with the CPU seconds that they took, and a
run goes on where one ended; so are nets, which `detection.py --nets` takes from `folder/nets`. Two
datasets run at once, on a thread each; only `seeded` peers have more than one seed. Deep peers
learn a part of the blocks (`peer_models`). `--table` shows what is kept.
The last line is one JSON object.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import peer_models as models
import peer_rules as rules
from any_vehicle import told
from sklearn.metrics import roc_auc_score
from vehicles import Trial, Vehicle, drives, trials, vehicles

import cangraph as cg
from cangraph.data.graphs import join
from cangraph.deploy.box import BOX
from cangraph.evaluation import BoostedTrees
from cangraph.evaluation.alarms import alarm_rule, event_metrics, raise_alarms
from cangraph.evaluation.calibration import calibrated, clean_stretch, clean_threshold
from cangraph.evaluation.scores import by_capture
from cangraph.evaluation.stats import clustered, interval, poisson, with_rate
from cangraph.features.baseline import Baseline

RATE = 1e-3  # of benign windows that call, where a threshold is calibrated
OWN = 5.0  # s of a capture that an `own` peer learns from; as many again calibrate it
DATASETS = ("hcrl_sa", "set_04", "demo", "vehicles")
ABROAD = "hcrl_sa"  # what peers that need labels learn from before they judge vehicles


class Peer(NamedTuple):
    """A detector: how it is `made` for a seed, and what it `learns` from: `benign` windows, `all`
    with their labels, or `material`: those and synthesised ones (ours). `frames`: it judges frames;
    else windows. Its values are probabilities where its `kind` is trees or GAT."""

    made: Callable[[int], Any]
    source: str
    learns: str = "benign"
    frames: bool = True
    kind: str = "rule"
    seeded: bool = False
    pool: Callable = np.nanmax  # of the values of a window's frames


class Ours:
    """What this package trains: `fit` on the material of a dataset, `value` of windows."""

    def __init__(self, what: str, seed: int):
        self.what, self.seed = what, seed

    def fit(self, case: "Case") -> None:
        if self.what == "box":
            self.net: Any = cg.Exported(BOX)
        elif self.what == "trees":
            drawn = join([case.material(self.seed).draw(k) for k in range(3)])
            self.net = BoostedTrees(drawn, self.seed)
        elif self.what == "GAT":
            self.net = case.teacher(self.seed, "GAT")
        elif self.what == "student":
            params, spec = case.params(self.seed), case.graphs.spec
            cg.seed_everything(self.seed)
            student = cg.GAT(spec, **params.student.gat)
            task = cg.distill(case.teacher(self.seed, "GAT"), student, params.distillation)
            self.net = case.trained(task, self.seed, "student")
        else:
            both = [case.teacher(self.seed, net) for net in ("VGAE", "GAT")]
            calib = case.material(self.seed).calib
            self.rule = cg.DQNFusion(case.params(self.seed).fusion, self.seed)
            self.rule.fit([net.score(calib) for net in both])
            self.net, self.both = None, both

    def value(self, graphs: cg.Graphs) -> np.ndarray:
        if self.net is None:
            return self.rule.score([net.score(graphs) for net in self.both]).value
        return self.net.score(graphs).value


def _outliers(name: str) -> Callable[[int], models.Outliers]:
    return lambda seed: models.Outliers(name, seed)


def _ours(what: str) -> Callable[[int], Ours]:
    return lambda seed: Ours(what, seed)


PEERS: dict[str, Peer] = {
    "mean gap": Peer(lambda _: rules.MeanGap(), "Blevins 2021"),
    "binning": Peer(lambda _: rules.Binning(), "Blevins 2021"),
    "Gaussian gap": Peer(lambda _: rules.Gaussian(), "Blevins 2021"),
    "KDE of gaps": Peer(lambda _: rules.KernelDensity(), "Blevins 2021"),
    "cusum": Peer(lambda _: rules.Cusum(), "Olufowobi 2019"),
    "DAGA": Peer(lambda _: rules.Daga(), "Stabili 2022", pool=np.nanmean),
    "signal clusters": Peer(lambda _: rules.SignalClusters(), "Moriano 2022"),
    "entropy": Peer(lambda _: rules.Entropy(), "Müter 2011", frames=False),
    "count": Peer(lambda _: rules.Count(), "here", frames=False),
    "ECOD": Peer(_outliers("ECOD"), "Li 2022, PyOD", frames=False),
    "isolation forest": Peer(_outliers("IForest"), "Liu 2008, PyOD", frames=False, seeded=True),
    "half-space trees": Peer(models.HalfSpaceTrees, "Tan 2011, river", frames=False, seeded=True),
    "LSTM autoencoder": Peer(models.LSTMAutoencoder, "after Longari 2021", seeded=True),
    "trees on raw bytes": Peer(models.RawTrees, "Yang 2022 (LCCDE)", "all", kind="trees"),
    "KD-GAT": Peer(models.KDGAT, "Frenken 2025", "all", kind="trees", seeded=True),
    "DCNN": Peer(models.DCNN, "Song 2020", "all", kind="trees", seeded=True),
    "boosted trees": Peer(_ours("trees"), "here", "material", False, "trees"),
    "GAT": Peer(_ours("GAT"), "here", "material", False, "GAT", True),
    "student": Peer(_ours("student"), "here", "material", False, "GAT", True),
    "fusion (DQN)": Peer(_ours("fusion"), "here", "material", False, "rule", True),
    "in the box": Peer(_ours("box"), "here", "material", False, "GAT"),
}
ALONE = ("mean gap", "binning", "Gaussian gap", "KDE of gaps", "cusum", "DAGA", "signal clusters")
ALONE += ("entropy", "count")  # one detector for each vehicle: they have an `own` row too


# datasets


class Case:
    """A dataset as peers see it: captures, windows, split."""

    def __init__(self, dataset: str, nets: Path):
        self.dataset, self.nets = dataset, nets
        self.captures = cg.read(dataset)
        began = time.process_time()
        self.graphs = cg.to_graphs(self.captures)
        frames = sum(map(len, self.captures))
        self.features = (time.process_time() - began) / frames  # s of a CPU a frame
        self.data = cg.split(self.graphs, self.params(0).split)
        self._kept: dict = {}

    def params(self, seed: int):
        return cg.load_params(self.dataset, seed=seed)

    def material(self, seed: int) -> cg.Synthesis:
        if ("material", seed) not in self._kept:
            clean = cg.clean_captures(self.captures)
            self._kept["material", seed] = cg.Synthesis(self.data, clean, self.params(seed))
        return self._kept["material", seed]

    def teacher(self, seed: int, net: str):
        """A GAT or VGAE of this dataset, trained once."""
        if (net, seed) not in self._kept:
            params, spec = self.params(seed), self.graphs.spec
            cg.seed_everything(seed)
            if net == "GAT":
                task: Any = cg.Detector(cg.GAT(spec, **params.teacher.gat))
            else:
                task = cg.Reconstructor(cg.VGAE(spec, **params.teacher.vgae))
            self._kept[net, seed] = self.trained(task, seed, "teacher")
        return self._kept[net, seed]

    def trained(self, task: Any, seed: int, size: str) -> Any:
        """The task trained, or as it was left below `nets` by another script that trained it."""
        name = f"{self.dataset} {type(task.model).__name__} {size} {seed}"
        return cg.fit(task, self.material(seed), self.params(seed), size, self.nets / name)

    def stretches(self, part: str, benign: bool) -> list[tuple[str, cg.Frames]]:
        """The frames of windows in a row that belong to a part of the split, with the vehicle."""
        number = cg.data.splits.PARTS.index(part)
        mine = (self.data.part == number) & ~(self.graphs.label & benign)
        found = []
        for capture in np.unique(self.graphs.capture[mine]).tolist():
            begin = self.graphs.begin[mine & (self.graphs.capture == capture)]
            cuts = np.flatnonzero(np.diff(begin) > self.graphs.window) + 1
            frames = self.captures[capture]
            for run in np.split(begin, cuts):
                piece = frames[run[0] : run[-1] + self.graphs.window]
                found.append((frames.vehicle, piece))
        return found

    @cached_property
    def tested(self) -> list[int]:
        """The numbers of the test captures."""
        return np.unique(self.data.test.capture).tolist()


def of_windows(graphs: cg.Graphs, value: np.ndarray, pool: Callable = np.nanmax) -> np.ndarray:
    """The largest value of each window's frames, or what else the `pool` takes of them; where none
    says anything, the least of all."""
    said = value[graphs.begin[:, None] + np.arange(graphs.window)]
    silent = np.isnan(said).all(1)
    said[silent] = np.nanmin(value, initial=0.0)
    return pool(said, axis=1)


class Learnt:
    """A peer that learns from the training windows of a dataset: one for all vehicles, or, where it
    is `ALONE`, one for each that training knows."""

    def __init__(self, name: str, case: Case, seed: int):
        self.peer, self.case, self.seed, self.kept = PEERS[name], case, seed, dict[str, Any]()
        self.alone = name in ALONE
        self.stretches = case.stretches("train", benign=self.peer.learns == "benign")

    def of(self, vehicle: str) -> Any:
        """The detector of this vehicle."""
        known = vehicle if self.alone and vehicle in dict(self.stretches) else ""
        if known not in self.kept:
            self.kept[known] = self.peer.made(self.seed)
            self.kept[known].fit(self._material(known))
        return self.kept[known]

    def _material(self, vehicle: str) -> Any:
        if self.peer.learns == "material":
            return self.case
        if self.peer.frames:
            return [frames for of, frames in self.stretches if vehicle in ("", of)]
        train = self.case.data.train
        mine = np.array([vehicle in ("", info.vehicle) for info in train.captures])
        return train[~train.label & mine[train.capture]]


def trained(name: str, case: Case, seed: int) -> tuple[cg.Scores, float, float]:
    """Scores of the test windows by a peer that learnt from the dataset's training windows, its
    threshold, and s of a CPU for a frame."""
    learnt, graphs, peer = Learnt(name, case, seed), case.graphs, PEERS[name]
    value, spent, frames = np.zeros(len(graphs)), 0.0, 0
    calib, test = (case.data.part == cg.data.splits.PARTS.index(p) for p in ("calib", "test"))
    for number in np.unique(graphs.capture[calib | test]).tolist():
        capture, mine = case.captures[number], (calib | test) & (graphs.capture == number)
        detector, began = learnt.of(capture.vehicle), time.process_time()
        if peer.frames:
            value[mine] = of_windows(graphs[mine], detector.judge(capture), peer.pool)
        else:
            value[mine] = detector.value(graphs[mine])
        spent += time.process_time() - began
        frames += len(capture) if peer.frames else int(mine.sum()) * graphs.window
    every = cg.Scores.of(graphs, value)
    cost = spent / frames + case.features * (not peer.frames)
    return every[test], at_of(peer, every[calib & ~every.label]), cost


def at_of(peer: Peer, benign: cg.Scores) -> float:
    """The threshold: an even chance of a probability, else by benign windows."""
    return clean_threshold(benign, RATE) if peer.kind == "rule" else 0.5


def own(name: str, case: Case, seed: int) -> tuple[cg.Scores, float, float] | None:
    """The same of a peer that learns the first seconds of each test capture alone. Captures that
    are attacked before have no windows; None if that are all."""
    peer, test, clean = PEERS[name], case.data.test, clean_stretch(case.data.test, 2 * OWN)
    value, known, spent, frames = np.zeros(len(test)), np.zeros(len(test), bool), 0.0, 0
    for number in case.tested:
        mine = test.capture == number
        first = mine & clean & (test.end <= OWN)
        late = mine & clean & (test.start >= OWN)
        if not (first.any() and late.any()):
            continue
        capture, detector = case.captures[number], peer.made(seed)
        begin = test[first]
        if peer.frames:
            detector.fit([capture[: int(begin.begin[-1]) + test.window]])
        else:
            detector.fit(begin)
        began = time.process_time()
        if peer.frames:
            value[mine] = of_windows(test[mine], detector.judge(capture), peer.pool)
        else:
            value[mine] = detector.value(test[mine])
        spent, frames = spent + time.process_time() - began, frames + len(capture)
        known |= mine & (test.start >= OWN)
    if not known.any():
        return None
    cost = spent / frames + case.features * (not peer.frames)
    return calibrated(cg.Scores.of(test, value)[known], 2 * OWN, RATE), 0.0, cost


def figures(peer: Peer, scores: cg.Scores, at: float, cost: float) -> dict[str, Any]:
    """What a peer is worth, by scenario: means over captures, events and false alarms pooled."""
    rule, found = alarm_rule(peer.kind, at), {}
    for scenario in np.unique(scores.scenario).tolist():
        mine = scores[scores.scenario == scenario]
        rows = by_capture(mine, at)
        means = {m: clustered(np.array([[r[m] for r in rows]], float)).mean for m in _WINDOW}
        row = with_rate(event_metrics(mine, *rule))
        found[scenario] = means | {"captures": len(rows)} | row
    everything = with_rate(event_metrics(scores, *rule))
    return {"scenarios": found, "all": everything, "us": 1e6 * cost, "threshold": at}


_WINDOW = ("auroc", "auprc", "f1")


def random_split(case: Case) -> dict[str, Any]:
    """Trees on raw bytes where 80 % of all frames, drawn at random, train and the rest tests: the
    split that most papers use, beside the official one; AUROC and F1 of frames."""
    from sklearn.metrics import f1_score

    trees, rng = models.RawTrees(), np.random.default_rng(0)
    x = np.concatenate([trees.columns(c) for c in case.captures])
    label = np.concatenate([c.attack for c in case.captures])
    drawn = rng.random(len(x)) < 0.8
    trees.learn(x[drawn], label[drawn])
    value = trees.trees.predict_proba(x[~drawn])[:, 1]
    random = {"auroc": roc_auc_score(label[~drawn], value)}
    random["f1"] = f1_score(label[~drawn], value >= 0.5)
    trees.fit([frames for _, frames in case.stretches("train", benign=False)])
    official = defaultdict(list)
    for number in case.tested:
        capture = case.captures[number]
        if capture.attack.any() and not capture.attack.all():
            value = trees.judge(capture)
            score = roc_auc_score(capture.attack, value), f1_score(capture.attack, value >= 0.5)
            official[capture.scenario].append(score)
    means = {scenario: np.mean(scores, 0).tolist() for scenario, scores in official.items()}
    rows = {scenario: {"auroc": auroc, "f1": f1} for scenario, (auroc, f1) in means.items()}
    return {"random": random, "official": rows}


# vehicles


class OnLog(NamedTuple):
    """A peer that is ready for a log of a vehicle, with its threshold."""

    name: str
    peer: Peer
    detector: Any
    at: float

    @classmethod
    def of(cls, name: str, peer: Peer, learnt: Any, begin: cg.Frames) -> "OnLog":
        """The peer as it was `learnt`, or, where it learns from benign frames, one that learns two
        thirds of the log's beginning and takes its threshold from the rest."""
        if peer.learns != "benign":
            return cls(name, peer, learnt, _probable(learnt))
        cut, graphs, detector = 2 * len(begin) // 3, cg.to_graphs([begin]), peer.made(0)
        later = graphs[graphs.begin >= cut]
        if peer.frames:
            detector.fit([begin[:cut]])
            value = of_windows(later, detector.judge(begin), peer.pool)
        else:
            detector.fit(graphs[graphs.begin < cut - graphs.window])
            value = detector.value(later)
        return cls(name, peer, detector, clean_threshold(cg.Scores.of(later, value), RATE))

    def judge(self, log: cg.Frames, graphs: cg.Graphs) -> tuple[cg.Scores, list]:
        """Its scores of the windows of a log, and its alarms."""
        if self.peer.frames:
            value = of_windows(graphs, self.detector.judge(log), self.peer.pool)
        else:
            value = self.detector.value(graphs)
        scores = cg.Scores.of(graphs, value)
        return scores, raise_alarms(scores, *alarm_rule(self.peer.kind, self.at))


def on_vehicle(vehicle: Vehicle, fitted: dict[str, tuple[Peer, Any]], wanted: Sequence[str]):
    """The rows of a vehicle by peer: what each of `wanted` does on the rest of each log, and on
    that of the longest one under attack. Logs of which the beginning has less than 900 frames are
    left out."""
    every = [d for d in drives(vehicle.read(), 60.0) if len(d.begin) >= 900]
    found: dict[str, dict] = {n: {"seconds": 0.0, "alarms": 0, "attacks": []} for n in wanted}
    if not every:
        return {}
    longest = max(every, key=lambda drive: drive.rest.duration)
    for drive in every:
        known = Baseline.learn([drive.begin])
        ready = [OnLog.of(n, *fitted[n.removesuffix(", baseline")], drive.begin) for n in wanted]
        attacked = [t for t in trials(drive.rest) if t.when == "later" and drive is longest]
        for trial in [None, *attacked]:
            log = trial.frames if trial else drive.rest
            plain, told_before = cg.to_graphs([log]), cg.to_graphs([log], baselines=[known])
            for one in ready:
                graphs = told_before if one.name.endswith("baseline") else plain
                scores, alarms = one.judge(log, graphs)
                row = found[one.name]
                if trial:
                    row["attacks"].append(attack_row(trial, scores, alarms))
                else:
                    row["seconds"] += drive.rest.duration
                    row["alarms"] += len(alarms)
    return found


def attack_row(trial: Trial, scores: cg.Scores, alarms: list) -> dict[str, Any]:
    right = [alarm for alarm, _ in told(trial.events, alarms)]
    both = scores.label.any() and not scores.label.all()
    return {
        "kind": trial.kind,
        "severity": trial.severity,
        "events": len(right),
        "found": sum(alarm is not None for alarm in right),
        "auroc": float(roc_auc_score(scores.label, scores.value)) if both else None,
    }


def _probable(detector: Any) -> float:
    net = getattr(detector, "net", None)
    return net.rule.at if isinstance(net, cg.Exported) else 0.5


LABELLED = ("trees on raw bytes", "KD-GAT", "boosted trees", "GAT")  # learnt on `ABROAD`


def run_vehicles(folder: Path, only: Sequence[str], names: Sequence[str] | None = None) -> None:
    wanted = [n for n in only if PEERS[n].learns == "benign" or n in (*LABELLED, "in the box")]
    wanted += ["in the box, baseline"] * ("in the box" in only)
    real = [v for v in vehicles(names) if v.group in ("clean", "race car")]
    paths = {v.name: folder / "vehicles" / f"{v.name}.json" for v in real}
    kept = {n: json.loads(p.read_text()) if p.is_file() else {} for n, p in paths.items()}
    missing = {v.name: [n for n in wanted if n not in kept[v.name]] for v in real}
    fitted: dict[str, tuple[Peer, Any]] = {}
    case = None
    for name in {n.removesuffix(", baseline") for every in missing.values() for n in every}:
        peer, detector = PEERS[name], PEERS[name].made(0)
        if name in LABELLED:
            case = case or Case(ABROAD, folder / "nets")
            stretches = case.stretches("train", benign=False)
            detector.fit([f for _, f in stretches] if peer.frames else case)
        elif name == "in the box":
            detector.fit(case)
        fitted[name] = peer, detector
    for vehicle in real:
        if missing[vehicle.name]:
            began = time.time()
            made = on_vehicle(vehicle, fitted, missing[vehicle.name])
            path = paths[vehicle.name]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept[vehicle.name] | made))
            print(f"vehicles, {vehicle.name}: {time.time() - began:.0f} s", flush=True)


# runs and tables


def jobs(only: Sequence[str], seeds: int) -> Iterator[tuple[str, str, int]]:
    """Peer, how it learns and seed."""
    for name in only:
        for seed in range(seeds if PEERS[name].seeded else 1):
            yield name, "trained", seed
        if name in ALONE:
            yield name, "own", 0


def run_dataset(dataset: str, folder: Path, only: Sequence[str], seeds: int) -> None:
    todo = [
        (folder / dataset / f"{name}, {how}, {seed}.json", name, how, seed)
        for name, how, seed in jobs(only, seeds)
    ]
    path = folder / dataset / "random split.json"
    if "trees on raw bytes" in only:
        todo.append((path, "", "", 0))
    todo = [job for job in todo if not job[0].is_file()]
    case = Case(dataset, folder / "nets") if todo else None
    for path, name, how, seed in todo:
        began = time.process_time()
        if not name:
            row: dict[str, Any] = random_split(case)
        else:
            made = (own if how == "own" else trained)(name, case, seed)
            row = figures(PEERS[name], *made) if made else {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row | {"seconds": time.process_time() - began}))
        print(f"{dataset}, {path.stem}: {time.process_time() - began:.0f} s", flush=True)


def kept(folder: Path, dataset: str) -> dict[str, list[dict]]:
    """The results that are kept of a dataset: of each peer and way to learn, one of each seed."""
    found: dict[str, list[dict]] = defaultdict(list)
    for name, how in [(n, h) for n in PEERS for h in ("trained", "own")]:
        for path in sorted((folder / dataset).glob(f"{name}, {how}, *.json")):
            if "all" in (row := json.loads(path.read_text())):
                found[name + ", own 5 s" * (how == "own")].append(row)
    return found


def mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def summary(folder: Path, dataset: str) -> list[dict]:
    """A row a peer, the best first: by the mean over scenarios of AUROC. False alarms are the mean
    over seeds, which see the same hours."""
    rows = []
    for name, of_seeds in kept(folder, dataset).items():
        scenarios = {s: [one["scenarios"].get(s, {}) for one in of_seeds]
                     for s in of_seeds[0]["scenarios"]}  # fmt: skip
        auroc = {s: mean([one.get("auroc") for one in mine]) for s, mine in scenarios.items()}
        each = [mean([v.get("auroc") for v in one["scenarios"].values()]) for one in of_seeds]
        every = [one["all"] for one in of_seeds]
        false, hours = (mean([one[k] for one in every]) for k in ("false_alarms", "benign_hours"))
        low, high = poisson(false, hours)
        rows.append(
            {"peer": name, "source": PEERS[name.split(",")[0]].source, "seeds": len(of_seeds)}
            | {"auroc": mean([*auroc.values()]), "auroc ±": interval(each)[1]}
            | {f"auroc {s}": value for s, value in auroc.items()}
            | {"f1": mean([mean([one.get("f1") for one in m]) for m in scenarios.values()])}
            | {"events": every[0]["events"], "found": mean([one["recall"] for one in every])}
            | {"delay": mean([one["delay_of_all"] for one in every])}
            | {"false": false, "hours": hours, "an hour": false / hours, "low": low, "high": high}
            | {"us": mean([one["us"] for one in of_seeds])}
        )  # fmt: skip
    return sorted(rows, key=lambda row: -(row["auroc"] or 0.0))


def over_vehicles(folder: Path) -> list[dict]:
    """A row a peer over all vehicles, the best first: by AUROC inside a log, means over attacks and
    then vehicles. Intervals of the shares found resample vehicles."""
    logs = {p.stem: json.loads(p.read_text()) for p in sorted((folder / "vehicles").glob("*.json"))}
    rows = []
    for name in dict.fromkeys(name for one in logs.values() for name in one):
        mine = [one[name] for one in logs.values() if name in one]
        alarms, hours = sum(m["alarms"] for m in mine), sum(m["seconds"] for m in mine) / 3600
        low, high = poisson(alarms, hours)
        row = {"peer": name, "source": PEERS[name.split(",")[0]].source, "vehicles": len(mine)}
        row |= {"hours": hours, "alarms": alarms}
        row |= {"an hour": alarms / hours, "low": low, "high": high}
        row["silent"] = sum(not m["alarms"] for m in mine)
        for severity in ("gross", "middle", "subtle"):
            row[severity] = _share(mine, lambda a, s=severity: a["severity"] == s)
        row["masquerade"] = _share(mine, lambda a: a["kind"] == "masquerade")
        row["unseen"] = _share(mine, lambda a: a["severity"] == "-")
        row["found"] = _share(mine, lambda _: True)
        row["auroc"] = mean([mean([a["auroc"] for a in m["attacks"]]) for m in mine])
        rows.append(row)
    return sorted(rows, key=lambda row: -(row["auroc"] or 0.0))


def _share(vehicles: Sequence[dict], which: Callable[[dict], bool]) -> list[float | None] | None:
    """The share of the attacks found, mean over vehicles, with its interval."""
    of_each = []
    for one in vehicles:
        mine = [attack for attack in one["attacks"] if which(attack)]
        if events := sum(attack["events"] for attack in mine):
            of_each.append(sum(attack["found"] for attack in mine) / events)
    return list(clustered(np.array(of_each))) if of_each else None


def show(folder: Path, datasets: Sequence[str]) -> dict[str, Any]:
    """Print the tables; returns them as JSON holds them."""
    record: dict[str, Any] = {}
    for dataset in datasets:
        rows = over_vehicles(folder) if dataset == "vehicles" else summary(folder, dataset)
        if not rows:
            continue
        record[dataset] = rows
        flat = [{k: v[0] if isinstance(v, list) else v for k, v in row.items()} for row in rows]
        print(f"## {dataset}\n{cg.report.show(flat, digits=3)}\n")
        path = folder / dataset / "random split.json"
        if path.is_file():
            record[f"{dataset}, split"] = json.loads(path.read_text())
            print(record[f"{dataset}, split"])
    return record


def run(given: argparse.Namespace, dataset: str) -> None:
    if dataset == "vehicles":
        run_vehicles(given.folder, given.only, given.vehicles)
    else:
        run_dataset(dataset, given.folder, given.only, given.seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=[*DATASETS], choices=DATASETS)
    parser.add_argument("--only", nargs="+", default=[*PEERS], choices=[*PEERS], metavar="PEER")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--vehicles", nargs="+", metavar="NAME")
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"))
    parser.add_argument("--table", action="store_true", help="only show what is kept")
    given = parser.parse_args()
    if not given.table:
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            list(pool.map(partial(run, given), given.datasets))
    print(json.dumps(show(given.folder, given.datasets)))


if __name__ == "__main__":
    main()
