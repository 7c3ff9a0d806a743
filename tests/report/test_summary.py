"""The summary says what the reports say, and what is not there."""

import json

import pytest
from reported import put_run

from cangraph.data.datasets import DATASETS
from cangraph.report import summary
from cangraph.report.compare import compare_runs
from cangraph.runs import all_runs


def cell(rows, **names):
    (row,) = (row for row in rows if names.items() <= row.items())
    return row


@pytest.fixture
def runs(home):
    """hcrl_sa with two seeds: capture k of seed s has 0.9 + 0.01 s − 0.1 (k odd)."""
    for seed in (0, 1):
        put_run(home, "hcrl_sa", seed, lambda m, k, s=seed: 0.9 + 0.01 * s - 0.1 * (k % 2))
    return all_runs()


# t of two degrees of freedom is 4.303, the standard error .01 / sqrt 3
CELLS = [(1, "0.850"), (2, "0.855 (0.850, 0.860)"), (3, "0.860 ± 0.025")]


@pytest.mark.parametrize(("seeds", "text"), CELLS)
def test_a_cell_is_the_mean_over_scenarios_and_seeds(runs, home, seeds, text):
    put_run(home, "hcrl_sa", 2, lambda m, k: 0.92 - 0.1 * (k % 2))
    rows = summary.model_by_dataset(all_runs()[:seeds], "f1")
    row = cell(rows, dataset="hcrl_sa", model="GAT teacher")
    assert (row["text"], row["seeds"]) == (text, seeds)


def test_what_is_not_there_is_said_in_words_and_is_not_zero(home):
    put_run(home, "demo", value=lambda model, k: None)
    put_run(home, "set_02", stages=["data_prep", "teacher"])
    rows = summary.model_by_dataset(all_runs(), "f1")
    assert len(rows) == len(DATASETS) * len(summary.MODELS)
    said = {name: cell(rows, dataset=name, model="fusion")["text"] for name in DATASETS}
    known = {"demo": "undefined", "set_02": "no report"}
    assert said == dict.fromkeys(DATASETS, "absent") | known
    assert {row["mean"] for row in rows} == {None} and rows[0]["dataset"] == "demo"


def test_scenarios_are_apart_and_those_without_files_absent(runs):
    rows = summary.model_by_scenario(runs, "f1")
    mine = [row for row in rows if row["model"] == "VGAE student"]
    assert [row["scenario"] for row in mine] == list(DATASETS["hcrl_sa"].scenarios)
    assert mine[1]["label"] == "hcrl_sa: unknown car, known attack"
    assert [row["mean"] for row in mine[:2]] == pytest.approx([0.905, 0.805])
    assert [row["text"] for row in mine[2:]] == ["absent", "absent"]


def test_stages_are_timed(runs):
    row = cell(summary.time_taken(runs), run="hcrl_sa/seed_1", stage="fusion")
    assert (row["seconds"], row["text"]) == (60, "60 (30)")


def test_a_dataset_without_a_run_says_what_makes_one(home):
    place = home / "data/set_01/train_01_attack_free"
    place.mkdir(parents=True)
    (place / "a.csv").write_text("")
    demo, other = summary.missing([])
    assert (demo["what"], other["what"]) == ("demo", "set_01")
    assert other["remedy"].startswith("make run DATASET=set_01")


def test_a_run_that_stopped_names_stage_notebook_and_command(home):
    place = put_run(home, "demo", 2, stages=["data_prep"])
    row = cell(summary.missing(all_runs()), what="demo/seed_2")
    assert row["why"] == "stops before teacher"
    assert row["remedy"] == "make run DATASET=demo SEED=2"
    (place / "teacher.failed.ipynb").write_text("{}")
    row = cell(summary.missing(all_runs()), what="demo/seed_2")
    assert row["why"].endswith("see runs/demo/seed_2/teacher.failed.ipynb")


def test_the_sentence_names_the_weakest_scenario(runs):
    said = summary.weakest_spot(runs, "f1")
    assert said.startswith("1 of 7 datasets, 2 finished runs.")
    assert "test 02 unknown vehicle known attack of hcrl_sa: F1 0.805" in said


@pytest.mark.parametrize("more", [{"stages": ["data_prep"]}, {"value": lambda model, k: None}])
def test_without_a_figure_the_sentence_is_the_command(home, more):
    assert "`make demo`" in summary.weakest_spot([])
    put_run(home, "demo", **more)
    assert "`make demo`" in summary.weakest_spot(all_runs())


def test_what_is_saved_is_json_of_all_runs_or_of_the_two(home, runs):
    facts = summary.save_page(runs, compare_runs("", ""))
    assert json.loads((home / "runs/summary.json").read_text()) == facts
    assert len(facts["took"]) == 10 and {*facts["matrix"]} == {"auroc", "auprc", "f1", "mcc"}
    put_run(home, "hcrl_sa", 0, name="kept", fit={"batch_size": 9})
    compared = compare_runs("kept", "hcrl_sa", "f1")
    summary.save_page(runs, compared)
    facts = json.loads((home / "runs/compare.json").read_text())
    assert facts["detectors"] == compared.detectors and facts["verdict"] == compared.verdict
    assert summary.save_page([], compare_runs("", ""))["took"] == []
