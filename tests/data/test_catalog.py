"""`cangraph data`: what is there, and what is missing."""

import pytest

from cangraph.__main__ import main
from cangraph.data import catalog
from cangraph.data.datasets import SCENARIOS, TRAIN_CLEAN
from cangraph.io.writers import write_frames


@pytest.fixture
def filed(home, clean, drive):
    """Two captures of hcrl_sa."""
    folder = home / "data" / "hcrl_sa"
    for scenario, frames in ((TRAIN_CLEAN, clean), (SCENARIOS[0], drive)):
        (folder / scenario).mkdir(parents=True)
        write_frames(frames, folder / scenario / "a-kia.log")


@pytest.mark.usefixtures("filed")
def test_what_is_there_and_missing_is_listed_with_its_publisher(capsys):
    row = catalog.there("hcrl_sa")
    assert (row["files"], row["missing"][0]) == (2, "train_02_with_attacks")
    assert row["scenarios"][TRAIN_CLEAN] == 1 and "HCRL" in row["publisher"]
    assert main(["data"]) == 0
    said = capsys.readouterr().out
    assert "hcrl_sa: 2 files" in said and "set_04: nothing is there" in said
    assert "brooke-lampe/can-train-and-test" in said


def test_original_files_count_for_each_scenario_that_they_serve(home):
    folder = home / "data" / "hcrl_ch"
    folder.mkdir(parents=True)
    for name in ("DoS_dataset.csv", "README.md", "else.csv"):
        (folder / name).touch()
    row = catalog.there("hcrl_ch")
    assert row["files"] == 1 and sum(row["scenarios"].values()) == 2
