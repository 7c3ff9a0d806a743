"""Students: the tasks that train a small model from a large one."""

import copy

import torch
from torch import Tensor, nn

from cangraph.batches import Batch
from cangraph.losses import feature_error, hint, soft_targets
from cangraph.models import GAT, VGAE
from cangraph.params import DistillationParams
from cangraph.tasks import Detector, Reconstructor, Task

__all__ = ["Distilled", "DistilledVGAE", "distill"]


class FromTeacher:
    """A frozen teacher beside the student, and the projection that hints need."""

    def learn_from(self, teacher: Task, params: DistillationParams) -> None:
        self.teacher = copy.deepcopy(teacher.model).requires_grad_(False).eval()
        self.weights = params
        self.projection = nn.Linear(self.model.embedding_width, self.teacher.embedding_width)

    def train(self, mode: bool = True):
        super().train(mode)
        self.teacher.eval()  # the teacher never drops nodes or draws latents
        return self


class Distilled(FromTeacher, Detector):
    """Train a student `GAT` on labels, the teacher's softened probabilities of windows and nodes,
    and its embedding:
    loss = labels + soft · T² KL(teacher ‖ student) + hint · ‖projection(z_student) − z_teacher‖².
    """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        states = self.model.states(batch)
        z = self.model.pool(states, batch)
        out = self.model.outputs(states, z)
        with torch.no_grad():
            states_teacher = self.teacher.states(batch)
            z_teacher = self.teacher.pool(states_teacher, batch)
            taught = self.teacher.outputs(states_teacher, z_teacher)
        temperature = self.weights.temperature
        terms = self.terms(out, batch) | {
            "soft": soft_targets(out.window, taught.window, temperature)
            + soft_targets(out.node, taught.node, temperature),
            "hint": hint(self.projection(z), z_teacher),
        }
        total = (
            terms["hard"] + self.weights.soft * terms["soft"] + self.weights.hint * terms["hint"]
        )
        return terms | {"loss": total}


class DistilledVGAE(FromTeacher, Reconstructor):
    """Train a student `VGAE` on its own loss, the teacher's rebuilt features and its embedding:
    loss = VGAE loss + soft · Huber(x̂_student, x̂_teacher) + hint · ‖projection(z_s) − z_t‖²."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x_hat, terms = self.rebuild(batch)
        own = terms["node"] + terms["succession"] + self.beta * terms["kl"]
        projected = self.projection(self.model.pool(batch))
        with torch.no_grad():
            _, z = self.teacher.encode_batch(batch)
            rebuilt, z_teacher = self.teacher.features(z), self.teacher.pool(batch)
        terms["soft"] = feature_error(x_hat, rebuilt).mean()
        terms["hint"] = hint(projected, z_teacher)
        total = own + self.weights.soft * terms["soft"] + self.weights.hint * terms["hint"]
        return terms | {"loss": total}


def distill(teacher: Task, into: nn.Module, params: DistillationParams) -> Task:
    """The task that trains the student `into` from a trained `teacher` of the same kind.

    Raises `TypeError` when teacher and student are of different kinds.
    """
    kinds = {GAT: Distilled, VGAE: DistilledVGAE}
    if type(into) is not type(teacher.model) or type(into) not in kinds:
        raise TypeError(
            f"distill: a {type(into).__name__} cannot learn from a {type(teacher.model).__name__}; "
            "expected two GATs or two VGAEs; build the student from the teacher's class"
        )
    task = kinds[type(into)](into)
    task.learn_from(teacher, params)
    return task
