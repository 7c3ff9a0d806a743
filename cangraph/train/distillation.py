"""Students: the tasks that train a small model from large ones.

| on paper | in code | what the student takes over |
|---|---|---|
| T² KL(σ(t/T) ‖ σ(s/T)) | `soft` | the odds of windows and nodes; of a VGAE, rebuilt features |
| T² KL(softmax(t/T) ‖ softmax(s/T)) | `types` | the odds of the attack types |
| ‖P z_s − z_t‖² | `hint` | the embedding, through a projection P |
| Huber(ψ(z_s) − ψ(z_t)) | `relation` | which windows of a batch lie near each other |

Each has a weight in `DistillationParams`; a term of weight 0 is left out. Pairs are those of the
windows at hand: with a budget those of a part, with several processes those of a share.
"""

import copy
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cangraph.data.batches import Batch
from cangraph.nn.losses import feature_error, hint, relation, soft_classes, soft_targets
from cangraph.nn.models import GAT, VGAE, Standardize
from cangraph.params import DistillationParams
from cangraph.train.tasks import Detector, Reconstructor, Task

__all__ = ["Distilled", "DistilledVGAE", "Teachers", "distill"]


class _Taught(NamedTuple):
    """What teachers say of a batch: embeddings `z` side by side (B, Σ d_z), and the means of
    logits or of rebuilt features, `said`: windows (B,), nodes (N,) and types (B, types) of GATs,
    features (N, d_x) of VGAEs, in the units of the first teacher's scaler."""

    z: Tensor
    said: tuple[Tensor, ...]


def _rescaled(x: Tensor, given: Standardize, wanted: Standardize) -> Tensor:
    """Values that `given` has standardised, as `wanted` would have: equal scalers change no bit."""
    return x * (given.std / wanted.std) + (given.mean - wanted.mean) / wanted.std


class Teachers(nn.Module):
    """Frozen copies of trained tasks of one kind, that teach as one: what they say is the mean of
    their logits. That is the geometric mean of their odds (Hinton et al. 2015, section 1), which
    keeps to the temperature, mean(t)/T = mean(t/T), while a mean of probabilities, say of 1 and
    ½, no longer tells how sure anyone was. Embeddings stand side by side.

    With `remember`, what was said of a batch is kept and said again when the same windows come in
    the same order, as they do for students that are trained one after the other on the same draws
    with the same seed, batch size and budget: their weights are the same to the last bit. In
    memory it takes 4 bytes for each number of an embedding, logit or rebuilt feature. Batches are
    known by a hash of their content, so that no answer can be given for other windows, after a
    kill or in another process. Augmented batches never come again, and are not remembered.

    Raises `ValueError` for no task, and `TypeError` for tasks of several kinds.

    >>> from cangraph.data.batches import batch_of
    >>> from cangraph.data.graphs import to_graphs
    >>> from cangraph.bus.simulator import simulate
    >>> graphs = to_graphs([simulate("aster", 2.0)], window=100, stride=100)
    >>> tasks = [Detector(GAT(graphs.spec, hidden, heads=2, layers=1)) for hidden in (3, 4)]
    >>> z, (window, node, attack_type) = Teachers(tasks)(batch_of(graphs[:5]))
    >>> z.shape, window.shape
    (torch.Size([5, 14]), torch.Size([5]))
    """

    def __init__(self, tasks: Sequence[Task], remember: bool = False):
        super().__init__()
        tasks = tuple(tasks)
        kinds = {type(task.model) for task in tasks}
        if not kinds:
            raise ValueError(
                "distill: no teacher came; expected a trained task or several; pass those of "
                "runs.load_models or fit"
            )
        if len(kinds) > 1:
            names = " and a ".join(sorted(kind.__name__ for kind in kinds))
            raise TypeError(
                f"distill: teachers with a {names} came; expected one kind; distill a student from "
                "each"
            )
        (self.kind,) = kinds
        self.models = nn.ModuleList(copy.deepcopy(task.model) for task in tasks)
        self.requires_grad_(False).eval()
        self.embedding_width = sum(model.embedding_width for model in self.models)
        self.remember = remember
        self.answers: dict[bytes, _Taught] = {}

    def train(self, mode: bool = True):
        return super().train(False)  # teachers never drop nodes or draw latents

    def forward(self, batch: Batch) -> _Taught:
        # what inference mode makes could not be remembered for training
        with torch.inference_mode(False), torch.no_grad():
            each = [
                self._gat(m, batch) if self.kind is GAT else self._vgae(m, batch)
                for m in self.models
            ]
            zs, said = zip(*each, strict=True)
            means = tuple(torch.stack(of).mean(0) for of in zip(*said, strict=True))
            return _Taught(torch.cat(zs, dim=1), means)

    def remembered(self, batch: Batch) -> _Taught:
        """As `forward`; what has been asked before is not worked out again."""
        if not self.remember:
            return self(batch)
        device = batch.x.device.type
        half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        digest = blake2b(f"{batch.x.device} {half} {batch.num_graphs}".encode())
        for part in (batch.x, batch.edge_index, batch.edge_attr, batch.batch):
            digest.update(f"{tuple(part.shape)}".encode())
            digest.update(part.contiguous().cpu().numpy().data)
        key = digest.digest()
        if key not in self.answers:
            self.answers[key] = self(batch)
        return self.answers[key]

    @staticmethod
    def _gat(model: GAT, batch: Batch) -> _Taught:
        z, said = model.embed_and_judge(batch)
        return _Taught(z, tuple(said))

    def _vgae(self, model: VGAE, batch: Batch) -> _Taught:
        _, z = model.encode_batch(batch)
        rebuilt = _rescaled(model.features(z), model.scaled.node_scale, self.node_scale)
        return _Taught(model.pool(batch), (rebuilt,))

    @property
    def node_scale(self) -> Standardize:
        """The scaler whose units rebuilt features have."""
        return self.models[0].scaled.node_scale


