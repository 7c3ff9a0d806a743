"""Is a learnt surprise worth more than listed features? A small network that predicts flips.

    CANGRAPH_DATA=… python benchmarks/surprise.py [--cars 20] [--epochs 10] [--seed 0]
        [--out runs/surprise.json]

A network of 41 k weights, a causal convolution over the last `PAST` payloads of an ID, says of each
of the 64 payload bits how likely it flips next, from its last flips and from how often each bit
flips. It learns from clean simulated cars alone. What a frame costs it, -log2 p in bits, over what
the ID's frames usually cost (`FORGETS` frames), is its surprise: log2 of the ratio. Of each node
the mean and the largest of a window join the features, of the material of `relations.py --edges`.
Boosted trees learn with and without, and with and without what relations say of nodes: the AUROC
inside a capture, mean over captures. µs a frame are those of one thread.
The last line is one JSON object.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from relations import Case, auroc, taught, tested, without
from scipy.signal import lfilter

import cangraph as cg
from cangraph.data.graphs import join
from cangraph.evaluation import BoostedTrees

PAST = 3
FORGETS = 32
HIDDEN = 128
LEARNT = 400_000  # frames that it learns from, at most


def by_id(log: cg.Frames) -> list[np.ndarray]:
    """The rows of each ID, in order of time."""
    order = np.argsort(log.arbitration_id, kind="stable")
    return np.split(order, 1 + np.flatnonzero(np.diff(log.arbitration_id[order])))


def running(values: np.ndarray) -> np.ndarray:
    """Exponential average over `FORGETS` frames of what came before each, along the first axis."""
    share = 1 / FORGETS
    average = lfilter([share], [1, share - 1], values, axis=0)
    return np.concatenate([np.zeros_like(average[:1]), average[:-1]])


def past_and_flips(payloads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is known before each frame of an ID, and which bits flip with it: f4 (n, 64 (PAST + 1)),
    f4 (n, 64). `payloads` is u1 (n, 8)."""
    bits = np.unpackbits(payloads, axis=1).astype(np.float32)
    flips = np.concatenate([np.zeros_like(bits[:1]), np.abs(np.diff(bits, axis=0))])
    before = [np.concatenate([np.zeros((k, 64)), flips])[: len(flips)] for k in range(1, PAST + 1)]
    return np.concatenate([*before, running(flips)], axis=1).astype(np.float32), flips


class Surprise:
    """The network, and what frames cost it."""

    def __init__(self, seed: int):
        torch.manual_seed(seed)
        width = 64 * (PAST + 1)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(width, HIDDEN), torch.nn.ELU(), torch.nn.Linear(HIDDEN, 64)
        )

    def fit(self, logs: Sequence[cg.Frames], epochs: int, seed: int) -> None:
        parts = [past_and_flips(log.data[rows, :8]) for log in logs for rows in by_id(log)]
        past, flips = (torch.from_numpy(np.concatenate(p)) for p in zip(*parts, strict=True))
        draw = np.random.default_rng(seed)
        optimiser = torch.optim.Adam(self.net.parameters(), 2e-3)
        for _ in range(epochs):
            rows = torch.from_numpy(draw.permutation(len(past))[:LEARNT])
            for mine in rows.split(2048):
                loss = self._cost(past[mine], flips[mine]).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def _cost(self, past, flips):
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            self.net(past), flips, reduction="none"
        )
        return each.sum(1) / np.log(2)

    @torch.no_grad()
    def of(self, log: cg.Frames) -> np.ndarray:
        """log2 of what each frame costs over what the ID's frames usually do, f4 (frames,)."""
        found = np.zeros(len(log), np.float32)
        for rows in by_id(log):
            cost = self._cost(*map(torch.from_numpy, past_and_flips(log.data[rows, :8]))).numpy()
            found[rows] = np.log2((cost + 1) / (running(cost) + 1))
            found[rows[: 2 * PAST]] = 0  # nothing is usual yet
        return found


def surprised(case: Case, net: Surprise) -> cg.Graphs:
    """The windows with the mean and the largest surprise of each node in front."""
    graphs, more = case.graphs, np.zeros((len(case.graphs.x), 2), np.float32)
    for number, log in enumerate(case.logs):
        value = net.of(log)
        for window in np.flatnonzero(graphs.capture == number).tolist():
            begin = int(graphs.begin[window])
            nodes = slice(*graphs.node_ptr[window : window + 2])
            ids = graphs.node_id[nodes]
            order = np.argsort(ids)
            mine = slice(begin, begin + graphs.window)
            at = order[np.searchsorted(ids, log.arbitration_id[mine], sorter=order)]
            count = np.maximum(np.bincount(at, minlength=len(ids)), 1)
            more[nodes, 0] = np.bincount(at, value[mine], len(ids)) / count
            np.maximum.at(more[nodes, 1], at, value[mine])
    return replace(graphs, x=np.concatenate([more, graphs.x], axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cars", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/surprise.json"))
    given = parser.parse_args()
    net = Surprise(given.seed)
    clean = [cg.simulate(f"fleet-{2 * k}", 30.0, seed=3000 + k) for k in range(given.cars)]
    net.fit(clean, given.epochs, given.seed)
    began = time.process_time()
    net.of(clean[0])
    cost = (time.process_time() - began) / len(clean[0]) * 1e6
    cases = {"train": taught(range(0, 2 * given.cars, 2), 0)} | tested()
    windows = {name: surprised(case, net) for name, case in cases.items() if "trace" not in name}
    rows = []
    for variant in ("nothing", "nodes"):
        for learnt in (False, True):
            sets = {name: without(graphs, variant) for name, graphs in windows.items()}
            if not learnt:
                sets = {name: replace(graphs, x=graphs.x[:, 2:]) for name, graphs in sets.items()}
            trees = BoostedTrees(join([sets.pop("train")]), given.seed)
            found = {
                name: auroc(graphs, trees.score(graphs).value) for name, graphs in sets.items()
            }
            rows.append({"relations": variant, "surprise": learnt} | found)
            print(rows[-1], flush=True)
    print(cg.report.show(rows, list(rows[0]), digits=3), end="\n\n")
    record = {"rows": rows, "us": cost, "weights": sum(p.numel() for p in net.net.parameters())}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
