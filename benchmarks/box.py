"""Train the detector in the box, `cangraph/deploy/any_vehicle.onnx` (card: docs/any_vehicle.md).

    python benchmarks/box.py [--cars 48] [--epochs 12] [--hours 3] [--seed 0] [--out FILE]

A GAT learns from simulated vehicles alone (`bus.fleet`), new ones in every epoch, recorded by
simulated recorders and attacked by the synthesiser, half of them with a baseline; nothing of it
may not be redistributed. Its threshold is what a share of `CALLED` of the clean windows of other
simulated vehicles reaches: it counts in the first seconds of a stream, and bounds what is usual in
it later. The same machine, versions and number of threads give the same file, bit for bit. What
it is worth on real vehicles: `benchmarks/any_vehicle.py --detector FILE --injected`.
The last line is one JSON object.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import cangraph as cg
from cangraph.bus.recorder import recorded
from cangraph.deploy.box import BOX
from cangraph.evaluation.calibration import clean_threshold
from cangraph.params import Params

NET = {"hidden": 16, "heads": 2, "layers": 2, "dropout": 0.0}
CALLED = 0.01  # share of clean windows
SECONDS = 60.0  # of a simulated vehicle that the threshold is chosen on
SPLIT = {"blocks": 8, "val": 0.125, "calib": 0.125, "gap": 0.2}


def trained(cars: int, epochs: int, seed: int) -> tuple[cg.Detector, Params]:
    """A GAT of the fleet, and the parameters it was trained with."""
    params = cg.load_params(
        "demo",
        seed=seed,
        split=SPLIT,
        synthesis={"fleet": cars, "wild": True, "known": 0.5, "gross": 0.5, "subtle": 0.15},
        teacher={"gat": NET, "epochs": epochs, "learning_rate": 0.002},
        fit={"train_on": "clean", "batch_size": 128},
    )
    first = [cg.simulate(f"wild-{2 * k}", 30.0) for k in range(4)]
    source = cg.train.stretch(first, params)
    cg.seed_everything(seed)
    net = cg.Detector(cg.GAT(source.val.spec, **NET))
    return cg.fit(net, source, params, "teacher"), params


def quiet(hours: float, seed: int) -> list[cg.Frames]:
    """Clean traffic of simulated vehicles that nothing is trained on."""
    found = []
    for number in range(round(hours * 3600 / SECONDS)):
        rng = np.random.default_rng([seed, number])
        car = 2 * int(rng.integers(10**8)) + 1  # `Synthesis` trains on even numbers
        found.append(recorded(cg.simulate(f"wild-{car}", SECONDS, seed=number), rng))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cars", type=int, default=48, help="simulated vehicles in an epoch")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--hours", type=float, default=3.0, help="to choose the threshold on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=BOX)
    given = parser.parse_args()
    began = time.perf_counter()
    net, params = trained(given.cars, given.epochs, given.seed)
    graphs = cg.to_graphs([log for log in quiet(given.hours, given.seed) if len(log) >= 100])
    hours = sum(info.seconds for info in graphs.captures) / 3600
    scores = net.score(graphs)
    for share in (0.03, CALLED, 0.003, 0.001):
        print(f"threshold {clean_threshold(scores, share):.4f} calls {share:.1%} of clean windows")
    at = round(clean_threshold(scores, CALLED), 4)
    made = cg.deploy.to_onnx(net.model, given.out, at, params)
    record = {"file": given.out.name, "bytes": given.out.stat().st_size, "sha256": made.sha256}
    record |= {"threshold": at, "hours": hours, "seconds": round(time.perf_counter() - began)}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
