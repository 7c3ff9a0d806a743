"""The detector file, loaded; and the command `cangraph monitor`, called."""

import json

import pytest

from cangraph.__main__ import main
from cangraph.deploy.detector import Exported


@pytest.fixture(scope="session")
def detector(detector_file):
    return Exported(detector_file)


@pytest.fixture
def said(detector_file, capsys):
    """The events of the command with a detector and these arguments."""

    def run(*arguments, detector=detector_file):
        assert main(["monitor", str(detector), *map(str, arguments)]) in (0, 1, 3)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.fixture
def refused(detector_file, capsys):
    """The one line of the command that fails with these arguments."""

    def run(*arguments, detector=detector_file):
        assert main(["monitor", str(detector), *map(str, arguments)]) == 2
        message = capsys.readouterr().err
        assert message.startswith("cangraph monitor: ") and message.count("\n") == 1
        return message

    return run
