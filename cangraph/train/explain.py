"""What a trained detector leans on: over many windows, and in one."""

from dataclasses import replace
from typing import Any

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.evaluation.scores import by_capture
from cangraph.features.schema import EDGE_FEATURES, FAMILIES, NODE_FEATURES
from cangraph.train.tasks import Task


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
