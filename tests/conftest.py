"""What the tests share: hypothesis without deadlines (numba compiles), and the real captures."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from scorings import torn

from cangraph.bus.simulator import simulate

settings.register_profile("cangraph", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("cangraph")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data():
    """The folder of real captures, absolute; the tests that ask for it are skipped without one."""
    if not os.environ.get("CANGRAPH_DATA"):
        pytest.skip("needs CANGRAPH_DATA")
    return Path(ROOT, os.environ["CANGRAPH_DATA"]).resolve()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A `CANGRAPH_HOME` of its own, with the parameters of this checkout and no data."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    monkeypatch.setenv("CANGRAPH_HOME", str(tmp_path))
    monkeypatch.setenv("CANGRAPH_DATA", "data")
    return tmp_path


@pytest.fixture(scope="session")
def drive():
    """Sixteen seconds of the demo bus with one burst of spoofing."""
    return simulate("borage", 16.0, attack="spoofing", seed=3, bursts=1)


@pytest.fixture(scope="session")
def clean():
    """Twelve seconds of the demo bus without attack."""
    return simulate("aster", 12.0, seed=4)


@pytest.fixture
def closed_figures():
    """No figure and no style setting outlives a test."""
    import matplotlib
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        yield
        plt.close("all")


@pytest.fixture(scope="session")
def calib():
    """Scores of two models to fit rules of fusion on."""
    return torn(1000, 0)[1]


@pytest.fixture(scope="session")
def held_out():
    """Scores of the same two models of other windows."""
    return torn(500, 1)


@pytest.fixture(scope="session")
def nets(drive):
    """A GAT and a VGAE that were not trained, with the scalers of a drive, as tasks."""
    from cangraph.data.batches import batch_of
    from cangraph.data.graphs import to_graphs
    from cangraph.nn.models import GAT, VGAE
    from cangraph.train.fit import seed_everything
    from cangraph.train.tasks import Detector, Reconstructor

    graphs = to_graphs([drive])
    seed_everything(0)
    gat = Detector(GAT(graphs.spec, hidden=4, heads=2, layers=2))
    vgae = Reconstructor(VGAE(graphs.spec, hidden=4, heads=2, layers=1, latent=3))
    for task in (gat, vgae):
        task.encoder.node_scale.fit(batch_of(graphs).x)
        task.encoder.edge_scale.fit(batch_of(graphs).edge_attr)
        task.eval()
    vgae.finish(graphs)
    return {"gat": gat, "vgae": vgae}


@pytest.fixture(scope="session")
def detector_file(nets, drive, tmp_path_factory):
    """The GAT of `nets` in a file; a tenth of the windows of `drive` reach its threshold."""
    from cangraph.data.graphs import to_graphs
    from cangraph.deploy.export import to_onnx
    from cangraph.params import load_params

    at = float(np.quantile(nets["gat"].score(to_graphs([drive])).value, 0.9))
    path = tmp_path_factory.mktemp("detectors") / "gat.onnx"
    to_onnx(nets["gat"].model, path, at, load_params(), [drive.info])
    return path
