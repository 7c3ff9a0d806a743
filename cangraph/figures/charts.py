"""The report's figures: how sure, how fast, where and why not. Arrays in, matplotlib `Axes` out.

Vermillion means attack, or what is wrong; a calm blue benign. Every function takes `title` (None:
a sentence made from the numbers) and returns its Axes; small multiples, an array.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from cangraph.figures import style as canvas
from cangraph.figures.style import ATTACK, BENIGN, DASHED, INK, MUTED, PLAIN

__all__ = ["alarm_curves", "delays", "drift", "forest", "heat", "percent", "reliability"]


def forest(rows: Sequence[dict], metrics: Sequence[str], title=None):
    """Means with their intervals: a panel a metric, a line a detector, best of the first on top.

    `rows`: dicts with `detector` and, for each metric, `<metric>`, `<metric>_low`, `<metric>_high`
    (None where undefined). Do not rank detectors whose whiskers overlap.

    >>> rows = [{"detector": "GAT", "f1": 0.9, "f1_low": 0.8, "f1_high": 1.0}]
    >>> axes = forest(rows, ["f1"])
    """
    first = metrics[0]
    rows = sorted(rows, key=lambda row: -1 if row[first] is None else row[first], reverse=True)
    _, axes = plt.subplots(
        1, len(metrics), figsize=(5.6, 0.9 + 0.25 * len(rows)), sharey=True, squeeze=False
    )
    for ax, metric in zip(axes[0], metrics, strict=True):
        ax.set_title(_NAMES.get(metric, metric), loc="left", weight="normal", size=9.5)
        for i, row in enumerate(rows):
            value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
            if value is None:
                canvas.note(ax, "undefined", (0, i), (3, 0), color=MUTED, size=8)
                continue
            if low is not None:
                ax.plot([low, high], [i, i], color=INK, lw=1)
            ax.plot(value, i, "o", color=BENIGN, ms=6)
            low, high = (value if end is None else end for end in (low, high))
            look = {"xy": (low, i), "offset": (-6, 0), "ha": "right"}
            if low < 0.25:  # no room between the name and the whisker
                look = {"xy": (high, i), "offset": (6, 0), "ha": "left"}
                if high > 0.75:
                    look = {"xy": (value, i), "offset": (0, 8), "ha": "center"}
            canvas.note(ax, f"{value:.3f}", **look)
        ax.set(xlim=(-0.02, 1.03), xticks=[0, 0.5, 1], ylim=(len(rows) - 0.4, -0.6))
        ax.set_yticks(range(len(rows)), [row["detector"] for row in rows])
        ax.tick_params("y", length=0)
        ax.spines.left.set_visible(False)
        ax.grid(axis="x")
    best = rows[0]
    name = _NAMES.get(first, first)
    text = f"Best by {name}: {best['detector']}, {canvas.number(_nan(best[first]))}"
    canvas.heading(axes[0], title or text)
    return axes[0]


_NAMES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "mcc": "MCC"}


def _nan(value: float | None) -> float:
    return np.nan if value is None else value


def heat(rows: Sequence[dict], title=None):
    """Windows called, by capture (down) and by what they are (across); `rows` as
    `blame.by_attack_and_capture` gives them. The deeper a cell, the more of it is wrong: attacks
    that were missed, benign windows that were called.

    >>> ax = heat([{"capture": "a", "attack": "fuzzing", "share": 0.9, "windows": 10},
    ...            {"capture": "a", "attack": "benign", "share": 0.1, "windows": 90}])
    """
    captures = list(dict.fromkeys(row["capture"] for row in rows))
    kinds = [*sorted({row["attack"] for row in rows} - {"benign"}), "benign"]
    wrong, text = np.full((len(captures), len(kinds)), np.nan), {}
    for row in rows:
        i, j = captures.index(row["capture"]), kinds.index(row["attack"])
        wrong[i, j] = row["share"] if row["attack"] == "benign" else 1 - row["share"]
        text[i, j] = percent(row["share"])
    _, ax = plt.subplots(figsize=(5.6, 1.2 + 0.27 * len(captures)))
    map_ = plt.matplotlib.colors.LinearSegmentedColormap.from_list("wrong", ["#F3F6F9", ATTACK])
    ax.imshow(wrong, cmap=map_, vmin=0, vmax=1, aspect="auto")
    for (i, j), words in text.items():
        color = "white" if wrong[i, j] > 0.75 else INK
        canvas.note(ax, words, (j, i), ha="center", size=8, color=color)
    look = {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "size": 8.5}
    ax.set_xticks(range(len(kinds)), [*kinds[:-1], "benign, called"], **look)
    ax.set_yticks(range(len(captures)), captures)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    i, j = np.unravel_index(np.nanargmax(wrong), wrong.shape)
    said = f"Missed most: {percent(wrong[i, j])} of the {kinds[j]} in {captures[i]}"
    if kinds[j] == "benign":
        said = (
            f"Most wrong: {percent(wrong[i, j])} of the benign windows of {captures[i]} are called"
        )
    if not wrong[i, j]:
        said = "Every window is judged rightly"
    return canvas.title(ax, title or said)


def percent(share: float) -> str:
    """
    >>> percent(0.9996), percent(1.0), percent(0.123)
    ('99.96 %', '100 %', '12.3 %')
    """
    digits = 0 if share in (0, 1) else 2 if min(share, 1 - share) < 0.005 else 1
    return f"{100 * share:.{digits}f} %"


def delays(delay: dict[str, Sequence[float]], title=None):
    """Seconds from the start of each attack to its alarm: a row a capture, a dot an attack, on a
    logarithmic axis from 10 ms; NaN, a missed attack, is a vermillion cross at the right.

    >>> ax = delays({"DoS": [0.1, 0.4, np.nan], "fuzzing": [0.02]})
    """
    names, every = list(delay), np.concatenate([np.asarray(d, float) for d in delay.values()])
    _, ax = plt.subplots(figsize=(5.6, 1.3 + 0.24 * len(names)))
    found, least = every[np.isfinite(every)], 0.01
    far = max(10.0, 3 * found.max(initial=1.0))
    for i, name in enumerate(names):
        mine = np.asarray(delay[name], float)
        late = mine[np.isfinite(mine)]
        ax.plot(np.maximum(late, least), np.full(len(late), i), "o", color=BENIGN, alpha=0.6, ms=5)
        if len(late):
            ax.plot([max(np.median(late), least)] * 2, [i - 0.33, i + 0.33], color=INK, lw=1.5)
        missed = len(mine) - len(late)
        if missed:
            ax.plot(far, i, "x", color=ATTACK, ms=6, mew=1.8)
            canvas.note(ax, f"{missed} missed", (far, i), (7, 0), color=ATTACK)
    ax.set(xscale="log", xlim=(least * 0.8, far * 1.15), xlabel="delay (s)")
    ax.set_xticks([0.01, 0.1, 1, 10], ["≤ .01", "0.1", "1", "10"])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.tick_params("y", length=0)
    ax.spines.left.set_visible(False)
    ax.grid(axis="x")
    text = "No attack was found" if len(every) else "No attack to find"
    if len(found):
        text = (
            f"Half of the {len(found)} attacks found raise an alarm within {np.median(found):.2f} s"
        )
        text += f", nine of ten within {np.quantile(found, 0.9):.2f} s"
    return canvas.title(ax, title or text)


def alarm_curves(curves: dict[str, Sequence[dict]], at: dict[str, dict], title=None):
    """Attacks found against false alarms an hour, over all thresholds; the upper left is perfect.

    `curves`: name → rows of `alarms.alarm_curve`; `at`: name → the row at the threshold in use, a
    dot. The axis is linear up to one false alarm an hour, logarithmic beyond.

    >>> rows = [{"false_alarms_per_hour": 0.0, "recall": 0.5}]
    >>> ax = alarm_curves({"GAT": rows}, {"GAT": rows[0]})
    """
    ax, names = canvas.axes(None, 3.2), []
    every = [row for rows in (*curves.values(), at.values()) for row in rows]
    far = max([10.0, *(1.2 * (row["false_alarms_per_hour"] or 0) for row in every)])
    for name, rows in curves.items():
        points = [(row["false_alarms_per_hour"], row["recall"]) for row in rows]
        points = np.array([p for p in points if None not in p]).reshape(-1, 2)
        if not len(points):
            continue
        x = np.unique(points[:, 0])
        best = np.array([points[points[:, 0] <= limit, 1].max() for limit in x])
        (line,) = ax.step([*x, far], [*best, best[-1]], where="post", clip_on=False)
        used = at.get(name) or {}
        if used.get("recall") is not None and used["false_alarms_per_hour"] is not None:
            where = used["false_alarms_per_hour"], used["recall"]
            ax.plot(
                *where, "o", color=line.get_color(), ms=6.5, mec="white", clip_on=False, zorder=4
            )
        names.append((-best[x <= 5].max(initial=0), name, line.get_color()))
    for i, (less, name, color) in enumerate(sorted(names)):
        dark = np.multiply(plt.matplotlib.colors.to_rgb(color), 0.7)
        text = f"{name} {percent(-less)}"
        canvas.note(ax, text, (1, 1), (5, -13 * i - 4), "axes fraction", color=dark, va="top")
    ax.axvline(5, **DASHED)
    canvas.note(ax, "5 an hour", (5, 0.03), (4, 0), color=MUTED, bbox=PLAIN)
    ax.set(xscale="symlog", ylim=(0, 1), xlabel="false alarms per hour", ylabel="attacks found")
    ax.set_xlim(0, far)
    ax.grid(axis="y")
    text = "No attack to find"
    if names:
        less, name, _ = min(names)
        text = f"With at most 5 false alarms an hour, {name} finds {percent(-less)} of the attacks"
    return canvas.title(ax, title or text)


def reliability(kinds: dict[str, tuple], ece: dict[str, float], title=None):
    """Share of attacks among windows of a probability, which should be the probability.

    `kinds`: name → (value (B,), label (B,)); bins by scikit-learn's `calibration_curve`, ten of
    equal width; a dot's area follows the windows in it. `ece`: name → calibration error.

    >>> windows = np.array([0.1, 0.9]), np.array([0, 1])
    >>> ax = reliability({"as trained": windows}, {"as trained": 0.1})
    """
    from sklearn.calibration import calibration_curve

    ax = canvas.axes(None, 3.2)
    ax.plot([0, 1], [0, 1], **DASHED)
    for i, (name, (value, label)) in enumerate(kinds.items()):
        true, predicted = calibration_curve(np.asarray(label, int), np.clip(value, 0, 1), n_bins=10)
        counts = np.histogram(np.clip(value, 0, 1), np.linspace(0, 1, 11))[0]
        counts = counts[counts > 0]
        (line,) = ax.plot(predicted, true, color=f"C{i}", lw=1, alpha=0.7, clip_on=False)
        size = 12 + 160 * np.sqrt(counts / counts.max())
        ax.scatter(
            predicted, true, size, line.get_color(), alpha=0.6, lw=0, clip_on=False, zorder=3
        )
        dark = np.multiply(plt.matplotlib.colors.to_rgb(line.get_color()), 0.7)
        text = f"{name}\nECE {ece[name]:.4f}"
        canvas.note(ax, text, (1, 1), (12, -28 * i), "axes fraction", color=dark, va="top")
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", anchor="W")
    ax.set(xlabel="attack probability", ylabel="share of attacks")
    value, label = next(iter(kinds.values()))
    said = "too many" if np.mean(value) > np.mean(label) else "too few"
    text = f"Probabilities are off by {next(iter(ece.values())):.3f}, and promise {said} attacks"
    return canvas.title(ax, title or text)


def drift(rows: Sequence[dict], at: float, title=None):
    """Where the scores of benign windows lie, by part or capture: median, and the middle 90 %.

    `rows` as `report.drift` gives them, the reference first: `part`, `low`, `median`, `high` in
    log-odds, and `ks`, the Kolmogorov-Smirnov distance from the reference, in words at the right;
    `at`: the threshold in log-odds. What moves to the right makes false alarms.

    >>> place = {"low": -9, "median": -8, "high": -7}
    >>> ax = drift([{"part": "train", "ks": None} | place, {"part": "DoS", "ks": 0.3} | place], 0.0)
    """
    names, ks = [row["part"] for row in rows], np.array([_nan(row["ks"]) for row in rows])
    _, ax = plt.subplots(figsize=(5.6, 1.3 + 0.24 * len(names)))
    for i, row in enumerate(rows):
        ax.plot(
            [row["low"], row["high"]], [i, i], solid_capstyle="butt", color=BENIGN, lw=5, alpha=0.45
        )
        ax.plot(row["median"], i, "o", color=INK if np.isnan(ks[i]) else BENIGN, ms=5.5)
        words = "reference" if np.isnan(ks[i]) else f"D = {ks[i]:.2f}"
        canvas.note(ax, words, (1, i), (6, 0), ax.get_yaxis_transform(), color=MUTED)
    ax.axvline(at, **DASHED)
    canvas.note(ax, "threshold", (at, -0.5), (3, 4), size=8)
    ax.set_yticks(range(len(names)), names)
    ax.set(ylim=(len(names) - 0.45, -0.55), xlabel="log-odds of benign windows")
    ax.tick_params("y", length=0)
    ax.spines.left.set_visible(False)
    text = "Nothing to compare"
    if np.isfinite(ks).any():
        most = int(np.nanargmax(ks))
        text = (
            f"Benign scores move most in {names[most]}: KS distance {ks[most]:.2f} from {names[0]}"
        )
    return canvas.title(ax, title or text)
