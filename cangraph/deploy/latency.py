"""How long a detector takes for one window, from its frames to its score."""

import time
from collections.abc import Callable

import numpy as np

from cangraph.data.graphs import Graphs, to_graphs
from cangraph.frames import Frames

__all__ = ["latency"]

_ROUNDS = 3


def latency(
    judge: Callable[[Graphs], object], frames: Frames, window: int, count: int = 200
) -> dict[str, float]:
    """How long one window takes from its frames to what `judge` says of its graph, features
    included, in ms: the median (`p50_ms`) and the 99th percentile (`p99_ms`) of the first `count`
    windows. Each is judged in three rounds and counts with the least: what other work on the
    machine adds is no cost of the detector.

    Raises `ValueError` when `frames` is shorter than a window.

    >>> from cangraph.bus.simulator import simulate
    >>> cost = latency(lambda graphs: graphs.x.sum(), simulate("aster", 1.0), window=100, count=3)
    >>> 0 < cost["p50_ms"] <= cost["p99_ms"]
    True
    """
    begins = range(0, len(frames) - window + 1, window)[:count]
    if not begins:
        raise ValueError(
            f"latency: {len(frames)} frames; expected at least a window of {window}; give a longer "
            "log"
        )
    took = np.zeros((_ROUNDS, len(begins)))
    for mine in took:
        for i, begin in enumerate(begins):
            began = time.perf_counter()
            judge(to_graphs([frames[begin : begin + window]], window, window))
            mine[i] = time.perf_counter() - began
    p50, p99 = np.quantile(took.min(0) * 1e3, [0.5, 0.99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}
