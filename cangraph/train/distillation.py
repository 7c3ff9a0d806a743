"""Students: the tasks that train a small model from a large one.

| on paper | in code | what the student takes over |
|---|---|---|
| T² KL(σ(t/T) ‖ σ(s/T)) | `soft` | the odds of windows and nodes; of a VGAE, rebuilt features |
| ‖P z_s − z_t‖² | `hint` | the embedding, through a projection P |

Each has a weight in `DistillationParams`.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cangraph.data.batches import Batch
from cangraph.nn.losses import feature_error, hint, soft_targets
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
        width = self.model.embedding_width
        self.projection = nn.Linear(width, teacher.model.embedding_width)

    def with_taught(
        self, own: Tensor, terms: dict[str, Tensor], soft: Tensor, z: Tensor, z_taught: Tensor
    ) -> dict[str, Tensor]:
        """`terms`, with `soft`, `hint` and `loss`: `own` and these two, weighted."""
        taught = {"soft": soft, "hint": hint(self.projection(z), z_taught)}
        loss = own + self.weights.soft * soft + self.weights.hint * taught["hint"]
        return terms | taught | {"loss": loss}


class Distilled(Taught, Detector):
    """Train a student `GAT` on labels and on what its teacher says of windows and nodes."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        z, out = self.model.embed_and_judge(batch)
        z_taught, (window, node, _) = self.teacher(batch, self.encoder.node_scale)
        terms, temperature = self.terms(out, batch), self.weights.temperature
        soft = soft_targets(out.window, window, temperature)
        soft = soft + soft_targets(out.node, node, temperature)
        return self.with_taught(terms["hard"], terms, soft, z, z_taught)


class DistilledVGAE(Taught, Reconstructor):
    """Train a student `VGAE` on its own loss and on its teacher's rebuilt features, by Huber."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x_hat, terms = self.rebuild(batch)
        own = terms["node"] + terms["succession"] + self.beta * terms["kl"]
        z = self.model.pool(batch)
        z_taught, (rebuilt,) = self.teacher(batch, self.encoder.node_scale)
        return self.with_taught(own, terms, feature_error(x_hat, rebuilt).mean(), z, z_taught)


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
