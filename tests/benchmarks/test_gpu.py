"""What benchmarks/gpu.py times, keeps and extrapolates, on datasets that are cut to a minute."""

import json
import runpy
import sys
from pathlib import Path

import pytest

import cangraph as cg

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import gpu


@pytest.fixture(scope="module")
def captures():
    return gpu.dataset("set_03", 160_000 / sum(gpu.SIZES["set_03"]))


def test_a_dataset_that_is_absent_is_simulated(captures):
    assert sum(map(len, captures)) == pytest.approx(160_000, abs=4)
    assert sum(map(len, cg.clean_captures(captures))) == pytest.approx(80_000, abs=2)
    assert sum(c.attack.any() for c in captures) == 2


def test_epochs_that_were_left_out_are_extrapolated(captures):
    params = cg.load_params("demo", synthesis={"seconds": 1, "fleet": 0})
    data = cg.split(cg.to_graphs(captures), params.split)
    material = cg.Synthesis(data, cg.clean_captures(captures), params)
    row = gpu.timed("VGAE student", material, params)
    assert row["all"] == pytest.approx(row["measured"] + 13 * row["epoch"], abs=0.02)
    assert 0 < row["epoch"] < row["measured"]


def test_what_no_call_reached_counts_by_frame():
    whole = {model: {"all": 36.0} for model in ("windows", *gpu.MODELS)}
    rows = dict.fromkeys(gpu.SIZES, whole)
    found, guessed = gpu.hours(rows)
    assert not guessed and found["GAT"] == pytest.approx(0.06)
    part = {model: row for model, row in whole.items() if model != "GAT"}
    found, guessed = gpu.hours(rows | {"set_02": part})
    assert guessed == ["set_02 GAT"]
    more = sum(gpu.SIZES["set_02"]) / sum(gpu.SIZES["set_03"])
    assert found["GAT"] == pytest.approx((5 + more) * 0.01)


def test_the_next_call_goes_on(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(gpu, "dataset", lambda *_: [])
    monkeypatch.setattr(cg, "to_graphs", lambda _: None, raising=False)
    monkeypatch.setattr(cg, "split", lambda *_: type("S", (), {"train": []}), raising=False)
    monkeypatch.setattr(cg, "clean_captures", lambda _: [], raising=False)
    monkeypatch.setattr(cg, "Synthesis", lambda *_: None, raising=False)
    monkeypatch.setattr(gpu, "timed", lambda model, *_: called.append(model) or {"all": 1.0})
    kept = {"batch": 64, "frames": 2e5, "rows": {name: {} for name in gpu.SIZES}}
    path = tmp_path / "runs" / "gpu.json"
    gpu.measure(kept, path, 0)  # no time: the smallest alone
    assert called == list(gpu.MODELS)
    kept = json.loads(path.read_text())
    del kept["rows"]["hcrl_sa"]["DQN"]
    gpu.measure(kept, path, 10)
    assert called[5:7] == ["DQN", "VGAE"] and len(called) == 5 + 1 + 25


def test_what_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    monkeypatch.setitem(sys.modules, "lightning.pytorch.callbacks", None)
    with pytest.raises(SystemExit, match="lightning"):
        runpy.run_path(str(BENCHMARKS / "gpu.py"))
