"""What each constant of the features is worth: detection when it is 25 % smaller or larger, or off.

    CANGRAPH_DATA=… nice python benchmarks/constants.py [--only clock usual] > constants.txt

The material is made of training captures alone, the attack-free ones of the demo, hcrl_sa and
set_04: the first 30 s of each under attacks of all kinds (`synthesis.attacked`), drawn with three
seeds. Boosted trees learn the windows of all recordings but one group and judge those of that
group, four groups in turn; the measure is the mean AUPRC over captures and seeds. Each variation
runs in a process of its own, which changes the constant before numba compiles, for 20 s or so.

A row says by how much AUPRC changes, in thousandths, when the constant is 25 % smaller, 25 % larger
and where it has such a value, switched off; and the share of all node features that change by more
than a millionth. Of a share above a half (how reliable a rule is) what is missing to 1 is varied.
The noise floor is twice the standard error of a change over the three seeds, pooled over all
variations. Half a minute tells nothing of what takes longer (`silence.gone`, `trust.probation`).
The last line is one JSON object; `docs/constants.json` keeps it.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cangraph.features import kernel, windows

SEEDS, SECONDS, GROUPS, SEVERITY = (0, 1, 2), 30.0, 4, 0.1
DATASETS = ("demo", "hcrl_sa", "set_04")
FOREVER = 1e9
OFF = {  # the value at which a constant does nothing
    "scale.rounding": 0.0,
    "clock.per_jitter": 0.0,
    "clock.wait": FOREVER,
    "clock.pull": FOREVER,
    "clock.steady": FOREVER,
    "trust.warm_up": FOREVER,
    "trust.loss": 0.0,
    "flips.memory": FOREVER,
    "flips.clip": FOREVER,
    "flips.rest": 0.0,
    "moves.memory": FOREVER,
    "moves.worn": FOREVER,
    "moves.known": 0,
    "rules.once": 0.0,
    "rules.faded": 0.95,
    "rules.fading": FOREVER,
    "rules.anew": 0.0,
    "rules.proofs": 1,
    "level.gap": FOREVER,
    "level.flip": FOREVER,
    "level.novel": FOREVER,
    "level.leap": FOREVER,
    "level.rule": FOREVER,
    "silence.known": 0,
    "silence.unsteady": 0.0,
    "silence.steady": FOREVER,
    "silence.trust": 0.0,
    "silence.gone": FOREVER,
}


def material(folder: Path) -> None:
    """Attacked captures of each seed, pickled: made once, for they know no constant."""
    import cangraph as cg
    from cangraph.data.synthesis import attacked

    made = []
    for dataset in DATASETS:
        for capture in cg.read(dataset):
            if capture.scenario == "train_01_attack_free":
                stop = np.searchsorted(capture.timestamp - capture.timestamp[0], SECONDS)
                made.append(capture[:stop])
    for seed in SEEDS:
        rows = [attacked(c, np.random.default_rng([seed, k]), SEVERITY) for k, c in enumerate(made)]
        (folder / f"{seed}.pickle").write_bytes(pickle.dumps(rows))


def change(name: str, value: float) -> None:
    """Give a constant another value, before anything is compiled."""
    part, constant = name.upper().split(".")
    module = kernel if hasattr(kernel, part) else windows
    old = getattr(module, part)
    setattr(module, part, old._replace(**{constant.lower(): value}))


def judge(folder: Path) -> dict:
    """AUPRC of each seed with the constants as they are, and the share of features that differ
    from those of the first call in `folder`."""
    from sklearn.metrics import average_precision_score
    from sklearn.model_selection import GroupKFold

    from cangraph.data.graphs import to_graphs
    from cangraph.evaluation.baselines import BoostedTrees

    found, differs, count = [], 0.0, 0
    for seed in SEEDS:
        graphs = to_graphs(pickle.loads((folder / f"{seed}.pickle").read_bytes()), 100, 100)
        before, seen = folder / f"{seed}.npy", graphs.x[graphs.node_count > 0]
        if not before.is_file():
            np.save(before, seen)
        differs += float((np.abs(seen - np.load(before)) > 1e-6).sum())
        count += seen.size
        recording = np.array([info.recording for info in graphs.captures])[graphs.capture]
        value = np.zeros(len(graphs))
        for train, test in GroupKFold(GROUPS).split(value, groups=recording):
            value[test] = BoostedTrees(graphs[train]).score(graphs[test]).value
        each = [
            average_precision_score(graphs.label[mine], value[mine])
            for mine in (graphs.capture == k for k in np.unique(graphs.capture))
        ]
        found.append(float(np.mean(each)))
    return {"auprc": found, "differs": differs / count}


def alone(folder: Path, *change: str) -> dict:
    """`judge` in a process of its own, which compiles anew where a constant is changed."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--judge", str(folder), *change]
        settings = os.environ | {"NUMBA_CACHE_DIR": cache}
        done = subprocess.run(command, env=settings, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def variations(name: str, value: float) -> Iterator[tuple[str, float]]:
    """The other values of a constant, by what is done to it."""
    for word, factor in (("-25 %", 0.75), ("+25 %", 1.25)):
        other = 1 - (1 - value) * factor if 0.5 < value < 1 else value * factor
        yield word, round(other) if isinstance(value, int) else other
    if name in OFF:
        yield "off", OFF[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="PART", help="e.g. clock usual")
    parser.add_argument("--judge", nargs="+", metavar="FOLDER NAME VALUE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge:
        folder, *changed = given.judge
        if changed:
            change(changed[0], json.loads(changed[1]))
        print(json.dumps(judge(Path(folder))))
        return
    record, apart = {}, []
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        material(folder)
        base = alone(folder)["auprc"]
        print(f"AUPRC as it is: {np.mean(base):.4f}, by seed {np.round(base, 4).tolist()}")
        print(f"{'constant':<20}{'value':>9}{'-25 %':>18}{'+25 %':>18}{'off':>18}")
        for name, value in windows.constants().items():
            if given.only and name.split(".")[0] not in given.only:
                continue
            record[name] = {"value": value}
            line = f"{name:<20}{value:>9.4g}"
            for word, other in variations(name, value):
                made = alone(folder, name, json.dumps(other))
                moved = np.subtract(made["auprc"], base)
                apart.append(moved)
                record[name][word] = {
                    "auprc": round(float(moved.mean()), 5),
                    "differs": round(made["differs"], 5),
                }
                line += f"{1e3 * moved.mean():>+10.1f}{made['differs']:>8.2%}"
            print(line, flush=True)
    floor = 2 * np.sqrt(np.var(apart, axis=1, ddof=1).mean() / len(SEEDS))
    print(f"noise floor: {1e3 * floor:.1f} thousandths")
    about = {"auprc": float(np.mean(base)), "floor": float(floor), "seconds": SECONDS}
    print(json.dumps(about | {"seeds": len(SEEDS), "constants": record}))


if __name__ == "__main__":
    main()
