"""Thresholds that travel to another vehicle without attack labels, and honest probabilities.

scipy is loaded by what needs it: the monitor sets its threshold here and has none.
"""

from dataclasses import replace

import numpy as np

from cangraph.evaluation.scores import Scores


def clean_stretch(windows, seconds: float = 10.0) -> np.ndarray:
    """The windows that calibrate their capture, bool (B,): they are over within its first
    `seconds` and before its first attack. `windows` are `Scores` or `Graphs`. They are no test of
    what is calibrated on them. Benign windows after an attack do not count: the attack has changed
    the profiles that they are compared with."""
    attacked = np.full(len(windows.captures), np.inf)
    np.minimum.at(attacked, windows.capture[windows.label], windows.end[windows.label])
    return (windows.end <= seconds) & (windows.end < attacked[windows.capture])


def log_odds(value: np.ndarray | float) -> np.ndarray:
    """logit of probabilities; 0 and 1 are replaced by the nearest numbers between."""
    from scipy.special import logit

    return logit(np.clip(value, np.finfo(np.float64).tiny, np.nextafter(1.0, 0.0)))


def clean_threshold(scores: Scores, false_alarm_rate: float = 1e-3) -> float:
    """The threshold that a new clean window reaches with `false_alarm_rate`, from the benign
    windows of `scores` alone; on calibration windows of the training vehicles it is zero-shot.

    With n clean windows in ascending order v₁ … vₙ and the rate α it is just above
    v₍⌈(n+1)(1−α)⌉₎, the conformal quantile: if the new window is exchangeable with those n, it
    is called with probability ≤ α, whatever the distribution (Vovk, Gammerman, Shafer 2005;
    Angelopoulos, Bates, arXiv 2107.07511, eq. 1). For α under 1/(n+1) it is just above vₙ, and
    1/(n+1) is what it promises.

    Raises `ValueError` without a benign window, or for a rate that is none.

    >>> windows = Scores(np.arange(1.0, 10), np.zeros(9, bool), *np.zeros((4, 9), int), captures=())
    >>> round(clean_threshold(windows, 0.2), 9), round(clean_threshold(windows, 0.01), 3)
    (8.0, 9.0)
    """
    value = np.sort(scores.value[~scores.label])
    n, rate = len(value), false_alarm_rate
    if not n:
        do = "expected clean traffic to calibrate on; give calibration windows"
        raise ValueError(f"clean_threshold: no benign window came; {do}")
    if not 0 < rate < 1:
        do = "expected a share between 0 and 1; try 1e-3"
        raise ValueError(f"clean_threshold: false_alarm_rate is {rate}; {do}")
    rank = int(np.ceil((n + 1) * (1 - rate) - 1e-9))
    return float(np.nextafter(value[min(rank, n) - 1], np.inf))


def calibrated(
    scores: Scores,
    seconds: float = 10.0,
    false_alarm_rate: float = 1e-3,
    at_least: float | None = None,
    otherwise: float | None = None,
) -> Scores:
    """The windows after each capture's `clean_stretch`, each value minus the `clean_threshold` of
    that stretch, so that one threshold, 0, serves all captures.

    No threshold is under `at_least`, for a GAT its even chance: a stretch may be calm by chance. A
    capture without a clean stretch takes `otherwise`, or else `at_least`; raises `ValueError` that
    names it if neither is given. The promise covers traffic like that of the stretch; windows that
    overlap (stride < window) flatter it, since n counts all.
    """
    otherwise = at_least if otherwise is None else otherwise
    least = -np.inf if at_least is None else at_least
    clean, value = clean_stretch(scores, seconds), scores.value.copy()
    for number in np.unique(scores.capture):
        here = scores.capture == number
        if (clean & here).any():
            value[here] -= max(clean_threshold(scores[clean & here], false_alarm_rate), least)
        elif otherwise is not None:
            value[here] -= otherwise
        else:
            raise ValueError(
                f"calibrated: no window before an attack in the first {seconds} s of "
                f"{scores.captures[number].label}; expected clean traffic to calibrate on; raise "
                "`seconds`, or give the zero-shot threshold as `at_least` or `otherwise`"
            )
    return replace(scores, value=value)[~clean]


# probabilities


def recalibrated(
    scores: Scores, at: float, seconds: float = 10.0, false_alarm_rate: float = 1e-3
) -> Scores:
    """`calibrated` probabilities that stay such: their odds over those of their capture's
    threshold, which is never under `at`. Decide at an even chance."""
    from scipy.special import expit

    odds = replace(scores, value=log_odds(_probabilities(scores, "recalibrated")))
    least = float(log_odds(at))
    found = calibrated(odds, seconds, false_alarm_rate, at_least=least)
    under = np.where(found.value < 0, np.nextafter(0.5, 0.0), 1.0)  # not rounded up to .5
    return replace(found, value=np.minimum(expit(found.value), under))


def _probabilities(scores: Scores, who: str) -> np.ndarray:
    value = scores.value
    if not len(value) or value.min() < 0 or value.max() > 1:
        came = f"values of {value.min():g} to {value.max():g}" if len(value) else "no windows"
        do = "expected probabilities, in 0 to 1; use a classifier's scores"
        raise ValueError(f"{who}: {came} came; {do}")
    return value


def ece(scores: Scores, bins: int = 15) -> float:
    """Expected calibration error, Σ_b |B_b|/B · |mean label − mean value| over `bins` equal bins
    of the attack probability (Naeini et al., AAAI 2015). Computed by torchmetrics. Raises
    `ValueError` for values outside 0 to 1."""
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    value = torch.from_numpy(np.ascontiguousarray(_probabilities(scores, "ece")))
    label = torch.from_numpy(np.ascontiguousarray(scores.label)).long()
    return float(binary_calibration_error(value, label, n_bins=bins, norm="l1"))


def brier(scores: Scores) -> float:
    """Brier score, the mean squared distance of probability and label (Brier 1950). Raises
    `ValueError` for values outside 0 to 1."""
    return float(np.mean((_probabilities(scores, "brier") - scores.label) ** 2))
