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
    def blocks(last):
        yield b"a"
        yield last

    path = tmp_path / "new/file"
    put(path, blocks(b"b"))
    with pytest.raises(TypeError):
        put(path, blocks("no bytes"))
    assert path.read_bytes() == b"ab"
    with whole_folder(tmp_path / "new/folder") as part:
        (part / "one").touch()
    with pytest.raises(KeyError), whole_folder(tmp_path / "new/folder") as part:
        (part / "other").touch()
        raise KeyError
    assert sorted(p.name for p in (tmp_path / "new").rglob("*")) == ["file", "folder", "one"]
