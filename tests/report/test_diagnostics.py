"""The report of a run: what is gathered, what is missing, what is said and saved."""

import json
import shutil

import numpy as np
import pytest
from pydantic import ValidationError
from pytest import approx
from scipy.stats import ks_2samp

from cangraph import runs
from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import split
from cangraph.evaluation.scores import Scores, by_capture
from cangraph.nn.models import GAT, VGAE
from cangraph.params import load_params
from cangraph.report import diagnostics as report
from cangraph.report import digest
from cangraph.report.schema import Report
from cangraph.train.tasks import Detector

AT = {"gat": 0.5, "vgae": 1.0}


@pytest.fixture(scope="module")
def captures():
    made = [
        simulate("aster", 16.0, attack="fuzzing", seed=1).label(scenario="train_02_with_attacks"),
        simulate("aster", 12.0, attack="spoofing", seed=2, bursts=1).label(scenario="test_01_a"),
        simulate("clover", 12.0, attack="flooding", seed=3, bursts=1).label(scenario="test_02_b"),
        simulate("clover", 11.0, seed=4).label(scenario="test_02_b"),
    ]
    return [c.label(recording=f"r{i}", name=f"c{i}") for i, c in enumerate(made)]


def scored(windows, seed):
    """Scores that are right but for a tenth of the windows."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(windows)) < 0.1
    value = np.where(windows.label ^ wrong, 0.9, 0.1) + rng.uniform(-0.05, 0.05, len(windows))
    return Scores.of(windows, value)


@pytest.fixture(scope="module")
def place(captures, tmp_path_factory):
    """A home with the data and the teacher of a run, of seeds 0 and 1, and nothing else."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        shutil.copytree(runs.home() / "params", home / "params")
        patch.setenv("CANGRAPH_HOME", str(home))
        for seed in (0, 1):
            params = load_params("demo", seed=seed, split={"gap": 0.05})
            data = split(to_graphs(captures, params.window, params.stride), params.split)
            runs.save_data(params, data, card={"captures": [], "warnings": []})
            models = {
                "gat": GAT(data.graphs.spec, 4, 2, 1),
                "vgae": VGAE(data.graphs.spec, 4, 2, 1, 2),
            }
            task = Detector(models["gat"])
            task.prepare(data.train)
            parts = {"test": data.test, "drawn": data.train}
            scores = {
                f"{net}/{part}": scored(windows, seed)
                for net in AT
                for part, windows in parts.items()
            }
            history = {net: [{"epoch": 1, "train_loss": 1.0}] for net in AT}
            runs.save(
                "teacher", params, models=models, scores=scores, thresholds=AT, history=history
            )
    return home


@pytest.fixture
def params(place, captures, monkeypatch):
    monkeypatch.setenv("CANGRAPH_HOME", str(place))
    monkeypatch.setattr(report, "read", lambda dataset, seed: captures)
    return load_params("demo", split={"gap": 0.05})


@pytest.fixture
def run(params):
    return report.gather(params)


def test_a_missing_stage_says_which_command_makes_it(run):
    assert sorted(run.missing) == ["distillation", "fusion"]
    for stage, said in run.missing.items():
        assert f"papermill notebooks/{stage}.ipynb" in said and "make run DATASET=demo" in said
    assert run.main == "GAT teacher" and "GAT student" not in run.detectors
    assert run.part("distillation", "costs", []) == []


def test_without_any_detector_there_is_nothing_to_report(params, place):
    other = params.model_copy(update={"seed": 7})
    with pytest.raises(FileNotFoundError, match=r"papermill notebooks/data_prep.ipynb .*-p seed 7"):
        report.gather(other)
    shutil.copytree(place / "runs/demo/seed_1", place / "runs/demo/seed_8")
    for path in (place / "runs/demo/seed_8").glob("teacher*"):
        path.unlink()
    record = json.loads((place / "runs/demo/seed_8/data_prep.json").read_text())
    record["params"]["seed"] = 8
    (place / "runs/demo/seed_8/data_prep.json").write_text(json.dumps(record))
    with pytest.raises(FileNotFoundError, match=r"papermill notebooks/teacher.ipynb .*-p seed 8"):
        report.gather(params.model_copy(update={"seed": 8}))


