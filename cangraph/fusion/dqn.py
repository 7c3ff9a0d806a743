"""A DQN that chooses, window by window, how much to trust each model; and all rules of fusion."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import nn

from cangraph.evaluation.scores import Scores
from cangraph.fusion.rules import FusionRule, Stacking, scaling
from cangraph.params import FusionParams

_EPSILON = 1.0, 0.05  # share of random actions at the first step, and from .8 of the steps on
_TRACE = ("reward", "loss", "epsilon", "mean alpha", "mean Q")


def rewards(probabilities: np.ndarray, label: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Reward of each mixing weight in each window, f8 (B, K), from (p_v, p_g), f8 (B, 2):

        r = 1 − 4 (fused − label)²,   fused = α p_g + (1 − α) p_v

    1 for a certain and right answer, 0 for an even chance, −3 for a certain and wrong one. Over
    benign and attack windows in equal parts an answer that ignores the label earns at most 0. Where
    both models say the same, every action earns the same.

    >>> rewards(np.array([[0.5, 1.0]]), np.array([True]), np.array([0.0, 1.0]))
    array([[0., 1.]])
    """
    vgae, gat = probabilities.T[:, :, None]
    return 1 - 4 * (alphas * gat + (1 - alphas) * vgae - np.asarray(label)[:, None]) ** 2


class DQNFusion(FusionRule):
    """Chooses one of K mixing weights in each window: action k is the weight α = k/(K−1) of the
    GAT, fused = α p_g + (1−α) p_v, rewarded by `rewards`.

    A network Q(s, a) of two hidden layers learns what each weight earns (Mnih et al. 2015). Windows
    come from both classes in equal parts; actions are ε-greedy with a linear schedule; each step
    fits the squared error on transitions replayed at random. Windows do not depend on actions, so
    γ = 0: a target is the reward itself, and no target network is needed.

    `trace` holds reward, loss, epsilon, mean alpha and the mean Q of the chosen actions, by step.
    """

    kind = "policy"

    def __init__(self, params: FusionParams, seed: int = 0):
        self.params, self.seed = params, seed
        self.alphas = np.linspace(0.0, 1.0, params.actions)

    def fit(self, scores: Sequence[Scores]) -> Self:
        super().fit(scores)
        states, label = self.states(scores), scores[0].label
        self.scale = scaling().fit(states)
        reward = rewards(self.probabilities(scores), label, self.alphas)
        self._learn(self.scale.transform(states), reward, label)
        return self

    def _network(self, width: int) -> nn.Module:
        p = self.params
        with torch.random.fork_rng(devices=[]):  # the random state of the caller is left alone
            torch.manual_seed(self.seed)
            first, second = nn.Linear(width, p.hidden), nn.Linear(p.hidden, p.hidden)
            third = nn.Linear(p.hidden, p.actions)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def _learn(self, inputs: np.ndarray, reward: np.ndarray, label: np.ndarray) -> None:
        """Fit the network to scaled states (B, k) and the reward of every action, (B, K)."""
        p, rng = self.params, np.random.default_rng(self.seed)
        states, earned = (torch.from_numpy(array).float() for array in (inputs, reward))
        self.net = self._network(inputs.shape[1])
        optimizer = torch.optim.Adam(self.net.parameters(), p.learning_rate)
        sides = np.flatnonzero(label), np.flatnonzero(~label)
        memory = np.zeros((p.replay, 2), np.int64)  # (window, action); the reward follows from both
        filled, rows = 0, []
        for step in range(p.steps):
            epsilon = np.interp(step, [0, 0.8 * p.steps], _EPSILON)
            window = np.concatenate([rng.choice(side, p.batch_size // 2) for side in sides])
            with torch.no_grad():
                q = self.net(states[window])
            action = q.argmax(1).numpy()
            explore = rng.random(len(window)) < epsilon
            action = np.where(explore, rng.integers(p.actions, size=len(window)), action)
            expected = q[np.arange(len(window)), action].mean()
            memory[(filled + np.arange(len(window))) % p.replay] = np.stack([window, action], 1)
            filled += len(window)
            w, a = memory[rng.integers(min(filled, p.replay), size=p.batch_size)].T
            chosen = self.net(states[w])[np.arange(len(w)), a]
            loss = nn.functional.mse_loss(chosen, earned[w, a])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mixed = self.alphas[action].mean()
            earnt = reward[window, action].mean()
            rows.append((earnt, loss.item(), epsilon, mixed, expected.item()))
        self.trace = dict(zip(_TRACE, np.array(rows).T, strict=True))

    @torch.no_grad()
    def q(self, scores: Sequence[Scores]) -> np.ndarray:
        """Expected reward of each action in each window, f8 (B, K)."""
        inputs = torch.from_numpy(self.scale.transform(self.states(scores)))
        return self.net(inputs.float()).double().numpy()

    def alpha(self, scores: Sequence[Scores]) -> np.ndarray:
        """The weight of the GAT with the largest Q in each window, f8 (B,); of equals the least."""
        return self.alphas[self.q(scores).argmax(1)]

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        vgae, gat = self.probabilities(scores).T
        alpha = self.alpha(scores)
        return alpha * gat + (1 - alpha) * vgae


def all_rules(params: FusionParams, seed: int = 0) -> dict[str, FusionRule]:
    """Every way to fuse, by the name that tables show, the simplest first."""
    return {
        "VGAE alone": FusionRule("vgae"),
        "GAT alone": FusionRule("gat"),
        "mean": FusionRule("mean"),
        "max": FusionRule("max"),
        "noisy-or": FusionRule("noisy-or"),
        "logistic stacking": Stacking(),
        "DQN fusion": DQNFusion(params, seed),
    }
