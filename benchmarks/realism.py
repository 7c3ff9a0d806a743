"""How near the simulated vehicles (`bus.fleet`, `bus.recorder`) are to real ones.

    CANGRAPH_DATA=… python benchmarks/realism.py [--cars 120] [--seed 0] [--figure docs/realism.png]

Of each feature of nodes and edges: how differently it is distributed over the nodes of clean
windows of real vehicles (clean/ without the race car) and of simulated ones, each vehicle with the
same weight: the Kolmogorov–Smirnov distance, beside that between one random half of the real
vehicles and the other, which no simulator could be below. And a classifier that tells real windows
from simulated ones (boosted trees on the mean and maximum of each feature of nodes): its AUROC on
vehicles that it was not trained on, five folds, beside that of telling one half of the real
vehicles from the other. And how often, in clean traffic, IDs that keep a period fall silent for
eight periods and half a second at least while the bus goes on (those that do so once or twice in a
log; silences that begin within a second are one): nothing but their number tells them from
suppression. The last line is one JSON object.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from vehicles import vehicles

import cangraph as cg
from cangraph.bus.recorder import recorded
from cangraph.evaluation.stats import poisson
from cangraph.features.schema import NODE_FEATURES

SECONDS = 60.0  # of a simulated vehicle
WINDOWS = 100  # of each vehicle, at most
NODES = 1000
SPLITS = 20  # of the real vehicles into halves
WORST = 6  # features that are drawn
PAUSE = 0.3  # s without a frame of any ID: the recorder's, or the bus sleeps
BEHIND = 8.0  # s in which all periods have been heard


def real() -> list[list[cg.Frames]]:
    """The clean logs of each real vehicle."""
    mine = [vehicle.read() for vehicle in vehicles() if vehicle.group == "clean"]
    return [[log for log in logs if len(log) >= 100] for logs in mine]


def simulated(cars: int, seed: int) -> list[list[cg.Frames]]:
    """A clean log of each simulated vehicle; no detector was trained on them."""
    found = []
    for number in range(cars):
        rng = np.random.default_rng([seed, number])
        name = f"wild-{2 * int(rng.integers(10**8)) + 1}"
        log = recorded(cg.simulate(name, SECONDS, seed=number), rng)
        if len(log) >= 100:
            found.append([log])
    return found


def nodes(graphs: cg.Graphs, rng: np.random.Generator) -> np.ndarray:
    """Features of so many nodes of a vehicle, drawn with replacement, f4 (NODES, features)."""
    return graphs.x[rng.integers(len(graphs.x), size=NODES)]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference between two cumulative distributions (Kolmogorov–Smirnov)."""
    values = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(v), values, "right") / len(v) for v in (one, other)]
    return float(np.abs(below[0] - below[1]).max())


def distances(of_real: Sequence[np.ndarray], of_simulated: Sequence[np.ndarray], rng) -> list[dict]:
    """A row for each feature, the most different first."""
    rows, one, other = [], np.concatenate(of_real), np.concatenate(of_simulated)
    halves = [rng.permutation(len(of_real)) for _ in range(SPLITS)]
    for k, feature in enumerate(NODE_FEATURES):
        column = [vehicle[:, k] for vehicle in of_real]
        half = len(column) // 2
        apart = [
            distance(*(np.concatenate([column[i] for i in o]) for o in (p[:half], p[half:])))
            for p in halves
        ]
        rows.append(
            {"feature": feature.name, "distance": distance(one[:, k], other[:, k])}
            | {"real halves": float(np.mean(apart))}
            | {"real": float(one[:, k].mean()), "simulated": float(other[:, k].mean())}
        )
    return sorted(rows, key=lambda row: row["real halves"] - row["distance"])


def pooled(graphs: cg.Graphs, rng: np.random.Generator) -> np.ndarray:
    """Mean and maximum of each feature over the nodes of so many windows of a vehicle."""
    chosen = rng.permutation(len(graphs))[:WINDOWS]
    parts = [graphs.x[graphs.node_ptr[w] : graphs.node_ptr[w + 1]] for w in chosen]
    return np.stack([np.concatenate([part.mean(0), part.max(0)]) for part in parts])


def told_apart(vehicles_of: Sequence[np.ndarray], label: Sequence[bool], seed: int) -> float:
    """AUROC of boosted trees that tell vehicles with a label from those without, on vehicles that
    they were not trained on."""
    x, sizes = np.concatenate(vehicles_of), [len(windows) for windows in vehicles_of]
    y, group = np.repeat(label, sizes), np.repeat(np.arange(len(sizes)), sizes)
    value = np.zeros(len(y))
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(x, y, group):
        weight = 1 / np.where(y[train], y[train].sum(), (~y[train]).sum())
        trees = HistGradientBoostingClassifier(max_iter=100, random_state=seed)
        value[test] = trees.fit(x[train], y[train], weight).predict_proba(x[test])[:, 1]
    return float(roc_auc_score(y, value))


