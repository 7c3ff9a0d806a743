"""Does fusion pay? The rule that calibration windows support."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from sklearn.model_selection import StratifiedGroupKFold

from cangraph.evaluation.scores import Scores, metrics
from cangraph.fusion.rules import FusionRule

SINGLE = ("VGAE alone", "GAT alone")


class HeldOut(NamedTuple):
    """Rules on calibration windows of recordings that they were not fitted on: `scores` by rule,
    each window fused by the rule fitted on the other folds; `auprc` by rule, f8 (folds,), NaN where
    a fold holds one class."""

    scores: dict[str, Scores]
    auprc: dict[str, np.ndarray]


def held_out(rules: dict[str, FusionRule], calib: Sequence[Scores], folds: int) -> HeldOut:
    """Fit every rule on all recordings of the calibration windows but a fold's, and score it on
    that fold (scikit-learn's `StratifiedGroupKFold`; fewer folds where fewer recordings hold both
    classes). Afterwards the rules are those of the last fold.

    The models below were trained on other spans of the same recordings: differences between rules
    are fair, the figures a little better than on another car.

    Raises `ValueError` when fewer than two recordings hold both classes.
    """
    label = calib[0].label
    # a capture without a recording stands for itself
    names = [info.recording or f"#{k}" for k, info in enumerate(calib[0].captures)]
    recording = np.array(names)[calib[0].capture]
    both = sum(len(np.unique(label[recording == name])) == 2 for name in np.unique(recording))
    if both < 2:
        raise ValueError(
            f"fusion: {both} recordings of {len(np.unique(recording))} with calibration windows "
            "hold benign and attack windows; expected 2; raise synthesis.fleet or split.calib"
        )
    values: dict[str, np.ndarray] = {}
    auprc: dict[str, list] = {}
    for rest, fold in StratifiedGroupKFold(min(folds, both)).split(label, label, recording):
        for name, rule in rules.items():
            fused = rule.fit([s[rest] for s in calib]).score([s[fold] for s in calib])
            values.setdefault(name, np.zeros(len(label)))[fold] = fused.value
            figure = metrics(fused, 0.5)["auprc"]
            auprc.setdefault(name, []).append(np.nan if figure is None else figure)
    bare = replace(calib[0], state=np.zeros((0, 0), np.float32), state_names=())
    return HeldOut(
        {name: replace(bare, value=value) for name, value in values.items()},
        {name: np.array(column) for name, column in auprc.items()},
    )


def mean_auprc(held: HeldOut) -> dict[str, float]:
    """Mean AUPRC of each rule over the folds that define it."""
    return {name: float(np.nanmean(column)) for name, column in held.auprc.items()}


def best_single(held: HeldOut) -> str:
    """The single model with the better mean AUPRC on held-out recordings."""
    return max(SINGLE, key=mean_auprc(held).__getitem__)


def _fused(held: HeldOut) -> list[str]:
    return [name for name in held.auprc if name not in SINGLE]


def _chance(held: HeldOut, ahead: str, behind: str) -> float:
    """p of the lead of one rule over another on held-out recordings, times the number of fused
    rules (Bonferroni's correction, at most 1): one-sided Student's t over k folds, corrected for
    the overlap of what they fit on (Nadeau and Bengio 2003): t = mean / (s √(1/k + 1/(k − 1)))."""
    # metrics are rounded in float32: what is smaller is no difference
    lead = np.round(held.auprc[ahead] - held.auprc[behind], 6)
    lead = lead[np.isfinite(lead)]
    if (k := len(lead)) < 2 or lead.mean() <= 0:
        return 1.0
    spread = lead.std(ddof=1) * np.sqrt(1 / k + 1 / (k - 1))
    t = lead.mean() / max(spread, 1e-6)
    return min(1.0, float(student.sf(t, k - 1)) * len(_fused(held)))


def default_rule(held: HeldOut) -> str:
    """The rule to use: the better single model, unless fused rules lead it beyond chance on
    held-out recordings (p < .05, corrected for the number of rules). Of those the simplest, which
    comes first, that the best one does not lead beyond chance. Test windows are not looked at.
    A small lead on synthesised attacks shrinks or turns on another car, so the burden of proof is
    on the rule with more parts.

    >>> folds = {"VGAE alone": np.array([0.5, 0.5, 0.5]), "GAT alone": np.array([0.9, 0.8, 0.85]),
    ...          "mean": np.array([0.91, 0.8, 0.86]), "DQN fusion": np.array([0.97, 0.88, 0.92])}
    >>> default_rule(HeldOut({}, folds))
    'DQN fusion'
    """
    mean, single, fused = mean_auprc(held), best_single(held), _fused(held)
    best = max(fused, key=mean.__getitem__)
    for name in fused:
        if _chance(held, name, single) < 0.05 and _chance(held, best, name) >= 0.05:
            return name
    return single
