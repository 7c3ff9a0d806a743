"""Batches with something left out, drawn anew at each step, on the device they lie on."""

from collections.abc import Sequence

from torch_geometric.utils import dropout_edge, dropout_node, mask_feature

from cangraph.data.batches import Batch

__all__ = ["augmented"]

_SHARE = 0.1  # of edges, nodes or features that are left out


def augmented(batch: Batch, ways: Sequence[str]) -> Batch:
    """The batch with a tenth left out of each thing that `ways` names: `edges`; all edges of
    `nodes`; node `features`, which become 0, for most of them: nothing unusual. Labels stay.

    Drawn by PyG's `dropout_edge`, `dropout_node` and `mask_feature` from torch's generator.

    >>> import numpy as np, torch
    >>> from cangraph.data.batches import batch_of
    >>> from cangraph.frames import Frames
    >>> from cangraph.data.graphs import to_graphs
    >>> batch = batch_of(to_graphs([Frames(np.arange(900.0), np.arange(900) % 7)], 100, 100))
    >>> _ = torch.manual_seed(0)
    >>> fewer = augmented(batch, ["edges"])
    >>> batch.edge_index.shape[1], fewer.edge_index.shape[1]
    (63, 58)
    """
    for way in ways:
        if way == "features":
            batch = batch._replace(x=mask_feature(batch.x, _SHARE, mode="all")[0])
            continue
        if way == "edges":
            edge_index, kept = dropout_edge(batch.edge_index, _SHARE)
        else:
            edge_index, kept, _ = dropout_node(batch.edge_index, _SHARE, len(batch.x))
        batch = batch._replace(edge_index=edge_index, edge_attr=batch.edge_attr[kept])
    return batch
