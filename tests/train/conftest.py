"""What the tests of training share: a short drive under attack, and a small detector."""

import numpy as np
import pytest

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import Split
from cangraph.nn.models import GAT
from cangraph.params import load_params
from cangraph.train.fit import seed_everything
from cangraph.train.tasks import Detector


@pytest.fixture(scope="session")
def attacked():
    """271 windows of one drive, 102 of them under attack."""
    frames = simulate("aster", 16.0, attack="fuzzing", seed=3)
    return to_graphs([frames.label(scenario="train_02_with_attacks", name="drive")], 100, 100)


@pytest.fixture(scope="session")
def data(attacked):
    """Three quarters of the drive to train on, the last one to choose the epoch."""
    part = np.repeat([0, 0, 0, 1], len(attacked) // 4 + 1)[: len(attacked)]
    return Split(attacked, part, ())


@pytest.fixture(scope="session")
def whole(attacked):
    """The drive to train on and to choose the epoch by."""
    split = Split(attacked, np.zeros(len(attacked), np.uint8), ())
    split.__dict__["val"] = split.train
    return split


@pytest.fixture(scope="session")
def detector(attacked):
    """Makes detectors with the same first weights."""

    def new(layers=1, **config):
        seed_everything(0)
        return Detector(GAT(attacked.spec, hidden=4, heads=2, layers=layers, **config))

    return new


@pytest.fixture(scope="session")
def asked():
    """Makes parameters of a short run of a student."""

    def params(epochs=2, **fit):
        return load_params("demo", student={"epochs": epochs}, fit=fit)

    return params
