"""The detector file, loaded."""

import pytest

from cangraph.deploy.detector import Exported


@pytest.fixture(scope="session")
def detector(detector_file):
    return Exported(detector_file)
