"""`cangraph data`: what is there, what is missing, and whether it is what it should be."""

import pytest

from cangraph.__main__ import main
from cangraph.data import catalog
from cangraph.data.datasets import SCENARIOS, TRAIN_CLEAN
from cangraph.io.writers import write_frames


@pytest.fixture
def filed(home, clean, drive, monkeypatch):
    """Two captures of hcrl_sa, of which one has a known checksum."""
    folder = home / "data" / "hcrl_sa"
    for scenario, frames in ((TRAIN_CLEAN, clean), (SCENARIOS[0], drive)):
        (folder / scenario).mkdir(parents=True)
        write_frames(frames, folder / scenario / "a-kia.log")
    known = home / "known.txt"
    known.write_text(f"{catalog.content(clean)} hcrl_sa/{TRAIN_CLEAN}/a-kia\n")
    monkeypatch.setattr(catalog, "KNOWN", known)
    return folder


def test_what_is_there_and_missing_is_listed_with_its_publisher(filed, capsys):
    row = catalog.there("hcrl_sa")
    assert (row["files"], row["missing"][0]) == (2, "train_02_with_attacks")
    assert row["scenarios"][TRAIN_CLEAN] == 1 and "HCRL" in row["publisher"]
    assert main(["data"]) == 0
    said = capsys.readouterr().out
    assert "hcrl_sa: 2 files" in said and "set_04: nothing is there" in said
    assert "brooke-lampe/can-train-and-test" in said


def test_check_reads_every_file_and_compares_the_frames_that_are_known(filed, capsys):
    assert main(["data", "--check", "hcrl_sa"]) == 0
    said = capsys.readouterr().out
    assert "frames, 0 of them attacks; as known" in said and "no checksum is known" in said
    path = filed / TRAIN_CLEAN / "a-kia.log"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*rows[:-1], "(1.0) can0 1A"]))
    assert main(["data", "--check", "hcrl_sa"]) == 1
    assert "1 rows refused; other content" in capsys.readouterr().out
    path.write_text("nothing\n")
    assert main(["data", "--check"]) == 1


def test_original_files_count_for_each_scenario_that_they_serve(home):
    folder = home / "data" / "hcrl_ch"
    folder.mkdir(parents=True)
    for name in ("DoS_dataset.csv", "README.md", "else.csv"):
        (folder / name).touch()
    row = catalog.there("hcrl_ch")
    assert row["files"] == 1 and sum(row["scenarios"].values()) == 2
