"""Does fusion pay? The rule that calibration windows support, and what it gains on test windows."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from sklearn.model_selection import StratifiedGroupKFold

from cangraph.evaluation.scores import Scores, by_capture, metrics
from cangraph.evaluation.stats import clustered
from cangraph.fusion.rules import FusionRule

SINGLE = ("VGAE alone", "GAT alone")
ALL = "all captures"  # the scenario of a row that takes the captures of all scenarios together
_NAMES = {"auprc": "AUPRC", "f1": "F1"}


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
    A small lead on synthesised attacks shrinks or
    turns on another car, so the burden of proof is on the rule with more parts.

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


def gains(fused: dict[str, Scores], at: dict[str, float], single: str) -> list[dict]:
    """AUPRC and F1 of each rule minus those of `single`, by scenario and over all captures: a row
    for each, with `captures`, and of each metric the difference, its `_low` and its `_high`.

    The difference is taken within each capture and averaged over the captures that define it. Its
    95 % interval resamples these captures with replacement (`stats.clustered`). None where nothing
    is defined: a capture of one class has no AUPRC, one without attacks no F1, and a single capture
    no interval. With two or three captures the interval is their range, and too short.
    """
    figures = {name: by_capture(scores, at[name]) for name, scores in fused.items()}
    base, rows = figures[single], []
    scenario = np.array([row["scenario"] for row in base])
    for place in [*np.unique(scenario).tolist(), ALL]:
        here = np.flatnonzero((scenario == place) | (place == ALL))
        for name, mine in figures.items():
            row = {"detector": name, "scenario": place, "captures": len(here)}
            for metric in _NAMES:
                pairs = [(mine[k][metric], base[k][metric]) for k in here]
                # metrics are rounded in float32: what is smaller is no difference
                apart = np.array([round(a - b, 6) for a, b in pairs if None not in (a, b)])
                row |= clustered(apart).of(metric)
            rows.append(row)
    return rows


def _text(row: dict, metric: str) -> str:
    value, low, high = (row[metric + end] for end in ("", "_low", "_high"))
    if value is None:
        return "undefined"
    return f"{value:+.4f} " + (f"({low:+.4f}, {high:+.4f})" if low is not None else "(no interval)")


def verdict_in_words(held: HeldOut, rows: Sequence[dict]) -> list[str]:
    """The verdict in sentences: the default rule and why; the rules that did better on held-out
    recordings, and why they were not chosen; its `gains` over `best_single` on test captures."""
    mean, chosen, single = mean_auprc(held), default_rule(held), best_single(held)
    said = [
        f"The default rule is {chosen}: with recordings held out in turn "
        f"({len(held.auprc[chosen])} folds), its mean AUPRC on calibration windows is "
        f"{mean[chosen]:.4f}.",
        "It is the better single model: no fused rule is ahead beyond chance.",
    ]
    if chosen != single:
        p = _chance(held, chosen, single)
        said[1] = f"It leads {single} ({mean[single]:.4f}) beyond chance, p = {p:.2g}."
    best = max(_fused(held), key=mean.__getitem__)
    if mean[best] > mean[chosen]:
        p = _chance(held, best, chosen)
        said.append(
            f"{best} ({mean[best]:.4f}) leads {chosen} with p = {p:.2g}, but is less simple."
        )
    total = {row["detector"]: row for row in rows if row["scenario"] == ALL}
    if chosen != single:
        gain = ", ".join(f"{title} {_text(total[chosen], m)}" for m, title in _NAMES.items())
        said.append(f"On {total[chosen]['captures']} test captures, minus {single}: {gain}.")
    return said
