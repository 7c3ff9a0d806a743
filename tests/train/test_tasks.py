"""Tasks: losses by hand, scores and blame."""

import numpy as np
import pytest
import torch

from cangraph.data.batches import Batches
from cangraph.evaluation.scores import Scores, threshold
from cangraph.nn.losses import Balance
from cangraph.nn.models import GAT, VGAE
from cangraph.train.tasks import Detector, Reconstructor


def test_a_score_is_the_probability_in_float64(attacked, detector):
    scores = detector().score(attacked)
    assert scores.value.dtype == np.float64
    logit = scores.state[:, scores.state_names.index("gat_logit")].astype(float)
    np.testing.assert_allclose(scores.value, 1 / (1 + np.exp(-logit)), rtol=1e-6)
    assert len(detector().score(attacked[:0])) == 0


def test_a_probability_is_decided_at_an_even_chance_and_an_error_where_calibration_says(attacked):
    label = np.array([False, False, True, True])
    calib = Scores(np.array([0.1, 0.6, 0.8, 0.9]), label, *np.zeros((4, 4), int), captures=())
    assert Detector(GAT(attacked.spec, 4, 2, 1)).zero_shot(calib) == 0.5
    vgae = Reconstructor(VGAE(attacked.spec, 4, 2, 1, 2))
    assert vgae.zero_shot(calib) == threshold(calib) == 0.7


def test_the_loss_is_that_of_windows_nodes_and_types(attacked, detector):
    task, (batch,) = detector(), Batches(attacked[20:60], 40)
    out = task.model.heads(batch)
    task.balance = Balance(window_weight=3.0)
    terms = task.terms(out, batch)

    def bce(logit, label, weight):
        p = torch.sigmoid(logit)
        return -(weight * label * p.log() + (1 - label) * (1 - p).log()).mean().item()

    assert terms["window"].item() == pytest.approx(bce(out.window, batch.label, 3.0), rel=1e-4)
    assert terms["node"].item() == pytest.approx(bce(out.node, batch.node_label, 5.0), rel=1e-4)
    odds = out.attack_type.log_softmax(1)
    kind = -odds[torch.arange(40), batch.attack_type].mean().item()
    assert terms["type"].item() == pytest.approx(kind, rel=1e-4)
    total = terms["window"] + terms["node"] + 0.2 * terms["type"]
    assert terms["hard"].item() == pytest.approx(total.item())


def test_blame_is_the_probability_of_each_node(attacked, detector):
    task, some = detector().eval(), attacked[:9]
    blame = task.blame(some)
    assert blame.shape == (len(some.x),) and blame.dtype == np.float64
    (batch,) = Batches(some, 9)
    with torch.no_grad():
        expected = torch.sigmoid(task.model.heads(batch).node)
    np.testing.assert_allclose(blame, expected, rtol=1e-5)