def silences(log: cg.Frames) -> tuple[float, list[float]]:
    """The hours of a log behind its first 8 s, and when regular IDs fall silent there, s."""
    since = log.timestamp - log.timestamp[0]
    pauses = np.flatnonzero(np.diff(since) > PAUSE)
    starts, stops = since[pauses], since[pauses + 1]
    found: list[float] = []
    for arbitration_id in np.unique(log.arbitration_id):
        times = since[log.arbitration_id == arbitration_id]
        gaps = np.diff(times)
        if len(times) < 20 or times[0] > 5 or np.quantile(gaps, 0.9) > 2 * np.median(gaps):
            continue
        gaps, begin = np.append(gaps, since[-1] - times[-1]), times + np.median(gaps)
        long = (gaps > max(0.5, 8 * np.median(gaps))) & (begin > BEHIND)
        mine = [
            at
            for at, gap in zip(begin[long], gaps[long], strict=True)
            if not ((stops > at) & (starts < at + gap)).any()
        ]
        found += mine if len(mine) <= 2 else []
    found.sort()
    first = [at for k, at in enumerate(found) if not k or at - found[k - 1] > 1]
    return max(since[-1] - BEHIND, 0) / 3600, first


def silent(logs: Sequence[cg.Frames]) -> dict[str, float]:
    """How often IDs fall silent, all logs together."""
    hours, times = zip(*[silences(log) for log in logs if len(log) >= 200], strict=True)
    low, high = poisson(number := sum(map(len, times)), total := sum(hours))
    return {"hours": total, "silences": number, "per hour": number / total} | {
        "low": low,
        "high": high,
    }


def draw(rows: Sequence[dict], of_real, of_simulated, path: Path) -> None:
    """The distributions of the features that differ most."""
    import matplotlib.pyplot as plt

    names = [feature.name for feature in NODE_FEATURES]
    one, other = np.concatenate(of_real), np.concatenate(of_simulated)
    figure, axes = plt.subplots(2, WORST // 2, figsize=(9, 5), layout="constrained")
    for row, ax in zip(rows[:WORST], axes.flat, strict=True):
        for name, values in (("real", one), ("simulated", other)):
            column = np.sort(values[:, names.index(row["feature"])])
            ax.plot(column, np.linspace(0, 1, len(column)), label=name)
        ax.set_title(f"{row['feature']}: {row['distance']:.2f} apart", fontsize=9)
    axes.flat[0].legend(frameon=False)
    worst = ", ".join(row["feature"] for row in rows[:2])
    figure.suptitle(f"Simulated vehicles differ from real ones most in {worst}")
    figure.supylabel("share of the nodes below")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cars", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    rng, logs = np.random.default_rng(given.seed), (real(), simulated(given.cars, given.seed))
    still = [silent([log for vehicle in each for log in vehicle]) for each in logs]
    both = [[cg.to_graphs(vehicle) for vehicle in each] for each in logs]
    of_real, of_simulated = ([nodes(graphs, rng) for graphs in each] for each in both)
    rows = distances(of_real, of_simulated, rng)
    print(cg.report.show(rows, [*rows[0]], digits=3), end="\n\n")
    windows = [[pooled(graphs, rng) for graphs in each] for each in both]
    label = [True] * len(windows[0]) + [False] * len(windows[1])
    auroc = told_apart(windows[0] + windows[1], label, given.seed)
    halves = []
    for seed in range(5):
        half = np.random.default_rng(seed).permutation(len(windows[0])) < len(windows[0]) // 2
        halves.append(told_apart(windows[0], half.tolist(), seed))
    print(f"real from simulated windows: AUROC {auroc:.3f}; real halves {np.mean(halves):.3f}")
    if given.figure:
        draw(rows, of_real, of_simulated, given.figure)
    for name, row in zip(("real", "simulated"), still, strict=True):
        print(f"{name}: regular IDs fall silent {row['silences']} times, {row['per hour']:.0f}/h")
    record = {"cars": len(windows[1]), "vehicles": len(windows[0]), "features": rows}
    record |= {"silences, real": still[0], "silences, simulated": still[1]}
    print(json.dumps(record | {"auroc": auroc, "auroc of real halves": float(np.mean(halves))}))


if __name__ == "__main__":
    main()
