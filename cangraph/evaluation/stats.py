"""Intervals of means over captures and seeds. Windows of one capture are not independent."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap, chi2, norm, sem, t


class Interval(NamedTuple):
    """A mean over captures and seeds with the ends of its interval; None where undefined."""

    mean: float | None
    low: float | None
    high: float | None

    def of(self, metric: str) -> dict[str, float | None]:
        """The mean as `metric` and the ends as `metric_low` and `metric_high`, for a row."""
        return {metric: self.mean, f"{metric}_low": self.low, f"{metric}_high": self.high}


def _expanded(n: int, level: float) -> float:
    """The level at which percentiles of n values are as wide apart as by Student's t. Percentiles
    alone divide the variance by n instead of n − 1 and assume a normal tail (the expanded
    percentile interval; Hesterberg, The American Statistician 69, 2015)."""
    reach = np.sqrt(n / (n - 1)) * t.ppf(0.5 + level / 2, n - 1)
    return float(min(2 * norm.cdf(reach) - 1, 1 - 1e-9))


def clustered(values: np.ndarray, draws: int = 2000, seed: int = 0) -> Interval:
    """Mean of a metric, f8 (seeds, captures) or (captures,), NaN where undefined, and its 95 %
    interval, which one capture does not have.

    `scipy.stats.bootstrap` draws whole captures with replacement and, where there are several,
    seeds independently of them (the bootstrap clustered by capture; the pigeonhole bootstrap of
    Owen, Annals of Applied Statistics 1, 2007). The ends are percentiles at a level that is right
    for few captures (`_expanded`). A capture that no seed defines does not count; where only some
    seeds do, the others take their mean. With two or three captures the interval is their range,
    which is no more than a hint.

    >>> clustered(np.array([0.9, 1.0, 0.8, 0.9]))
    Interval(mean=0.9, low=0.8, high=1.0)
    """
    values = np.atleast_2d(np.asarray(values, np.float64))
    values = values[:, np.isfinite(values).any(0)]
    seeds, captures = values.shape
    if not values.size:
        return Interval(None, None, None)
    values = np.where(np.isfinite(values), values, np.nanmean(values, 0))
    mean = float(values.mean())
    if captures < 2:
        return Interval(mean, None, None)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    found = bootstrap(
        [np.arange(captures), np.arange(seeds)] if seeds > 1 else [np.arange(captures)],
        lambda columns, rows=None, axis=-1: (
            values[0, columns].mean(axis)
            if rows is None
            else values[rows[..., :, None], columns[..., None, :]].mean((-2, -1))
        ),
        n_resamples=draws,
        confidence_level=_expanded(captures, 0.95),
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    low, high = map(float, found.confidence_interval)
    return Interval(mean, min(low, mean), max(high, mean))


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean over seeds and half of its 95 % interval (Student's t); None below three seeds, where
    the interval of a share reaches far beyond 0 and 1."""
    mean, n = float(np.mean(values)), len(values)
    return mean, float(sem(values) * t.ppf(0.975, n - 1)) if n > 2 else None


def poisson(events: int, hours: float, level: float = 0.95) -> tuple[float, float]:
    """The exact interval of a rate an hour (Garwood, Biometrika 1936).

    >>> low, high = poisson(0, 0.5)
    >>> low, round(high, 1)
    (0.0, 7.4)
    """
    tail = (1 - level) / 2
    low = chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    return float(low / hours), float(chi2.ppf(1 - tail, 2 * events + 2) / 2 / hours)


def with_rate(row: dict) -> dict:
    """A row of `alarms.event_metrics` with the `poisson` interval of `false_alarms_per_hour`, as
    its `_low` and `_high`; None where there was no benign time."""
    hours = row["benign_hours"]
    low, high = poisson(row["false_alarms"], hours) if hours > 0 else (None, None)
    return row | {"false_alarms_per_hour_low": low, "false_alarms_per_hour_high": high}
