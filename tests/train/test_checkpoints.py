"""A run that is killed goes on, and ends as if it had not been."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.batches import Batches
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.train.checkpoints import newest, read_checkpoint
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector, Reconstructor

# Imports once, then forks: each child trains on, and is killed when it has told of two epochs.
DRIVER = """
import os, signal, sys
sys.path.insert(0, {here!r})
from test_checkpoints import both, material, torch
data, attempts, status = material(), 0, None
while status != 0:
    ear, mouth = os.pipe()
    if not (child := os.fork()):
        os.dup2(mouth, 1)
        torch.save([task.state_dict() for task in both(data, {folder!r})], {out!r})
        os._exit(0)
    os.close(mouth)
    with open(ear) as lines:
        for told, line in enumerate((line for line in lines if line.startswith("epoch")), 1):
            print(line, end="")
            if told == 2:
                os.kill(child, signal.SIGKILL)
    status, attempts = os.waitpid(child, 0)[1], attempts + 1
print(attempts)
"""


def material():
    """A hundred windows, some under attack; each fourth chooses the epoch."""
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    graphs = to_graphs([frames.label(scenario="train_02_with_attacks")], 100, 100)
    some = graphs[np.argsort(graphs.label, kind="stable")[-180:-80]]
    return Split(some, (np.arange(len(some)) % 4 == 3).astype(np.uint8), ())


def asked(epochs=4, **values):
    fit = {"batch_size": 32, "average": "none"} | values
    return load_params("demo", student={"epochs": epochs}, fit=fit)


def both(data, folder):
    params = asked(average="ema")
    seed_everything(0)
    vgae = Reconstructor(VGAE(data.graphs.spec, **params.student.vgae))
    vgae = fit(vgae, data, params, "student", folder and f"{folder}/vgae")
    gat = Detector(GAT(data.graphs.spec, **{**params.student.gat, "dropout": 0.2}))
    gat = fit(gat, data, params, "student", folder and f"{folder}/gat")
    return vgae, gat


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def flipped(content, place):
    """The bytes with one bit flipped."""
    return (int.from_bytes(content, "little") ^ 1 << place).to_bytes(len(content), "little")


def only(folder):
    (run,) = [path for path in folder.iterdir() if path.is_dir()]
    return run


@pytest.fixture(scope="module")
def data():
    return material()


@pytest.fixture(scope="module")
def detector(data):
    def new():
        seed_everything(0)
        return Detector(GAT(data.graphs.spec, **{**asked().student.gat, "dropout": 0.2}))

    return new


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(data, tmp_path):
    """A notebook in small: the second model's first weights follow the first one's last dice."""
    out = tmp_path / "weights.pt"
    code = DRIVER.format(here="tests/train", folder=str(tmp_path / "run"), out=str(out))
    done = subprocess.run(
        [sys.executable, "-u", "-c", code], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[-1]) > 1, "killed at least once"
    whole = [task.state_dict() for task in both(data, None)]
    killed = torch.load(out, weights_only=True)
    assert all(same(*pair) for pair in zip(killed, whole, strict=True))


@pytest.fixture(scope="module")
def whole(data, detector):
    """A run that nothing interrupted."""
    return fit(detector(), data, asked(), "student")


class Killed(BaseException):
    """Ends a run at once, wherever it is."""


def killed_in(data, epoch):
    """`data` whose windows of an epoch cannot be drawn."""

    def draw(number, progress=1.0):
        if number == epoch:
            raise Killed
        return data.train

    broken = Split(data.graphs, data.part, ())
    broken.__dict__["draw"] = draw
    return broken


OPTIONS = [
    {},
    {"average": "swa"},
    {"imbalance": "sampler"},
    {"imbalance": "focal", "accumulate": 2},
    {"warmup": 0.1, "accumulate": 2, "average": "ema"},
    {"precision": "bf16-mixed", "rate": "found"},
    {"freeze": 1.0, "average": "ema"},
    {"prune": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_survives_a_kill_and_goes_with_clipping(data, detector, tmp_path, options):
    params = asked(clip=0.01, **options)
    whole = fit(detector(), data, params, "student")
    with pytest.raises(Killed):
        fit(detector(), killed_in(data, 2), params, "student", tmp_path)
    task = fit(detector(), data, params, "student", tmp_path)
    assert same(task.state_dict(), whole.state_dict())
    assert task.history == whole.history
    assert len(task.history) == params.student.epochs


def test_a_run_goes_on_from_its_last_epoch_though_an_earlier_one_was_better(
    data, detector, tmp_path, capsys
):
    def worse_and_worse():
        task = detector()
        task.on_validation_epoch_end = lambda: task.log("val_rank", -float(task.current_epoch))
        return task

    with pytest.raises(Killed):
        fit(worse_and_worse(), killed_in(data, 3), asked(), "student", tmp_path)
    capsys.readouterr()
    task = fit(worse_and_worse(), data, asked(), "student", tmp_path)
    assert capsys.readouterr().out.startswith("epoch   4/4")
    assert [row.get("kept", False) for row in task.history] == [True, False, False, False]


def test_dice_fall_after_a_run_as_if_it_had_trained_here_and_its_checkpoint_says_what_it_is_of(
    data, detector, tmp_path
):
    params, dice = asked(epochs=2), []
    for _ in range(2):
        task = fit(detector(), data, params, "student", tmp_path)
        dice.append([torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()])
    assert dice[0] == dice[1]
    facts = read_checkpoint(newest(only(tmp_path)))["about"]
    assert facts["task"] == "Detector" and facts["config"]["hidden"] == 8
    assert facts["params"] == params.model_dump() and facts["versions"]["torch"]
    assert facts["data"] != facts["split"]
    row = {name: value for name, value in task.history[-1].items() if name != "kept"}
    assert facts["metrics"] == row


def test_the_best_epochs_are_kept_and_the_last(data, detector, tmp_path):
    task = fit(detector(), data, asked(checkpoints=2), "student", tmp_path)
    folder = only(tmp_path)
    ranked = sorted(task.history, key=lambda row: row["val_rank"])[-2:]
    best = sorted(f"epoch_{row['epoch'] - 1:04d}.ckpt" for row in ranked)
    assert sorted(path.name for path in folder.iterdir()) == [*best, "last.ckpt"]


def test_another_run_begins_anew(data, detector, tmp_path, capsys):
    fit(detector(), data, asked(epochs=2), "student", tmp_path)
    for other, params in [
        (data, asked(epochs=3)),
        (data, asked(epochs=2).model_copy(update={"seed": 1})),
        (Split(data.graphs, data.part[::-1].copy(), ()), asked(epochs=2)),
    ]:
        capsys.readouterr()
        fit(detector(), other, params, "student", tmp_path)
        assert "epoch   1/" in capsys.readouterr().out
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 4


def test_a_half_written_checkpoint_is_never_loaded(data, detector, whole, tmp_path):
    params = asked()
    with pytest.raises(Killed):
        fit(detector(), killed_in(data, 2), params, "student", tmp_path)
    folder = only(tmp_path)
    last = folder / "last.ckpt"
    (folder / "last.ckpt.77.part").write_bytes(last.read_bytes()[:1000])  # killed while writing
    last.write_bytes(last.read_bytes()[:-1000])  # a disk that lost its power
    with pytest.raises(ValueError, match=r"last.ckpt is damaged"):
        read_checkpoint(last)
    with pytest.warns(UserWarning, match=r"last.ckpt is damaged; the one before it is taken"):
        task = fit(detector(), data, params, "student", tmp_path)
    assert same(task.state_dict(), whole.state_dict())

    # a flipped bit is seen too, wherever it lies
    content = last.read_bytes()
    for place in np.random.default_rng(0).integers(8 * len(content), size=60).tolist():
        last.write_bytes(flipped(content, place))
        with pytest.raises(ValueError, match=r"last\.ckpt is damaged"):
            read_checkpoint(last)


def test_a_run_goes_on_where_its_folder_was_moved_to(data, detector, whole, tmp_path):
    params = asked()
    with pytest.raises(Killed):
        fit(detector(), killed_in(data, 3), params, "student", tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    task = fit(detector(), data, params, "student", tmp_path / "b")
    assert same(task.state_dict(), whole.state_dict())


def test_batches_go_on_in_the_order_they_were_in(data):
    first, second = (Batches(data.train, 16, seed=0) for _ in range(2))
    list(first), second.load_state_dict(first.state_dict())
    assert all(torch.equal(a.x, b.x) for a, b in zip(first, second, strict=True))
    assert first.state_dict() == second.state_dict()
