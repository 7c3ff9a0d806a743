"""What is written down of a run."""

import csv
import json
import sys

import numpy as np
import pytest

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train import records
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector


@pytest.fixture(scope="module")
def data():
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    graphs = to_graphs([frames.label(scenario="train_02_with_attacks")], 100, 100)
    return Split(graphs, np.repeat([0, 0, 0, 1], len(graphs) // 4 + 1)[: len(graphs)], ())


def trained(data, folder, **values):
    seed_everything(0)
    task = Detector(GAT(data.graphs.spec, hidden=4, heads=2, layers=1))
    params = load_params("demo", student={"epochs": 2}, fit=values)
    return fit(task, data, params, "student", folder)


def test_a_folder_holds_the_history_and_what_the_run_was(data, tmp_path):
    task = trained(data, tmp_path)
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


def test_a_profile_says_where_the_time_went(data, tmp_path):
    trained(data, tmp_path, record=["profile"])
    (path,) = tmp_path.glob("*profile.txt")
    assert "run_training_epoch" in path.read_text()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_not_installed_is_named(data, tmp_path, monkeypatch, name):
    monkeypatch.setattr(records, "RequirementCache", lambda package: False)
    with pytest.raises(ModuleNotFoundError, match=rf"{name}, which is not .*; pip install {name}"):
        trained(data, tmp_path, record=[name])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_the_epochs(data, tmp_path):
    pytest.importorskip("tensorboardX", reason="needs tensorboard or tensorboardX")
    trained(data, tmp_path, record=["tensorboard"])
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_weights_and_biases_stays_offline_without_an_account(data, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    trained(data, tmp_path, record=["wandb"])
    assert sys.modules["wandb"].run is None
    assert list(tmp_path.rglob("offline-run-*"))
