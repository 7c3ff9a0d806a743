"""Hours that one GPU takes to train the models of all six datasets at their real sizes.

    python benchmarks/gpu.py [--minutes 10] [--frames 2e5] [--batch 512] [--kept runs/gpu.json]

A dataset has three models, 18 in all: the VGAE and the GAT (the teachers of teacher.ipynb) and the
DQN that fuses them. Timed beside them are the two distilled students. Sizes are those of `SIZES`;
what CANGRAPH_DATA lacks is simulated, which is not counted.

Each model trains for three epochs on the whole of its dataset, with all that an epoch has: the draw
of synthesised windows, steps, validation, a checkpoint. The other epochs are extrapolated, each
like the third. Datasets are taken by rising size for so many `--minutes` (the first as a whole).
What was timed is kept in a JSON, from which the next call goes on; what no call has reached yet
counts as long, by frame, as in the largest dataset that was timed, and the output names it.

`--frames` cuts each dataset, and what is synthesised from it, to at most so many frames (2e5 are
enough for every split). Without a GPU the hours are those of one thread of a processor, and the
output says so. The last line is one JSON object.
"""

import argparse
import json
import sys
import time
from pathlib import Path

try:
    import numpy as np
    import torch
    from lightning.pytorch.callbacks import LambdaCallback
    from scale import capture

    import cangraph as cg
    from cangraph.data.datasets import TRAIN, TRAIN_ATTACKS, TRAIN_CLEAN, present
    from cangraph.frames import COLUMNS
    from cangraph.fusion import all_rules
    from cangraph.params import Params
except ModuleNotFoundError as error:
    sys.exit(f"gpu.py: {error.name} is not there; expected what cangraph needs; install it, or put "
             "its folder into PYTHONPATH")  # fmt: skip

# Frames to train on, attack-free and in captures with attacks. hcrl_sa: counted; hcrl_ch: scale.py;
# set_01 to set_04: from the windows of 100 frames in 80 % of the training files that notes of the
# KD-GAT project give (120,904; 162,840; 132,912; 97,955; of hcrl_sa 7,496, as its files do, copies
# included). That half of them is attack-free, as of hcrl_sa, is assumed.
SIZES = {
    "hcrl_sa": (309_689, 317_571),
    "hcrl_ch": (988_987, 5_253_242),
    "set_04": (6_122_000, 6_122_000),
    "set_01": (7_556_000, 7_556_000),
    "set_03": (8_307_000, 8_307_000),
    "set_02": (10_177_000, 10_177_000),
}
MODELS = ("VGAE", "GAT", "DQN", "VGAE student", "GAT student")
EPOCHS = 3  # that are timed: the first may find its windows drawn by the model before


def taken(name: str, most: float | None) -> float:
    """The frames of a dataset that are trained on."""
    return min(sum(SIZES[name]), most or np.inf)


def dataset(name: str, share: float) -> list[cg.Frames]:
    """The captures to train on: the real ones where they are there as a whole, or simulated ones
    of a `share` of their size."""
    if share == 1 and name in present():
        real = [log for log in cg.read(name) if log.scenario in TRAIN]
        if sum(map(len, real)) >= 0.95 * sum(SIZES[name]):
            return real
    clean, attacked = SIZES[name]
    halves = [("", clean)] * 2 + [("flooding", attacked), ("spoofing", attacked)]
    made = []
    for number, (attack, frames) in enumerate(halves):
        drives = list(capture(attack, round(frames * share / 2), number))
        columns = {c: np.concatenate([getattr(log, c) for log in drives]) for c in COLUMNS}
        scenario, label = TRAIN_ATTACKS if attack else TRAIN_CLEAN, f"{attack}-{number}"
        made.append(cg.Frames(**columns, name=label, scenario=scenario, recording=label))
    return made


def task_of(model: str, material: cg.Synthesis, params: Params):
    """A task with its first weights. A student's teacher has them too: it takes as long."""
    kind, *taught = model.split()
    net, task = (cg.VGAE, cg.Reconstructor) if kind == "VGAE" else (cg.GAT, cg.Detector)
    spec = material.data.graphs.spec
    made = task(net(spec, **getattr(params.teacher, kind.lower())))
    if not taught:
        return made
    made.prepare(material.draw(0, 0.0))
    return cg.distill(made, net(spec, **getattr(params.student, kind.lower())), params.distillation)


