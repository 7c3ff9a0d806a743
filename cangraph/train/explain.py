"""What a trained detector leans on: over many windows, and in one."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.explain import Explainer, GNNExplainer, ModelConfig

from cangraph.data.batches import Batch, batch_of
from cangraph.data.graphs import Graphs
from cangraph.evaluation.scores import by_capture
from cangraph.features.schema import EDGE_FEATURES, FAMILIES, NODE_FEATURES
from cangraph.nn.models import GAT
from cangraph.train.tasks import Detector, Task


def hidden(task: Task, graphs: Graphs, family: str) -> Graphs:
    """The windows with the features of one family, of `features.FAMILIES`, at their benign mean."""
    encoder = task.encoder
    arrays: dict[str, Any] = {}
    for name, scale, features in (
        ("x", encoder.node_scale, NODE_FEATURES),
        ("edge_attr", encoder.edge_scale, EDGE_FEATURES),
    ):
        columns = np.array([feature.family == family for feature in features])
        arrays[name] = np.where(columns, scale.mean.cpu().numpy(), getattr(graphs, name))
    return replace(graphs, **arrays)


def ablation(task: Task, graphs: Graphs) -> dict[str, float]:
    """AUROC that the detector of `task` loses when it cannot see one family of features, the
    plain mean over captures with both classes, by family. A model trained without the family would
    lean on others, and might lose nothing."""

    def auroc(windows: Graphs) -> float:
        rows = by_capture(task.score(windows), at=0.5)
        return float(np.mean([row["auroc"] for row in rows if row["auroc"] is not None]))

    whole = auroc(graphs)
    return {family: whole - auroc(hidden(task, graphs, family)) for family in FAMILIES}


class Explanation(NamedTuple):
    """What matters in one window, in shares of the largest: `edge` f8 (E,), `node` f8
    (N, features), and the attack probability with what does not matter hidden."""

    edge: np.ndarray
    node: np.ndarray
    probability: float

    def features(self, arbitration_id: np.ndarray, most: int = 8) -> dict[str, float]:
        """The features of nodes that matter most, named `ID feature`: share."""
        order = np.argsort(-self.node, axis=None, kind="stable")[:most]
        return {
            f"{arbitration_id[i]:03X} {NODE_FEATURES[j].name}": float(self.node[i, j])
            for i, j in zip(*np.unravel_index(order, self.node.shape), strict=True)
        }


class _Logit(nn.Module):
    """A GAT as PyG's explainers call a model: on standardised features, whose 0 is the benign mean,
    so that a mask replaces a feature by its usual value."""

    def __init__(self, model: GAT, batch: Batch):
        super().__init__()
        self.model, self.batch = model, batch

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        states = torch.cat(self.model.encoder(x, edge_index, edge_attr), dim=1)
        return self.model.classify(self.model.pool(states, self.batch))


def explained(task: Detector, window: Graphs, epochs: int = 150, seed: int = 0) -> Explanation:
    """Which successions and which features of which ID carry the verdict on one window: masks that
    keep the verdict and hide the rest, learnt by PyG's `GNNExplainer` (Ying et al., NeurIPS 2019).
    A mask is one explanation among several, and says nothing about causes.

    Raises `ValueError` for anything but one window.
    """
    if len(window) != 1:
        raise ValueError(f"explained: {len(window)} windows came; give one, graphs[position]")
    task.eval()
    batch = batch_of(window)
    x, edges = task.encoder.node_scale(batch.x), task.encoder.edge_scale(batch.edge_attr)
    model = _Logit(task.model, batch)
    explainer = Explainer(
        model,
        GNNExplainer(epochs=epochs),
        explanation_type="model",
        node_mask_type="attributes",
        edge_mask_type="object",
        model_config=ModelConfig("binary_classification", "graph", "raw"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = explainer(x, batch.edge_index, edge_attr=edges)
    with torch.no_grad():
        logit = model(x * found.node_mask, batch.edge_index, edges)
    edge, node = (
        mask.detach().double().numpy() / max(float(mask.max()), 1e-12)
        for mask in (found.edge_mask, found.node_mask)
    )
    return Explanation(edge, node, float(torch.sigmoid(logit)))
