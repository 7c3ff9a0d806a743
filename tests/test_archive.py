"""Runs are read from their JSON by name, and no name leads out of runs/."""

import pytest
from reported import put_run

from cangraph.archive import all_runs, read_run


def test_all_runs_come_by_dataset_and_seed_and_copies_do_not(home):
    put_run(home, "hcrl_sa", 10, stages=["data_prep"])
    put_run(home, "hcrl_sa", 2)
    put_run(home, "demo")
    put_run(home, "demo", name="before")
    put_run(home, "demo", 1, name="before/seed_1")
    (home / "runs/demo/graphs").mkdir()
    (home / "runs/demo/graphs/0123.json").write_text("{}")
    (home / "runs/summary.json").write_text("{}")
    found = all_runs()
    assert [run.name for run in found] == ["demo", "hcrl_sa/seed_2", "hcrl_sa/seed_10"]
    assert [(run.dataset, run.seed) for run in found] == [
        ("demo", 0),
        ("hcrl_sa", 2),
        ("hcrl_sa", 10),
    ]


def test_a_run_says_what_is_next_and_which_command_makes_it(home):
    put_run(home, "demo", stages=["data_prep", "teacher"])
    put_run(home, "hcrl_sa", 3)
    part, whole = all_runs()
    assert (part.next_stage, part.command) == ("distillation", "make run DATASET=demo")
    assert (whole.next_stage, whole.command) == (None, "make run DATASET=hcrl_sa SEED=3")
    assert [*part.stages] == ["data_prep", "teacher"]


def test_a_copy_knows_the_run_it_is_of(home):
    put_run(home, "demo", 4, name="kept/before")
    run = read_run("kept/before")
    assert (run.name, run.home, run.seed) == ("kept/before", "demo/seed_4", 4)


def test_no_runs_are_none(home):
    assert all_runs() == []


@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "demo/..", "/etc", "demo//x", "a b", 3])
def test_a_name_that_leaves_runs_is_refused(home, name):
    with pytest.raises(ValueError, match="not a folder below runs/; expected a name like hcrl_sa"):
        read_run(name)


@pytest.mark.parametrize(
    ("name", "command"),
    [("demo", "make run DATASET=demo`"), ("demo/seed_3", "make run DATASET=demo SEED=3`")],
)
def test_a_run_that_is_not_there_names_its_command(home, name, command):
    with pytest.raises(FileNotFoundError, match=rf"expected data_prep.json and what.*{command}"):
        read_run(name)


def test_a_damaged_record_is_named(home):
    place = put_run(home, "demo")
    (place / "fusion.json").write_text('{"stage": ')
    with pytest.raises(ValueError, match=r"fusion\.json: .*expected the JSON that fusion\.ipynb"):
        all_runs()
