"""The detectors on one window, as torch modules without a batch: what an ONNX file can hold.
Rules of fusion that scikit-learn fitted are rebuilt from its public coefficients."""

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from cangraph.data.batches import Batch
from cangraph.frames import ATTACK_TYPES
from cangraph.fusion.dqn import DQNFusion
from cangraph.fusion.rules import CLIP, PLAIN, FusionRule, Stacking
from cangraph.nn.losses import feature_error, kl_divergence, succession_error
from cangraph.nn.models import GAT, VGAE


def _alone(x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Batch:
    labels = torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)
    nodes = torch.zeros(x.shape[0], dtype=torch.int64)
    return Batch(x, edge_index, edge_attr, nodes, *labels)


def _moments(z: Tensor) -> Tensor:
    return torch.stack([z.mean(), z.std(correction=0), z.amax(0)])


class OneGAT(nn.Module):
    """A GAT on one window: the probability of an attack, by node, and by type."""

    def __init__(self, net: GAT):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        probability, node, kinds, _ = self.judged(x, edge_index, edge_attr)
        return probability, torch.sigmoid(node.double()), torch.softmax(kinds.double(), 0)

    def judged(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        """(probability, logits of nodes, logits of types, state for the fusion)."""
        states = self.net.states(_alone(x, edge_index, edge_attr))
        z = states.amax(0)
        logit = self.net.classify(z[None])[0]
        node = self.net.node_head(states)[:, 0]
        probability = torch.sigmoid(logit.double())
        state = [torch.stack([logit, probability.float(), node.amax(0)]), _moments(z)]
        return probability, node, self.net.type_head(z), torch.cat(state)


class OneVGAE(nn.Module):
    """A VGAE on one window: anomaly score, and the feature error of each node."""

    def __init__(self, net: VGAE):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        value, node, _ = self.judged(x, edge_index, edge_attr)
        return value.double(), node.double(), torch.zeros(len(ATTACK_TYPES), dtype=torch.float64)

    def judged(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        """(anomaly score, error of nodes, the state for the fusion)."""
        net = self.net
        x, edges = net.scaled.node_scale(x), net.scaled.edge_scale(edge_attr)
        mu, logstd = net.encoder(x, edge_index, edges)
        node = feature_error(net.features(mu), x)
        succession = succession_error(net.decoder(mu, edge_index, sigmoid=False), 1.0)
        logstd = logstd.clamp(max=10)  # as PyG's VGAE does
        errors = [node.mean(), node.amax(0), succession.mean(), kl_divergence(mu, logstd).mean()]
        errors = net.error_scale(torch.stack(errors)[None])
        state = [errors[0], _moments(torch.cat([mu.mean(0), mu.amax(0)]))]
        return net.score_of(errors)[0], node, torch.cat(state)


class _Scaling(nn.Module):
    """A fitted `fusion.rules.scaling`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, fitted: Pipeline):
        super().__init__()
        scaler = fitted[0]
        self.register_buffer("mean", torch.from_numpy(scaler.mean_))
        self.register_buffer("scale", torch.from_numpy(scaler.scale_))

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.scale).clamp(-CLIP, CLIP)


class _Linear(nn.Module):
    """values · weight + bias, in float64."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: np.ndarray, bias: np.ndarray):
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(np.array(weight, np.float64)))
        self.register_buffer("bias", torch.from_numpy(np.array(bias, np.float64)))

    def forward(self, values: Tensor) -> Tensor:
        return values @ self.weight + self.bias


def _log_odds(fitted: Pipeline) -> nn.Module:
    """A scaling and a logistic regression: inputs (k,) → log-odds of an attack."""
    scaling, classifier = fitted
    line = _Linear(classifier.coef_[0], classifier.intercept_[0])
    return nn.Sequential(_Scaling(scaling), line)


class Fused(nn.Module):
    """Two models and a fitted rule of fusion as one detector; blame and attack types are the GAT's.
    Raises `ValueError` for a rule that was not fitted."""

    alphas: Tensor

    def __init__(self, vgae: VGAE, gat: GAT, rule: FusionRule):
        super().__init__()
        if not hasattr(rule, "calibration"):
            raise ValueError(
                f"Fused: the rule {rule.kind!r} was not fitted; expected one that was; call its fit"
            )
        self.vgae, self.gat, self.kind = OneVGAE(vgae), OneGAT(gat), rule.kind
        self.calibration = _log_odds(rule.calibration)
        if isinstance(rule, Stacking):
            self.classifier = _log_odds(rule.classifier)
        if isinstance(rule, DQNFusion):
            self.scaling, self.net = _Scaling(rule.scale), rule.net
            self.register_buffer("alphas", torch.from_numpy(rule.alphas))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        p_g, node, kinds, gat = self.gat.judged(x, edge_index, edge_attr)
        score, _, vgae = self.vgae.judged(x, edge_index, edge_attr)
        p_v = torch.sigmoid(self.calibration(score.double()[None]))
        derived = [p_v, (2 * p_v - 1).abs(), (2 * p_g - 1).abs(), (p_v - p_g).abs()]
        state = torch.cat([vgae.double(), gat.double(), torch.stack(derived)])
        fused = self.combine(p_v, p_g, state)
        return fused, torch.sigmoid(node.double()), torch.softmax(kinds.double(), 0)

    def combine(self, p_v: Tensor, p_g: Tensor, state: Tensor) -> Tensor:
        """The fused value, as `FusionRule.combine` of the same kind."""
        if self.kind == "max":
            return torch.maximum(p_v, p_g)
        if self.kind in PLAIN:
            return PLAIN[self.kind](p_v, p_g)
        if self.kind == "policy":
            alpha = self.alphas[self.net(self.scaling(state).float()).argmax()]
            return alpha * p_g + (1 - alpha) * p_v
        return torch.sigmoid(self.classifier(state))
