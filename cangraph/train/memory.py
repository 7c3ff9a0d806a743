"""Training within the memory there is: a batch that does not fit is learnt from in parts."""

from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from torch import Tensor
from torch.autograd import Function

from cangraph.data.batches import Batch, Budget, parts


class _Known(Function):
    """A loss whose gradient is known already: backward returns it instead of computing it."""

    @staticmethod
    def forward(ctx, loss: Tensor, gradient: list[Tensor | None], *weights: Tensor) -> Tensor:
        ctx.gradient = gradient
        return loss.clone()

    @staticmethod
    def backward(ctx, *outer: Tensor):
        return None, None, *(None if g is None else g * outer[0] for g in ctx.gradient)


class WithinBudget(L.LightningModule):
    """A task whose steps keep to a `budget` of nodes and edges in memory; when memory runs out all
    the same, the budget is halved and the part is tried again.

    A batch over the budget is cut into parts (`batches.parts`). The gradient of its step is

        ∇L = Σ_k (B_k / B) ∇L(part k),    B_k of the batch's B windows in part k,

    and the graph of each part is freed before the next is computed. Means over windows get the
    gradient of the whole batch, up to rounding; in means over nodes or edges, the mean of each part
    counts by its windows. Steps, schedule and the order of windows stay as they are.

    Of several processes each counts its part by the batch's `share`, and keeps to a budget of its
    own. The budget stands as `node_budget` and `edge_budget` in the rows of `history`.

    Raises `torch.OutOfMemoryError` when a single window does not fit.
    """

    budget = Budget()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss of a batch, and `loss`, their weighted sum."""
        raise NotImplementedError

    def learnt(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Called when the gradient of the `loss` of windows is known."""

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss of the batch, with its gradient computed part by part."""
        weights = [w for w in self.parameters() if w.requires_grad]
        gradient: list[Tensor | None] = [None] * len(weights)
        total = torch.zeros((), device=batch.x.device)
        todo = parts(batch, self.budget)
        while todo:
            part = todo.pop(0)
            found = self._attempt(part, batch.share * part.num_graphs / batch.num_graphs, weights)
            if found is None:  # out of memory: the rest of the batch in smaller parts
                self._halve(part)
                todo = [small for large in (part, *todo) for small in parts(large, self.budget)]
                continue
            loss, each = found
            total += loss
            gradient = [
                a if b is None else b if a is None else a + b
                for a, b in zip(gradient, each, strict=True)
            ]
        for name, most in self.budget._asdict().items():
            if most is not None:
                budget = f"{name[:-1]}_budget"
                self.log(budget, float(most), on_step=False, on_epoch=True, reduce_fx="min")
        return _Known.apply(total, gradient, *weights)

    def _attempt(
        self, part: Batch, share: float, weights: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor | None, ...]] | None:
        """Share of the loss of a part and its gradient, or None when memory ran out."""
        # half precision underflows without the scale that Lightning puts on the loss
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler else 1.0
        try:
            terms = self.loss(part)
            loss = terms["loss"]
            each = torch.autograd.grad(loss * (share * scale), weights, allow_unused=True)
        except RuntimeError as error:
            if is_oom_error(error):
                return None
            raise
        self.learnt(part, terms)
        if scale != 1.0:
            each = tuple(None if g is None else g / scale for g in each)
        return loss.detach() * share, each

    def _halve(self, failed: Batch) -> None:
        """Make half of what `failed` needed the budget from here on."""
        nodes, edges = len(failed.x), len(failed.edge_attr)
        where = f"fit: epoch {self.trainer.current_epoch + 1}, step {self.trainer.global_step + 1}"
        what = f"{where}: {failed.num_graphs} windows ({nodes:,} nodes, {edges:,} edges)"
        if failed.num_graphs == 1:
            raise torch.OutOfMemoryError(
                f"{what} do not fit into memory; use a smaller model or shorter windows"
            )
        garbage_collection_cuda()
        # without edges, nodes alone make the halves
        self.budget = Budget(nodes // 2, edges // 2 or self.budget.edges)
        most = [f"{n:,} {name}" for name, n in self.budget._asdict().items() if n is not None]
        limit = f"from here on at most {' and '.join(most)} at once"
        print(f"{what} do not fit into memory; {limit}", flush=True)
