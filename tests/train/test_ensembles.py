"""Several seeds as one detector."""

import numpy as np
import pytest

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.nn.models import GAT, VGAE
from cangraph.train.ensembles import Ensemble
from cangraph.train.fit import seed_everything
from cangraph.train.tasks import Detector, Reconstructor


@pytest.fixture(scope="module")
def graphs():
    return to_graphs([simulate("aster", 6.0, attack="fuzzing", seed=1)], 100, 100)


@pytest.fixture(scope="module")
def members(graphs):
    made = []
    for seed in range(3):
        seed_everything(seed)
        made.append(Detector(GAT(graphs.spec, hidden=4, heads=2, layers=1)))
    return made


def test_the_score_is_the_mean_and_the_disagreement_its_spread(graphs, members):
    scores = Ensemble(members).score(graphs)
    values = np.stack([member.score(graphs).value for member in members])
    odds = (values / (1 - values)).prod(0) ** (1 / 3)  # the mean of log-odds
    np.testing.assert_allclose(scores.value, odds / (1 + odds))
    assert scores.state_names == ("disagreement",)
    np.testing.assert_allclose(scores.state[:, 0], values.std(0), rtol=1e-5)
    assert (scores.state > 0).all()
    assert np.array_equal(scores.label, graphs.label)


def test_reconstructors_score_with_the_mean_of_their_values(graphs):
    members = []
    for seed in range(2):
        seed_everything(seed)
        members.append(Reconstructor(VGAE(graphs.spec, hidden=2, heads=1, layers=1, latent=2)))
    one, other = (member.score(graphs).value for member in members)
    np.testing.assert_allclose(Ensemble(members).score(graphs).value, (one + other) / 2)


def test_members_that_agree_do_not_disagree(graphs, members):
    twin = Detector(GAT(**members[0].model.config))
    twin.load_state_dict(members[0].state_dict())
    scores = Ensemble([members[0], twin]).score(graphs)
    assert not scores.state.any()
    np.testing.assert_allclose(scores.value, members[0].score(graphs).value)


def test_one_member_and_members_of_two_kinds_are_refused(graphs, members):
    other = Reconstructor(VGAE(graphs.spec, hidden=2, heads=1, layers=1, latent=2))
    for one in (members[:1], members[:1] * 2, []):
        with pytest.raises(ValueError, match="expected two or more; train each from a seed"):
            Ensemble(one)
    with pytest.raises(ValueError, match=r"a GAT and a VGAE came, .*; expected one kind; use fus"):
        Ensemble([members[0], other])
