"""The detectors on one window, as torch modules without a batch: what a file can hold (`export`).

Rules of fusion are here as tensors, whatever they were fitted with; what they come to is equal.
"""

import numpy as np
import torch
from torch import Tensor, nn

from cangraph.data.batches import Batch
from cangraph.frames import ATTACK_TYPES
from cangraph.fusion.dqn import LinUCB, Policy
from cangraph.fusion.rules import Rule, Stacking
from cangraph.nn.losses import feature_error, kl_divergence, succession_error
from cangraph.nn.models import GAT, VGAE

__all__ = ["Fused", "OneGAT", "OneVGAE"]


def _alone(x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Batch:
    """A window as a batch of its own."""
    labels = torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64)
    nodes = torch.zeros(x.shape[0], dtype=torch.int64)
    return Batch(x, edge_index, edge_attr, nodes, *labels)


def _moments(z: Tensor) -> Tensor:
    """As `tasks` tells the fusion of embeddings, of one window: (d,) → (3,)."""
    return torch.stack([z.mean(), z.std(correction=0), z.amax(0)])


class OneGAT(nn.Module):
    """A GAT on one window: probability of an attack, of each node and of each type."""

    def __init__(self, net: GAT):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        probability, node, kinds, _ = self.seen(x, edge_index, edge_attr)
        return probability, torch.sigmoid(node.double()), torch.softmax(kinds.double(), 0)

    def seen(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        """(probability, logits of nodes, logits of types, what the fusion is told)."""
        states = self.net.states(_alone(x, edge_index, edge_attr))
        z = states.amax(0)
        logit = self.net.classify(z[None])[0]
        node = self.net.node_head(states)[:, 0]
        probability = torch.sigmoid(logit.double())
        told = [torch.stack([logit, probability.float(), node.amax(0)]), _moments(z)]
        return probability, node, self.net.type_head(z), torch.cat(told)


class OneVGAE(nn.Module):
    """A VGAE on one window: anomaly score, and the feature error of each node."""

    def __init__(self, net: VGAE):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        value, node, _ = self.seen(x, edge_index, edge_attr)
        return value.double(), node.double(), torch.zeros(len(ATTACK_TYPES), dtype=torch.float64)

    def seen(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        """(anomaly score, error of nodes, what the fusion is told)."""
        net = self.net
        x, edges = net.scaled.node_scale(x), net.scaled.edge_scale(edge_attr)
        mu, logstd = net.encoder(x, edge_index, edges)
        node = feature_error(net.features(mu), x)
        succession = succession_error(net.decoder(mu, edge_index, sigmoid=False), 1.0)
        logstd = logstd.clamp(max=10)  # as PyG's VGAE does
        errors = [node.mean(), node.amax(0), succession.mean(), kl_divergence(mu, logstd).mean()]
        errors = net.error_scale(torch.stack(errors)[None])
        told = [errors[0], _moments(torch.cat([mu.mean(0), mu.amax(0)]))]
        return net.score_of(errors)[0], node, torch.cat(told)


class _Scaling(nn.Module):
    """`fusion.scaling` as it was fitted."""

    def __init__(self, fitted):
        super().__init__()
        scaler, cut = fitted.steps[0][1], fitted.steps[1][1]
        self.register_buffer("mean", torch.from_numpy(scaler.mean_))
        self.register_buffer("scale", torch.from_numpy(scaler.scale_))
        self.limit = float(cut.func(np.array([np.inf]))[0])

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.scale).clamp(-self.limit, self.limit)


class _Linear(nn.Module):
    """values · weight + bias, in float64."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray):
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(np.array(weight, np.float64)))
        self.register_buffer("bias", torch.from_numpy(np.array(bias, np.float64)))

    def forward(self, values: Tensor) -> Tensor:
        return values @ self.weight + self.bias


class _Trees(nn.Module):
    """The boosted trees of scikit-learn: all trees go down a level at once; log-odds."""

    def __init__(self, fitted):
        super().__init__()
        trees = [tree.nodes for (tree,) in fitted._predictors]
        size = max(map(len, trees))

        def table(name: str, dtype) -> Tensor:
            rows = [np.pad(tree[name].astype(dtype), (0, size - len(tree))) for tree in trees]
            return torch.from_numpy(np.stack(rows))

        leaf = table("is_leaf", np.bool_)
        own = torch.arange(size).expand(len(trees), -1)  # a leaf leads to itself
        self.register_buffer("feature", table("feature_idx", np.int64))
        self.register_buffer("threshold", table("num_threshold", np.float64))
        self.register_buffer("left", torch.where(leaf, own, table("left", np.int64)))
        self.register_buffer("right", torch.where(leaf, own, table("right", np.int64)))
        self.register_buffer("value", table("value", np.float64))
        self.depth = int(max(tree["depth"].max() for tree in trees))
        self.first = float(np.ravel(fitted._baseline_prediction)[0])

    def forward(self, values: Tensor) -> Tensor:
        at = torch.zeros(len(self.feature), 1, dtype=torch.int64)
        for _ in range(self.depth):
            asked = values[self.feature.gather(1, at)]
            left, right = self.left.gather(1, at), self.right.gather(1, at)
            at = torch.where(asked <= self.threshold.gather(1, at), left, right)
        return self.value.gather(1, at).sum() + self.first


def _log_odds(rule: Stacking) -> nn.Module:
    """The classifier of a stacking rule: its inputs (k,) → log-odds."""
    scaling, classifier = _Scaling(rule.classifier.steps[0][1]), rule.classifier.steps[1][1]
    if rule.kind == "boosting":
        return nn.Sequential(scaling, _Trees(classifier))
    if rule.kind == "logistic":
        return nn.Sequential(scaling, _Linear(classifier.coef_[0], classifier.intercept_[0]))
    first, second = zip(classifier.coefs_, classifier.intercepts_, strict=True)
    (weight, bias) = second
    return nn.Sequential(scaling, _Linear(*first), nn.Tanh(), _Linear(weight[:, 0], bias[0]))


def _worth(rule: Policy) -> nn.Module:
    """What a policy expects of each mixing weight: its inputs (k,) → (K,)."""
    if isinstance(rule, LinUCB):
        *weight, bias = rule.theta.T / np.sqrt(rule.theta.shape[1])
        return nn.Sequential(_Scaling(rule.scale), _Linear(np.stack(weight), bias))
    return nn.Sequential(_Scaling(rule.scale), _Single(rule.net))


class _Single(nn.Module):
    """A net in float32 between values in float64."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, values: Tensor) -> Tensor:
        return self.net(values.float()).double()


class Fused(nn.Module):
    """Two models and a fitted rule of fusion as one detector, for `export.to_onnx`. It blames the
    nodes that the GAT blames, and its attack types are those of the GAT.

    Raises `ValueError` for a rule that was not fitted.
    """

    def __init__(self, vgae: VGAE, gat: GAT, rule: Rule):
        super().__init__()
        if not hasattr(rule, "calibration"):
            raise ValueError(
                f"Fused: the rule {rule.kind!r} was not fitted; expected one that was; call "
                "rule.fit with scores of calibration windows"
            )
        self.vgae, self.gat, self.kind = OneVGAE(vgae), OneGAT(gat), rule.kind
        (_, scaling), (_, platt) = rule.calibration.steps
        line = _Linear(platt.coef_[0], platt.intercept_[0])
        self.calibration = nn.Sequential(_Scaling(scaling), line)
        self.stacked = _log_odds(rule) if isinstance(rule, Stacking) else None
        self.worth = _worth(rule) if isinstance(rule, Policy) else None
        if self.worth is not None:
            self.register_buffer("alphas", torch.from_numpy(rule.alphas))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        p_g, node, kinds, gat = self.gat.seen(x, edge_index, edge_attr)
        score, _, vgae = self.vgae.seen(x, edge_index, edge_attr)
        p_v = torch.sigmoid(self.calibration(score.double()[None]))
        derived = [p_v, (2 * p_v - 1).abs(), (2 * p_g - 1).abs(), (p_v - p_g).abs()]
        state = torch.cat([vgae.double(), gat.double(), torch.stack(derived)])
        fused = self.combine(p_v, p_g, state)
        return fused, torch.sigmoid(node.double()), torch.softmax(kinds.double(), 0)

    def combine(self, p_v: Tensor, p_g: Tensor, state: Tensor) -> Tensor:
        """The fused value, as `Rule.combine` of the same kind."""
        if self.stacked is not None:
            return torch.sigmoid(self.stacked(state))
        if self.worth is not None:
            alpha = self.alphas[self.worth(state).argmax()]
            return alpha * p_g + (1 - alpha) * p_v
        match self.kind:
            case "mean":
                return (p_v + p_g) / 2
            case "max":
                return torch.maximum(p_v, p_g)
            case "noisy-or":
                return 1 - (1 - p_v) * (1 - p_g)
        return p_g if self.kind == "gat" else p_v
