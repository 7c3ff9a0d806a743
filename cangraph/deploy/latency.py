"""What a detector costs: how long it takes for one window, from its frames to its score."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from cangraph.data.graphs import Graphs, to_graphs
from cangraph.frames import Frames

if TYPE_CHECKING:
    from torch import nn

_ROUNDS = 3


def latency(
    judge: Callable[[Graphs], object], frames: Frames, window: int, count: int = 200
) -> dict[str, float]:
    """Time one window from its frames to what `judge` returns for its graph, features included.

    Returns the median (`p50_ms`) and the 99th percentile (`p99_ms`) over the first `count` windows,
    in ms. Each window is judged in three rounds and its shortest time counts: other work on the
    machine can only add to it.

    Raises `ValueError` when `frames` is shorter than a window.
    """
    begins = range(0, len(frames) - window + 1, window)[:count]
    if not begins:
        came = f"latency: {len(frames)} frames"
        raise ValueError(f"{came}; expected at least a window of {window}; give a longer log")
    took = np.zeros((_ROUNDS, len(begins)))
    for mine in took:
        for i, begin in enumerate(begins):
            began = time.perf_counter()
            judge(to_graphs([frames[begin : begin + window]], window, window))
            mine[i] = time.perf_counter() - began
    p50, p99 = np.quantile(took.min(0) * 1e3, [0.5, 0.99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def footprint(
    model: nn.Module, frames: Frames, window: int, windows: int = 200
) -> dict[str, float]:
    """What a torch model costs: its `parameters`, the `bytes` of its weights, and the `latency` of
    one window on one thread."""
    import torch

    from cangraph.data.batches import batch_of
    from cangraph.nn.models import n_parameters

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model.eval()
    try:
        with torch.inference_mode():
            took = latency(lambda graphs: model(batch_of(graphs)), frames, window, windows)
    finally:
        torch.set_num_threads(threads)
    size = sum(v.numel() * v.element_size() for v in model.state_dict().values())
    return {"parameters": n_parameters(model), "bytes": size, **took}
