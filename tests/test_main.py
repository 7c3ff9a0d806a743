"""The commands: what each needs, and that several processes train as one does."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

import cangraph as cg
from cangraph import __main__ as command
from cangraph import runs
from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train.checkpoints import newest, read_checkpoint
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector

ROOT = Path(__file__).parents[1]

SMALL = [
    "dataset=demo",
    "synthesis={seconds: 1, fleet: 0}",
    "teacher.gat={hidden: 4, heads: 2, layers: 1}",
    "teacher.vgae={hidden: 4, heads: 2, layers: 1, latent: 2}",
    "teacher.learning_rate=0.005",
    "teacher.epochs=2",
    "fit={batch_size: 256}",
]

# Imports once, then forks: each child is one of two processes, as srun would start them.
DRIVER = """
import os, socket, sys
sys.path.insert(0, {here!r})
from test_main import mean_only
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
children = []
for rank in range(2):
    if not (child := os.fork()):
        os.environ |= {{"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1",
            "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0",
            "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port)}}
        status = 1
        try:
            mean_only({folder!r}, *sys.modules["test_main"].command.launched())
            status = 0
        finally:
            sys.stdout.flush()
            os._exit(status)
    children.append(child)
sys.exit(max(os.waitpid(child, 0)[1] for child in children) >> 8)
"""


def mean_only(folder, devices=1, nodes=1, epochs=2, **values):
    """A detector whose loss has means over windows only; the last batch holds one window."""
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    graphs = to_graphs([frames.label(scenario="train_02_with_attacks")], 100, 100)
    some = graphs[np.argsort(graphs.label, kind="stable")[-180:-80]]
    order = np.random.default_rng(0).permutation(100)
    # 65 windows to learn from in batches of 16
    data = Split(some[order], (np.arange(100) >= 65).astype(np.uint8), ())
    params = load_params("demo", student={"epochs": epochs}, fit={"batch_size": 16} | values)
    seed_everything(0)
    task = Detector(GAT(graphs.spec, **params.student.gat))

    def terms(out, batch):
        of = Detector.terms(task, out, batch)
        # the mean over nodes of a batch is not that of its shares'
        of["hard"] = of["window"] + 0.2 * of["type"] + 0.0 * of["node"]
        return of

    task.terms = terms
    return fit(task, data, params, "student", folder, devices, nodes)


def started(*command, home=ROOT):
    """A script's stdout, on one thread and without a GPU: gloo."""
    env = os.environ | {"CANGRAPH_HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}
    env |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def near(row, other, tolerance):
    for name in row.keys() - {"epoch", "kept"}:
        assert row[name] == pytest.approx(other[name], rel=tolerance, abs=tolerance), name


def test_two_processes_take_the_steps_of_one(tmp_path):
    """To rounding, though the last batch does not divide by two."""
    code = DRIVER.format(here="tests", folder=str(tmp_path / "two"))
    lines = started("-c", code).splitlines()
    assert [line.split()[0] for line in lines] == ["epoch", "epoch", "GAT:"], "printed once"
    one = mean_only(tmp_path / "one")
    of_one, of_two = (next((tmp_path / name).glob("*/")) for name in ("one", "two"))
    assert of_one.name == of_two.name
    last = [read_checkpoint(newest(place)) for place in (of_one, of_two)]
    assert last[0]["global_step"] == last[1]["global_step"] == 10
    for name, weight in last[0]["state_dict"].items():
        torch.testing.assert_close(weight, last[1]["state_dict"][name], rtol=1e-3, atol=2e-4)
    two = json.loads((tmp_path / "two" / "diagnostics.json").read_text())["history"]
    assert len(two) == len(one.history) == 2
    for row, other in zip(one.history, two, strict=True):
        # the one mean over nodes
        assert row.pop("train_node") == pytest.approx(other["train_node"], rel=0.05)
        near(row, other, 1e-5)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a data_prep of the demo, made of two of its captures."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.setenv("CANGRAPH_HOME", str(tmp_path))
    params = command.asked(SMALL)
    captures = [c for c in cg.read("demo") if c.scenario.startswith(("train_02", "test_06"))]
    folder = runs.graphs_folder(params)
    graphs = cg.prepare(captures, params.window, params.stride, folder=folder)
    data = cg.split(graphs, params.split)
    runs.save_data(params, data)
    return tmp_path


@pytest.mark.usefixtures("closed_figures")
def test_the_notebook_goes_on_from_what_two_processes_left(home, monkeypatch, capsys):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    out = started(*launcher, "-m", "cangraph", "train", *SMALL, home=home)
    lines = [line.split()[0] for line in out.splitlines()]
    assert lines[:6] == ["epoch", "epoch", "VGAE:", "epoch", "epoch", "GAT:"]
    assert out.count("teacher.ipynb goes on from here") == 1
    monkeypatch.setattr(cg, "params_here", lambda: command.asked(SMALL), raising=False)
    names: dict = {}
    for cell in nbformat.read(ROOT / "notebooks" / "teacher.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
            if "gat = cg.fit" in cell.source:
                break
    assert "epoch" not in capsys.readouterr().out, "nothing was trained again"
    place = runs.folder(command.asked(SMALL)) / "teacher"
    assert {path.name for path in place.iterdir()} == {"vgae", "gat"}
    assert all(len([*path.glob("*/")]) == 1 for path in place.iterdir())
    # one process from the start: means over nodes and edges count by windows, hidden ones differ
    shutil.rmtree(place)
    alone = command.teachers(command.asked(SMALL))["vgae"]
    assert len(alone.history) == len(names["vgae"].history) == 2
    for row, other in zip(alone.history, names["vgae"].history, strict=True):
        near(row, other, 0.02)


def test_a_run_of_two_processes_needs_a_folder_and_a_given_rate(tmp_path):
    with pytest.raises(ValueError, match=r"2 processes and no folder .* pass folder="):
        mean_only(None, devices=2)
    with pytest.raises(ValueError, match=r"'found' with 4 processes, .* set student.learning_rate"):
        mean_only(tmp_path, devices=2, nodes=2, rate="found")


def test_who_started_the_script_says_how_many_processes_there_are(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)
    assert command.launched() == (1, 1)
    slurm = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}
    elastic = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}
    for given, processes in ((slurm, (4, 2)), (elastic, (2, 3))):
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        assert command.launched() == processes


def test_a_word_that_is_no_parameter_is_refused():
    with pytest.raises(ValueError, match="'12' came; expected name=value; write"):
        command.asked(["dataset=demo", "12"])
    with pytest.raises(ValueError, match=r"'teacher.epoch' is not .*; did you mean 'epochs'\?"):
        command.asked(["teacher.epoch=3"])


# what runs in a plain installation, without extras
WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "pydantic", "yaml", "polars", "cantools"}:
            raise ModuleNotFoundError(f"no {name}", name=name)
sys.meta_path.insert(0, Blocked())
from cangraph.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words, status, says",
    [
        (["--help"], 0, ["scan ", "monitor ", "data ", "train "]),
        (["monitor", "--help"], 0, ["--calibrate", "--interface"]),
        (["train", "--help"], 0, ["name=value"]),
        (["scan", "--help"], 0, ["--detector", "--dbc"]),
        (["scan", "bus.log", "--dbc", "car.dbc"], 2, ["cantools", ".[dbc]"]),
        (["data", "demo"], 0, ["demo: simulated"]),
        (["data", "demos"], 1, ["demos: no such dataset", "hcrl_sa"]),
        (["train", "dataset=demo"], 1, ["yaml", ".[train]"]),
        (["drive"], 2, ["invalid choice: 'drive'"]),
    ],
)
def test_commands_run_or_name_the_extra_that_they_need(words, status, says):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == status, done.stderr
    assert all(word in done.stdout + done.stderr for word in says)


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "cangraph", "data"]
    with subprocess.Popen(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) as running:
        running.stdout.close()
        assert running.stderr.read() == "" and running.wait(60) == 141


@pytest.mark.parametrize(
    "words",
    [
        ["scan", "a.log", "--html"],
        ["baseline", "a.log", "-o"],
        ["export", "a.log", "--c"],
        ["freeze", "--detector", "a.log", "-o"],
    ],
)
def test_a_log_that_is_read_is_never_written_over(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_text("(1.0) can0 1A0#00\n")
    assert command.main([*words, "../" + tmp_path.name + "/a.log"]) in (1, 2)
    assert "a.log" in capsys.readouterr().err
    assert Path("a.log").read_text() == "(1.0) can0 1A0#00\n"


def test_a_folder_and_a_database_that_is_missing_are_named(tmp_path, capsys):
    assert command.main(["scan", str(tmp_path)]) == 2
    assert "a folder" in capsys.readouterr().out
    assert command.main(["scan", str(tmp_path), "--dbc", str(tmp_path / "car.dbc")]) == 2
    assert "car.dbc: no such file" in capsys.readouterr().err
