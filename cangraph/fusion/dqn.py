"""Policies that choose, window by window, how much to trust each model; and all rules of fusion."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from cangraph.evaluation.scores import Scores
from cangraph.fusion.rules import Rule, Stacking, scaling
from cangraph.params import FusionParams

__all__ = ["DQNFusion", "LinUCB", "Policy", "rewards", "rules"]


def rewards(probabilities: np.ndarray, label: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """What each mixing weight earns in each window, f8 (B, K), from (p_v, p_g), f8 (B, 2):

        r = 1 − 4 (fused − label)²,   fused = α p_g + (1 − α) p_v

    1 for a sure and right answer, 0 for an even chance, −3 for a sure and wrong one. Drawn from
    benign and attack windows in equal parts, "always benign" earns −1 and whatever does not depend
    on the label at most 0. There is no term for agreement: where both models say the same, every
    action earns the same.

    >>> rewards(np.array([[0.5, 1.0]]), np.array([True]), np.array([0.0, 1.0]))
    array([[0., 1.]])
    """
    vgae, gat = probabilities.T[:, :, None]
    return 1 - 4 * (alphas * gat + (1 - alphas) * vgae - np.asarray(label)[:, None]) ** 2


class Policy(Rule, ABC):
    """Chooses one of K mixing weights in each window: action k is the weight α = k/(K−1) of the
    GAT, fused = α p_g + (1−α) p_v, rewarded by `rewards`. Windows do not depend on actions, so
    γ = 0 and the value of an action is the reward to expect of it.

    A subclass learns `values`, which the policy maximises (ties: the smallest weight).
    """

    kind = "policy"

    def __init__(self, params: FusionParams, seed: int = 0):
        self.params, self.seed = params, seed
        self.alphas = np.linspace(0.0, 1.0, params.actions)

    @abstractmethod
    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Reward to expect of each action, f8 (B, K), in states (B, k) that are scaled."""

    @abstractmethod
    def learn(self, inputs: np.ndarray, reward: np.ndarray, label: np.ndarray) -> None:
        """Learn `values` from scaled states (B, k) and the reward of every action, (B, K)."""

    def fit(self, scores: Sequence[Scores]) -> "Policy":
        super().fit(scores)
        states, label = self.states(scores), scores[0].label
        self.scale = scaling().fit(states)
        reward = rewards(self.probabilities(scores), label, self.alphas)
        self.learn(self.scale.transform(states), reward, label)
        return self

    def q(self, scores: Sequence[Scores]) -> np.ndarray:
        """Reward to expect of each action in each window, f8 (B, K)."""
        if not len(scores[0]):
            return np.zeros((0, len(self.alphas)))
        return self.values(self.scale.transform(self.states(scores)))

    def policy(self, scores: Sequence[Scores]) -> np.ndarray:
        """The action taken in each window, i8 (B,)."""
        return self.q(scores).argmax(1)

    def alpha(self, scores: Sequence[Scores]) -> np.ndarray:
        """The weight of the GAT in each window, f8 (B,)."""
        return self.alphas[self.policy(scores)]

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        vgae, gat = self.probabilities(scores).T
        alpha = self.alpha(scores)
        return alpha * gat + (1 - alpha) * vgae

    def map(self, scores: Sequence[Scores], cells: int = 25) -> tuple[np.ndarray, np.ndarray]:
        """The policy over (p_v, p_g): the weight of the GAT f8 (cells, cells), rows by p_g,
        columns by p_v, and the probabilities of either axis, f8 (cells,).

        What follows from the two probabilities follows them: the VGAE's score and its two feature
        errors (the nearest that the windows of `scores` hold), the GAT's logit, `BOTH`. All other
        entries of the state rest at their median over `scores`. A slice, not a projection: a
        window whose other entries lie elsewhere may be mixed otherwise.
        """
        axis = (np.arange(cells) + 0.5) / cells
        order = np.argsort(p_vgae := self.probabilities(scores)[:, 0], kind="stable")
        error = np.interp(axis, p_vgae[order], scores[0].value[order])
        row, column = np.divmod(np.arange(cells**2), cells)
        follows = {"vgae_node_mean": error[column], "vgae_node_max": error[column]}
        follows |= {"gat_probability": axis[row], "gat_logit": np.log(axis / (1 - axis))[row]}
        nowhere = dict.fromkeys(("attack_type", "capture"), np.zeros(cells**2, np.int32))
        nowhere |= dict.fromkeys(("start", "end"), np.zeros(cells**2))
        grid = []
        for mine, value in zip(scores, (error[column], axis[row]), strict=True):
            state = np.tile(np.median(mine.state, axis=0), (cells**2, 1))
            for k, name in enumerate(mine.state_names):
                state[:, k] = follows.get(name, state[:, k])
            label = np.zeros(cells**2, np.bool_)
            grid.append(replace(mine, value=value, label=label, state=state, **nowhere))
        return self.alpha(grid).reshape(cells, cells), axis


