"""What a training epoch costs: making the batches, the loop around the step, the step itself.

    CANGRAPH_DATA=… python benchmarks/training.py [--dataset demo|hcrl_sa] [--quick]
        [--tasks vgae teacher student distilled] [--sizes 32 512] [--repeats 5] [--compile]
        [--device cuda]

All competitors see the same windows (the labelled training windows of the dataset), the same
model from the same first weights, the same optimiser and clipping, on one thread:

- `fit`: `Batches` under a Lightning Trainer set up as `fit` sets it up
- `loop`: `Batches` in a bare loop
- `PyG 0`, `PyG 2`: PyG's `DataLoader` over a list of `Data` without and with two worker processes
  (which stay alive between epochs), in the same bare loop
- `by hand`: the loop of the design that this project grew from: the same `DataLoader` with two
  workers, a progress bar moved on and metrics computed in every step; it is never without logging

Without logging nothing but the step is done. With logging `fit` keeps the means of the epoch and
writes every step to a CSV, the bare loops sum the terms of the loss and read them at the end.
With `--compile` the loss is compiled by torch for windows of any size, after a round that warms up.

Competitors take turns within each repeat, since other work on the machine meets all of them: a
time is the median over the repeats, a ratio the median of those within a repeat. On a GPU ours has
the windows of an epoch there as a whole, the others copy batch by batch. The last line is one JSON
object, of each competitor [s, ratio].
"""

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch.profiler import ProfilerActivity, profile
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torchmetrics.classification import BinaryAccuracy, BinaryF1Score
from tqdm import tqdm

import cangraph as cg
from cangraph.data.batches import Batch, Batches
from cangraph.params import Params

RATE, CLIP = 0.001, 1.0
TASKS = ("vgae", "teacher", "student", "distilled")
DEVICE = "cpu"


def now() -> float:
    """s, when all that was asked of the device is done."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def task_of(name: str, graphs: cg.Graphs, params: Params, compiled: bool = False):
    """A task with its first weights; the same ones at each call."""
    cg.seed_everything(0)
    if name == "vgae":
        task = cg.Reconstructor(cg.VGAE(graphs.spec, **params.teacher.vgae))
    else:
        size = "teacher" if name == "teacher" else "student"
        task = cg.Detector(cg.GAT(graphs.spec, **params[size].gat))
    if name == "distilled":
        teacher = cg.Detector(cg.GAT(graphs.spec, **params.teacher.gat))
        teacher.prepare(graphs)
        task = cg.distill(teacher, task.model, params.distillation)
    task.prepare(graphs)
    task.optimisation = lambda task: [adamw(task, params.fit.weight_decay)]
    if compiled:
        task.loss = torch.compile(task.loss, dynamic=True)
    return task.to(DEVICE)


def adamw(task, weight_decay: float) -> torch.optim.AdamW:
    """The optimiser of all competitors, at a constant rate."""
    learnt = (w for w in task.parameters() if w.requires_grad)
    return torch.optim.AdamW(learnt, RATE, weight_decay=weight_decay, fused=True)


def as_data(graphs: cg.Graphs) -> list[Data]:
    """The windows as PyG knows them."""
    found = []
    for b in range(len(graphs)):
        (n0, n1), (e0, e1) = graphs.node_ptr[b : b + 2], graphs.edge_ptr[b : b + 2]
        found.append(
            Data(
                x=torch.from_numpy(graphs.x[n0:n1].copy()),
                edge_index=torch.from_numpy(graphs.edge_index[:, e0:e1].astype(np.int64)),
                edge_attr=torch.from_numpy(graphs.edge_attr[e0:e1].copy()),
                y=torch.tensor([float(graphs.label[b])]),
                node_label=torch.from_numpy(graphs.node_attack[n0:n1].astype(np.float32)),
                attack_type=torch.tensor([int(graphs.attack_type[b])]),
            )
        )
    return found


def from_pyg(loader: DataLoader) -> Iterator[Batch]:
    for b in loader:
        b = b.to(DEVICE)
        yield Batch(
            b.x, b.edge_index, b.edge_attr, b.batch, b.y, b.node_label, b.attack_type
        )  # fmt: skip


class Loaders:
    """What makes the batches of an epoch, by name."""

    def __init__(self, graphs: cg.Graphs, data: list[Data], size: int):
        self.ours = Batches(graphs, size, seed=0, device=DEVICE)
        self.pyg = {
            workers: DataLoader(
                data, size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
            )
            for workers in (0, 2)
        }

    def __getitem__(self, name: str) -> Iterator[Batch]:
        if name in ("fit", "loop"):
            return iter(self.ours)
        return from_pyg(self.pyg[0 if name == "PyG 0" else 2])


class Bare:
    """A bare loop over a task's steps. Gives the seconds of an epoch."""

    def __init__(self, task: cg.Detector, logs: bool):
        self.task, self.logs = task.train(), logs
        (self.optimizer,) = task.configure_optimizers()

    def step(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.optimizer.zero_grad()
        terms = self.task.loss(batch)
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.task.parameters(), CLIP)
        self.optimizer.step()
        return terms

    def __call__(self, batches: Iterator[Batch]) -> float:
        began, sums = now(), {}
        for batch in batches:
            terms = self.step(batch)
            if self.logs:
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + value.detach()
        {name: float(value) for name, value in sums.items()}
        return now() - began


