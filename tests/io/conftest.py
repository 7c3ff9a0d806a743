"""A log of any content and ending, read."""

import pytest

from cangraph.io.readers import read_frames


@pytest.fixture
def read(tmp_path):
    """Reads text or bytes as a log of that name."""

    def of(content, name="bus.csv", **how):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_frames(path, **how)

    return of


@pytest.fixture
def error_of(read):
    """The one line in which such a log is refused."""

    def of(content, name="bus.csv", **how):
        with pytest.raises(ValueError) as caught:
            read(content, name, **how)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One file that the examples of a property overwrite."""
    return tmp_path_factory.mktemp("scratch") / "bus.csv"
