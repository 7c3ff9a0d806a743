"""The report of a run: what is gathered, what is missing, what is said and saved."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest
from pydantic import ValidationError
from pytest import approx

import cangraph as cg
from cangraph import runs
from cangraph.bus.attacks import inject
from cangraph.bus.simulator import simulate
from cangraph.data.splits import split
from cangraph.data.store import prepare
from cangraph.evaluation.scores import METRICS, Scores, by_capture
from cangraph.files import home
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.report import diagnostics
from cangraph.report.diagnostics import ALL
from cangraph.report.schema import Record
from cangraph.train.tasks import Detector

AT = {"gat": 0.5, "vgae": 1.0}


def scored(windows, seed):
    """Scores that are right but for a tenth of the windows."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(windows)) < 0.1
    value = np.where(windows.label ^ wrong, 0.9, 0.1) + rng.uniform(-0.05, 0.05, len(windows))
    return Scores.of(windows, value)


def put_teacher(params, captures):
    """Write what data_prep and teacher leave, with nets that were not trained."""
    folder = runs.graphs_folder(params)
    data = split(prepare(captures, params.window, params.stride, folder=folder), params.split)
    runs.save_data(params, data, card={"captures": [], "warnings": []})
    models = {"gat": GAT(data.graphs.spec, 4, 2, 1), "vgae": VGAE(data.graphs.spec, 4, 2, 1, 2)}
    Detector(models["gat"]).prepare(data.train)
    parts = {"test": data.test, "drawn": data.train}
    scores = {f"{net}/{part}": scored(w, params.seed) for net in AT for part, w in parts.items()}
    history = {net: [{"epoch": 1, "train_loss": 1.0}] for net in AT}
    runs.save("teacher", params, models=models, scores=scores, thresholds=AT, history=history)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """Of a run in a home of its own: seeds 0 and 1 have data and a teacher, seed 8 has data."""
    made = [
        simulate("aster", 16.0, attack="fuzzing", seed=1).label(scenario="train_02_with_attacks"),
        simulate("aster", 12.0, attack="spoofing", seed=2, bursts=1).label(scenario="test_01_a"),
        simulate("clover", 12.0, attack="flooding", seed=3, bursts=1).label(scenario="test_02_b"),
        simulate("clover", 11.0, seed=4).label(scenario="test_02_b"),
    ]
    captures = [c.label(recording=f"r{i}", name=f"c{i}") for i, c in enumerate(made)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CANGRAPH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(diagnostics, "read", lambda dataset, seed: captures)
        for seed in (0, 1, 8):
            put_teacher(load_params("demo", seed=seed, split={"gap": 0.05}), captures)
        for path in (home() / "runs/demo/seed_8").glob("teacher*"):
            path.unlink()
        yield load_params("demo", split={"gap": 0.05})


@pytest.fixture(scope="module")
def report(params):
    return diagnostics.build(params)


def row_of(rows, **values):
    (found,) = (row for row in rows if values.items() <= row.items())
    return found


def test_a_missing_stage_says_which_command_makes_it(report):
    assert sorted(report.missing) == ["distillation", "fusion"]
    for stage, said in report.missing.items():
        assert f"papermill notebooks/{stage}.ipynb" in said and "make run DATASET=demo" in said
    assert report.detector == "GAT teacher" and "GAT student" not in report.thresholds
    assert report.costs == []


@pytest.mark.parametrize(("seed", "stage"), [(7, "data_prep"), (8, "teacher")])
def test_without_any_detector_there_is_nothing_to_report(seed, stage, params):
    with pytest.raises(FileNotFoundError, match=rf"notebooks/{stage}.ipynb .*-p seed {seed}"):
        diagnostics.build(params.model_copy(update={"seed": seed}))


def test_every_baseline_stands_beside_with_a_threshold_and_a_rule_of_alarms(report):
    judges = {judge.name: judge for judge in report.run.judges}
    rules = {name for name, judge in judges.items() if judge.kind == "rule"}
    assert rules == {"calibrated count"}
    assert (judges["boosted trees"].kind, judges["leak canary"].kind) == ("trees", "canary")
    for name in (*rules, "boosted trees", "leak canary"):
        scores, at = judges[name].scores, judges[name].at
        assert len(scores) == len(report.run.data.test) and np.isfinite(at)
    by_evidence = {name for name, judge in judges.items() if judge.rule[1:] == (0, 0)}
    assert by_evidence == {"GAT teacher", "GAT teacher, 10 s", "boosted trees"}
    late = judges["GAT teacher, 10 s"]
    assert late.at == 0.5 and late.scores.value.min() >= 0 and late.scores.value.max() <= 1


@pytest.mark.parametrize(("default", "rule"), [("GAT alone", (0.4, 0, 0)), ("mean", (0.4, 2, 3))])
def test_fusion_raises_alarms_as_its_default_rule_does(default, rule, params, report):
    scores = {"file/test": report.run.main.scores}
    thresholds = {"GAT alone": 0.4, "mean": 0.4}
    runs.save("fusion", params, scores=scores, thresholds=thresholds, default=default)
    run = diagnostics.gather(params, with_baselines=False)
    for path in runs.folder(params).glob("fusion.*"):
        path.unlink()
    (fusion,) = (judge for judge in run.judges if judge.kind == "fusion")
    assert tuple(fusion.rule) == rule and run.main.name == "GAT teacher"


def test_intervals_take_captures_and_seeds(report, params):
    assert report.seeds == [0, 1]
    other = diagnostics.gather(params.model_copy(update={"seed": 1}), with_baselines=False)
    total = row_of(report.means, level="window", detector="GAT teacher", scenario=ALL)
    assert (total["captures"], total["seeds"]) == (3, 2)
    mains = [run.main for run in (report.run, other)]
    rows = [row for main in mains for row in by_capture(main.scores, main.at)]
    by_hand = [row["f1"] for row in rows if row["f1"] is not None]
    assert total["f1"] == approx(np.mean(by_hand)) and len(by_hand) == 4
    assert total["f1_low"] <= total["f1"] <= total["f1_high"]
    alone = row_of(report.means, level="window", detector="GAT teacher", scenario="test_01_a")
    assert alone["f1"] is not None and alone["f1_low"] is None, "one capture has no interval"
    trees = [row for row in report.means if row["detector"] == "boosted trees"]
    assert {row["seeds"] for row in trees} == {1}, "baselines have no seed"


def test_what_is_undefined_says_why(report):
    shared = row_of(report.undefined, detector="all")
    assert shared["why"] == "no attack" and shared["captures"] == "test_02 c3"
    assert "auroc" in shared["metrics"] and "f1" in shared["metrics"]


@pytest.mark.acceptance
@pytest.mark.usefixtures("closed_figures")
@pytest.mark.parametrize("calm", [0, 1], ids=["no capture begins calmly", "one does"])
def test_a_capture_that_begins_under_attack_is_reported_whole(calm, home, monkeypatch):
    train = simulate("aster", 16.0, attack="fuzzing", seed=1).label(scenario="train_02_a")
    first = simulate("aster", 12.0, seed=2)
    first = inject(first, "flooding", spans=[(0.0, 1.5), (4.0, 5.0)], seed=1)
    every = inject(simulate("aster", 2.0, seed=3), "flooding", spans=[(0.0, 2.0)], seed=1)
    tested = [first, every, simulate("aster", 12.0, attack="flooding", seed=4)][: 2 + calm]
    made = [train, *(c.label(scenario="test_01_a") for c in tested)]
    captures = [c.label(recording=f"r{i}", name=f"c{i}") for i, c in enumerate(made)]
    params = load_params("demo", split={"gap": 0.05})
    put_teacher(params, captures)
    monkeypatch.setattr(diagnostics, "read", lambda dataset, seed: captures)
    monkeypatch.setattr(cg, "params_here", lambda: params, raising=False)
    notebook = nbformat.read(Path(__file__).parents[2] / "notebooks/diagnostics.ipynb", 4)
    names: dict = {}
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        exec(cell.source, names)
    saved = Record.model_validate_json((runs.folder(params) / "diagnostics.json").read_text())
    row = row_of(saved.undefined, detector="calibrated count", metrics=", ".join(METRICS))
    assert "no clean seconds" in row["why"]
    assert row["captures"] == ("test_01 c1, test_01 c2" if calm else "all 2")
    judged = [row for row in saved.scenarios if row["detector"] == "calibrated count"]
    assert judged[0]["captures"] == calm


def test_what_is_saved_follows_the_schema(report, params):
    report.save()
    saved = (runs.folder(params) / "diagnostics.json").read_text()
    record = Record.model_validate_json(saved)
    assert (record.schema_version, record.dataset, record.seed) == ("4.0", "demo", 0)
    found = report.model_dump()
    assert json.loads(saved).items() >= json.loads(json.dumps(found)).items()
    with pytest.raises(ValidationError, match="headline"):
        diagnostics.Report(run=report.run, **found | {"headline": None})
    with pytest.raises(ValidationError, match="surprise"):
        diagnostics.Report(run=report.run, surprise=1, **found)


def test_the_headline_is_made_from_the_numbers(report):
    events = [{"detector": "GAT teacher", "events": 4, "found": 3, "delay_median": 0.25,
               "false_alarms_per_hour": 12.4, "false_alarms": 6, "benign_hours": 0.484,
               "false_alarms_per_hour_low": 4.55, "false_alarms_per_hour_high": 27}]  # fmt: skip
    total = {"level": "window", "scenario": ALL, "auroc": 0.9, "f1_low": None, "f1_high": None}
    means = [
        total | {"detector": "GAT teacher", "f1": 0.9, "f1_low": 0.8, "f1_high": 1.0},
        total | {"detector": "VGAE teacher", "f1": 0.8},
        total | {"detector": "calibrated count", "f1": 0.7},
        total | {"detector": "GAT teacher", "scenario": "test_06_m", "auroc": 0.0},
    ]
    said = diagnostics.headline_of(report.run, events, means)
    for number in (
        "3 of 4",
        "0.25 s",
        "12 false",
        "6 in 0.48 h; 95 % 5 to 27",
        "0.900 (0.800, 1.000)",
        "count, reaches 0.700",
    ):
        assert number in said
    assert said.endswith("test 06 m.")
    none = [events[0] | {"events": 0, "found": 0, "false_alarms_per_hour": None}]
    assert "no attack" in diagnostics.headline_of(report.run, none, means[:1])


def test_figures_get_what_the_run_holds(report):
    panels = report.timelines
    assert [panel["name"] for panel in panels] == ["test_01 c1", "test_02 c2", "test_02 c3"]
    assert [len(panel["spans"]) for panel in panels] == [1, 1, 0]
    assert list(report.histories) == ["GAT teacher", "VGAE teacher"]
    assert list(report.curves) == [*report.histories, "boosted trees", "calibrated count"]


def test_the_schema_in_the_docs_is_the_one_in_use():
    path = Path(__file__).parents[2] / "docs/diagnostics.schema.json"
    assert json.loads(path.read_text()) == Record.model_json_schema(), (
        "python -m cangraph.report.schema > docs/diagnostics.schema.json"
    )
