"""Terms of the losses as pure functions, each with its equation and source, and how they treat rare
attacks. The tasks in `train.tasks` and `train.distillation` add them up.

Few windows are under attack and fewer nodes are; `fit.imbalance` says what training does about it:

| on paper | in code | what it does |
|---|---|---|
| w = min(n₀/n₁, 10) | `weights` | attack windows weigh more in the loss; attacked nodes weigh 5 |
| p(y = 1) = ½ | `sampler` | an epoch draws as many attack windows as benign ones |
| (1 − p_t)² | `focal` | well-classified windows weigh less (Lin et al. 2017, eq. 4) |
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cangraph.data.graphs import Graphs

_CAP = 10.0  # largest weight of an attack window
_NODE = 5.0  # weight of an attacked node
_FOCUS = 2.0  # γ of the focal loss


class Balance(NamedTuple):
    """How the loss of windows and of nodes treats the rare class (see `losses.binary_error`)."""

    window_weight: float = 1.0
    node_weight: float = _NODE
    focus: float = 0.0

    @classmethod
    def of(cls, train: Graphs, way: str) -> "Balance":
        """The balance that a `way` (`fit.imbalance`) gives on these windows.

        Raises `ValueError` for windows that are all benign.
        """
        attacks = int(train.label.sum())
        if not attacks:
            raise ValueError(
                f"fit: the {len(train)} windows to train on are all benign; expected some under "
                "attack; add captures to train_02_with_attacks, or set fit.train_on to clean"
            )
        if way == "weights":
            return cls(window_weight=min((len(train) - attacks) / attacks, _CAP))
        return cls(node_weight=1.0, focus=_FOCUS if way == "focal" else 0.0)


def balanced(graphs: Graphs, rng: np.random.Generator) -> Graphs:
    """As many windows, drawn with replacement, benign ones and those under attack equally likely.

    Raises `ValueError` when one of the two kinds is missing.
    """
    attacks = int(graphs.label.sum())
    if attacks in (0, len(graphs)):
        raise ValueError(
            f"fit: {attacks} of {len(graphs)} windows drawn are under attack; expected both kinds "
            "for fit.imbalance = 'sampler'; use another way, or draw more windows"
        )
    odds = np.where(graphs.label, 0.5 / attacks, 0.5 / (len(graphs) - attacks))
    return graphs[rng.choice(len(graphs), len(graphs), p=odds)]


def binary_error(logit: Tensor, label: Tensor, weight: float = 1.0, focus: float = 0.0) -> Tensor:
    """Cross-entropy of a rare class, mean: −(1 − p_t)^γ log p_t, times `weight` where the label is
    1, with p = σ(logit), p_t = p where the label is 1 and 1 − p elsewhere, and γ = `focus` (Lin et
    al. 2017, eq. 4).

    >>> round(binary_error(torch.zeros(1), torch.ones(1), focus=2.0).item(), 4)  # ¼ log 2
    0.1733
    """
    attack = torch.tensor(weight, device=logit.device)
    if not focus:
        return functional.binary_cross_entropy_with_logits(logit, label, pos_weight=attack)
    error = functional.binary_cross_entropy_with_logits(
        logit, label, pos_weight=attack, reduction="none"
    )
    return (torch.sigmoid(logit * (1 - 2 * label)) ** focus * error).mean()


def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Distillation with temperature: T² KL(Bern(σ(t/T)) ‖ Bern(σ(s/T))), mean over windows
    (Hinton et al. 2015, section 2; T² keeps the gradient's size).

    >>> round(soft_targets(torch.tensor([0.0]), torch.tensor([4.0]), 2.0).item(), 4)
    1.3113
    """
    t, s = teacher / temperature, student / temperature
    p = torch.sigmoid(t)
    kl = p * (functional.logsigmoid(t) - functional.logsigmoid(s)) + (1 - p) * (
        functional.logsigmoid(-t) - functional.logsigmoid(-s)
    )
    return temperature**2 * kl.mean()


def soft_classes(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Distillation with temperature of several classes that exclude each other, mean over windows:
    T² KL(softmax(t/T) ‖ softmax(s/T)) (Hinton et al. 2015, section 2). Logits, both (B, classes).

    >>> two = torch.zeros(1, 2), torch.tensor([[0.0, 4.0]])
    >>> round(soft_classes(*two, 2.0).item(), 4)  # two classes: `soft_targets` of their difference
    1.3113
    """
    log_p = functional.log_softmax(teacher / temperature, dim=1)
    log_q = functional.log_softmax(student / temperature, dim=1)
    return temperature**2 * functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def hint(projected: Tensor, teacher: Tensor) -> Tensor:
    """Hint on an embedding: mean squared difference between the projected student embedding and
    the teacher's, each scaled to zero mean and unit variance along its features (after Romero
    et al. 2015, eq. 3). Both (B, d).

    >>> hint(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 5.0]])).item() < 1e-4
    True
    """
    width = teacher.shape[1:]
    return functional.mse_loss(
        functional.layer_norm(projected, width), functional.layer_norm(teacher, width)
    )


def relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Relational distance distillation: mean over pairs i < j of windows in a batch of
    Huber(ψ_ij of the student − ψ_ij of the teacher), δ = 1, with their distances in units of the
    mean one, ψ_ij = ‖z_i − z_j‖ / μ (Park et al. 2019, RKD-D, section 3.2.1, where it is a sum).
    (B, d) and (B, d'); 0 for a single window.

    >>> triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    >>> relation(triangle, torch.cat([5 * triangle, triangle], dim=1)).item() < 1e-12
    True
    """
    if len(student) < 2:  # no pairs
        return 0.0 * student.sum()

    def relative(z: Tensor) -> Tensor:
        distance = functional.pdist(z.float())
        return distance / distance.mean().clamp_min(1e-12)  # equal embeddings have no distance

    return functional.huber_loss(relative(student), relative(teacher))


def kl_divergence(mu: Tensor, logstd: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each node, summed over the latent axis: ½ Σ (μ² + σ² − 1 − 2 log σ)
    (Kingma and Welling 2014, appendix B). (N, d) → (N,).

    >>> kl_divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    tensor([0.5000])
    """
    return 0.5 * (mu**2 + torch.exp(2 * logstd) - 1 - 2 * logstd).sum(-1)


def feature_error(x_hat: Tensor, x: Tensor) -> Tensor:
    """Reconstruction error of each node: Huber loss (δ = 1), mean over its features. (N, d) → (N,).

    >>> feature_error(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))  # (½ + 2½) / 2
    tensor([1.5000])
    """
    return functional.huber_loss(x_hat, x, reduction="none").mean(-1)


def succession_error(logit: Tensor, occurs: float) -> Tensor:
    """Negative log likelihood of each succession given the latent nodes: −log σ(z_uᵀz_v) if it
    occurs, −log(1 − σ(z_uᵀz_v)) if not (Kipf and Welling 2016, eq. 2). (E,) → (E,).

    >>> succession_error(torch.zeros(1), 1.0)
    tensor([0.6931])
    """
    return functional.binary_cross_entropy_with_logits(
        logit, torch.full_like(logit, occurs), reduction="none"
    )
