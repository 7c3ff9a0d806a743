"""Terms of the losses as pure functions, each with its equation and source. The tasks in
`train.tasks` and `train.distillation` add them up."""

import torch
from torch import Tensor
from torch.nn import functional

from cangraph.data.graphs import Graphs

_CAP = 10.0  # largest weight of an attack window
NODE_WEIGHT = 5.0  # of an attacked node in `binary_error`; few are


def attack_weight(train: Graphs) -> float:
    """How much more an attack window weighs than a benign one: min(n₀/n₁, 10).

    Raises `ValueError` for windows that are all benign.
    """
    attacks = int(train.label.sum())
    if not attacks:
        raise ValueError(
            f"fit: the {len(train)} windows to train on are all benign; expected some under "
            "attack; add captures to train_02_with_attacks, or set fit.train_on to clean"
        )
    return min((len(train) - attacks) / attacks, _CAP)


def binary_error(logit: Tensor, label: Tensor, weight: float) -> Tensor:
    """Cross-entropy of a rare class, mean, times `weight` where the label is 1.

    >>> round(binary_error(torch.zeros(1), torch.ones(1), 2.0).item(), 4)  # 2 log 2
    1.3863
    """
    attack = torch.tensor(weight, device=logit.device)
    return functional.binary_cross_entropy_with_logits(logit, label, pos_weight=attack)


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
