"""Combine the scores of several detectors: the DQN policy and the rules it must beat."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from cangraph.params import FusionParams
from cangraph.scores import Scores

__all__ = ["DQNFusion", "Rule", "Stacking", "rules"]


class Rule:
    """A way to combine the scores of the VGAE and the GAT, in that order, into one.

    Every rule is used alike: `fit` on calibration windows, then `score`; the decision is always
    `score(...).value >= threshold`. This class takes the VGAE's score alone, the GAT's alone, or
    the `mean` or `max` of both; the VGAE's score becomes a probability by logistic calibration.
    """

    def __init__(self, kind: str = "mean"):
        if kind not in ("vgae", "gat", "mean", "max"):
            raise ValueError(f"Rule: {kind!r} is unknown; expected vgae, gat, mean or max")
        self.kind = kind

    def fit(self, scores: Sequence[Scores]) -> "Rule":
        """Learn what the rule needs from calibration windows.

        Raises `ValueError` when they hold one class only.
        """
        vgae = scores[0]
        if vgae.label.all() or not vgae.label.any():
            raise ValueError(
                f"fusion: the {len(vgae)} calibration windows are all of one class; expected both "
                "benign and attack windows; raise split.calib or split.blocks"
            )
        if not np.array_equal(vgae.label, scores[1].label):
            raise ValueError(
                f"fusion: {len(vgae)} windows of the VGAE and {len(scores[1])} of the GAT have "
                "other labels; expected scores of the same windows; score both on one set of graphs"
            )
        logit = nn.Linear(1, 1)
        nn.init.zeros_(logit.weight)  # no draw: the same windows give the same calibration
        nn.init.zeros_(logit.bias)
        self.vgae_logit = _train(logit, vgae.value[:, None], vgae.label)
        return self

    def probabilities(self, scores: Sequence[Scores]) -> np.ndarray:
        """Attack probability of each window by the VGAE and by the GAT, f8 (B, 2)."""
        vgae, gat = scores
        return np.stack([_predict(self.vgae_logit, vgae.value[:, None]), gat.value], axis=1)

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        """The fused value of each window, f8 (B,)."""
        vgae, gat = self.probabilities(scores).T
        return {"vgae": vgae, "gat": gat, "mean": (vgae + gat) / 2, "max": np.maximum(vgae, gat)}[
            self.kind
        ]

    def score(self, scores: Sequence[Scores]) -> Scores:
        """The fused `Scores`: the one decision function of training, validation and test."""
        return replace(
            scores[0],
            value=self.combine(scores),
            state=np.zeros((0, 0), np.float32),
            state_names=(),
        )


class _Scaled(nn.Module):
    """A network behind the standardisation of its inputs."""

    def __init__(self, net: nn.Module, inputs: Tensor):
        super().__init__()
        self.net, self.mean, self.std = net, inputs.mean(0), inputs.std(0) + 1e-6

    def forward(self, inputs: Tensor) -> Tensor:
        return self.net(((inputs - self.mean) / self.std).clamp(-10, 10))


def _train(net: nn.Module, inputs: np.ndarray, label: np.ndarray, decay: float = 1e-3) -> nn.Module:
    """Fit a small network to labels with L-BFGS and an L2 penalty, on the whole set at once."""
    x, y = torch.from_numpy(np.asarray(inputs, np.float64)), torch.from_numpy(label).double()
    model = _Scaled(net.double(), x)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x).squeeze(1), y)
        loss = loss + decay * sum((w**2).sum() for w in net.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


@torch.no_grad()
def _predict(model: nn.Module, inputs: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(np.asarray(inputs, np.float64))
    return torch.sigmoid(model(x).squeeze(1)).numpy()


def _states(scores: Sequence[Scores]) -> np.ndarray:
    """What both models saw of each window, side by side, f8 (B, 12)."""
    return np.concatenate([s.state for s in scores], axis=1).astype(np.float64)


class Stacking(Rule):
    """A classifier on the state of both models: `logistic`, or an `mlp` of one hidden layer."""

    def __init__(self, kind: str = "logistic", hidden: int = 16, seed: int = 0):
        if kind not in ("logistic", "mlp"):
            raise ValueError(f"Stacking: {kind!r} is unknown; expected logistic or mlp")
        self.kind, self.hidden, self.seed = kind, hidden, seed

    def fit(self, scores: Sequence[Scores]) -> "Stacking":
        super().fit(scores)
        states = _states(scores)
        torch.manual_seed(self.seed)
        width = states.shape[1]
        net = nn.Linear(width, 1)
        if self.kind == "mlp":
            net = nn.Sequential(nn.Linear(width, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))
        self.model = _train(net, states, scores[0].label)
        return self

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        return _predict(self.model, _states(scores))


class DQNFusion(Rule):
    """A policy that chooses, window by window, how much to trust each model.

    State: the 12 numbers of both models (`Scores.state_names`). Action k of K: the weight
    α = k/(K−1) of the GAT; fused = α p_gat + (1−α) p_vgae. Reward: 1 − 2 (fused − label)², drawn
    from benign and attack windows in equal parts, so that "always benign" does not pay. Windows
    are independent, so γ = 0 and Q(s, a) is the expected reward of a (Mnih et al. 2015, with
    replay and a linear ε schedule, without a target network that γ = 0 leaves unused).

    `trace` holds reward, loss, epsilon and mean alpha of each step.
    """

    def __init__(self, params: FusionParams, seed: int = 0):
        self.params, self.seed = params, seed
        self.alphas = np.linspace(0.0, 1.0, params.actions)

    def fit(self, scores: Sequence[Scores]) -> "DQNFusion":
        super().fit(scores)
        p = self.params
        states = torch.from_numpy(_states(scores)).float()
        fused = self._fused(self.probabilities(scores))
        label = scores[0].label
        reward = torch.from_numpy(1 - 2 * (fused - label[:, None]) ** 2).float()
        torch.manual_seed(self.seed)
        rng = np.random.default_rng(self.seed)
        width = states.shape[1]
        self.q = _Scaled(
            nn.Sequential(
                nn.Linear(width, p.hidden),
                nn.ReLU(),
                nn.Linear(p.hidden, p.hidden),
                nn.ReLU(),
                nn.Linear(p.hidden, p.actions),
            ),
            states,
        )
        optimizer = torch.optim.Adam(self.q.parameters(), p.learning_rate)
        sides = np.flatnonzero(label), np.flatnonzero(~label)
        memory = np.zeros((p.replay, 2), np.int64)  # (window, action); the reward follows from both
        trace = {name: np.zeros(p.steps) for name in ("reward", "loss", "epsilon", "mean alpha")}
        filled = 0
        for step in range(p.steps):
            epsilon = np.interp(step, [0, 0.8 * p.steps], [p.epsilon_start, p.epsilon_end])
            window = np.concatenate([rng.choice(side, p.batch_size // 2) for side in sides])
            with torch.no_grad():
                action = self.q(states[window]).argmax(1).numpy()
            explore = rng.random(len(window)) < epsilon
            action = np.where(explore, rng.integers(p.actions, size=len(window)), action)
            memory[(filled + np.arange(len(window))) % p.replay] = np.stack([window, action], 1)
            filled += len(window)
            w, a = memory[rng.integers(min(filled, p.replay), size=p.batch_size)].T
            q = self.q(states[w])[np.arange(len(w)), a]
            loss = nn.functional.smooth_l1_loss(q, reward[w, a])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            row = reward[window, action].mean(), loss.detach(), epsilon, self.alphas[action].mean()
            for name, value in zip(trace, row, strict=True):
                trace[name][step] = float(value)
        self.trace = trace
        return self

    def _fused(self, probabilities: np.ndarray) -> np.ndarray:
        """Fused score of each window under each action, f8 (B, K)."""
        vgae, gat = probabilities.T[:, :, None]
        return self.alphas * gat + (1 - self.alphas) * vgae

    @torch.no_grad()
    def policy(self, scores: Sequence[Scores]) -> np.ndarray:
        """The action taken for each window: the one with the largest Q, i8 (B,)."""
        return self.q(torch.from_numpy(_states(scores)).float()).argmax(1).numpy()

    def alpha(self, scores: Sequence[Scores]) -> np.ndarray:
        """The weight of the GAT in each window, f8 (B,)."""
        return self.alphas[self.policy(scores)]

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        fused = self._fused(self.probabilities(scores))
        return fused[np.arange(len(fused)), self.policy(scores)]


def rules(params: FusionParams, seed: int = 0) -> dict[str, Rule]:
    """Every way to fuse, by the name that tables show."""
    return {
        "VGAE alone": Rule("vgae"),
        "GAT alone": Rule("gat"),
        "mean": Rule("mean"),
        "max": Rule("max"),
        "logistic stacking": Stacking("logistic", seed=seed),
        "MLP stacking": Stacking("mlp", seed=seed),
        "DQN fusion": DQNFusion(params, seed),
    }
