"""What a trained detector leans on."""

from dataclasses import replace

import numpy as np

from cangraph.features import EDGE_FEATURES, FAMILIES, NODE_FEATURES
from cangraph.graphs import Graphs
from cangraph.scores import by_capture
from cangraph.tasks import Task

__all__ = ["ablation", "hidden"]


def hidden(task: Task, graphs: Graphs, family: str) -> Graphs:
    """The windows with the features of one family at their benign mean, so that the detector
    of `task` sees nothing in them.

    Raises `ValueError` for a family that is not in `features.FAMILIES`.
    """
    if family not in FAMILIES:
        raise ValueError(f"hidden: {family!r} is unknown; expected one of {', '.join(FAMILIES)}")
    encoder, arrays = task.encoder, {}
    for name, scale, features in (
        ("x", encoder.node_scale, NODE_FEATURES),
        ("edge_attr", encoder.edge_scale, EDGE_FEATURES),
    ):
        columns = np.array([feature.family == family for feature in features])
        arrays[name] = np.where(columns, scale.mean.cpu().numpy(), getattr(graphs, name))
    return replace(graphs, **arrays)


def ablation(task: Task, graphs: Graphs) -> dict[str, float]:
    """AUROC that the detector of `task` loses when it cannot see one family of features, the
    plain mean over captures with both classes, by family.

    It says what the trained model leans on, not what a model trained without the family would
    reach: that one would lean on others.
    """

    def auroc(windows: Graphs) -> float:
        rows = by_capture(task.score(windows), at=0.5)
        return float(np.mean([row["auroc"] for row in rows if row["auroc"] is not None]))

    whole = auroc(graphs)
    return {family: whole - auroc(hidden(task, graphs, family)) for family in FAMILIES}
