"""Windows as batches: one disconnected graph, cut out by index arithmetic."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cangraph.graphs import Graphs

__all__ = ["Batch", "Batches", "batch_of"]


class Batch(NamedTuple):
    """B windows as one disconnected graph: `x` (N, d_x), `edge_index` (2, E) counted over the
    batch, `edge_attr` (E, d_e), `batch` (N,) the window of each node, `label` (B,) and
    `node_label` (N,) 0 or 1, `attack_type` (B,) index into `ATTACK_TYPES`."""

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    batch: Tensor
    label: Tensor
    node_label: Tensor
    attack_type: Tensor

    @property
    def num_graphs(self) -> int:
        return len(self.label)


def batch_of(graphs: Graphs) -> Batch:
    """All windows of `graphs` as one `Batch`; features are shared, not copied."""
    nodes = torch.from_numpy(graphs.node_ptr).diff()
    edges = torch.from_numpy(graphs.edge_ptr).diff()
    offset = torch.from_numpy(graphs.node_ptr[:-1]).repeat_interleave(edges)
    return Batch(
        x=torch.from_numpy(graphs.x),
        edge_index=torch.from_numpy(graphs.edge_index).long() + offset,
        edge_attr=torch.from_numpy(graphs.edge_attr),
        batch=torch.arange(len(graphs)).repeat_interleave(nodes),
        label=torch.from_numpy(graphs.label).float(),
        node_label=torch.from_numpy(graphs.node_attack).float(),
        attack_type=torch.from_numpy(graphs.attack_type).long(),
    )


class Batches:
    """Iterates over windows in batches, cut out by index arithmetic. `draw` gives the windows of
    epoch 0, 1, … (`Graphs` stand for a draw that is always the same); all epochs are as long as
    the first. With a `seed` the order is new in every epoch."""

    def __init__(self, draw: Graphs | Callable[[int], Graphs], size: int, seed: int | None = None):
        self.draw = (lambda _: draw) if isinstance(draw, Graphs) else draw
        self.size, self.epoch = size, 0
        self.windows = len(self.draw(0))
        self.rng = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-self.windows // self.size)

    def __iter__(self) -> Iterator[Batch]:
        graphs = self.draw(self.epoch)
        self.epoch += 1
        n = len(graphs)
        order = np.arange(n) if self.rng is None else self.rng.permutation(n)
        order = np.resize(order, self.windows)
        for begin in range(0, self.windows, self.size):
            yield batch_of(graphs[order[begin : begin + self.size]])

    def state_dict(self) -> dict:
        """What the order of the epochs to come depends on."""
        dice = None if self.rng is None else self.rng.bit_generator.state
        return {"epoch": self.epoch, "dice": dice}

    def load_state_dict(self, state: dict) -> None:
        self.epoch = state["epoch"]
        if self.rng is not None:
            self.rng.bit_generator.state = state["dice"]
