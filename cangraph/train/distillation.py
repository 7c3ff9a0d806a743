"""Students: the tasks that train a small model from a large one.

| on paper | in code | what the student takes over |
|---|---|---|
| T² KL(σ(t/T) ‖ σ(s/T)) | `soft` | the odds of windows and nodes; of a VGAE, rebuilt features |
| T² KL(softmax(t/T) ‖ softmax(s/T)) | `types` | the odds of the attack types |
| ‖P z_s − z_t‖² | `hint` | the embedding, through a projection P |
| Huber(ψ(z_s) − ψ(z_t)) | `relation` | which windows of a batch lie near each other |

Each has a weight in `DistillationParams`; a term of weight 0 is left out.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cangraph.data.batches import Batch
from cangraph.nn.losses import feature_error, hint, relation, soft_classes, soft_targets
from cangraph.nn.models import GAT, VGAE, Standardize
from cangraph.params import DistillationParams
from cangraph.train.tasks import Detector, Reconstructor, Task


class Teacher(nn.Module):
    """A frozen copy of the model of a trained task: its embedding (B, d_z), and the three logits of
    a GAT (see `GATOutput`) or the features that a VGAE rebuilds, (N, d_x), as the student's scaler
    standardises."""

    def __init__(self, task: Task):
        super().__init__()
        self.model = copy.deepcopy(task.model)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True):
        return super().train(False)  # a teacher never drops nodes or draws latents

    @torch.no_grad()
    def forward(self, batch: Batch, scale: Standardize) -> tuple[Tensor, Sequence[Tensor]]:
        model = self.model
        if isinstance(model, GAT):
            return model.embed_and_judge(batch)
        _, z = model.encode_batch(batch)
        own = model.scaled.node_scale  # equal scalers change no bit
        rebuilt = model.features(z) * (own.std / scale.std) + (own.mean - scale.mean) / scale.std
        return model.pool(batch), [rebuilt]


class Taught(Task):
    """A student's task: a frozen teacher beside the model, and the projection that hints need."""

    def learn_from(self, teacher: Teacher, params: DistillationParams) -> None:
        self.teacher, self.weights = teacher, params
        if params.hint:  # under DDP every weight needs a gradient
            width = self.model.embedding_width
            self.projection = nn.Linear(width, teacher.model.embedding_width)

    def with_terms(
        self, own: Tensor, terms: dict[str, Tensor], **asked: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """`terms`, those `asked` for whose weight is not 0, and `loss`, their weighted sum."""
        for name, term in asked.items():
            if weight := self.weights[name]:
                terms[name] = term()
                own = own + weight * terms[name]
        return terms | {"loss": own}


class Distilled(Taught, Detector):
    """Train a student `GAT` on labels and on what its teacher says of windows, nodes and types."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        z, out = self.model.embed_and_judge(batch)
        z_taught, (window, node, attack_type) = self.teacher(batch, self.encoder.node_scale)
        temperature = self.weights.temperature
        terms = self.terms(out, batch)
        return self.with_terms(
            terms["hard"],
            terms,
            soft=lambda: (
                soft_targets(out.window, window, temperature)
                + soft_targets(out.node, node, temperature)
            ),
            types=lambda: soft_classes(out.attack_type, attack_type, temperature),
            hint=lambda: hint(self.projection(z), z_taught),
            relation=lambda: relation(z, z_taught),
        )


class DistilledVGAE(Taught, Reconstructor):
    """Train a student `VGAE` on its own loss and on its teacher's rebuilt features, by Huber."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x_hat, terms = self.rebuild(batch)
        own = terms["node"] + terms["succession"] + self.beta * terms["kl"]
        z = self.model.pool(batch)
        z_taught, (rebuilt,) = self.teacher(batch, self.encoder.node_scale)
        return self.with_terms(
            own,
            terms,
            soft=lambda: feature_error(x_hat, rebuilt).mean(),
            hint=lambda: hint(self.projection(z), z_taught),
            relation=lambda: relation(z, z_taught),
        )


def distill(teacher: Task, into: GAT | VGAE, params: DistillationParams) -> Taught:
    """The task that trains the student `into` from a trained teacher.

    Raises `ValueError` for a teacher of another kind than the student.
    """
    if type(teacher.model) is not type(into):
        came = f"{type(teacher.model).__name__} came to teach a {type(into).__name__}"
        raise ValueError(f"distill: {came}; expected a trained task of its kind; give another")
    task = Distilled(into) if isinstance(into, GAT) else DistilledVGAE(into)
    task.learn_from(Teacher(teacher), params)
    return task