class ByHand(Bare):
    """A progress bar and metrics in every step."""

    def __call__(self, batches: Iterator[Batch]) -> float:
        began = now()
        metrics = {"accuracy": BinaryAccuracy().to(DEVICE), "f1": BinaryF1Score().to(DEVICE)}
        history = []
        with open(os.devnull, "w") as nowhere, tqdm(batches, file=nowhere) as bar:
            for batch in bar:
                row = {name: value.item() for name, value in self.step(batch).items()}
                if isinstance(self.task, cg.Detector):
                    with torch.no_grad():
                        p = torch.sigmoid(self.task.model(batch))
                    for name, metric in metrics.items():
                        row[name] = metric(p, batch.label.int()).item()
                bar.set_postfix(row)
                history.append(row)
        return now() - began


class Clock(Callback):
    """From the start of the first epoch to its end."""

    def on_train_epoch_start(self, trainer, task):
        self.began = now()

    def on_train_epoch_end(self, trainer, task):
        self.took = now() - self.began


class Lightning:
    """An epoch as `fit` runs it, without validation."""

    def __init__(self, task: cg.Detector, logs: bool):
        self.task, self.logs = task, logs
        if not logs:
            task.log_means = task.log_epoch = lambda *_, **__: None

    def __call__(self, batches: Batches) -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            trainer = L.Trainer(
                max_epochs=1,
                accelerator="cpu" if DEVICE == "cpu" else "gpu",
                callbacks=[clock],
                gradient_clip_val=CLIP,
                logger=CSVLogger(folder) if self.logs else False,
                log_every_n_steps=1,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                deterministic="warn",
            )
            trainer.fit(self.task, batches)
        return clock.took


