"""Training within the memory there is: a batch that does not fit is learnt from in parts."""

from collections.abc import Sequence

import lightning as L
import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from torch import Tensor
from torch.autograd import Function

from cangraph.data.batches import Batch, parts


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
    """A task whose steps hold at most `at_once` windows in memory, which hold as many frames each;
    when memory runs out all the same, it is halved and the part is tried again.

    A larger batch is cut into parts (`batches.parts`). The gradient of its step is

        ∇L = Σ_k (B_k / B) ∇L(part k),    B_k of the batch's B windows in part k,

    and the graph of each part is freed before the next is computed. Means over windows get the
    gradient of the whole batch, up to rounding; in means over nodes or edges, the mean of each part
    counts by its windows. Steps, schedule and the order of windows stay as they are.

    Of several processes each counts its part by the batch's `share`, and keeps to a limit of its
    own, which stands as `at_once` in the rows of `history`.

    Raises `torch.OutOfMemoryError` when a single window does not fit.
    """

    at_once: int | None = None  # windows; None: the whole batch

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
        todo = parts(batch, self.at_once)
        while todo:
            part = todo.pop(0)
            found = self._attempt(part, batch.share * part.num_graphs / batch.num_graphs, weights)
            if found is None:  # out of memory: the rest of the batch in smaller parts
                self._halve(part)
                todo = [small for large in (part, *todo) for small in parts(large, self.at_once)]
                continue
            loss, each = found
            total += loss
            gradient = [
                a if b is None else b if a is None else a + b
                for a, b in zip(gradient, each, strict=True)
            ]
        if self.at_once:
            most = float(self.at_once)
            self.log("at_once", most, on_step=False, on_epoch=True, reduce_fx="min")
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
        """From here on at most half of the windows of `failed` at once."""
        where = f"fit: epoch {self.trainer.current_epoch + 1}, step {self.trainer.global_step + 1}"
        size = f"{len(failed.x):,} nodes, {len(failed.edge_attr):,} edges"
        what = f"{where}: {failed.num_graphs} windows ({size})"
        if failed.num_graphs == 1:
            raise torch.OutOfMemoryError(
                f"{what} do not fit into memory; use a smaller model or shorter windows"
            )
        garbage_collection_cuda()
        self.at_once = failed.num_graphs // 2
        print(f"{what} do not fit into memory; from here on at most {self.at_once}", flush=True)