def timed(model: str, material: cg.Synthesis, params: Params) -> dict:
    """Seconds that a model takes: `measured`, and in `all` with the epochs that were left out."""
    began = time.perf_counter()
    if model == "DQN":
        tasks, drawn = [task_of(name, material, params) for name in MODELS[:2]], material.draw(0, 0)
        for task in tasks:
            task.prepare(drawn)
            task.finish(drawn)
        rule = all_rules(params.fusion, params.seed)["DQN fusion"]
        rule.fit([task.score(material.calib) for task in tasks])
        took = round(time.perf_counter() - began, 2)
        return {"measured": took, "all": took}
    at: list[float] = []  # when each epoch was validated

    def validated(trainer, _) -> None:
        at.append(time.perf_counter())
        trainer.should_stop = len(at) == EPOCHS

    clock = LambdaCallback(on_validation_epoch_end=validated)
    size, task = "student" if "student" in model else "teacher", task_of(model, material, params)
    cg.fit(task, material, params, size=size, callbacks=[clock])
    took, epoch = time.perf_counter() - began, at[-1] - at[-2]
    whole = took + (params[size].epochs - EPOCHS) * epoch
    return {"measured": round(took, 2), "epoch": round(epoch, 3), "all": round(whole, 2)}


def measure(kept: dict, path: Path, minutes: float) -> None:
    """Time what is not kept yet, until the minutes are over; of the smallest dataset, all."""
    until = time.perf_counter() + 60 * minutes
    for name, rows in kept["rows"].items():
        over = until if name != "hcrl_sa" else np.inf
        if time.perf_counter() > over or rows.keys() >= {"windows", *MODELS}:
            continue
        share = taken(name, kept["frames"]) / sum(SIZES[name])
        small = {"synthesis": {"seconds": 600 * share, "fleet": 2}} if share < 1 else {}
        params = cg.load_params(name, fit={"batch_size": kept["batch"]}, **small)
        captures, began = dataset(name, share), time.perf_counter()
        data = cg.split(cg.to_graphs(captures), params.split)
        rows["windows"] = {"all": round(time.perf_counter() - began, 2)}
        material = cg.Synthesis(data, cg.clean_captures(captures), params)
        print(f"{name}: {len(data.train):,} windows to train on, {rows['windows']}", flush=True)
        for model in MODELS:
            if model not in rows and time.perf_counter() < over:
                rows[model] = timed(model, material, params)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(kept, indent=1))
                print(f"  {model:<14}{rows[model]}", flush=True)


def hours(rows: dict[str, dict], most: float | None = None) -> tuple[dict[str, float], list[str]]:
    """Hours of each kind of model over all datasets, and what was not timed but extrapolated."""
    found, guessed = {}, []
    for model in ("windows", *MODELS):
        known = {name: rows[name][model]["all"] for name in SIZES if model in rows[name]}
        largest = list(known)[-1]
        by_frame = known[largest] / taken(largest, most)
        guessed += [f"{name} {model}" for name in SIZES if name not in known]
        found[model] = sum(known.get(n, by_frame * taken(n, most)) for n in SIZES) / 3600
    return found, guessed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--frames", type=float, help="of a dataset, at most; default: all")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--kept", type=Path, default=Path("runs", "gpu.json"))
    given = parser.parse_args()
    gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if gpu else "no GPU: one thread of a processor"
    kept: dict = {"device": device, "batch": given.batch, "frames": given.frames}
    before = json.loads(given.kept.read_text()) if given.kept.is_file() else {}
    kept = before if before.items() >= kept.items() else kept | {"rows": {n: {} for n in SIZES}}
    measure(kept, given.kept, given.minutes)
    found, guessed = hours(kept["rows"], given.frames)
    three = sum(found[name] for name in ("windows", *MODELS[:3]))
    size = f"at most {given.frames:,.0f} frames a dataset" if given.frames else "real sizes"
    print(f"{device}; {size}; extrapolated: epochs after the third; {', '.join(guessed)}")
    print(f"18 models: {three:.2f} h; with the 12 students {sum(found.values()):.2f} h")
    record = kept | {"hours": {name: round(h, 4) for name, h in found.items()}}
    record |= {"extrapolated": guessed, "hours of 18 models": round(three, 4)}
    print(json.dumps(record | {"goal met": three < 1 if gpu and not given.frames else None}))


if __name__ == "__main__":
    main()
