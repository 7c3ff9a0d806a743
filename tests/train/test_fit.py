"""What `fit` promises: the epoch that is kept, options that do what they say, records."""

import csv
import json
import sys

import numpy as np
import pytest
import torch

from cangraph.data.batches import Batches
from cangraph.data.splits import Split
from cangraph.train.fit import fit
from cangraph.train.tasks import Detector


@pytest.fixture(scope="module")
def plain(data, detector, asked):
    """The history of one epoch with the defaults."""
    return fit(detector(), data, asked(1), "student").history


def val_loss(task, data):
    with torch.no_grad():
        (batch,) = Batches(data.val, len(data.val))
        return task.terms(task.model.heads(batch), batch)["hard"].item()


def test_fit_prints_one_line_an_epoch_and_keeps_the_best_rank(data, detector, asked, capsys):
    task = fit(detector(), data, asked(4, average="none"), "student")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert len(lines) == len(task.history) == 4
    (kept,) = [row for row in task.history if row.get("kept")]
    assert val_loss(task, data) == pytest.approx(kept["val_loss"], rel=1e-4)
    best = max(row["val_auprc"] for row in task.history)
    assert kept["val_auprc"] == best
    assert all(row["val_auprc"] < best for row in task.history[kept["epoch"] :])
    # the scaler sees benign training windows only
    benign = data.train[~data.train.label].x.astype(float)
    np.testing.assert_allclose(task.encoder.node_scale.mean, benign.mean(0), rtol=1e-4)


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_the_weights_kept_are_the_average_that_was_validated(data, detector, asked, average):
    task = fit(detector(), data, asked(4, average=average), "student")
    plain = fit(detector(), data, asked(4, average="none"), "student")
    (kept,) = [row for row in task.history if row.get("kept")]
    assert val_loss(task, data) == pytest.approx(kept["val_loss"], rel=1e-4)
    assert task.history[-1]["val_loss"] != plain.history[-1]["val_loss"]
    assert task.history[-1]["train_loss"] == plain.history[-1]["train_loss"], "steps are the same"


def test_batches_draw_new_windows_for_each_epoch_and_keep_the_length_of_the_first(attacked):
    drawn = []

    def draw(epoch):
        drawn.append(epoch)
        return attacked[: 30 - 10 * epoch]

    batches = Batches(draw, 10, seed=0)
    lengths = [[batch.num_graphs for batch in batches] for _ in range(2)]
    assert lengths == [[10, 10, 10], [10, 10, 10]], "twenty windows are gone through again"
    assert drawn == [0, 1]


def test_windows_without_attacks_train_no_detector(data, detector, asked):
    benign = Split(data.graphs, data.part, ())
    benign.__dict__["train"] = data.train[~data.train.label]
    with pytest.raises(ValueError, match=r"all benign; expected some under attack"):
        fit(detector(), benign, asked(), "student")


OPTIONS = [{"clip": 1e-9}, {"precision": "bf16-mixed"}]
OPTIONS += [{"imbalance": way} for way in ("none", "sampler", "focal")]


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_an_option_changes_what_is_learnt(data, detector, asked, plain, option):
    (row,) = fit(detector(), data, asked(1, **option), "student").history
    assert row["train_loss"] != plain[0]["train_loss"]
    if "precision" in option:
        assert row["train_loss"] == pytest.approx(plain[0]["train_loss"], rel=0.02)


def test_batches_of_one_step_are_one_batch(attacked, detector, asked):
    """Two batches of 32 windows a step, or one of 64: the gradient is the mean of the two."""
    rows = np.flatnonzero(~attacked.label)[:64]
    rows[:32] = np.flatnonzero(attacked.label)[:32]
    data = Split(attacked[rows], np.zeros(64, np.uint8), ())
    data.__dict__["val"] = data.train
    weights = []
    for values in ({"batch_size": 64}, {"batch_size": 32, "accumulate": 2}):
        task = detector()
        # the mean over nodes of a batch is not that over two of them
        task.terms = lambda out, batch, task=task: Detector.terms(
            task, out._replace(node=out.node.detach()), batch
        )
        weights.append(fit(task, data, asked(**values), "student").state_dict())
    for name, one in weights[0].items():
        torch.testing.assert_close(one, weights[1][name], rtol=1e-3, atol=1e-5)


# what is written down


def test_a_folder_holds_the_history_and_what_the_run_was(data, detector, asked, tmp_path):
    task = fit(detector(), data, asked(), "student", tmp_path)
    with (tmp_path / "history.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for name in ("train_loss", "val_auprc", "learning_rate", "val_output_p50"):
        assert [float(row[name]) for row in rows] == [row[name] for row in task.history]
    told = json.loads((tmp_path / "diagnostics.json").read_text())
    assert told["history"] == task.history
    assert told["about"]["params"]["dataset"] == "demo"
    assert told["history"][told["kept"] - 1]["kept"]
    assert told["device"] and told["seconds_since_last_start"] > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "record, package, pattern",
    [
        ("tensorboard", "tensorboardX", "events.out.tfevents.*"),
        ("wandb", "wandb", "offline-run-*"),
    ],
)
def test_each_record_leaves_its_files(
    data, detector, asked, tmp_path, monkeypatch, record, package, pattern
):
    pytest.importorskip(package)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    fit(detector(), data, asked(record=[record]), "student", tmp_path)
    assert list(tmp_path.rglob(pattern))
    if record == "wandb":
        assert sys.modules["wandb"].run is None


def test_records_and_several_checkpoints_need_a_folder(data, detector, asked):
    for values in ({"checkpoints": 2}, {"record": ["tensorboard"]}):
        with pytest.raises(ValueError, match=r"no folder .*; pass folder="):
            fit(detector(), data, asked(**values), "student")
