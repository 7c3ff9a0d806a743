"""Results as figures: NumPy arrays in, matplotlib `Axes` out.

Vermillion means attack, a calm blue benign. Every function takes `ax` (None: a new figure) and
`title` (None: a sentence made from the numbers) and returns its Axes; small multiples, an array.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from cangraph.figures.style import ATTACK, BENIGN, DASHED, INK, MUTED, PLAIN, use_style
from cangraph.figures.style import axes as _axes
from cangraph.figures.style import heading as _heading
from cangraph.figures.style import mark as _mark
from cangraph.figures.style import note as _note
from cangraph.figures.style import number as _number
from cangraph.figures.style import panels as _panels
from cangraph.figures.style import title as _title

__all__ = ["use_style", "learning_curves", "score_distributions", "roc", "precision_recall"]
__all__ += ["confusion", "timeline", "pareto", "mixing", "training_trace", "trials", "bars"]


def learning_curves(history, ax=None, title=None):
    """Loss by epoch, a panel a model; the dot is the epoch to keep.

    `history`: name → list of {"epoch", "train_loss", "val_loss", "kept"}, where losses may be
    missing; without a `kept` epoch the dot marks the least loss. A val line that rises while
    train falls is overfitting.

    >>> axes = learning_curves({"GAT": [{"epoch": 0, "train_loss": 0.7, "val_loss": 0.6}]})
    """
    axes, best = _panels(ax, history, "epoch", "loss"), {}
    for ax, (name, epochs) in zip(axes, history.items(), strict=True):
        for part, color, height in (("train", BENIGN, 0), ("val", INK, -12)):
            points = [(row["epoch"], row.get(f"{part}_loss")) for row in epochs]
            points = np.array([p for p in points if p[1] is not None and np.isfinite(p[1])])
            if len(points):
                ax.plot(*points.T, color=color, lw=1.8)
                _note(ax, part, (1, 1), (5, height), "axes fraction", color=color, va="top")
                kept = [row["epoch"] for row in epochs if row.get("kept")]
                at = np.isin(points[:, 0], kept)
                # of val, where there is a val
                best[name] = points[at.argmax() if at.any() else points[:, 1].argmin()]
        if name in best:
            ax.plot(*best[name], "o", color=INK)
        ax.locator_params("x", nbins=4, integer=True)
    found = ", ".join(f"{name} {epoch:.0f}" for name, (epoch, _) in best.items())
    return _heading(axes, title or f"Best epoch: {found}")


def score_distributions(value, label, threshold=None, scenario=None, ax=None, title=None):
    """Histograms of benign and attack scores, counts on a log scale, a panel a scenario.

    `value` (B,) higher = more likely attack, `label` (B,) bool, `scenario` (B,) str (None: one
    panel). Attacks left of the threshold are missed, benign windows right of it are false alarms.

    >>> axes = score_distributions(np.array([0.1, 0.2, 0.9]), np.array([0, 0, 1]), threshold=0.5)
    """
    value, label = np.asarray(value, float), np.asarray(label, bool)
    scenario = np.full(len(value), "") if scenario is None else np.asarray(scenario)
    names = np.unique(scenario).tolist() or [""]
    axes = _panels(ax, names, "score", "windows")
    low, high = np.quantile(np.r_[value, 0 if threshold is None else threshold], (0, 0.999))
    bins, middle = np.linspace(low, high + (low == high), 50), (low + high) / 2
    for ax, name in zip(axes, names, strict=True):
        for part, text, color in ((~label, "benign", BENIGN), (label, "attack", ATTACK)):
            seen = np.clip(value[part & (scenario == name)], low, high)
            look = {"color": color, "alpha": 0.5, "histtype": "stepfilled", "log": True}
            height = ax.hist(seen, bins, **look)[0]
            if len(seen):
                x, y = bins[height.argmax()], height.max()
                _note(ax, text, (x, y), (0, 7), color=color, ha="left" if x < middle else "right")
        if threshold is not None:
            _mark(ax, threshold, f"threshold {_number(threshold)}", 1, -5)
    plt.setp(axes, xlim=bins[[0, -1]], ylim=(0.7, 12 * max(2, *(ax.dataLim.y1 for ax in axes))))
    return _heading(axes, title or f"{label.sum():,} attack and {(~label).sum():,} benign windows")


def roc(curves, log=False, ax=None, title=None):
    """Attacks found against false alarms over all thresholds; the upper left corner is perfect.

    `curves`: name → (value (B,), label (B,)) or, with the threshold in use, which gets a dot,
    (value, label, threshold); the names stand at the right, best first, so put the AUROC in them.
    `log=True` opens up false positive rates from 1e-4 on, where detectors are used.

    >>> roc({"GAT": ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])}).lines[0].get_ydata()
    array([0. , 0.5, 0.5, 1. , 1. ])
    """
    lowest = 1e-4 if log else 0.0  # a logarithm has no 0
    axis = {"xscale": "log"} if log else {"aspect": "equal"}
    axis |= {"xlabel": "false positive rate", "ylabel": "attack windows found", "xlim": (lowest, 1)}
    return _curves(ax, curves, lambda t, f: (np.maximum(f / f[-1], lowest), t / t[-1]), title, axis)


def precision_recall(curves, ax=None, title=None):
    """Alarms that are right against attacks found; the upper right corner is perfect.

    `curves` as for `roc`. Lines end at the share of attacks: compare areas only where it is equal.

    >>> ax = precision_recall({"GAT": (np.array([0.1, 0.4, 0.8]), np.array([0, 1, 1]))})
    """
    axis = {"xlabel": "attack windows found (recall)", "aspect": "equal", "xlim": (0, 1)}
    axis |= {"ylabel": "alarms that are right (precision)"}
    return _curves(ax, curves, lambda t, f: (t / t[-1], np.r_[1, t[1:] / (t + f)[1:]]), title, axis)


def _curves(ax, curves, points, title, axis):
    """A line per curve: `points` of its true and false alarms at each threshold, highest first."""
    from sklearn.metrics import roc_curve

    ax, lines = _axes(ax), []
    ax.set(**axis, ylim=(0, 1), anchor="W")
    for i, (name, (value, label, *used)) in enumerate(curves.items()):
        value, label = np.asarray(value, float), np.asarray(label, bool)
        if label.all() or not label.any():
            text = f"{name} undefined: one class only"
            _note(ax, text, (0.5, 0.5), (0, -12 * i), "axes fraction", color=MUTED, ha="center")
            continue
        fpr, tpr, cuts = roc_curve(label, value, drop_intermediate=False)
        true, false = np.rint(tpr * label.sum()), np.rint(fpr * (~label).sum())
        x, y = points(true, false)
        (line,) = ax.plot(x, y, clip_on=False)
        lines.append((-np.trapezoid(y, x), name, line.get_color(), y[x <= 1e-3].max(initial=0)))
        if used and (here := int((cuts >= used[0]).sum()) - 1) > 0:
            look = {"color": line.get_color(), "mec": "white", "ms": 7, "zorder": 4}
            ax.plot(x[here], y[here], "o", clip_on=False, **look)
    for i, (_, name, color, _) in enumerate(sorted(lines)):  # the best at the top
        dark = np.multiply(to_rgb(color), 0.7)
        _note(ax, name, (1, 1), (5, -12 * i), "axes fraction", color=dark, va="top")
    text = f"Best: {min(lines)[1]}" if lines else "Nothing to compare"
    if lines and "xscale" in axis:
        few = max(lines, key=lambda line: line[3])
        text = f"At one false alarm in 1,000 benign windows, {few[1]} finds {100 * few[3]:.1f} %"
    return _title(ax, title or text)


def confusion(matrix, labels=("benign", "attack"), ax=None, title=None):
    """Counts of windows by truth (rows) and verdict (columns), with each row's percentages.

    `matrix` (2, 2). Blue cells are right, vermillion ones wrong; depth is the row's share.

    >>> ax = confusion(np.array([[90, 10], [5, 95]]))
    """
    ax, matrix = _axes(ax, 2.9), np.asarray(matrix)
    share = matrix / np.where(matrix.sum(1), matrix.sum(1), np.nan)[:, None]
    percent = [[f"{100 * s:.2f} %".replace("nan %", "undefined") for s in row] for row in share]
    tint = (0.08 + 0.5 * np.nan_to_num(share))[..., None]
    hue = np.where(np.eye(2)[..., None], to_rgb(BENIGN), to_rgb(ATTACK))
    ax.imshow(1 - tint * (1 - hue), aspect="auto")
    for i, j in np.ndindex(2, 2):
        _note(ax, f"{matrix[i, j]:,}", (j, i), (0, 7), size=16, weight="bold", ha="center")
        _note(ax, f"{percent[i][j]} of {labels[i]}", (j, i), (0, -11), ha="center")
    ax.axhline(0.5, color="white", lw=4)
    ax.axvline(0.5, color="white", lw=4)
    ax.set_xticks([0, 1], [f"called {label}" for label in labels])
    ax.set(yticks=[0, 1], yticklabels=labels, frame_on=False)
    ax.tick_params(length=0)
    return _title(ax, title or f"{percent[1][1]} of attacks found, {percent[0][1]} false alarms")


def timeline(start, end, value, threshold=None, attack_spans=(), ax=None, title=None):
    """The score over one capture: attacks shaded, threshold dashed, alarms as vermillion dots.

    `start`, `end`, `value` (B,), in s; `attack_spans`: (start, end) pairs in s. Dots outside the
    shade are false alarms, shade without dots a missed attack. Far outliers are cut at the top.

    >>> ax = timeline(np.arange(4), np.arange(1, 5), [0.1, 0.2, 0.9, 0.1], 0.5, [(2, 3)])
    """
    start, end, value = (np.asarray(a, float) for a in (start, end, value))
    limit, time = np.inf if threshold is None else threshold, (start + end) / 2
    ax, alarm, (low, high) = _axes(ax, 2.7), value > limit, np.quantile(value, (0, 0.98))
    high = low + 1.3 * max(high - low, 0 if threshold is None else limit - low, 1e-9)
    look = {"color": ATTACK, "alpha": 0.13, "lw": 0, "label": "attack under way"}
    shades, y = [ax.axvspan(*span, **look) for span in attack_spans], np.minimum(value, high)
    ax.plot(time, y, color=BENIGN, lw=0.9)
    dots = ax.plot(time[alarm], y[alarm], "o", color=ATTACK, ms=3, mew=0, label="alarm")
    ax.set(xlabel="time (s)", ylabel="score", xmargin=0.01)
    ax.legend(handles=dots + shades[:1], loc=(0, 1), ncols=2, handlelength=1, borderpad=0.3)
    if threshold is not None:
        ax.axhline(limit, **DASHED)
        _note(ax, f"threshold\n{_number(limit)}", (1, limit), (5, 0), ax.get_yaxis_transform())
    hit = [alarm & (start <= b) & (end >= a) for a, b in attack_spans]
    found, false = sum(map(np.any, hit)), alarm.sum() - np.any(hit, axis=0).sum()
    text = f"{found} of {len(hit)} attacks found, {false} false alarms in {np.ptp(time):.0f} s"
    return _title(ax, title or text, pad=25)


def pareto(parameters, quality, names, quality_label="quality", ax=None, title=None):
    """Model size (log) against quality: (n,) each. The line joins those that no smaller one beats.

    >>> ax = pareto(np.array([27e3, 512e3]), np.array([0.97, 0.99]), ["student", "teacher"])
    """
    ax, parameters, quality = _axes(ax), np.asarray(parameters), np.asarray(quality, float)
    order = np.lexsort((-quality, parameters))
    best = np.maximum.accumulate(quality[order])
    front = order[np.r_[True, best[1:] > best[:-1]]]
    ax.plot(parameters[front], quality[front], color=BENIGN, lw=1, zorder=1)
    led = np.isin(range(len(names)), front)
    ax.scatter(parameters, quality, 45, np.where(led, "C0", "#A9B4BF"), ec="white", lw=0.8)
    for name, x, y, up in zip(names, parameters, quality, led, strict=True):
        _note(ax, name, (x, y), (0, 11 if up else -11), ha="center", bbox=PLAIN)
    ax.set(xscale="log", xlabel="parameters", ylabel=quality_label, xmargin=0.12, ymargin=0.15)
    top = np.argmax(quality)
    text = f"Best: {names[top]}, {_number(quality[top])} with {parameters[top]:,.0f} parameters"
    return _title(ax, title or text)


def mixing(grid, vgae, gat, alpha, ax=None, title=None, label="α, the weight of the GAT"):
    """The policy as a map of α: `grid` (m, n) over GAT × VGAE probability. Windows (B,) are dots in
    the colour of their own α: where they stand out from the map, the rest of the state decides.

    >>> ax = mixing(np.array([[0.2, 0.8], [0.5, 1.0]]), vgae=[0.1], gat=[0.9], alpha=[0.5])
    """
    ax, alpha, odds = _axes(ax), np.asarray(alpha, float), np.abs(np.subtract(vgae, gat)) > 0.5
    cells = ax.imshow(grid, origin="lower", extent=(0, 1, 0, 1), aspect="auto", clim=(0, 1))
    ax.scatter(vgae, gat, 14, alpha, ec="white", lw=0.5, clip_on=False, zorder=3, clim=(0, 1))
    ax.set(xlabel="VGAE probability", ylabel="GAT probability")
    ax.figure.colorbar(cells, ax=ax, label=label, ticks=(0, 0.5, 1)).outline.set_visible(False)
    near, far = (_number(np.mean(a)) if len(a) else "–" for a in (alpha[~odds], alpha[odds]))
    return _title(ax, title or f"The GAT weighs {near} where both agree, {far} elsewhere")


def training_trace(values, ax=None, title=None):
    """Named traces of a training, a panel each: every step pale, the running mean dark.

    `values`: name → (n,). A reward that is flat from the first step on: nothing was learnt.

    >>> axes = training_trace({"reward": np.arange(9.0), "epsilon": np.ones(9)})
    """
    axes, last = _panels(ax, values, "step"), []
    for ax, (name, value) in zip(axes, values.items(), strict=True):
        span = max(1, len(value) // 25)
        mean = np.convolve(value, np.ones(span) / span, "valid")
        ax.plot(value, color=BENIGN, alpha=0.35, lw=0.8)
        ax.plot(np.arange(len(mean)) + (span - 1) / 2, mean, color="C0")
        last.append(f"{name} {_number(mean[-1])}")
    return _heading(axes, title or f"At the end: {', '.join(last)}")


def trials(values, ended, ax=None, title=None):
    """Values of a search's trials, (n,), hollow where not `ended` (n,), and the best so far.

    >>> ax = trials([0.7, 0.9, 0.4], [True, True, False])
    """
    ax, values, number = _axes(ax, 2.7), np.asarray(values, float), 1 + np.arange(len(values))
    best = np.fmax.accumulate(np.where(ended, values, np.nan))
    ax.step(number, best, where="post", color=BENIGN, lw=1)
    ax.scatter(number, values, 40, np.where(ended, "C0", "white"), ec=MUTED, lw=0.8, zorder=3)
    ax.locator_params("x", integer=True)
    ax.set(xlabel="trial", ylabel="validation AUPRC")
    won, gain = 1 + np.argmax(best == best[-1]), _number(best[-1] - values[0])
    return _title(ax, title or f"Best: trial {won}, {gain} above the first")


def bars(names, values, errors=None, reference=None, ax=None, title=None):
    """A table's column as bars: (n,) names and values, errors (n,) or (2, n), a reference value.

    NaN is written as undefined. Do not rank bars whose whiskers overlap.

    >>> ax = bars(["teacher", "student"], [0.98, 0.97], errors=[0.01, 0.02], reference=0.95)
    """
    ax, values, rows = _axes(ax, 1.1 + 0.28 * len(names)), np.asarray(values, float), len(names)
    reach = np.zeros((2, rows)) + (0 if errors is None else errors)
    ax.barh(range(rows), np.nan_to_num(values), 0.62, color=BENIGN)
    ax.errorbar(values, range(rows), xerr=reach, fmt="none", ecolor=INK, elinewidth=1)
    for i, end in enumerate(np.nan_to_num(np.maximum(values + reach[1], 0))):
        _note(ax, _number(values[i]), (end, i), (4, 0), bbox=PLAIN)
    ax.set(xticks=[], yticks=range(rows), yticklabels=names, ylim=(rows - 0.45, -0.55))
    ax.tick_params("y", length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    if reference is not None:
        _mark(ax, reference, f"reference {_number(reference)}", 0, -8)
    known = values[np.isfinite(values)]
    text = f"From {_number(known.min())} to {_number(known.max())}" if len(known) else "undefined"
    return _title(ax, title or text)
