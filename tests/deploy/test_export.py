"""Files that come to what the models they were made of come to, whatever the rule of fusion."""

import numpy as np
import pytest
import torch

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import join, to_graphs
from cangraph.deploy.detector import Judged
from cangraph.deploy.export import to_onnx
from cangraph.deploy.onewindow import Fused
from cangraph.fusion.dqn import all_rules
from cangraph.params import load_params

CLOSE = 1e-5


def rules():
    return all_rules(load_params(fusion={"steps": 20}).fusion)


@pytest.fixture(scope="module")
def many():
    """Windows of all kinds of attack, some thousand."""
    kinds = {"aster": "fuzzing", "borage": "suppression", "clover": "masquerade"}
    made = [simulate(car, 25.0, attack=kind, seed=k) for k, (car, kind) in enumerate(kinds.items())]
    return join([to_graphs([capture], 100, 50) for capture in made])


@pytest.fixture(scope="module")
def fitted(nets, many):
    """Scores of both models, and rules of fusion fitted on them, by name."""
    scores = [nets["vgae"].score(many), nets["gat"].score(many)]
    return scores, {name: rule.fit(scores) for name, rule in rules().items()}


def test_a_net_in_a_file_is_the_net(nets, many, detector, tmp_path):
    assert len(many) > 1500
    assert np.abs(detector.score(many).value - nets["gat"].score(many).value).max() < CLOSE
    assert np.abs(detector.blame(many) - nets["gat"].blame(many)).max() < CLOSE
    vgae = to_onnx(nets["vgae"].model, tmp_path / "vgae.onnx", 1.0, load_params())
    value = nets["vgae"].score(many).value
    assert (np.abs(vgae.score(many).value - value) / np.maximum(value, 1)).max() < CLOSE
    assert not vgae.judge_all(many[:1])[0].attack_type.any(), "it knows no types"


@pytest.mark.parametrize("name", ["GAT alone", "DQN fusion"])
def test_a_rule_of_fusion_in_a_file_is_the_rule(name, nets, many, fitted, tmp_path):
    scores, rule = fitted[0], fitted[1][name]
    fused = Fused(nets["vgae"].model, nets["gat"].model, rule)
    detector = to_onnx(fused, tmp_path / "fused.onnx", 0.5, load_params())
    assert detector.rule == ((0.5, 0, 0) if name == "GAT alone" else (0.5, 2, 3))
    apart = np.abs(detector.score(many).value - rule.score(scores).value)
    # a policy chooses: where two weights are worth the same, rounding does
    assert np.mean(apart < CLOSE) > 0.999 if name == "DQN fusion" else apart.max() < CLOSE
    assert np.abs(detector.blame(many[:9]) - nets["gat"].blame(many[:9])).max() < CLOSE


@pytest.mark.parametrize("name", rules())
def test_a_rule_as_tensors_is_the_rule(name, nets, fitted):
    # without a file, which takes seconds to write
    scores, rule = fitted[0], fitted[1][name]
    fused = Fused(nets["vgae"].model, nets["gat"].model, rule).eval()
    p_v, p_g = rule.probabilities(scores).T
    states = torch.from_numpy(rule.states(scores))
    rows = zip(torch.from_numpy(p_v), torch.from_numpy(p_g), states, strict=True)
    with torch.no_grad():
        values = np.array([float(fused.combine(*row)) for row in rows])
    assert np.abs(values - rule.combine(scores)).max() < 1e-9


def test_a_rule_that_was_not_fitted_is_refused(nets):
    with pytest.raises(ValueError, match=r"Fused: .*the rule 'mean'.*; expected "):
        Fused(nets["vgae"].model, nets["gat"].model, rules()["mean"])


def test_the_metadata_say_where_it_comes_from_and_nothing_of_this_machine(detector, drive):
    facts, content = detector.about, detector.path.read_bytes()
    assert facts["trained_on"]["captures"] == {drive.name: drive.sha256()}
    assert facts["trained_on"]["params"]["window"] == 100
    assert {"torch", "onnx", "onnxruntime", "cangraph", "python"} <= facts["versions"].keys()
    assert len(facts["weights_sha256"]) == 64
    assert b"/work" not in content and b"site-packages" not in content


def test_what_is_not_equal_is_not_written(nets, tmp_path, monkeypatch):
    other = Judged(0.9, np.zeros(1), np.zeros(9))
    monkeypatch.setattr("cangraph.deploy.detector.judge", lambda *_, **__: other)
    with pytest.raises(ArithmeticError, match="expected 1e-05 between them at most"):
        to_onnx(nets["gat"].model, tmp_path / "gat.onnx", 0.5, load_params())
    assert not list(tmp_path.iterdir())
