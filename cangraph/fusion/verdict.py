"""Does fusion pay? The rule that calibration windows support, and what it gains on test windows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from sklearn.model_selection import StratifiedGroupKFold

from cangraph.evaluation.intervals import clustered
from cangraph.evaluation.scores import Scores, by_capture, metrics

__all__ = ["ALL", "SINGLE", "HeldOut", "best_single", "default_rule", "held_out", "margins"]
__all__ += ["cells", "mean_auprc", "whiskers", "words"]

SINGLE = ("VGAE alone", "GAT alone")
ALL = "all captures"  # the scenario of a row that takes the captures of all scenarios together
_NAMES = {"auprc": "AUPRC", "f1": "F1"}


class HeldOut(NamedTuple):
    """Rules on calibration windows of recordings that they were not fitted on: `scores` by rule,
    each window fused by the rule fitted on the other folds, and `auprc` by rule, f8 (folds,), NaN
    where a fold holds one class."""

    scores: dict[str, Scores]
    auprc: dict[str, np.ndarray]


def _recordings(scores: Scores) -> np.ndarray:
    """The base recording of each window, str (B,); a capture without one stands for itself."""
    names = [info.recording or f"#{k}" for k, info in enumerate(scores.captures)]
    return np.array(names)[scores.capture]


def held_out(make: Callable[[], dict], calib: Sequence[Scores], folds: int) -> HeldOut:
    """Every rule that `make` gives, fitted on all recordings of the calibration windows but a
    fold's, and scored on that fold (scikit-learn's `StratifiedGroupKFold`; fewer folds where fewer
    recordings hold both classes).

    What is held out: from the rules, whole recordings. The models below them were not trained on
    any of these windows either, but on other spans of time of the same recordings; only the
    simulated vehicles in `Synthesis.calib` are recordings that no model has seen. So differences
    between rules are fair, and the figures themselves a little better than on another car.

    Raises `ValueError` when fewer than two recordings hold both classes.
    """
    label, recording = calib[0].label, _recordings(calib[0])
    both = sum(len(np.unique(label[recording == name])) == 2 for name in np.unique(recording))
    if both < 2:
        raise ValueError(
            f"fusion: {both} recordings of {len(np.unique(recording))} with calibration windows "
            "hold benign and attack windows; expected two or more, to hold out each in turn; raise "
            "synthesis.fleet or split.calib"
        )
    cut = StratifiedGroupKFold(min(folds, both)).split(label, label, recording)
    values: dict[str, np.ndarray] = {}
    auprc: dict[str, list] = {}
    for rest, fold in cut:
        for name, rule in make().items():
            fused = rule.fit([s[rest] for s in calib]).score([s[fold] for s in calib])
            values.setdefault(name, np.zeros(len(label)))[fold] = fused.value
            figure = metrics(fused, 0.5)["auprc"]
            auprc.setdefault(name, []).append(np.nan if figure is None else figure)
    bare = replace(calib[0], state=np.zeros((0, 0), np.float32), state_names=())
    scores = {name: replace(bare, value=value) for name, value in values.items()}
    return HeldOut(scores, {name: np.array(column) for name, column in auprc.items()})


def mean_auprc(held: HeldOut) -> dict[str, float]:
    """Mean AUPRC of each rule over the folds that define it."""
    return {name: float(np.nanmean(column)) for name, column in held.auprc.items()}


def best_single(held: HeldOut) -> str:
    """The single model with the better mean AUPRC on held-out recordings."""
    mean = mean_auprc(held)
    return max(SINGLE, key=mean.get)


def _chance(held: HeldOut, ahead: str, behind: str) -> float:
    """p of the lead of one rule over another on held-out recordings, times the number of fused
    rules, since the best of many leads by luck (Bonferroni's correction, at most 1).

    Student's t over k folds, one-sided, corrected for what the folds share of the windows that the
    rules were fitted on (Nadeau and Bengio 2003): t = mean / (s √(1/k + 1/(k − 1))).
    """
    # metrics are rounded in float32: what is smaller is no difference
    lead = np.round(held.auprc[ahead] - held.auprc[behind], 6)
    lead = lead[np.isfinite(lead)]
    if (k := len(lead)) < 2 or lead.mean() <= 0:
        return 1.0
    spread = lead.std(ddof=1) * np.sqrt(1 / k + 1 / (k - 1))
    t = lead.mean() / max(spread, 1e-6)
    return min(1.0, float(student.sf(t, k - 1)) * len(set(held.auprc) - set(SINGLE)))


def _best(held: HeldOut) -> str:
    """The fused rule with the best mean AUPRC on held-out recordings."""
    mean = mean_auprc(held)
    return max((name for name in mean if name not in SINGLE), key=mean.get)


def default_rule(held: HeldOut) -> str:
    """The rule to use: the better single model, unless fused rules lead it beyond chance on
    held-out recordings (p < .05, corrected for the number of rules). Of those the simplest, which
    is the first, that the best one does not lead beyond chance. Test windows have no say.

    The attacks on what is held out are synthesised, and a small lead on these shrinks or turns on
    another car; so the burden of proof is on the rule with more parts.

    >>> folds = {"VGAE alone": np.array([0.5, 0.5, 0.5]), "GAT alone": np.array([0.9, 0.8, 0.85]),
    ...          "mean": np.array([0.91, 0.8, 0.86]), "DQN fusion": np.array([0.97, 0.88, 0.92])}
    >>> default_rule(HeldOut({}, folds))
    'DQN fusion'
    >>> del folds["DQN fusion"]
    >>> default_rule(HeldOut({}, folds))
    'GAT alone'
    """
    single, best = best_single(held), _best(held)
    for name in held.auprc:
        proven = name not in SINGLE and _chance(held, name, single) < 0.05
        if proven and _chance(held, best, name) >= 0.05:
            return name
    return single


def margins(
    fused: dict[str, Scores],
    at: dict[str, float],
    single: str,
    draws: int = 2000,
    seed: int = 0,
) -> list[dict]:
    """AUPRC and F1 of each rule minus those of `single`, by scenario and over all captures: a row
    for each, with `captures`, and of each metric the difference, its `_low` and its `_high`.

    The difference is taken within each capture and averaged over the captures that define it. Its
    95 % interval resamples these captures with replacement (`intervals.clustered`), since windows
    of one capture are no independent witnesses. None where nothing is defined: a capture of one
    class has no AUPRC, one without attacks no F1, and a single capture no interval. With two or
    three captures the interval is their range and too short: there, read it as a hint.
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
                low, high = _interval(apart, draws, seed)
                row[metric] = float(apart.mean()) if len(apart) else None
                row |= {f"{metric}_low": low, f"{metric}_high": high}
            rows.append(row)
    return rows


def _interval(values: np.ndarray, draws: int, seed: int) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean of values, one a capture; equal numbers get equal draws."""
    found = clustered(values, draws=draws, seed=seed)
    return found.low, found.high


def whiskers(rows: Sequence[dict], metric: str) -> np.ndarray:
    """How far the intervals of `margins` reach below and above, f8 (2, rows): 0 where undefined."""
    reach = np.zeros((2, len(rows)))
    for k, row in enumerate(rows):
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        if low is not None:
            reach[:, k] = max(row[metric] - low, 0), max(high - row[metric], 0)
    return reach


def _sides(rows: Sequence[dict], metric: str) -> dict[str, list[str]]:
    """The scenarios in which a rule is better, worse or neither beyond the interval."""
    sides: dict[str, list[str]] = {"better": [], "worse": [], "open": [], "undefined": []}
    for row in rows:
        low, high = row[f"{metric}_low"], row[f"{metric}_high"]
        side = "undefined" if low is None else "better" if low > 0 else "worse" if high < 0 else ""
        sides[side or "open"].append(_short(row["scenario"]))
    return sides


def cells(rows: Sequence[dict], metric: str) -> list[dict]:
    """The differences of `margins` in one metric as text, a row each with `detector`, `scenario`
    and `margin`: the value and its interval, for `tables.wide`. All captures come first, scenarios
    by their short names."""
    rows = sorted(rows, key=lambda row: row["scenario"] != ALL)
    return [
        {
            "detector": row["detector"],
            "scenario": _short(row["scenario"]),
            "margin": _interval_text(row, metric, 3),
        }
        for row in rows
    ]


def _short(scenario: str) -> str:
    return "_".join(scenario.split("_")[:2])


def _interval_text(row: dict, metric: str, digits: int = 4) -> str:
    value, low, high = row[metric], row[f"{metric}_low"], row[f"{metric}_high"]
    if value is None:
        return "undefined"
    ends = f"({low:+.{digits}f}, {high:+.{digits}f})" if low is not None else "(no interval)"
    return f"{value:+.{digits}f} {ends}"


def _gain(row: dict, metric: str) -> str:
    return f"{_NAMES[metric]} {_interval_text(row, metric)}"


def words(held: HeldOut, rows: Sequence[dict]) -> list[str]:
    """The verdict in sentences: which rule is the default and why, from held-out recordings; what
    it gains on test windows, from `margins` against `best_single`; where it is better or worse; and
    the rule that the test windows would have liked best, which they did not choose."""
    mean, chosen, single = mean_auprc(held), default_rule(held), best_single(held)
    best, folds = _best(held), len(held.auprc[chosen])
    p = _chance(held, best if chosen == single else chosen, single)
    lead = f"{best} ({mean[best]:.4f}) does not lead it beyond chance, p = {p:.2g}"
    if chosen != single:
        lead = f"beyond chance ahead of {single} ({mean[single]:.4f}), p = {p:.2g}"
        if chosen != best:
            lead += (
                f"; {best} ({mean[best]:.4f}) does not lead it beyond chance, and is less simple"
            )
    said = [
        f"The default rule is {chosen}: with recordings held out in turn ({folds} folds), its mean "
        f"AUPRC on calibration windows is {mean[chosen]:.4f}; {lead}."
    ]
    mine = [row for row in rows if row["detector"] == chosen]
    (total,) = (row for row in mine if row["scenario"] == ALL)
    if chosen == single:
        said.append("It is the better single model itself: nothing to gain from fusion was found.")
    else:
        said.append(
            f"On {total['captures']} test captures, against {single}, the better single model on "
            f"calibration windows: {_gain(total, 'auprc')}, {_gain(total, 'f1')}."
        )
        for metric, title in _NAMES.items():
            sides = _sides([row for row in mine if row["scenario"] != ALL], metric)
            parts = [f"{side} in {', '.join(names)}" for side, names in sides.items() if names]
            said.append(f"{title} by scenario, beyond the interval: {'; '.join(parts)}.")
    known = [row for row in rows if row["scenario"] == ALL and row["auprc"] is not None]
    if known:
        top = max(known, key=lambda row: row["auprc"])
        if top["auprc"] > total["auprc"]:
            said.append(
                f"With hindsight, {top['detector']} does best on the test windows: "
                f"{_gain(top, 'auprc')}. They do not choose."
            )
    return said