class DQNFusion(Policy):
    """A network Q(s, a) of two hidden layers learns what each mixing weight earns (Mnih et al.
    2015). Windows come from both classes in equal parts; actions are ε-greedy with a linear
    schedule; each step fits the squared error on transitions replayed at random. With γ = 0 a
    target is the reward itself, and the target network of the paper has nothing to do.

    `full_information`: the reward of every action can be computed, so each step fits Q to all K of
    them, in the same network from the same first weights, without exploration or replay. Both
    regress to E[r | s, a], one seeing K rewards of a window, the other one of them: with as many
    steps, this is the upper bound of what the DQN can learn here. Where they differ, exploration
    is what was lost.

    `trace` holds, of each step, reward, loss, epsilon, mean alpha, and the mean Q of the action
    taken. A Q that runs ahead of the reward is a policy that deceives itself.
    """

    def __init__(self, params: FusionParams, seed: int = 0, full_information: bool = False):
        super().__init__(params, seed)
        self.full_information = full_information

    def learn(self, inputs: np.ndarray, reward: np.ndarray, label: np.ndarray) -> None:
        p, rng = self.params, np.random.default_rng(self.seed)
        states, earned = (torch.from_numpy(array).float() for array in (inputs, reward))
        with torch.random.fork_rng(devices=[]):  # a notebook's own dice stay where they are
            torch.manual_seed(self.seed)
            self.net = nn.Sequential(
                nn.Linear(inputs.shape[1], p.hidden),
                nn.ReLU(),
                nn.Linear(p.hidden, p.hidden),
                nn.ReLU(),
                nn.Linear(p.hidden, p.actions),
            )
        optimizer = torch.optim.Adam(self.net.parameters(), p.learning_rate)
        sides = np.flatnonzero(label), np.flatnonzero(~label)
        memory = np.zeros((p.replay, 2), np.int64)  # (window, action); the reward follows from both
        names = ("reward", "loss", "epsilon", "mean alpha", "mean Q")
        self.trace = {name: np.zeros(p.steps) for name in names}
        filled = 0
        for step in range(p.steps):
            epsilon = np.interp(step, [0, 0.8 * p.steps], [p.epsilon_start, p.epsilon_end])
            epsilon *= not self.full_information
            window = np.concatenate([rng.choice(side, p.batch_size // 2) for side in sides])
            q = self.net(states[window])
            action = q.detach().argmax(1).numpy()
            explore = rng.random(len(window)) < epsilon
            action = np.where(explore, rng.integers(p.actions, size=len(window)), action)
            expected = float(q.detach()[np.arange(len(window)), action].mean())
            if self.full_information:
                loss = nn.functional.mse_loss(q, earned[window])
            else:
                memory[(filled + np.arange(len(window))) % p.replay] = np.stack([window, action], 1)
                filled += len(window)
                w, a = memory[rng.integers(min(filled, p.replay), size=p.batch_size)].T
                loss = nn.functional.mse_loss(
                    self.net(states[w])[np.arange(len(w)), a], earned[w, a]
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            row = reward[window, action].mean(), loss.detach(), epsilon
            row += self.alphas[action].mean(), expected
            for name, value in zip(names, row, strict=True):
                self.trace[name][step] = float(value)

    @torch.no_grad()
    def values(self, inputs: np.ndarray) -> np.ndarray:
        return self.net(torch.from_numpy(inputs).float()).double().numpy()


class LinUCB(Policy):
    """A linear bandit with upper confidence bounds, the arms disjoint (Li et al. 2010, algorithm
    1). Of each arm a it keeps A_a = I + Σ x xᵀ and b_a = Σ r x over the windows in which a was
    played; in a window with state x it plays

        argmax_a  θ_aᵀ x + c √(xᵀ A_a⁻¹ x),   θ_a = A_a⁻¹ b_a                       (eq. 5)

    with the mixing weights as arms, c = `params.confidence`, and x the scaled state and a 1, over
    the root of their number, so that |x| is about 1. It learns from `params.rounds` windows, one by
    one, of both classes in equal parts; A_a⁻¹ is kept by Sherman and Morrison's formula. When it
    scores it plays without the bound: there is nothing more to find out.

    `trace` holds, of each round, reward, mean alpha, Q = θ_aᵀ x and bound c √(xᵀ A_a⁻¹ x) of the
    arm played.
    """

    def begin(self, width: int) -> None:
        """Forget everything; states have `width` entries."""
        self.inverse = np.tile(np.eye(width), (len(self.alphas), 1, 1))
        self.b = np.zeros((len(self.alphas), width))
        self.theta = np.zeros_like(self.b)

    def bounds(self, x: np.ndarray) -> np.ndarray:
        """c √(xᵀ A_a⁻¹ x) of each arm, f8 (K,), in the state x, f8 (k,)."""
        return self.params.confidence * np.sqrt(np.maximum(self.inverse @ x @ x, 0.0))

    def update(self, x: np.ndarray, arm: int, reward: float) -> None:
        """Learn what the arm earned in the state x."""
        reach = self.inverse[arm] @ x
        self.inverse[arm] -= np.outer(reach, reach) / (1 + x @ reach)
        self.b[arm] += reward * x
        self.theta[arm] = self.inverse[arm] @ self.b[arm]

    def learn(self, inputs: np.ndarray, reward: np.ndarray, label: np.ndarray) -> None:
        rng, rounds = np.random.default_rng(self.seed), self.params.rounds
        x = _with_one(inputs)
        self.begin(x.shape[1])
        names = ("reward", "mean alpha", "mean Q", "bound")
        self.trace = {name: np.zeros(rounds) for name in names}
        sides = np.flatnonzero(label), np.flatnonzero(~label)
        for step in range(rounds):
            window = rng.choice(sides[step % 2])
            q, bound = self.theta @ x[window], self.bounds(x[window])
            arm = int(np.argmax(q + bound))
            earned = reward[window, arm]
            self.update(x[window], arm, earned)
            for name, value in zip(
                names, (earned, self.alphas[arm], q[arm], bound[arm]), strict=True
            ):
                self.trace[name][step] = value

    def values(self, inputs: np.ndarray) -> np.ndarray:
        return _with_one(inputs) @ self.theta.T


def _with_one(inputs: np.ndarray) -> np.ndarray:
    """Scaled states (B, k) with a 1 behind, over √(k+1), f8 (B, k+1)."""
    width = inputs.shape[1] + 1
    return np.column_stack([inputs, np.ones(len(inputs))]) / np.sqrt(width)


def rules(params: FusionParams, seed: int = 0) -> dict[str, Rule]:
    """Every way to fuse, by the name that tables show, the simplest first."""
    return {
        "VGAE alone": Rule("vgae"),
        "GAT alone": Rule("gat"),
        "mean": Rule("mean"),
        "max": Rule("max"),
        "noisy-or": Rule("noisy-or"),
        "logistic stacking": Stacking("logistic", seed),
        "gradient boosting": Stacking("boosting", seed),
        "MLP stacking": Stacking("mlp", seed),
        "LinUCB": LinUCB(params, seed),
        "full information": DQNFusion(params, seed, full_information=True),
        "DQN fusion": DQNFusion(params, seed),
    }
