"""Training within the memory there is: a batch that does not fit is learnt from in parts."""

import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from torch import Tensor
from torch.autograd import Function

from cangraph.data.batches import Batch, Budget, parts

__all__ = ["WithinBudget"]


class _Known(Function):
    """A loss whose gradient is known already: backward hands it out instead of computing it."""

    @staticmethod
    def forward(ctx, loss: Tensor, gradient: list[Tensor | None], *weights: Tensor) -> Tensor:
        ctx.gradient = gradient
        return loss.clone()

    @staticmethod
    def backward(ctx, *outer: Tensor):
        return None, None, *(None if g is None else g * outer[0] for g in ctx.gradient)


class WithinBudget:
    """Mixin of a task that defines `learn(batch)`, its logged training loss: what a step needs at
    once keeps to `budget`, and when memory runs out all the same, the budget is halved and the
    step is tried again.

    A batch over the budget is cut into parts (`batches.parts`). The gradient of its step is

        ∇L = Σ_k (B_k / B) ∇L(part k),    B_k of the batch's B windows in part k,

    each share computed, and its graph freed, before the next part is looked at. Terms that are
    means over windows get the gradient of the whole batch up to rounding; in those that are means
    over nodes or edges, the mean of each part counts by its windows. What is drawn at random is
    drawn anew. What a batch is to the optimiser, the number of steps, the schedule and the order of
    the windows do not change, nor do weights before the whole batch went through.

    Where several processes have a part of the batch each, theirs counts by its `share` alike. Each
    keeps to a budget of its own; the rows of `history` name that of the first.

    A halving is printed, and the budget stands as `node_budget` and `edge_budget` in the rows of
    `history` from then on, the least of each epoch.

    Raises `torch.OutOfMemoryError` when a single window does not fit, and hands on what the
    optimiser's own update raises.
    """

    budget = Budget()
    _told = False  # whether the values of the windows at hand are in the epoch's means

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss of the batch. Its gradient is left to Lightning if a failed attempt leaves no
        trace, neither in gradients that batches before it summed up nor in another process."""
        self._tried = batch
        alone = self.trainer.accumulate_grad_batches == 1 and self.trainer.world_size == 1
        if alone and self.budget == Budget():
            loss = self.learn(batch)
            self._told = True
            return loss
        loss = self._in_parts(batch)
        for name, most in zip(self.budget._fields, self.budget, strict=True):
            if most is not None:
                budget = f"{name[:-1]}_budget"
                self.log(budget, float(most), on_step=False, on_epoch=True, reduce_fx="min")
        return loss

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None) -> None:
        done = failed = False

        def closure():
            nonlocal done
            loss = optimizer_closure()
            done = True
            return loss

        before = self.budget
        try:
            super().optimizer_step(epoch, batch_idx, optimizer, closure)
        except RuntimeError as error:
            if done or before != Budget() or not _out_of_memory(error):
                raise
            failed = True
        if failed:  # the exception is gone, and with it the graph of the failed attempt
            self._halve(self._tried)
            super().optimizer_step(epoch, batch_idx, optimizer, closure)
        self._told = False

    def _in_parts(self, batch: Batch) -> Tensor:
        """The loss of a batch with its gradient, computed part by part."""
        weights = [w for w in self.parameters() if w.requires_grad]
        gradient: list[Tensor | None] = [None] * len(weights)
        total = torch.zeros((), device=batch.x.device)
        todo = [(part, self._told) for part in parts(batch, self.budget)]
        while todo:
            part, self._told = todo.pop(0)
            try:
                share = batch.share * part.num_graphs / batch.num_graphs
                loss, found = self._attempt(part, share, weights)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                loss = None
            if loss is None:
                self._halve(part)
                todo = [
                    (smaller, told)
                    for larger, told in [(part, self._told), *todo]
                    for smaller in parts(larger, self.budget)
                ]
                continue
            total += loss
            gradient = [
                a if b is None else b if a is None else a + b
                for a, b in zip(gradient, found, strict=True)
            ]
        self._told = False
        return _Known.apply(total, gradient, *weights)

    def _attempt(self, part: Batch, share: float, weights: list[Tensor]):
        """Share of the loss of a part and its gradient."""
        loss = self.learn(part)
        self._told = True
        # half precision underflows without the scale that Lightning puts on the loss
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        scale = scaler.get_scale() if scaler else 1.0
        found = torch.autograd.grad(loss * (share * scale), weights, allow_unused=True)
        if scale != 1.0:
            found = tuple(None if g is None else g / scale for g in found)
        return loss.detach() * share, found

    def _halve(self, failed: Batch) -> None:
        """Half of what `failed` needed is the budget from here on."""
        nodes, edges = len(failed.x), len(failed.edge_attr)
        what = f"{failed.num_graphs} windows ({nodes:,} nodes, {edges:,} edges)"
        where = f"epoch {self.trainer.current_epoch + 1}, step {self.trainer.global_step + 1}"
        if failed.num_graphs == 1:
            raise torch.OutOfMemoryError(
                f"fit: {where}: a single window of {nodes:,} nodes and {edges:,} edges does not "
                "fit into memory; expected room for at least one; use a smaller model or shorter "
                "windows"
            )
        garbage_collection_cuda()
        # without edges, nodes alone make the halves
        self.budget = Budget(nodes // 2, edges // 2 or self.budget.edges)
        most = [f"{n:,} {name}" for name, n in self.budget._asdict().items() if n is not None]
        print(
            f"fit: {where}: {what} do not fit into memory; from here on at most "
            f"{' and '.join(most)} at once, the gradients of the parts summed",
            flush=True,
        )


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)
