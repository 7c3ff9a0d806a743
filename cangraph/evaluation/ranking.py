"""Models over datasets: intervals over seeds, mean ranks, and which differ beyond chance."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

__all__ = ["Ranks", "interval", "ranks"]

_FEW = 6  # datasets; with fewer, ranks are a description


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


class Ranks(NamedTuple):
    """Mean `rank` of each of k `models` over n `datasets` (1: the best), the p of Friedman's test
    that all are alike, and the least difference of two ranks that is one (`critical`)."""

    models: list[str]
    datasets: list[str]
    rank: list[float]
    p: float | None
    critical: float | None
    words: str


def ranks(rows: Sequence[dict], models: Sequence[str] = (), seed: int = 0) -> Ranks:
    """Ranks of `models` (all if empty) over datasets, as in Demšar (2006), JMLR 7:1-30; from rows
    with `dataset`, `model` and `mean`, the higher the better, None where there is none.

    The test is Friedman's; its p comes from ranks shuffled within each dataset (scipy's
    `permutation_test`, exact for few datasets and models), since the χ² distribution that
    `scipy.stats.friedmanchisquare` takes is no approximation for seven datasets or fewer. Nemenyi's
    critical difference is q sqrt(k (k + 1) / 6 n), with q the 95 % quantile of the studentised
    range over sqrt 2. Models that some dataset lacks are left out.

    >>> rows = [{"dataset": d, "model": m, "mean": v} for d in "abcdef"
    ...         for m, v in [("one", 0.9), ("two", 0.8), ("three", 0.7)]]
    >>> found = ranks(rows, ["one", "two", "three"])
    >>> found.rank, round(found.critical, 2), found.p < 0.01
    ([1.0, 2.0, 3.0], 1.35, True)
    """
    value = {(row["dataset"], row["model"]): row["mean"] for row in rows}
    models = list(models) or list(dict.fromkeys(m for _, m in value))
    datasets = [d for d in dict.fromkeys(d for d, _ in value) if _any(value, d, models)]
    kept = [m for m in models if all(value.get((d, m)) is not None for d in datasets)]
    n, k = len(datasets), len(kept) if datasets else 0
    if n < 2 or k < 3:
        words = (
            f"Nothing to rank: {n} datasets with {k} models each; expected two datasets and three "
            "models or more."
        )
        return Ranks(kept[:k], datasets, [], None, None, words)
    table = np.array([[value[d, m] for m in kept] for d in datasets])
    order = stats.rankdata(-np.round(table, 6), axis=1)
    mean = order.mean(0)
    q = stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    p = None
    if np.ptp(order, axis=1).any():
        shuffled = stats.permutation_test(
            tuple(order.T),
            # Friedman's χ² but for what shuffling leaves alone
            lambda *columns, axis: np.square(np.sum(columns, axis)).sum(0),
            permutation_type="samples",
            alternative="greater",
            vectorized=True,
            rng=np.random.default_rng(seed),
        )
        p = float(shuffled.pvalue)
    return Ranks(kept, datasets, mean.tolist(), p, critical, _verdict(kept, mean, n, p, critical))


def _any(value: dict, dataset: str, models: Sequence[str]) -> bool:
    return any(value.get((dataset, model)) is not None for model in models)


def _verdict(models: list[str], mean: np.ndarray, n: int, p: float | None, critical: float) -> str:
    best, spread = models[int(mean.argmin())], float(np.ptp(mean))
    said = f"Best mean rank over {n} datasets: {best}, {mean.min():.1f}."
    if p is None:
        return f"{said} All models tie on every dataset."
    said += f" Friedman p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'}; two ranks differ beyond "
    said += f"chance from {critical:.1f} on, and the widest difference is {spread:.1f}."
    if n < _FEW:
        said += (
            f" {n} datasets are too few for this to mean anything: of {len(models)} models the "
            f"ranks can differ by {len(models) - 1} at most. Read the table, not the ranks."
        )
    return said