def test_every_baseline_stands_beside_with_a_threshold(run):
    for name in ("calibrated count", "ID set", "gap ratio", "entropy", "payload novelty",
                 "boosted trees", "leak canary"):  # fmt: skip
        scores, at = run.detectors[name]
        assert len(scores) == len(run.data.test) and np.isfinite(at), name


@pytest.mark.parametrize("default", ["GAT alone", "DQN fusion"])
def test_probabilities_raise_alarms_by_evidence(default, run):
    run.detectors["fusion"] = run.detectors["GAT teacher"][0], 0.5
    run.facts["fusion"] = {"default": default}
    ours = {name for name in run.detectors if run.judged(name)[2:] == (0, 0)}
    known = {"GAT teacher", "GAT teacher, 10 s", "boosted trees"}
    assert ours == (known | {"fusion"} if default == "GAT alone" else known)
    scores, at = run.detectors["GAT teacher, 10 s"]
    assert at == 0.5 and scores.value.min() >= 0 and scores.value.max() <= 1


def test_intervals_take_captures_and_seeds(run, params):
    others = report.seeds(params)
    assert [other.params.seed for other in others] == [1]
    levels = [report.measured(run, ["GAT teacher"]), report.measured(others[0], ["GAT teacher"])]
    means = report.intervals(levels)
    (total,) = (
        row
        for row in means
        if (row["level"], row["detector"], row["scenario"]) == ("window", "GAT teacher", report.ALL)
    )
    assert (total["captures"], total["seeds"]) == (3, 2)
    by_hand = [
        row["f1"]
        for one in (run, others[0])
        for row in by_capture(*one.detectors["GAT teacher"])
        if row["f1"] is not None
    ]
    assert total["f1"] == approx(np.mean(by_hand)) and len(by_hand) == 4
    assert total["f1_low"] <= total["f1"] <= total["f1_high"]
    (alone,) = (
        row
        for row in means
        if (row["level"], row["detector"], row["scenario"]) == ("frame", "GAT teacher", "test_01_a")
    )
    assert alone["f1"] is not None and alone["f1_low"] is None, "one capture has no interval"
    trees = [row for row in means if row["detector"] == "boosted trees"]
    assert {row["seeds"] for row in trees} == {1}, "baselines have no seed"


def test_what_is_undefined_says_why(run):
    rows = report.undefined(report.measured(run)["window"])
    (shared,) = (row for row in rows if row["detector"] == "all")
    assert shared["why"] == "no attack" and shared["captures"] == "test_02 c3"
    assert "auroc" in shared["metrics"] and "f1" in shared["metrics"]


def test_drift_is_scipys_distance_from_training(run):
    rows = {row["part"]: row for row in report.drift(run)}
    train = run.task.score(run.data.train[~run.data.train.label]).value
    scores, _ = run.detectors["GAT teacher"]
    mine = scores.value[~scores.label & (scores.capture == scores.capture.max())]
    assert rows["train"]["ks"] is None
    assert rows["test_02 c3"]["ks"] == approx(ks_2samp(mine, train).statistic)
    assert rows["test_02 c3"]["windows"] == len(mine)


