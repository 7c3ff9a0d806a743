"""The two detectors, `GAT` and `VGAE`, as plain torch and PyG layers."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import VGAE as PyGVGAE
from torch_geometric.nn import GATv2Conv
from torch_geometric.utils import scatter

from cangraph.data.batches import Batch
from cangraph.data.graphs import GraphSpec
from cangraph.frames import ATTACK_TYPES
from cangraph.nn.losses import feature_error, kl_divergence, succession_error


def n_parameters(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Standardize(nn.Module):
    """(x − mean) / std with the moments of benign training data, clipped to ±`clip`.

    The moments are buffers: they travel in the checkpoint, and a model needs no scaler beside it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, clip: float = 10.0):
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def fit(self, values: Tensor) -> None:
        """Take the moments from `values` (n, width), if any; a constant column is only centred."""
        if not len(values):
            return
        values = values.double()
        self.mean.copy_(values.mean(0))
        std = values.std(0, correction=0)
        self.std.copy_(torch.where(std > 1e-3, std, torch.ones_like(std)))

    def forward(self, values: Tensor) -> Tensor:
        return ((values - self.mean) / self.std).clamp(-self.clip, self.clip)


class Encoder(nn.Module):
    """Standardised features, then `layers` of h ← ELU(LayerNorm(GATv2(h, edges) + W h)).

    GATv2Conv (Brody et al. 2022, eq. 7) with edge features; `residual` is W h, so that a node
    without predecessor keeps its own features and no self-loops are needed. Returns the
    node states of every layer, each (N, heads·hidden).
    """

    def __init__(self, spec: GraphSpec, hidden: int, heads: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.node_scale = Standardize(spec.node_features)
        self.edge_scale = Standardize(spec.edge_features)
        self.width = heads * hidden
        widths = [spec.node_features] + [self.width] * layers
        how = {"edge_dim": spec.edge_features, "add_self_loops": False, "residual": True}
        self.convs = nn.ModuleList(GATv2Conv(width, hidden, heads, **how) for width in widths[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(self.width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> list[Tensor]:
        states, h = [], x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = self.dropout(nn.functional.elu(norm(conv(h, edge_index, edge_attr))))
            states.append(h)
        return states


class _Largest(torch.autograd.Function):
    """Largest state of each window's nodes, (N, d) → (B, d); equal ones share the gradient.

    As PyG's `scatter`, whose backward also computes a gradient of the empty start, at three times
    the cost; that of `torch.segment_reduce` (2.13) is wrong for equal states.
    """

    @staticmethod
    def forward(ctx, states: Tensor, window: Tensor, windows: int) -> Tensor:
        # detached: on a GPU PyG would warn that a package is missing for a backward that is ours
        largest = scatter(states.detach(), window, dim_size=windows, reduce="max")
        ctx.save_for_backward(states, window, largest)
        return largest

    @staticmethod
    def backward(ctx, *outer: Tensor):
        states, window, largest = ctx.saved_tensors
        at_top = (states == largest.index_select(0, window)).to(states.dtype)
        sharing = torch.zeros_like(largest).index_add_(0, window, at_top)
        return at_top * (outer[0] / sharing).index_select(0, window), None, None


class GATOutput(NamedTuple):
    """Logits: of an attack in each window (B,), on each node (N,), and of each attack type
    (B, types in `ATTACK_TYPES`)."""

    window: Tensor
    node: Tensor
    attack_type: Tensor


class GAT(nn.Module):
    """Window classifier: s = MLP(max_v h_v), h_v = the node's states of all layers. Two more heads
    on the same states say which node is attacked and what the attack is.

    Nodes are pooled by their maximum alone: one attacked ID must count, and a mean tells cars
    apart. `embed` gives the pooled embedding (B, d_z), `forward` the attack logit (B,), `heads`
    all three outputs.

    >>> from cangraph.data.batches import batch_of
    >>> from cangraph.data.graphs import to_graphs
    >>> from cangraph.frames import Frames
    >>> import numpy as np
    >>> graphs = to_graphs([Frames(np.arange(8.0), np.arange(8) % 3)], window=4, stride=4)
    >>> GAT(graphs.spec, hidden=4, heads=2, layers=2)(batch_of(graphs)).shape
    torch.Size([2])
    """

    config: dict[str, Any]  # builds the same model anew

    def __init__(self, spec: GraphSpec, hidden: int, heads: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.config = {"spec": tuple(spec), "hidden": hidden, "heads": heads, "layers": layers}
        self.config["dropout"] = dropout
        self.encoder = Encoder(GraphSpec(*spec), hidden, heads, layers, dropout)
        self.embedding_width = layers * self.encoder.width

        def head() -> nn.Sequential:
            width = self.embedding_width
            return nn.Sequential(nn.Linear(width, 2 * hidden), nn.ELU(), nn.Linear(2 * hidden, 1))

        self.window_head, self.node_head = head(), head()
        self.type_head = nn.Linear(self.embedding_width, len(ATTACK_TYPES))

    def states(self, batch: Batch) -> Tensor:
        """The states of each node in all layers, (N, d_z)."""
        encoder = self.encoder
        x, edges = encoder.node_scale(batch.x), encoder.edge_scale(batch.edge_attr)
        return torch.cat(encoder(x, batch.edge_index, edges), dim=1)

    @staticmethod
    def pool(states: Tensor, batch: Batch) -> Tensor:
        """Pooled embedding z of each window, (B, d_z), of node states (N, d_z)."""
        return _Largest.apply(states, batch.batch, batch.num_graphs)

    def embed(self, batch: Batch) -> Tensor:
        """Pooled embedding z of each window, (B, d_z)."""
        return self.pool(self.states(batch), batch)

    def classify(self, embedding: Tensor) -> Tensor:
        """Attack logit (B,) of embeddings (B, d_z)."""
        return self.window_head(embedding).squeeze(1)

    def embed_and_judge(self, batch: Batch) -> tuple[Tensor, GATOutput]:
        """Pooled embeddings z (B, d_z), and what the three heads say, in one pass."""
        states = self.states(batch)
        z = self.pool(states, batch)
        return z, GATOutput(self.classify(z), self.node_head(states).squeeze(1), self.type_head(z))

    def heads(self, batch: Batch) -> GATOutput:
        """What the three heads say of a batch."""
        return self.embed_and_judge(batch)[1]

    def forward(self, batch: Batch) -> Tensor:
        return self.classify(self.embed(batch))


class WindowErrors(NamedTuple):
    """How badly the VGAE explains each window, each (B,): `node_mean` and `node_max` of the
    feature errors, `succession` mean error, `kl` mean divergence."""

    node_mean: Tensor
    node_max: Tensor
    succession: Tensor
    kl: Tensor


class _Variational(nn.Module):
    """PyG's VGAE wants an encoder that returns (μ, log σ) of each node."""

    def __init__(self, spec: GraphSpec, hidden: int, heads: int, layers: int, latent: int):
        super().__init__()
        self.encoder = Encoder(spec, hidden, heads, layers)
        self.mu = nn.Linear(self.encoder.width, latent)
        self.logstd = nn.Linear(self.encoder.width, latent)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor):
        h = self.encoder(x, edge_index, edge_attr)[-1]
        return self.mu(h), self.logstd(h)


class VGAE(PyGVGAE):
    """Variational graph auto-encoder (Kipf and Welling 2016) that also rebuilds node features.

    z ~ N(μ, σ²) of each node; successions by σ(z_uᵀz_v), features by an MLP of z. Trained on
    benign windows only, with a share of the nodes' features masked.

    The anomaly score is the mean of the window's mean and largest feature error, each as
    (error − mean) / std over benign training windows. Succession error and KL divergence are not
    scored: odd nodes get large latents, whose inner products call every succession likely.
    """

    config: dict[str, Any]  # builds the same model anew

    def __init__(self, spec: GraphSpec, hidden: int, heads: int, layers: int, latent: int):
        super().__init__(_Variational(GraphSpec(*spec), hidden, heads, layers, latent))
        self.config = {"spec": tuple(spec), "hidden": hidden, "heads": heads, "layers": layers}
        self.config["latent"] = latent
        self.embedding_width = 2 * latent
        self.features = nn.Sequential(
            nn.Linear(latent, 4 * latent), nn.ELU(), nn.Linear(4 * latent, GraphSpec(*spec)[0])
        )
        self.error_scale = Standardize(len(WindowErrors._fields), clip=float("inf"))

    @property
    def scaled(self) -> Encoder:
        """The part that holds the scalers of node and edge features."""
        return self.encoder.encoder

    def encode_batch(self, batch: Batch, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(x standardised, z); features of nodes where `keep` is 0 are hidden from the encoder.

        In training z is drawn, in evaluation it is μ.
        """
        x = self.scaled.node_scale(batch.x)
        seen = x if keep is None else x * keep
        z = self.encode(seen, batch.edge_index, self.scaled.edge_scale(batch.edge_attr))
        return x, z

    def pool(self, batch: Batch) -> Tensor:
        """Pooled μ of the last encoding, (B, 2·latent)."""
        mu, where, windows = self.__mu__, batch.batch, batch.num_graphs
        mean = scatter(mu, where, dim_size=windows, reduce="mean")
        return torch.cat([mean, _Largest.apply(mu, where, windows)], dim=1)

    def errors(self, batch: Batch) -> WindowErrors:
        """Errors of each window, without sampling (in evaluation mode)."""
        x, z = self.encode_batch(batch)
        node = feature_error(self.features(z), x)
        edge = succession_error(self.decoder(z, batch.edge_index, sigmoid=False), 1.0)
        divergence = kl_divergence(self.__mu__, self.__logstd__)

        def pooled(values, index, how):
            return scatter(values, index, dim_size=batch.num_graphs, reduce=how)

        return WindowErrors(
            pooled(node, batch.batch, "mean"),
            pooled(node, batch.batch, "max"),
            pooled(edge, batch.batch[batch.edge_index[0]], "mean"),
            pooled(divergence, batch.batch, "mean"),
        )

    def forward(self, batch: Batch) -> Tensor:
        """Anomaly score (B,); 0 is the mean benign training window."""
        return self.score_of(self.scaled_errors(batch))

    def scaled_errors(self, batch: Batch) -> Tensor:
        """`errors` in standard deviations over benign training windows, (B, 4)."""
        return self.error_scale(torch.stack(self.errors(batch), dim=1))

    @staticmethod
    def score_of(scaled_errors: Tensor) -> Tensor:
        """Anomaly score (B,) of scaled errors (B, 4): the mean of the two feature errors."""
        return scaled_errors[:, :2].mean(1)
