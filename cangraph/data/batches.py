"""Windows as batches: disconnected graphs, cut out of flat tensors by index arithmetic."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cangraph.data.graphs import Graphs


class Batch(NamedTuple):
    """B windows as one disconnected graph: `x` (N, d_x), `edge_index` (2, E) counted over the
    batch, `edge_attr` (E, d_e), `batch` (N,) the window of each node, `label` (B,) and
    `node_label` (N,) 0 or 1, `attack_type` (B,) index into `ATTACK_TYPES`. `share` is its weight
    in the mean over processes (see `Batches`)."""

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    batch: Tensor
    label: Tensor
    node_label: Tensor
    attack_type: Tensor
    share: float = 1.0

    @property
    def num_graphs(self) -> int:
        return len(self.label)


class Windows(NamedTuple):
    """The arrays of `Graphs` (see there) that batches are cut from, as tensors on one device."""

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    node_ptr: Tensor
    edge_ptr: Tensor
    label: Tensor
    node_attack: Tensor
    attack_type: Tensor

    @classmethod
    def of(cls, graphs: Graphs, device: str | torch.device = "cpu") -> "Windows":
        """The tensors of `graphs`; on a CPU they share its memory."""
        return cls(*(torch.from_numpy(getattr(graphs, n)).to(device) for n in cls._fields))

    def take(self, index: Tensor) -> Batch:
        """The windows at the positions `index`, i8 (B,) on the same device, as one `Batch`."""
        nodes, window, first = _owned(self.node_ptr, index)
        edges, of_edge, _ = _owned(self.edge_ptr, index)
        return Batch(
            x=self.x.index_select(0, nodes),
            edge_index=self.edge_index[:, edges] + first.index_select(0, of_edge),
            edge_attr=self.edge_attr.index_select(0, edges),
            batch=window,
            label=self.label.index_select(0, index).float(),
            node_label=self.node_attack.index_select(0, nodes).float(),
            attack_type=self.attack_type.index_select(0, index).long(),
        )


def _owned(ptr: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each item that the windows `index` own: its flat position and its place in `index`; and
    the number of items before each place."""
    begin = ptr[index]
    size = ptr[index + 1] - begin
    first = size.cumsum(0) - size
    place = torch.arange(len(index), device=ptr.device).repeat_interleave(size)
    position = torch.arange(len(place), device=ptr.device)
    return position + (begin - first).index_select(0, place), place, first


def batch_of(graphs: Graphs) -> Batch:
    """All windows of `graphs` as one `Batch`."""
    return Windows.of(graphs).take(torch.arange(len(graphs)))


class Batches:
    """Iterates over windows in batches of `size` on `device`, which holds all windows of an epoch.
    `draw` gives the windows of epoch 0, 1, …, or is the `Graphs` of every epoch; all epochs are as
    long as the first, so that a schedule knows its steps. `seed` shuffles each epoch anew.

    Process r of W gets the windows r, r + W, … of every batch. With B_r of the B windows its
    `share` is W · B_r / B, so that the mean over processes is the mean over windows. If a batch has
    fewer windows than processes, the others get its first window with a share of 0, so that all
    take the same number of steps.
    """

    def __init__(
        self,
        draw: Graphs | Callable[[int], Graphs],
        size: int,
        seed: int | None = None,
        device: str | torch.device = "cpu",
    ):
        self.draw = (lambda _: draw) if isinstance(draw, Graphs) else draw
        self.size, self.epoch, self.device = size, 0, device
        self.process, self.processes = 0, 1
        self.drawn: Graphs | None = self.draw(0)  # kept until epoch 0 is gone through
        self.windows = len(self.drawn)
        self.rng = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        return -(-self.windows // self.size)

    def __iter__(self) -> Iterator[Batch]:
        graphs = self.drawn if self.epoch == 0 and self.drawn is not None else self.draw(self.epoch)
        self.drawn = None
        self.epoch += 1
        n = len(graphs)
        drawn = np.arange(n) if self.rng is None else self.rng.permutation(n)
        order = torch.from_numpy(np.resize(drawn, self.windows)).to(self.device)
        windows = Windows.of(graphs, self.device)
        for index in order.split(self.size) if self.windows else ():
            own = index[self.process :: self.processes]
            share = self.processes * len(own) / len(index)
            yield windows.take(own if share else index[:1])._replace(share=share)

    def state_dict(self) -> dict:
        """What the order of later epochs depends on."""
        dice = None if self.rng is None else self.rng.bit_generator.state
        return {"epoch": self.epoch, "dice": dice}

    def load_state_dict(self, state: dict) -> None:
        self.epoch = state["epoch"]
        if self.rng is not None:
            self.rng.bit_generator.state = state["dice"]


def parts(batch: Batch, most: int | None) -> list[Batch]:
    """The windows of `batch` in parts of at most so many, in order; None: the batch as it is."""
    windows = batch.num_graphs
    if most is None or windows <= most:
        return [batch]
    cuts = [*range(0, windows, most), windows]
    of_edge = batch.batch[batch.edge_index[0]]
    counts = [torch.bincount(w, minlength=windows) for w in (batch.batch, of_edge)]
    before = [torch.nn.functional.pad(n.cumsum(0), (1, 0))[cuts].tolist() for n in counts]
    return [
        Batch(
            x=batch.x[n0:n1],
            edge_index=batch.edge_index[:, e0:e1] - n0,
            edge_attr=batch.edge_attr[e0:e1],
            batch=batch.batch[n0:n1] - w0,
            label=batch.label[w0:w1],
            node_label=batch.node_label[n0:n1],
            attack_type=batch.attack_type[w0:w1],
        )
        for (w0, w1), (n0, n1), (e0, e1) in zip(*map(pairwise, (cuts, *before)), strict=True)
    ]
