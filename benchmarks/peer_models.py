"""Published detectors that learn: nets, trees and outlier detectors, each after its paper or from
its package.

Nets and trees on raw frames `fit` on stretches of frames and `judge` every frame: the value of a
block of frames stands at its last one, and NaN, which says nothing, at the others. Outlier
detectors and streams take windows of this package (`Graphs`) and give a value for each. Deep ones
are trained on a part of the blocks for a few epochs, so that they fit two cores: `most`, `epochs`.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import cangraph as cg
from cangraph.extras import named_extra


def pooled(graphs: cg.Graphs) -> np.ndarray:
    """Mean and largest of each node feature of a window, f8 (B, 2·F)."""
    first, nodes = graphs.node_ptr[:-1], np.diff(graphs.node_ptr)[:, None]
    x = graphs.x.astype(np.float64)
    mean = np.add.reduceat(x, first) / nodes
    return np.concatenate([mean, np.maximum.reduceat(x, first)], axis=1)


def blocks(frames: cg.Frames, size: int) -> np.ndarray:
    """Rows of the whole blocks of `size` frames in a row, int (blocks, size)."""
    return np.arange(len(frames) // size * size).reshape(-1, size)


def at_ends(frames: cg.Frames, rows: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The value of each block at its last frame, NaN elsewhere."""
    out = np.full(len(frames), np.nan)
    out[rows[:, -1]] = value
    return out


def bits_of(ids: np.ndarray, width: int = 29) -> np.ndarray:
    """The bits of IDs, highest first, f4 (…, width)."""
    shift = np.arange(width - 1, -1, -1, dtype=np.uint32)
    return (ids[..., None].astype(np.uint32) >> shift & 1).astype(np.float32)


