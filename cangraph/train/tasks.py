"""Lightning tasks for the detectors: loss, score, and what an epoch is judged by."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter
from torchmetrics.classification import BinaryAveragePrecision

from cangraph.data.batches import Batch, Batches, batch_of
from cangraph.data.graphs import Graphs
from cangraph.evaluation.scores import Scores, threshold
from cangraph.nn import losses
from cangraph.nn.models import GAT, VGAE, Encoder, GATOutput, WindowErrors
from cangraph.train.memory import WithinBudget

SCORING = 512  # windows a batch when nothing is learnt
_MOMENTS = ("z_mean", "z_std", "z_max")  # of an embedding


def _moments(z: Tensor) -> Tensor:
    """The `_MOMENTS` of each embedding: mean, standard deviation, maximum. (B, d) → (B, 3)."""
    return torch.stack([z.mean(1), z.std(1, correction=0), z.amax(1)], dim=1)


class Task(WithinBudget):
    """What the tasks share: optimiser, logging, scoring. A task defines `loss`, `judge` and
    `encoder`."""

    monitor: str = "val_loss"  # what tells the epoch to keep
    mode: Literal["min", "max"] = "min"
    imbalance: str = "weights"  # see `losses`; where labels are learnt from
    state_names: tuple[str, ...] = ()  # of the columns of a score's `state`
    optimisation: Callable[["Task"], tuple[list, list]]  # see `optim`

    def __init__(self, model: GAT | VGAE):
        super().__init__()
        self.model = model
        self.history: list[dict] = []
        self.outputs: list[Tensor] = []  # of the validation windows of an epoch
        self.latest: dict[str, Tensor] = {}  # terms of the last step
        self.sums: dict[str, tuple] = {}  # by stage, of the epoch so far

    @property
    def encoder(self) -> Encoder:
        """The part of the model that holds the scalers and the layers."""
        raise NotImplementedError

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores f8 (B,) of the windows of a batch and their states (B, len(state_names))."""
        raise NotImplementedError

    def prepare(self, train: Graphs) -> None:
        """Take from the training windows what must be known before the first step."""
        benign = batch_of(train[~train.label])
        self.encoder.node_scale.fit(benign.x)
        self.encoder.edge_scale.fit(benign.edge_attr)
        self.weigh(train)

    def weigh(self, train: Graphs) -> None:
        """Take from the training windows how much each label weighs."""

    def finish(self, train: Graphs) -> None:
        """Take from the training windows what is known only after the last step."""

    @property
    def layers(self) -> list[nn.Module]:
        """The layers of the encoder, from the features up to the heads."""
        encoder = self.encoder
        return [nn.ModuleList(pair) for pair in zip(encoder.convs, encoder.norms, strict=True)]

    def subset(self, graphs: Graphs) -> Graphs:
        """The windows this task learns from."""
        return graphs

    def sample(self, graphs: Graphs, rng: np.random.Generator) -> Graphs:
        """The windows of an epoch, of those to learn from."""
        return graphs

    def configure_optimizers(self):
        return self.optimisation(self)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.history = checkpoint["history"]

    def log_means(self, stage: str, batch: Batch, **values: Tensor) -> None:
        """Count the values of a batch in the means of the epoch, which are logged once: Lightning's
        own log of every batch takes as long as a third of a step."""
        windows = batch.num_graphs if batch.share else 0
        row = torch.stack([*values.values(), batch.label.new_ones(())]).detach() * windows
        _, before = self.sums.get(stage, ((), 0.0))
        self.sums[stage] = tuple(values), before + row

    def log_epoch(self, stage: str) -> None:
        """Log the means of an epoch, over the windows of all processes."""
        names, row = self.sums.pop(stage)
        *sums, windows = self.trainer.strategy.reduce(row, reduce_op="sum")
        means = {f"{stage}_{n}": v / windows for n, v in zip(names, sums, strict=True)}
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=1)

    def on_train_epoch_start(self) -> None:
        self.sums.clear()  # of steps that looked for a learning rate

    def on_train_batch_end(self, outputs, batch: Batch, batch_idx: int) -> None:
        if self.trainer.is_last_batch:
            self.log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        self.log_epoch("val")

    def learnt(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        self.latest = {name: value.detach() for name, value in terms.items()}
        self.log_means("train", batch, **self.latest)

    def validation_step(self, batch: Batch, _: int) -> None:
        self.log_means("val", batch, **self.loss(batch))

    def zero_shot(self, calib: Scores) -> float:
        """The threshold for cars that were never seen, from calibration windows."""
        return threshold(calib)

    @torch.inference_mode()
    def score(self, graphs: Graphs) -> Scores:
        """`Scores` of every window, with the state that the fusion reads."""
        self.eval()
        if not len(graphs):
            return Scores.of(graphs, np.zeros(0))
        parts = [self.judge(batch) for batch in Batches(graphs, SCORING)]
        value, state = (torch.cat(columns).numpy() for columns in zip(*parts, strict=True))
        return Scores.of(graphs, value, state.astype(np.float32), self.state_names)


class Detector(Task):
    """Train a `GAT` to tell attack windows from benign ones, the attacked nodes, and the attack.

    Binary cross-entropy of windows + that of nodes, both balanced as `imbalance` says (see
    `losses`), + 0.2 · cross-entropy of the attack type. The score is the probability σ(logit), in
    float64 so that windows with nearly the same certainty still rank. The epoch to keep is the one
    that ranks validation windows best (AUPRC), of equal ones the last: a single odd window decides
    the least loss.
    """

    monitor, mode = "val_rank", "max"
    type_share = 0.2
    even_chance = 0.5  # the threshold for any car
    state_names = tuple(f"gat_{name}" for name in ("logit", "probability", "node_max", *_MOMENTS))

    model: GAT

    def __init__(self, model: GAT):
        super().__init__(model)
        self.balance = losses.Balance()
        # every process validates all windows
        self.val_auprc = BinaryAveragePrecision(sync_on_compute=False)

    @property
    def encoder(self) -> Encoder:
        return self.model.encoder

    def weigh(self, train: Graphs) -> None:
        self.balance = losses.Balance.of(train, self.imbalance)

    def sample(self, graphs: Graphs, rng: np.random.Generator) -> Graphs:
        return losses.balanced(graphs, rng) if self.imbalance == "sampler" else graphs

    def terms(self, out: GATOutput, batch: Batch) -> dict[str, Tensor]:
        """The loss of each head on its labels, and `hard`, their weighted sum."""
        by = self.balance
        window = losses.binary_error(out.window, batch.label, by.window_weight, by.focus)
        node = losses.binary_error(out.node, batch.node_label, by.node_weight, by.focus)
        kind = nn.functional.cross_entropy(out.attack_type, batch.attack_type)
        hard = window + node + self.type_share * kind
        return {"window": window, "node": node, "type": kind, "hard": hard}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        terms = self.terms(self.model.heads(batch), batch)
        return terms | {"loss": terms["hard"]}

    def validation_step(self, batch: Batch, _: int) -> None:
        out = self.model.heads(batch)
        self.log_means("val", batch, loss=self.terms(out, batch)["hard"])
        self.outputs.append(out.window)
        self.val_auprc.update(torch.sigmoid(out.window), batch.label.int())

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()
        rank = torch.zeros(())
        if torch.cat(self.val_auprc.target).any():  # without attacks it is undefined
            rank = self.val_auprc.compute()
            self.log("val_auprc", rank, sync_dist=True)
        self.log("val_rank", rank + 1e-6 * self.current_epoch, sync_dist=True)
        self.val_auprc.reset()

    def zero_shot(self, calib: Scores) -> float:
        """An even chance: on calibration windows F1 is flat over two octaves of the odds, and
        thresholds from its maximum made F1 on unseen cars differ by .2 by seed."""
        return self.even_chance

    @torch.inference_mode()
    def blame(self, graphs: Graphs) -> np.ndarray:
        """Attack probability of each node, f8 (N,): which ID is it?"""
        self.eval()
        nodes = [self.model.heads(batch).node for batch in Batches(graphs, SCORING)]
        return torch.sigmoid(torch.cat(nodes).double()).numpy()

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        z, out = self.model.embed_and_judge(batch)
        probability = torch.sigmoid(out.window.double())
        logits = torch.stack([out.window, probability.float()], dim=1)
        node_max = self.model.pool(out.node[:, None], batch)
        return probability, torch.cat([logits, node_max, _moments(z)], dim=1)


class Reconstructor(Task):
    """Train a `VGAE` to rebuild benign windows; what it cannot rebuild is suspect.

    Loss: feature error of all nodes, with the features of 15 % of them hidden from the encoder,
    + error of successions that occur and of as many that do not (same source, random target in
    the same window) + 0.01 · KL. The score is the model's anomaly score.
    """

    masked = 0.15
    beta = 0.01
    state_names = tuple(f"vgae_{name}" for name in (*WindowErrors._fields, *_MOMENTS))

    model: VGAE

    @property
    def encoder(self) -> Encoder:
        return self.model.scaled

    def subset(self, graphs: Graphs) -> Graphs:
        return graphs[~graphs.label]

    def finish(self, train: Graphs) -> None:
        self.eval()
        with torch.inference_mode():
            batches = Batches(self.subset(train), SCORING)
            errors = [torch.stack(self.model.errors(batch), dim=1) for batch in batches]
        self.model.error_scale.fit(torch.cat(errors))

    def rebuild(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(rebuilt features of every node, loss terms)."""
        keep = None
        if self.training:
            keep = (torch.rand(len(batch.x), 1, device=batch.x.device) >= self.masked).float()
        x, z = self.model.encode_batch(batch, keep)
        source = batch.edge_index[0]
        sizes = torch.bincount(batch.batch, minlength=batch.num_graphs)
        first = sizes.cumsum(0) - sizes
        window = batch.batch[source]
        drawn = torch.rand(len(source), device=z.device) if self.training else 0.5
        other = first[window] + (drawn * sizes[window]).long()
        occurs = self.model.decoder(z, batch.edge_index, sigmoid=False)
        absent = self.model.decoder(z, torch.stack([source, other]), sigmoid=False)
        x_hat = self.model.features(z)
        self.x_hat = x_hat.detach()
        terms = {
            "node": losses.feature_error(x_hat, x).mean(),
            "succession": losses.succession_error(occurs, 1.0).mean()
            + losses.succession_error(absent, 0.0).mean(),
            "kl": losses.kl_divergence(self.model.__mu__, self.model.__logstd__).mean(),
        }
        return x_hat, terms

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        _, terms = self.rebuild(batch)
        return terms | {"loss": terms["node"] + terms["succession"] + self.beta * terms["kl"]}

    def validation_step(self, batch: Batch, number: int) -> None:
        super().validation_step(batch, number)
        rebuilt = self.x_hat.mean(1)
        self.outputs.append(scatter(rebuilt, batch.batch, 0, batch.num_graphs, reduce="mean"))

    def judge(self, batch: Batch) -> tuple[Tensor, Tensor]:
        errors = self.model.scaled_errors(batch)
        return self.model.score_of(errors), torch.cat(
            [errors, _moments(self.model.pool(batch))], dim=1
        )
