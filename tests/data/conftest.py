"""What the tests of data share."""

import pytest

from cangraph.data.datasets import read


@pytest.fixture
def real(real_data, monkeypatch):
    """Reads a real dataset; the test is skipped without it."""
    monkeypatch.setenv("CANGRAPH_DATA", str(real_data))

    def of(dataset):
        if not (real_data / dataset).is_dir():
            pytest.skip(f"needs CANGRAPH_DATA with {dataset}")
        return read(dataset)

    return of