def facts(run):
    levels = report.measured(run, ["GAT teacher"])
    means, events = report.intervals([levels]), report.events_of(run)
    scores, at = run.detectors[run.main]
    wrong = digest.wrong_rows(run, {"misses": np.flatnonzero(scores.label)[:1],
                                    "false_alarms": np.flatnonzero(~scores.label)[:1]})  # fmt: skip
    rows = [
        {
            "detector": "GAT teacher",
            "scenario": "test_01_a",
            "captures": 1,
            "f1": 0.5,
            "auroc": 1.0,
        },
        {"detector": "KD-GAT (a paper)", "scenario": "test_01_a", "f1": 0.9},
    ]
    return {
        "headline": digest.headline(run, events, means), "summary": ["one"], "detector": run.main,
        "missing": run.missing, "seeds": [0], "scenarios": rows, "thresholds": {"GAT teacher": at},
        "captures": by_capture(scores, at), "by_capture": levels, "means": means,
        "undefined": report.undefined(levels["window"]), "attacks": [], "called": [],
        "events": events, "delays": report.delays(run), "calibration": [], "worst": wrong,
        "events_at_5_per_hour": report.at_false_alarms(run, ["GAT teacher"]), "blamed": [],
        "drift": report.drift(run), "explained": {}, "costs": [], "citations": ["a paper"],
    }  # fmt: skip


def test_what_is_saved_follows_the_schema_and_is_said_in_plain_text(run, params):
    given = facts(run)
    saved = digest.save(params, **given)
    record = json.loads((runs.folder(params) / "diagnostics.json").read_text())
    assert record["schema_version"] == saved.schema_version == "1.0"
    text = (runs.folder(params) / "diagnostics.txt").read_text()
    assert given["headline"] in text and "missing: fusion: run " in text and "a paper" in text
    assert text.count("KD-GAT (a paper)") == 1, "its authors report F1 alone"
    assert "undefined, and why" in text


def test_what_does_not_follow_the_schema_is_not_saved(run, params):
    (runs.folder(params) / "diagnostics.json").unlink(missing_ok=True)
    with pytest.raises(ValidationError, match="headline"):
        digest.save(params, **facts(run) | {"headline": None})
    with pytest.raises(ValidationError, match="surprise"):
        digest.save(params, **facts(run), surprise=1)
    assert not (runs.folder(params) / "diagnostics.json").exists()


def test_the_headline_is_made_from_the_numbers(run):
    events = [{"detector": "GAT teacher", "events": 4, "found": 3, "delay_median": 0.25,
               "false_alarms_per_hour": 12.4}]  # fmt: skip
    total = {"level": "window", "scenario": report.ALL, "auroc": 0.9}
    means = [
        total | {"detector": "GAT teacher", "f1": 0.9, "f1_low": 0.8, "f1_high": 1.0},
        total | {"detector": "calibrated count", "f1": 0.7, "f1_low": None, "f1_high": None},
        {"level": "window", "detector": "GAT teacher", "scenario": "test_06_m", "auroc": 0.6},
    ]
    assert digest.headline(run, events, means) == (
        "On demo the GAT teacher raises an alarm for 3 of 4 attacks, half of them within 0.25 s, "
        "at 12 false alarms an hour. Its mean window F1 is 0.900 (0.800, 1.000); the best "
        "baseline, calibrated count, reaches 0.700. It hardly sees: test 06 m."
    )


def test_figures_get_what_the_run_holds(run):
    panels = report.timelines(run)
    assert [panel["name"] for panel in panels] == ["test_01 c1", "test_02 c2", "test_02 c3"]
    assert [len(panel["spans"]) for panel in panels] == [1, 1, 0]
    assert list(report.histories(run)) == ["GAT teacher", "VGAE teacher"]
    scores, at = run.detectors[run.main]
    assert scores.label[report.typical(run)] and scores.value[report.typical(run)] >= at
    assert len(report.waits(run, (5.0, 10.0))) == 2
    first, *_ = report.tempered(run).values()
    assert first is scores


def test_the_schema_in_the_docs_is_the_one_in_use():
    path = runs.home() / "docs/diagnostics.schema.json"
    said = json.loads(path.read_text())
    assert said == Report.model_json_schema(), (
        "python -m cangraph.report.schema > docs/diagnostics.schema.json"
    )
