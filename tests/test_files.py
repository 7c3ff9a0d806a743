"""Where files lie; a file and a folder are written whole or not at all."""

import os
from pathlib import Path

import pytest

from cangraph.files import data_home, home, put, whole_folder

CHECKOUT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("given", "data", "place"),
    [
        (None, None, CHECKOUT / "data"),
        ("/mnt/home", None, Path("/mnt/home/data")),
        ("/mnt/home", "../elsewhere", Path("/mnt/elsewhere")),
        ("/mnt/home", "/can", Path("/can")),
    ],
)
def test_home_and_data_home_follow_the_environment(monkeypatch, given, data, place):
    for name, value in (("CANGRAPH_HOME", given), ("CANGRAPH_DATA", data)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    assert (home(), data_home()) == (Path(given or CHECKOUT), place)


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    path, folder = tmp_path / "new/file", tmp_path / "new/folder"
    put(path, b"ab")
    with pytest.raises(TypeError):
        put(path, "no bytes")
    assert path.read_bytes() == b"ab"
    with whole_folder(folder) as part:
        (part / "one").touch()
    with pytest.raises(KeyError), whole_folder(folder) as part:
        (part / "other").touch()
        raise KeyError
    assert sorted(p.name for p in (tmp_path / "new").rglob("*")) == ["file", "folder", "one"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/drive.log").touch()
    with pytest.raises(IsADirectoryError, match="results"):
        put(tmp_path / "results", b"a page")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["drive.log", "results"]


def test_of_two_that_write_one_folder_at_once_the_last_one_stays(tmp_path):
    with whole_folder(tmp_path / "folder") as one:
        with whole_folder(tmp_path / "folder") as two:
            (two / "two").touch()
        (one / "one").touch()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder", "one"]


@pytest.mark.acceptance
def test_what_is_written_is_on_the_disk_before_the_old_is_gone(tmp_path, monkeypatch):
    done, synced, replaced = [], os.fsync, os.replace

    def sync(handle):
        done.append(os.readlink(f"/proc/self/fd/{handle}"))
        synced(handle)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda a, b: done.append(b) or replaced(a, b))
    path, folder = tmp_path / "state", tmp_path / "folder"
    put(path, b"new")
    (part, *_), *rest = [done[:1], *done[1:]]
    assert Path(part).name == "state" and part != str(path)
    assert rest == [path, str(tmp_path)], "then the name, then the folder that has it"
    done.clear()
    with whole_folder(folder) as made:
        (made / "inside").write_bytes(b"new")
    before = [Path(name).name for name in done[: done.index(folder)]]
    assert before == ["inside", "folder"] and done[-1] == str(tmp_path)
