"""What detectors are worth, as figures: how sure, how fast, where and why not."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from cangraph.figures import style
from cangraph.figures.style import ATTACK, BENIGN, DASHED, INK, MUTED, PLAIN


def learning_curves(history, ax=None, title=None):
    """Loss by epoch, a panel a model; the dot is the epoch to keep.

    `history`: name → list of {"epoch", "train_loss", "val_loss", "kept"}, where losses may be
    missing; without a `kept` epoch the dot marks the least loss. A val line that rises while
    train falls is overfitting.

    >>> axes = learning_curves({"GAT": [{"epoch": 0, "train_loss": 0.7, "val_loss": 0.6}]})
    """
    axes, best = style.panels(ax, history, "epoch", "loss"), {}
    for ax, (name, epochs) in zip(axes, history.items(), strict=True):
        kept = [row["epoch"] for row in epochs if row.get("kept")]
        for part, color, height in (("train", BENIGN, 0), ("val", INK, -12)):
            points = [(row["epoch"], row.get(f"{part}_loss")) for row in epochs]
            points = np.array([p for p in points if p[1] is not None and np.isfinite(p[1])])
            if len(points):
                ax.plot(*points.T, color=color, lw=1.8)
                style.note(ax, part, (1, 1), (5, height), "axes fraction", color=color, va="top")
                at = np.isin(points[:, 0], kept)
                # of val, where there is a val
                best[name] = points[at.argmax() if at.any() else points[:, 1].argmin()]
        if name in best:
            ax.plot(*best[name], "o", color=INK)
        ax.locator_params("x", nbins=4, integer=True)
    found = ", ".join(f"{name} {epoch:.0f}" for name, (epoch, _) in best.items())
    return style.heading(axes, title or f"Best epoch: {found}")


def training_trace(values, ax=None, title=None, across="step"):
    """Named traces of a training, a panel each: every step pale, the running mean dark.

    `values`: name → (n,), one for each step or epoch, as `across` says. A reward that is flat from
    the first step on: nothing was learnt.
    """
    axes, last = style.panels(ax, values, across), []
    for ax, (name, value) in zip(axes, values.items(), strict=True):
        span = max(1, len(value) // 25)
        mean = np.convolve(value, np.ones(span) / span, "valid")
        ax.plot(value, color=BENIGN, alpha=0.35, lw=0.8)
        ax.plot(np.arange(len(mean)) + (span - 1) / 2, mean, color="C0")
        last.append(f"{name} {style.number(mean[-1])}")
    return style.heading(axes, title or f"At the end: {', '.join(last)}")


def roc(curves, ax=None, title=None):
    """Attacks found against false alarms over all thresholds; the upper left corner is perfect.
    False positive rates are logarithmic from 1e-4 on, since detectors are used where they are low.

    `curves`: name → (value (B,), label (B,)) or, with the threshold in use, which gets a dot,
    (value, label, threshold); the names stand at the right, best first, so put the AUROC in them.

    >>> roc({"GAT": ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])}).lines[0].get_ydata()
    array([0. , 0.5, 0.5, 1. , 1. ])
    """
    from sklearn.metrics import roc_curve

    ax, lines = style.axes(ax), []
    ax.set(xlabel="false positive rate", xscale="log", xlim=(1e-4, 1))
    ax.set(ylabel="attack windows found", ylim=(0, 1), anchor="W")
    for i, (name, (value, label, *used)) in enumerate(curves.items()):
        value, label = np.asarray(value, float), np.asarray(label, bool)
        if label.all() or not label.any():
            text, look = f"{name} undefined: one class only", {"color": MUTED, "ha": "center"}
            style.note(ax, text, (0.5, 0.5), (0, -12 * i), "axes fraction", **look)
            continue
        x, y, cuts = roc_curve(label, value, drop_intermediate=False)
        x = np.maximum(x, 1e-4)
        (line,) = ax.plot(x, y, clip_on=False)
        lines.append((-np.trapezoid(y, x), name, line.get_color(), y[x <= 1e-3].max(initial=0)))
        if used and (here := int((cuts >= used[0]).sum()) - 1) > 0:
            look = {"color": line.get_color(), "mec": "white", "ms": 7, "zorder": 4}
            ax.plot(x[here], y[here], "o", clip_on=False, **look)
    _, names, colors, few = zip(*sorted(lines), strict=True) if lines else [()] * 4
    style.beside(ax, names, colors)
    text = "Nothing to compare"
    if lines:
        i = int(np.argmax(few))
        text = f"At one false alarm in 1,000 benign windows, {names[i]} finds {100 * few[i]:.1f} %"
    return style.title(ax, title or text)


def bars(names, values, reference=None, ax=None, title=None):
    """A table's column as bars: (n,) names and values, a reference value. NaN: undefined."""
    n, values = len(names), np.asarray(values)
    values = values if values.dtype.kind in "iu" else values.astype(float)  # counts stay whole
    ax = style.axes(ax, 1.1 + 0.28 * n)
    ax.barh(range(n), np.nan_to_num(values), 0.62, color=BENIGN)
    for i, end in enumerate(np.nan_to_num(np.maximum(values, 0))):
        style.note(ax, style.number(values[i]), (end, i), (4, 0), bbox=PLAIN)
    style.rows(ax, names)
    ax.set_xticks([])
    ax.spines.bottom.set_visible(False)
    if reference is not None:
        ax.axvline(reference, **DASHED)
        text, across = f"reference {style.number(reference)}", ax.get_xaxis_transform()
        style.note(ax, text, (reference, 0), (0, -8), across, ha="center", bbox=PLAIN)
    known = [style.number(value) for value in np.sort(values[np.isfinite(values)])]
    return style.title(ax, title or (f"From {known[0]} to {known[-1]}" if known else "undefined"))