def take_turns(work: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """The seconds that each returns in each repeat, after a round that does not count."""
    took: dict[str, list[float]] = {name: [] for name in work}
    for number in range(repeats + 1):
        for name, run in work.items():
            seconds = run()
            if number:
                took[name].append(seconds)
    return took


def show(title: str, took: dict[str, list[float]], over: str) -> dict[str, list[float]]:
    """Print and return the median of the seconds and of the ratio within a repeat, by name."""
    found = {
        name: [
            round(statistics.median(times), 5),
            round(statistics.median(a / b for a, b in zip(times, took[over], strict=True)), 2),
        ]
        for name, times in took.items()
    }
    print(f"## {title}")
    for name, (seconds, ratio) in found.items():
        print(f"{name:<24}{seconds * 1e3:>10.1f} ms{ratio:>8.2f} x {over}")
    print(flush=True)
    return found


def gone_through(batches: Iterator[Batch]) -> float:
    began = now()
    for _ in batches:
        pass
    return now() - began


def batch_making(loaders: Loaders, repeats: int) -> dict[str, list[float]]:
    names = ("loop", "PyG 0", "PyG 2")
    made = {n: lambda n=n: gone_through(loaders[n]) for n in names}
    return {n.replace("loop", "ours"): s for n, s in take_turns(made, repeats).items()}


def epochs(name: str, graphs, params, loaders: Loaders, repeats: int, compiled: bool) -> dict:
    """Seconds of an epoch by competitor, each in a task of its own."""
    work = {}
    for logs in (False, True):
        said = ", logs" if logs else ""
        for what in ("fit", *(["fit, compiled"] if compiled else [])):
            run = Lightning(task_of(name, graphs, params, "compiled" in what), logs)
            work[what + said] = lambda run=run: run(loaders.ours)
        for what in ("loop", *(["loop, compiled"] if compiled else []), "PyG 0", "PyG 2"):
            run = Bare(task_of(name, graphs, params, "compiled" in what), logs)
            work[what + said] = lambda run=run, what=what: run(loaders[what.split(",")[0]])
    run = ByHand(task_of(name, graphs, params), True)
    work["by hand, logs"] = lambda: run(loaders["PyG 2"])
    return take_turns(work, repeats)


def scaling(graphs: cg.Graphs, params: Params, repeats: int) -> dict[str, list[float]]:
    """Seconds of a student's epoch over 1, 2, 4 and 8 times the windows, per window count of 1."""
    many = {k: graphs[np.tile(np.arange(len(graphs)), k)] for k in (1, 2, 4, 8)}
    runs = {k: Lightning(task_of("student", graphs, params), True) for k in many}
    work = {
        f"{k}x": lambda k=k: runs[k](Batches(many[k], params.fit.batch_size, 0, DEVICE)) / k
        for k in many
    }
    return take_turns(work, repeats)


def where_time_goes(name: str, graphs: cg.Graphs, params: Params, rows: int = 12) -> list[dict]:
    """The operators that take most of an epoch, by their own time on the CPU."""
    bare = Bare(task_of(name, graphs, params), False)
    batches = Batches(graphs, params.fit.batch_size, 0, DEVICE)
    bare(iter(batches))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        bare(iter(batches))
    found = sorted(seen.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in found)
    return [
        {"op": e.key, "share": round(e.self_cpu_time_total / total, 3), "calls": e.count}
        for e in found[:rows]
    ]


def main() -> None:
    global DEVICE
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="demo", choices=["demo", "hcrl_sa"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also with torch.compile (minutes)")
    parser.add_argument("--quick", action="store_true", help="400 windows, one repeat, no scaling")
    parser.add_argument("--device", default=DEVICE, choices=["cpu", "cuda"])
    given = parser.parse_args()
    DEVICE = given.device
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    params = cg.load_params(given.dataset)
    captures = [c for c in cg.read(given.dataset) if c.scenario.startswith("train")]
    graphs = cg.to_graphs(captures)
    if given.quick:
        given.repeats, graphs = 1, graphs[np.random.default_rng(0).permutation(len(graphs))[:400]]
    data = as_data(graphs)
    how = f"{given.repeats} repeats, 1 thread, {given.device}"
    print(f"{given.dataset}: {graphs}, {Path(__file__).name}, {how}\n")
    record: dict = {"dataset": given.dataset, "windows": len(graphs), "repeats": given.repeats}
    record["device"] = torch.cuda.get_device_name() if given.device == "cuda" else "cpu"
    for size in given.sizes:
        loaders = Loaders(graphs, data, size)
        title = f"making batches of {size}"
        record[title] = show(title, batch_making(loaders, 3 * given.repeats), "ours")
        for name in given.tasks:
            took = epochs(name, graphs, params, loaders, given.repeats, given.compile)
            title = f"an epoch of the {name} in batches of {size}"
            record[title] = show(title, took, "fit, logs")
    if not given.quick:
        title = "an epoch of the student over k times the windows, divided by k"
        record[title] = show(title, scaling(graphs, params, given.repeats), "1x")
    for name in given.tasks:
        record[f"profile of {name}"] = rows = where_time_goes(name, graphs, params)
        print(f"## where an epoch of the {name} goes, batches of {params.fit.batch_size}")
        for row in rows:
            print(f"{row['op'][:50]:<52}{row['share']:>7.1%}{row['calls']:>8,} calls")
        print(flush=True)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