def train(net: nn.Module, loss, size: int, epochs: int, batch: int, rate: float, seed: int) -> None:
    """Adam over `epochs` of random batches of `size` examples; `loss` takes their positions."""
    rng, net = np.random.default_rng(seed), net.train()
    optimiser = torch.optim.Adam(net.parameters(), rate)
    for _ in range(epochs):
        for part in np.array_split(rng.permutation(size), max(1, size // batch)):
            optimiser.zero_grad()
            loss(part).backward()
            optimiser.step()
    net.eval()


class Net:
    """A net over blocks of `size` frames, trained on `most` of them at random: what DCNN, KD-GAT
    and the autoencoder share."""

    size, most, epochs, batch, rate = 100, 4000, 3, 64, 1e-3
    judged = 512  # blocks at once

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, segments: Sequence[cg.Frames]) -> None:
        torch.manual_seed(self.seed)
        rows = [blocks(segment, self.size) for segment in segments]
        of = np.repeat(np.arange(len(rows)), [len(mine) for mine in rows])
        chosen = np.random.default_rng(self.seed).permutation(len(of))[: self.most]
        taken = np.isin(np.arange(len(of)), chosen)
        pairs = [
            (s, mine[taken[of == k]])
            for k, (s, mine) in enumerate(zip(segments, rows, strict=True))
        ]
        self.learn([self.prepare(s, mine) for s, mine in pairs if len(mine)])

    def judge(self, frames: cg.Frames) -> np.ndarray:
        rows, value = blocks(frames, self.size), []
        with torch.inference_mode():
            for part in np.array_split(rows, max(1, len(rows) // self.judged)):
                value.append(self.value(self.prepare(frames, part)).double().numpy())
        return at_ends(frames, rows, np.concatenate(value))

    def prepare(self, frames: cg.Frames, rows: np.ndarray):
        raise NotImplementedError

    def learn(self, parts: list) -> None:
        raise NotImplementedError

    def value(self, prepared) -> Tensor:
        raise NotImplementedError


def _conv(width: int, out: int, size: int | tuple[int, int], stride: int = 1, pad="same", act=True):
    layers = [nn.Conv2d(width, out, size, stride, pad, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *[nn.ReLU()] * act)


class _Branches(nn.Module):
    """Several ways through, side by side; with `mix`, through it to the width that came."""

    def __init__(self, *ways: nn.Module, mix: nn.Module | None = None):
        super().__init__()
        self.ways, self.mix = nn.ModuleList(ways), mix

    def forward(self, x: Tensor) -> Tensor:
        out = torch.cat([way(x) for way in self.ways], dim=1)
        return torch.relu(x + self.mix(out)) if self.mix is not None else out


def reduced_inception_resnet() -> nn.Sequential:
    """(B, 1, 29, 29) → one logit; 1.7 M weights (Song, Woo, Kim, Vehicular Communications 21, 2020,
    fig. 5: Inception-ResNet with a stem, one A and one B module, each with its reduction)."""
    return nn.Sequential(
        *[_conv(1, 32, 3), _conv(32, 32, 3, pad=0), nn.MaxPool2d(3, 2), _conv(32, 64, 1)],
        *[_conv(64, 128, 3), _conv(128, 128, 3)],
        _Branches(
            _conv(128, 32, 1),
            nn.Sequential(_conv(128, 32, 1), _conv(32, 32, 3)),
            nn.Sequential(_conv(128, 32, 1), _conv(32, 32, 3), _conv(32, 32, 3)),
            mix=_conv(96, 128, 1, act=False),
        ),
        _Branches(
            nn.MaxPool2d(3, 2),
            _conv(128, 192, 3, 2, pad=0),
            nn.Sequential(_conv(128, 96, 1), _conv(96, 96, 3), _conv(96, 128, 3, 2, pad=0)),
        ),
        _Branches(
            _conv(448, 64, 1),
            nn.Sequential(_conv(448, 64, 1), _conv(64, 64, (1, 3)), _conv(64, 64, (3, 1))),
            mix=_conv(128, 448, 1, act=False),
        ),
        _Branches(
            nn.MaxPool2d(3, 2),
            nn.Sequential(_conv(448, 128, 1), _conv(128, 192, 3, 2, pad=0)),
            nn.Sequential(_conv(448, 128, 1), _conv(128, 128, 3, 2, pad=0)),
            nn.Sequential(_conv(448, 128, 1), _conv(128, 128, 3), _conv(128, 128, 3, 2, pad=0)),
        ),
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.6), nn.Linear(896, 1)],
    )


class DCNN(Net):
    """Probability that one of 29 frames in a row is injected, from the 29 bits of their IDs as a
    picture of 29 × 29 (Song, Woo, Kim 2020). Labels are needed. The paper trains on all frames of
    Car-Hacking for ten epochs; here `most` blocks and `epochs`, as a block costs a core 2 ms to
    judge and 8 ms to learn from, in few at once, channels last."""

    size, most, epochs, batch, rate = 29, 2000, 3, 64, 1e-3
    judged = 32

    def prepare(self, frames: cg.Frames, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        label = frames.attack[rows].any(1).astype(np.float32)
        return frames.arbitration_id[rows], label

    def learn(self, parts: list) -> None:
        ids, label = (np.concatenate(column) for column in zip(*parts, strict=True))
        label = torch.from_numpy(label)
        self.net = reduced_inception_resnet().to(memory_format=torch.channels_last)

        def loss(part: np.ndarray) -> Tensor:
            logit = self.net(self._picture(ids[part]))[:, 0]
            return nn.functional.binary_cross_entropy_with_logits(logit, label[part])

        train(self.net, loss, len(ids), self.epochs, self.batch, self.rate, self.seed)

    def value(self, prepared: tuple[np.ndarray, np.ndarray]) -> Tensor:
        return torch.sigmoid(self.net(self._picture(prepared[0]))[:, 0])

    def _picture(self, ids: np.ndarray) -> Tensor:
        return torch.from_numpy(bits_of(ids))[:, None].to(memory_format=torch.channels_last)


class LSTMAutoencoder(Net):
    """Mean squared error of a window of 100 frames that an LSTM encodes into one state and another
    one writes again; learns from benign frames (after CANnolo; Longari, Nova Valcarcel, Zago,
    Carminati, Zanero, IEEE TNSM 18, 2021). The paper has one net for each ID and Mahalanobis'
    distance; here one net reads whole windows: bytes, bits of the ID, log10 of the gap."""

    size, most, epochs, batch, rate, hidden = 100, 2000, 6, 64, 3e-3, 48

    def prepare(self, frames: cg.Frames, rows: np.ndarray) -> np.ndarray:
        from peer_rules import gaps

        gap = np.nan_to_num(np.log10(np.maximum(gaps(frames), 1e-5)), nan=0.0)[rows] / 5
        data = frames.data[rows][..., :8].astype(np.float32) / 255
        named = bits_of(frames.arbitration_id[rows])
        return np.concatenate([data, named, gap[..., None]], axis=-1).astype(np.float32)

    def learn(self, parts: list) -> None:
        x = torch.from_numpy(np.concatenate(parts))
        width = x.shape[-1]
        self.net = nn.ModuleDict({
            "encoder": nn.LSTM(width, self.hidden, batch_first=True),
            "decoder": nn.LSTM(self.hidden, self.hidden, batch_first=True),
            "out": nn.Linear(self.hidden, width),
        })  # fmt: skip
        train(
            self.net,
            lambda part: self._error(x[part]).mean(),
            *(len(x), self.epochs, self.batch, self.rate, self.seed),
        )

    def _error(self, x: Tensor) -> Tensor:
        state = self.net["encoder"](x)[1][0][-1]
        again = self.net["decoder"](state[:, None].expand(-1, x.shape[1], -1))[0]
        return (self.net["out"](again) - x).square().mean((1, 2))

    def value(self, prepared: np.ndarray) -> Tensor:
        return self._error(torch.from_numpy(prepared))


class _Windows(NamedTuple):
    """Blocks of 50 frames as the graphs of KD-GAT, flat: `x` of each node, the mean of its eight
    bytes and its share of the frames, f4 (N, 9); its `id` and `window`; `edges` (2, E) from each
    frame's ID to that of the next frame; the `label` of each window."""

    x: np.ndarray
    id: np.ndarray
    window: np.ndarray
    edges: np.ndarray
    label: np.ndarray

    @classmethod
    def of(cls, frames: cg.Frames, rows: np.ndarray) -> "_Windows":
        ids, window = frames.arbitration_id[rows], np.arange(len(rows))
        nodes, of = np.unique(window[:, None].astype(np.int64) << 32 | ids, return_inverse=True)
        of = of.reshape(rows.shape)
        count = np.bincount(of.ravel(), minlength=len(nodes))
        data = frames.data[rows.ravel()][:, :8].astype(np.float64)
        mean = [np.bincount(of.ravel(), data[:, b], len(nodes)) / count / 255 for b in range(8)]
        x = np.stack([*mean, count / rows.shape[1]], axis=1).astype(np.float32)
        edges = np.unique(np.stack([of[:, :-1].ravel(), of[:, 1:].ravel()]), axis=1)
        label = frames.attack[rows].any(1).astype(np.float32)
        return cls(x, nodes & 0xFFFFFFFF, nodes >> 32, edges, label)

    @classmethod
    def join(cls, parts: Sequence["_Windows"]) -> "_Windows":
        nodes = np.cumsum([0, *(len(p.x) for p in parts)])
        windows = np.cumsum([0, *(len(p.label) for p in parts)])
        moved = [
            p._replace(edges=p.edges + node, window=p.window + window)
            for p, node, window in zip(parts, nodes, windows, strict=False)
        ]
        return cls(*(np.concatenate(column, axis=-1 if n == 3 else 0)
                     for n, column in enumerate(zip(*moved, strict=True))))  # fmt: skip

    def pick(self, chosen: np.ndarray) -> "_Windows":
        """These windows alone, in order."""
        chosen, keep = np.sort(chosen), np.isin(self.window, chosen)
        renamed = np.cumsum(keep) - 1
        edges = renamed[self.edges[:, keep[self.edges[0]]]]
        window = np.searchsorted(chosen, self.window[keep])
        return _Windows(self.x[keep], self.id[keep], window, edges, self.label[chosen])


class KDGAT(Net):
    """Probability of an attack in 50 frames in a row as a graph with an embedding of each ID
    (Frenken, Bhatti, Zhang, Ahmed, "KD-GAT", arXiv 2507.19686): GAT layers, jumping knowledge,
    the mean over nodes, three dense layers. Labels are needed; an ID that was not in training has
    the embedding of none. The window of 50, the features and the layers are the paper's; width
    and depth are those of its student, as I remember them, and the teacher that it is distilled
    from is left out: the paper's teacher takes minutes an epoch on a CPU."""

    size, most, epochs, batch, rate = 50, 6000, 5, 64, 2e-3
    hidden, heads, layers, named = 24, 4, 2, 8

    def prepare(self, frames: cg.Frames, rows: np.ndarray) -> _Windows:
        return _Windows.of(frames, rows)

    def learn(self, parts: list) -> None:
        from torch_geometric.nn import GATConv

        every = _Windows.join(parts)
        self.ids = np.unique(every.id)
        wide = self.hidden * self.heads
        widths = [self.named + 9] + [wide] * self.layers
        convs = [GATConv(width, self.hidden, self.heads) for width in widths[:-1]]
        self.net = nn.ModuleDict({
            "name": nn.Embedding(len(self.ids) + 1, self.named),
            "convs": nn.ModuleList(convs),
            "head": nn.Sequential(
                nn.Linear(wide * self.layers, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(),
                nn.Linear(wide, 1),
            ),
        })  # fmt: skip

        def loss(part: np.ndarray) -> Tensor:
            some = every.pick(part)
            label = torch.from_numpy(some.label)
            return nn.functional.binary_cross_entropy_with_logits(self._logit(some), label)

        train(self.net, loss, len(every.label), self.epochs, self.batch, self.rate, self.seed)

    def _logit(self, part: _Windows) -> Tensor:
        from torch_geometric.nn import global_mean_pool

        at = np.minimum(np.searchsorted(self.ids, part.id), len(self.ids) - 1)
        known = np.where(self.ids[at] == part.id, at + 1, 0)
        h = torch.cat([self.net["name"](torch.from_numpy(known)), torch.from_numpy(part.x)], 1)
        edges, states = torch.from_numpy(part.edges), []
        for conv in self.net["convs"]:
            h = nn.functional.elu(conv(h, edges))
            states.append(h)
        pool = global_mean_pool(torch.cat(states, 1), torch.from_numpy(part.window))
        return self.net["head"](pool)[:, 0]

    def value(self, prepared: _Windows) -> Tensor:
        return torch.sigmoid(self._logit(prepared))


class RawTrees:
    """Probability that a frame is injected, from its ID and its eight bytes, by boosted trees: what
    LCCDE feeds its three (Yang, Shami, Stevens, de Rusett, GLOBECOM 2022). Labels are needed.
    scikit-learn's histogram trees stand for LightGBM, XGBoost and CatBoost, whose ensemble gains
    .001 of F1 in the paper; at most `most` frames."""

    most = 300_000

    def __init__(self, seed: int = 0):
        self.seed = seed

    @staticmethod
    def columns(frames: cg.Frames) -> np.ndarray:
        return np.column_stack([frames.arbitration_id, frames.data[:, :8]]).astype(np.float32)

    def fit(self, segments: Sequence[cg.Frames]) -> None:
        x = np.concatenate([self.columns(s) for s in segments])
        self.learn(x, np.concatenate([s.attack for s in segments]))

    def learn(self, x: np.ndarray, label: np.ndarray) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        some = np.random.default_rng(self.seed).permutation(len(x))[: self.most]
        trees = HistGradientBoostingClassifier(early_stopping=False, random_state=self.seed)
        self.trees = trees.fit(x[some], label[some])

    def judge(self, frames: cg.Frames) -> np.ndarray:
        return self.trees.predict_proba(self.columns(frames))[:, 1]


class Outliers:
    """A detector of PyOD on `pooled` features, fitted on benign windows: `ECOD` (Li et al., TKDE
    2022) or `IForest` (Liu et al., ICDM 2008), with the package's defaults. PyOD's ECOD reads the
    tails off training and the windows that it judges together, so it is given a capture each."""

    def __init__(self, name: str, seed: int = 0):
        self.name, self.seed = name, seed

    def fit(self, benign: cg.Graphs) -> None:
        with named_extra("benchmarks/peers.py"):
            module = import_module(f"pyod.models.{self.name.lower()}")
        options = {"random_state": self.seed} if self.name == "IForest" else {}
        self.model, x = getattr(module, self.name)(**options), pooled(benign)
        self.moving = x.std(0) > 1e-6 * np.abs(x).max(0)
        self.model.fit(x[:, self.moving])

    def value(self, graphs: cg.Graphs) -> np.ndarray:
        out, x = np.zeros(len(graphs)), pooled(graphs)[:, self.moving]
        for number in np.unique(graphs.capture):
            mine = graphs.capture == number
            out[mine] = self.model.decision_function(x[mine])
        return out


class HalfSpaceTrees:
    """River's half-space trees (Tan, Ting, Liu, IJCAI 2011) on `pooled` features, scaled to 0 … 1
    of training: 25 trees of height 8, windows of 250. It learns from benign windows, then from each
    window behind the score of it, as streams do; each capture goes on from training."""

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, benign: cg.Graphs) -> None:
        x = pooled(benign)
        self.low, self.wide = x.min(0), np.maximum(np.ptp(x, axis=0), 1e-9)
        with named_extra("benchmarks/peers.py"):
            from river import anomaly
        self.trees = anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=self.seed)
        for row in self._rows(benign):
            self.trees.learn_one(row)

    def _rows(self, graphs: cg.Graphs) -> list[dict]:
        x = np.clip((pooled(graphs) - self.low) / self.wide, 0, 1)
        return [dict(enumerate(row)) for row in x.tolist()]

    def value(self, graphs: cg.Graphs) -> np.ndarray:
        from copy import deepcopy

        out = np.zeros(len(graphs))
        for number in np.unique(graphs.capture):
            trees, mine = deepcopy(self.trees), np.flatnonzero(graphs.capture == number)
            for place, row in zip(mine, self._rows(graphs[mine]), strict=True):
                out[place] = trees.score_one(row)
                trees.learn_one(row)
        return out
