"""The summary says what the reports say, and what is not there."""

import json

import pytest
from reported import SCENARIOS, put_run

from cangraph.data.datasets import DATASETS
from cangraph.report import summary
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


# figures


def test_a_cell_is_the_mean_over_scenarios_and_seeds_and_names_both_of_two(runs):
    row = cell(summary.matrix(runs, "f1"), dataset="hcrl_sa", model="GAT teacher")
    assert (row["mean"], row["half"], row["reach"]) == (
        pytest.approx(0.855),
        None,
        pytest.approx(0.005),
    )
    assert row["text"] == "0.855 (0.850, 0.860)"


def test_three_seeds_have_an_interval(home):
    for seed in (0, 1, 2):
        put_run(home, "demo", seed, lambda m, k, s=seed: 0.9 + 0.01 * s)
    row = cell(summary.matrix(all_runs(), "f1"), dataset="demo", model="GAT teacher")
    # t of two degrees of freedom is 4.303, the standard error .01 / sqrt 3
    assert row["half"] == row["reach"] == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)
    assert row["text"] == "0.910 ± 0.025"


def test_a_single_seed_has_no_interval(home):
    put_run(home, "demo")
    row = cell(summary.matrix(all_runs(), "auroc"), dataset="demo", model="fusion")
    assert (row["text"], row["half"], row["seeds"]) == ("0.900", None, 1)


def test_every_dataset_has_its_rows_and_those_without_run_are_absent(runs):
    rows = summary.matrix(runs, "f1")
    assert len(rows) == len(DATASETS) * len(summary.MODELS)
    assert {row["text"] for row in rows if row["dataset"] != "hcrl_sa"} == {"absent"}
    assert rows[0]["dataset"] == "hcrl_sa"


def test_an_unfinished_run_is_not_absent(home):
    put_run(home, "set_02", stages=["data_prep", "teacher"])
    assert cell(summary.matrix(all_runs(), "f1"), dataset="set_02", model="fusion")["text"] == (
        "no report"
    )


def test_a_metric_that_no_capture_defines_is_undefined_and_not_zero(home):
    put_run(home, "demo", value=lambda model, k: None)
    assert cell(summary.matrix(all_runs(), "f1"), dataset="demo", model="fusion")["mean"] is None
    assert cell(summary.matrix(all_runs(), "f1"), dataset="demo", model="fusion")["text"] == (
        "undefined"
    )


def test_scenarios_are_apart_and_those_without_files_absent(runs):
    rows = [r for r in summary.scenarios(runs, "f1") if r["model"] == "VGAE student"]
    assert [row["scenario"] for row in rows] == list(DATASETS["hcrl_sa"].scenarios)
    assert [row["mean"] for row in rows[:2]] == pytest.approx([0.905, 0.805])
    assert [row["text"] for row in rows[2:]] == ["absent", "absent"]
    assert rows[1]["label"] == "hcrl_sa: unknown car, known attack"


def test_grids_stand_as_their_rows_do(runs):
    rows = summary.scenarios(runs, "f1")
    assert summary.grid(rows).shape == (4, len(summary.MODELS))
    assert summary.grid(rows)[0] == pytest.approx([0.905] * len(summary.MODELS))
    assert summary.grid(rows, "text")[3, 0] == "absent"


def test_ours_stand_before_what_others_published_of_the_same_scenarios(runs):
    rows = summary.beside_published(runs, "f1")
    names = list(dict.fromkeys(row["detector"] for row in rows))
    assert tuple(names[: len(summary.MODELS)]) == summary.MODELS
    kd = cell(rows, detector="KD-GAT (KD-GAT, arXiv 2507.19686)", scenario="hcrl_sa test_01")
    assert kd["text"] == "0.993"
    assert {row["scenario"] for row in rows} == {"hcrl_sa test_01", "hcrl_sa test_02"}


# costs


