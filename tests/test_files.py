"""Where files lie; a file and a folder are written whole or not at all."""

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


def test_of_two_that_write_one_folder_at_once_the_last_one_stays(tmp_path):
    with whole_folder(tmp_path / "folder") as one:
        with whole_folder(tmp_path / "folder") as two:
            (two / "two").touch()
        (one / "one").touch()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["folder", "one"]
