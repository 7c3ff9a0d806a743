"""Students: the tasks that train a small model from large ones.

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


class Teachers(nn.Module):
    """Frozen copies of trained tasks of one kind that teach together: their embeddings side by
    side, (B, Σ d_z), and the means of the three logits of GATs (see `GATOutput`) or of the features
    that VGAEs rebuild, (N, d_x), as the student's scaler standardises. The mean of logits is the
    geometric mean of the odds (Hinton et al. 2015, section 1) at any temperature."""

    def __init__(self, tasks: Sequence[Task]):
        super().__init__()
        models = [copy.deepcopy(task.model) for task in tasks]
        self.embedding_width = sum(model.embedding_width for model in models)
        self.models = nn.ModuleList(models)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True):
        return super().train(False)  # teachers never drop nodes or draw latents

    @torch.no_grad()
    def forward(self, batch: Batch, scale: Standardize) -> tuple[Tensor, list[Tensor]]:
        zs, said = zip(*(self._of(model, batch, scale) for model in self.models), strict=True)
        return torch.cat(zs, dim=1), [torch.stack(of).mean(0) for of in zip(*said, strict=True)]

    @staticmethod
    def _of(model: nn.Module, batch: Batch, scale: Standardize) -> tuple[Tensor, Sequence[Tensor]]:
        if isinstance(model, GAT):
            return model.embed_and_judge(batch)
        assert isinstance(model, VGAE)
        _, z = model.encode_batch(batch)
        own = model.scaled.node_scale  # equal scalers change no bit
        rebuilt = model.features(z) * (own.std / scale.std) + (own.mean - scale.mean) / scale.std
        return model.pool(batch), [rebuilt]


class FromTeachers(Task):
    """A student's task: frozen teachers beside the model, and the projection that hints need."""

    def learn_from(self, teachers: Teachers, params: DistillationParams) -> None:
        self.teachers, self.weights = teachers, params
        if params.hint:  # under DDP every weight needs a gradient
            width = self.model.embedding_width
            self.projection = nn.Linear(width, teachers.embedding_width)

    def with_terms(
        self, own: Tensor, terms: dict[str, Tensor], **asked: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """`terms`, those `asked` for whose weight is not 0, and `loss`, their weighted sum."""
        for name, term in asked.items():
            if weight := self.weights[name]:
                terms[name] = term()
                own = own + weight * terms[name]
        return terms | {"loss": own}


class Distilled(FromTeachers, Detector):
    """Train a student `GAT` on labels and on what its teachers say of windows, nodes and types."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        z, out = self.model.embed_and_judge(batch)
        z_taught, (window, node, attack_type) = self.teachers(batch, self.encoder.node_scale)
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


class DistilledVGAE(FromTeachers, Reconstructor):
    """Train a student `VGAE` on its own loss and on its teachers' rebuilt features, by Huber."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x_hat, terms = self.rebuild(batch)
        own = terms["node"] + terms["succession"] + self.beta * terms["kl"]
        z = self.model.pool(batch)
        z_taught, (rebuilt,) = self.teachers(batch, self.encoder.node_scale)
        return self.with_terms(
            own,
            terms,
            soft=lambda: feature_error(x_hat, rebuilt).mean(),
            hint=lambda: hint(self.projection(z), z_taught),
            relation=lambda: relation(z, z_taught),
        )


def distill(
    teacher: Task | Sequence[Task], into: GAT | VGAE, params: DistillationParams
) -> FromTeachers:
    """The task that trains the student `into` from one or several trained teachers.

    Raises `ValueError` for teachers of another kind than the student, and for none.
    """
    tasks = [teacher] if isinstance(teacher, Task) else teacher
    if {type(task.model) for task in tasks} != {type(into)}:
        came = ", ".join(type(task.model).__name__ for task in tasks) or "no teacher"
        raise ValueError(
            f"distill: {came} came to teach a {type(into).__name__}; expected trained tasks of its "
            "kind; distill a student of each kind"
        )
    task = Distilled(into) if isinstance(into, GAT) else DistilledVGAE(into)
    task.learn_from(Teachers(tasks), params)
    return task
