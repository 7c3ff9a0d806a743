"""For tests and doctests alike: no figure outlives its test."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