def test_costs_are_by_dataset_and_latencies_medians_over_seeds(runs):
    row = cell(summary.costs(runs), dataset="hcrl_sa", model="GAT student")
    assert (row["parameters"], row["bytes"], row["p50_ms"]) == (300, 1200, pytest.approx(0.3))


def test_sizes_meet_qualities_of_models_that_have_both(runs):
    sizes, quality, names = summary.sized(summary.costs(runs), summary.matrix(runs, "f1"))
    assert names == ["GAT teacher", "VGAE teacher", "GAT student", "VGAE student"]
    assert sizes == [100, 200, 300, 400] and quality == pytest.approx([0.855] * 4)


def test_a_stage_that_was_not_timed_says_so(home):
    place = put_run(home, "demo")
    record = json.loads((place / "teacher.json").read_text())
    del record["cost"]
    (place / "teacher.json").write_text(json.dumps(record))
    rows = summary.took(all_runs())
    assert cell(rows, run="demo", stage="teacher")["text"] == "not timed"
    assert cell(rows, run="demo", stage="fusion")["text"] == "60 (30)"


def test_equal_data_has_equal_hashes(home):
    for name, seed, captures in (("hcrl_sa", 0, 4), ("hcrl_sa", 1, 4), ("hcrl_sa", 2, 5)):
        put_run(home, name, seed, captures=captures)
    one, other, third = (row["data"] for row in summary.provenance(all_runs()))
    assert one == other != third


# what is missing


def test_a_dataset_without_data_says_where_to_get_it(home):
    row = cell(summary.missing([]), what="set_03")
    assert row["why"] == "no data"
    assert DATASETS["set_03"].publisher in row["remedy"]
    assert str(home / "data/set_03") in row["remedy"]


def test_data_without_a_run_names_the_command(home):
    place = home / "data/set_01/train_01_attack_free"
    place.mkdir(parents=True)
    (place / "a.csv").write_text("")
    row = cell(summary.missing([]), what="set_01")
    assert (row["why"], row["remedy"][:23]) == ("data, but no run", "make run DATASET=set_01")


def test_a_run_that_stopped_names_stage_notebook_and_command(home):
    place = put_run(home, "demo", 2, stages=["data_prep"])
    row = cell(summary.missing(all_runs()), what="demo/seed_2")
    assert row["why"] == "stops before teacher"
    assert row["remedy"] == "make run DATASET=demo SEED=2"
    (place / "teacher.failed.ipynb").write_text("{}")
    row = cell(summary.missing(all_runs()), what="demo/seed_2")
    assert row["why"].endswith("failed: see teacher.failed.ipynb in runs/demo/seed_2/")


def test_scenarios_without_files_are_named(runs):
    row = cell(summary.missing(runs), what="hcrl_sa, in part")
    assert "test_03_known_vehicle_unknown_attack" in row["why"]
    assert not any(scenario in row["why"] for scenario in SCENARIOS)


def test_folders_that_are_no_dataset_are_named(home):
    for name in ("hcrl_ch_head", "hcrl_sa", ".cache"):
        (home / "data" / name).mkdir(parents=True)
    assert summary.no_dataset() == ["hcrl_ch_head"]


# in words, and saved


def test_the_headline_names_the_weakest_scenario(runs):
    said = summary.headline(runs, "f1")
    assert said.startswith("1 of 7 datasets, 2 finished runs.")
    assert "test 02 unknown vehicle known attack of hcrl_sa: F1 0.805" in said


def test_without_a_run_the_headline_is_the_command(home):
    assert "`make demo`" in summary.headline([])
    put_run(home, "demo", stages=["data_prep"])
    assert "`make demo`" in summary.headline(all_runs())


def test_what_is_saved_is_json_with_a_schema(home, runs):
    facts = summary.save(runs)
    assert json.loads((home / "runs/summary.json").read_text()) == facts
    assert facts["schema"] == summary.SCHEMA
    assert {"matrix", "scenarios", "costs", "took", "missing", "provenance"} <= {*facts}


def test_nothing_at_all_is_saved_too(home):
    assert summary.save([])["took"] == []