class FromTeachers:
    """Frozen teachers beside the student, and the projection that hints need."""

    def learn_from(self, teachers: Teachers, params: DistillationParams) -> None:
        self.teachers, self.weights = teachers, params
        if params.hint:  # processes that train together wait for the gradient of every weight
            width = self.model.embedding_width
            self.projection = nn.Linear(width, teachers.embedding_width)

    def taught(self, batch: Batch) -> _Taught:
        """What the teachers say of a batch."""
        return self.teachers(batch) if self.augment else self.teachers.remembered(batch)

    def with_terms(self, own: Tensor, terms: dict[str, Tensor], **asked) -> dict[str, Tensor]:
        """`terms`, those `asked` for that weigh anything, and `loss`, all of it."""
        for name, term in asked.items():
            if weight := self.weights[name]:
                terms[name] = term()
                own = own + weight * terms[name]
        return terms | {"loss": own}


class Distilled(FromTeachers, Detector):
    """Train a student `GAT` on labels, the teachers' softened probabilities of windows, nodes and
    attack types, and their embedding:
    loss = labels + soft · T² KL(teacher ‖ student) + types · T² KL of the types
    + hint · ‖projection(z_student) − z_teacher‖² + relation · Huber of relative distances.
    """

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        z, out = self.model.embed_and_judge(batch)
        z_taught, (window, node, attack_type) = self.taught(batch)
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
    """Train a student `VGAE` on its own loss, the teachers' rebuilt features and their embedding:
    loss = VGAE loss + soft · Huber(x̂_student, x̂_teacher) + hint · ‖projection(z_s) − z_t‖²
    + relation · Huber of relative distances."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        x_hat, terms = self.rebuild(batch)
        own = terms["node"] + terms["succession"] + self.beta * terms["kl"]
        z = self.model.pool(batch)
        z_taught, (rebuilt,) = self.taught(batch)
        rebuilt = _rescaled(rebuilt, self.teachers.node_scale, self.model.scaled.node_scale)
        return self.with_terms(
            own,
            terms,
            soft=lambda: feature_error(x_hat, rebuilt).mean(),
            hint=lambda: hint(self.projection(z), z_taught),
            relation=lambda: relation(z, z_taught),
        )


def distill(
    teacher: Task | Sequence[Task] | Teachers, into: nn.Module, params: DistillationParams
) -> Task:
    """The task that trains the student `into` from a trained `teacher`, or several, of the same
    kind, say the `members` of an `Ensemble`. For several students of the same teachers, `Teachers`
    can remember what they said.

    Raises `TypeError` when teachers and student are of different kinds, `ValueError` for none.
    """
    kinds = {GAT: Distilled, VGAE: DistilledVGAE}
    if not isinstance(teacher, Teachers):
        teacher = Teachers([teacher] if isinstance(teacher, Task) else teacher)
    if type(into) is not teacher.kind or type(into) not in kinds:
        raise TypeError(
            f"distill: a {type(into).__name__} cannot learn from a {teacher.kind.__name__}; "
            "expected two GATs or two VGAEs; build the student from the teacher's class"
        )
    task = kinds[type(into)](into)
    task.learn_from(teacher, params)
    return task
