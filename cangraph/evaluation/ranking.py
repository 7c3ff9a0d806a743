"""Intervals over seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ["interval"]


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over seeds and half of its 95 % interval (Student's t); None below three seeds, where
    the interval of a share reaches far beyond 0 and 1.

    >>> mean, half = interval([0.90, 0.92, 0.94])
    >>> round(mean, 3), round(half, 3)
    (0.92, 0.05)
    >>> interval([0.9])
    (0.9, None)
    """
    mean, n = float(np.mean(values)), len(values)
    return mean, float(stats.sem(values) * stats.t.ppf(0.975, n - 1)) if n > 2 else None