def forest(rows: Sequence[dict], metrics: Sequence[str], title=None):
    """Means with their intervals: a panel a metric, a line a detector, best of the first on top.

    `rows`: dicts with `detector` and, for each metric, `<metric>`, `<metric>_low`, `<metric>_high`
    (None where undefined). Whiskers that overlap rank nothing, and the title says how many do.
    """
    first = metrics[0]
    rows = sorted(rows, key=lambda row: -1 if row[first] is None else row[first], reverse=True)
    size = (2 + 1.8 * len(metrics), 0.9 + 0.25 * len(rows))
    _, axes = plt.subplots(1, len(metrics), figsize=size, sharey=True, squeeze=False)
    for ax, metric in zip(axes[0], metrics, strict=True):
        ax.set_title(metric.upper(), loc="left", weight="normal", size=9.5)
        for i, row in enumerate(rows):
            value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
            text, color = ("undefined", MUTED) if value is None else (f"{value:.3f}", INK)
            style.note(ax, text, (1.03, i), (5, 0), color=color)
            if low is not None:
                ax.plot([low, high], [i, i], color=INK, lw=1)
            if value is not None:
                ax.plot(value, i, "o", color=BENIGN, ms=6)
        ax.set(xlim=(-0.02, 1.03), xticks=[0, 0.5, 1])
        style.rows(ax, [row["detector"] for row in rows])
        ax.grid(axis="x")
    best, low = (np.nan if rows[0][k] is None else rows[0][k] for k in (first, f"{first}_low"))
    text = f"Highest {first.upper()}: {rows[0]['detector']}, {style.number(best)}"
    highs = np.array([row[f"{first}_high"] for row in rows[1:]], float)  # None: NaN
    if alike := int((highs >= low).sum()):
        text += f"; the intervals of {alike} of {len(highs)} others overlap"
    return style.heading(axes, title or text)


def timelines(panels: Sequence[dict], at: float, title=None):
    """The score over every capture, a panel each: attacks shaded, the threshold dashed.

    `panels`: dicts with `name`, `start`, `end`, `value` (B,) and `spans`, (start, end) pairs in s.
    A pale band spans the least and the largest score in each 1/200 of a capture; dots are calls.
    """
    lines = max(-(-len(panels) // 2), 1)
    size = (5.6, 0.5 + 0.92 * lines)
    figure, grid = plt.subplots(lines, 2, figsize=size, squeeze=False, sharey=True)
    everything = np.concatenate([panel["value"] for panel in panels] or [[0.0]])
    low, high = min(0.0, everything.min()), max(1.0, np.quantile(everything, 0.999))
    found = []  # of each panel, whether each of its attacks is called
    for ax, panel in zip(grid.flat, panels, strict=False):
        start, end, value = (panel[name] for name in ("start", "end", "value"))
        time, seen = (start + end) / 2, np.clip(value, low, high)
        for span in panel["spans"]:
            ax.axvspan(*span, color=ATTACK, alpha=0.16, lw=0)
        cell = np.minimum((200 * (time - time[0]) / max(np.ptp(time), 1e-9)).astype(int), 199)
        first = np.flatnonzero(np.r_[True, np.diff(cell) > 0])
        bottom, top = np.minimum.reduceat(seen, first), np.maximum.reduceat(seen, first)
        middle = np.add.reduceat(time, first) / np.diff(np.r_[first, len(time)])
        ax.fill_between(middle, bottom, top, color=BENIGN, alpha=0.45, lw=0.6)
        called = np.maximum.reduceat(value, first) >= at
        ax.plot(middle[called], top[called], ".", color=ATTACK, ms=2.5)
        ax.axhline(at, **(DASHED | {"lw": 0.7}))
        spans = panel["spans"]
        found.append([((value >= at) & (start <= b) & (end >= a)).any() for a, b in spans])
        ax.set_title(panel["name"], loc="left", weight="normal", size=8.5, pad=3)
        ax.set(xmargin=0, ylim=(low - 0.03 * (high - low), high + 0.06 * (high - low)))
        ax.tick_params(labelsize=7.5)
        ax.locator_params("x", nbins=4)
    for ax in grid.flat[len(panels) :]:
        ax.set_visible(False)
    figure.supxlabel("time (s)", size=8.5, color=MUTED)
    figure.supylabel("score", size=8.5, color=MUTED)
    text = f"{sum(map(sum, found))} of {sum(map(len, found))} attacks are called in some window, "
    text += f"all of them in {sum(map(all, found))} of {len(panels)} captures"
    return style.heading(grid, title or text)
