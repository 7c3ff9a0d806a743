"""What detectors are worth, as figures: how sure, how fast, where and why not."""

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap

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


def training_trace(values, ax=None, title=None):
    """Named traces of a training, a panel each: every step pale, the running mean dark.

    `values`: name → (n,). A reward that is flat from the first step on: nothing was learnt.
    """
    axes, last = style.panels(ax, values, "step"), []
    for ax, (name, value) in zip(axes, values.items(), strict=True):
        span = max(1, len(value) // 25)
        mean = np.convolve(value, np.ones(span) / span, "valid")
        ax.plot(value, color=BENIGN, alpha=0.35, lw=0.8)
        ax.plot(np.arange(len(mean)) + (span - 1) / 2, mean, color="C0")
        last.append(f"{name} {style.number(mean[-1])}")
    return style.heading(axes, title or f"At the end: {', '.join(last)}")


def trials(values, ended, ax=None, title=None):
    """Values of a search's trials, (n,), hollow where not `ended` (n,), and the best so far."""
    ax, values, number = style.axes(ax, 2.7), np.asarray(values, float), 1 + np.arange(len(values))
    best = np.fmax.accumulate(np.where(ended, values, np.nan))
    ax.step(number, best, where="post", color=BENIGN, lw=1)
    ax.scatter(number, values, 40, np.where(ended, "C0", "white"), ec=MUTED, lw=0.8, zorder=3)
    ax.locator_params("x", integer=True)
    ax.set(xlabel="trial", ylabel="validation AUPRC")
    won, gain = 1 + np.argmax(best == best[-1]), style.number(best[-1] - values[0])
    return style.title(ax, title or f"Best: trial {won}, {gain} above the first")


def score_distributions(value, label, threshold, scenario, ax=None, title=None):
    """Histograms of benign and attack scores, counts on a log scale, a panel a scenario.

    `value` (B,) higher = more likely attack, `label` (B,) bool, `scenario` (B,) str. Attacks left
    of the threshold are missed, benign windows right of it are false alarms.
    """
    value, label = np.asarray(value, float), np.asarray(label, bool)
    names = np.unique(scenario).tolist()
    axes = style.panels(ax, names, "score", "windows")
    low, high = np.quantile(np.r_[value, threshold], (0, 0.999))
    bins, middle = np.linspace(low, high + (low == high), 50), (low + high) / 2
    for ax, name in zip(axes, names, strict=True):
        for part, text, color in ((~label, "benign", BENIGN), (label, "attack", ATTACK)):
            seen = np.clip(value[part & (np.asarray(scenario) == name)], low, high)
            look = {"color": color, "alpha": 0.5, "histtype": "stepfilled", "log": True}
            height = ax.hist(seen, bins, **look)[0]
            if len(seen):
                x, y = bins[height.argmax()], height.max()
                side = "left" if x < middle else "right"
                style.note(ax, text, (x, y), (0, 7), color=color, ha=side)
        style.mark(ax, threshold, f"threshold {style.number(threshold)}", 1, -5)
    plt.setp(axes, xlim=bins[[0, -1]], ylim=(0.7, 12 * max(2, *(ax.dataLim.y1 for ax in axes))))
    text = f"{label.sum():,} attack and {(~label).sum():,} benign windows"
    return style.heading(axes, title or text)


def roc(curves, ax=None, title=None):
    """Attacks found against false alarms over all thresholds; the upper left corner is perfect.
    False positive rates are logarithmic from 1e-4 on, since detectors are used where they are low.

    `curves`: name → (value (B,), label (B,)) or, with the threshold in use, which gets a dot,
    (value, label, threshold); the names stand at the right, best first, so put the AUROC in them.

    >>> roc({"GAT": ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])}).lines[0].get_ydata()
    array([0. , 0.5, 0.5, 1. , 1. ])
    """
    axis = {"xlabel": "false positive rate", "ylabel": "attack windows found"}
    axis |= {"xscale": "log", "xlim": (1e-4, 1)}
    return _curves(ax, curves, lambda t, f: (np.maximum(f / f[-1], 1e-4), t / t[-1]), title, axis)


def precision_recall(curves, ax=None, title=None):
    """Alarms that are right against attacks found; the upper right corner is perfect.

    `curves` as for `roc`. Lines end at the share of attacks: compare areas only where it is equal.
    """
    axis = {"xlabel": "attack windows found (recall)", "aspect": "equal", "xlim": (0, 1)}
    axis |= {"ylabel": "alarms that are right (precision)"}
    return _curves(ax, curves, lambda t, f: (t / t[-1], np.r_[1, t[1:] / (t + f)[1:]]), title, axis)


def _curves(ax, curves, points, title, axis):
    """A line per curve: `points` of its true and false alarms at each threshold, highest first."""
    from sklearn.metrics import roc_curve

    ax, lines = style.axes(ax), []
    ax.set(**axis, ylim=(0, 1), anchor="W")
    for i, (name, (value, label, *used)) in enumerate(curves.items()):
        value, label = np.asarray(value, float), np.asarray(label, bool)
        if label.all() or not label.any():
            text, look = f"{name} undefined: one class only", {"color": MUTED, "ha": "center"}
            style.note(ax, text, (0.5, 0.5), (0, -12 * i), "axes fraction", **look)
            continue
        fpr, tpr, cuts = roc_curve(label, value, drop_intermediate=False)
        x, y = points(np.rint(tpr * label.sum()), np.rint(fpr * (~label).sum()))
        (line,) = ax.plot(x, y, clip_on=False)
        lines.append((-np.trapezoid(y, x), name, line.get_color(), y[x <= 1e-3].max(initial=0)))
        if used and (here := int((cuts >= used[0]).sum()) - 1) > 0:
            look = {"color": line.get_color(), "mec": "white", "ms": 7, "zorder": 4}
            ax.plot(x[here], y[here], "o", clip_on=False, **look)
    _, names, colors, few = zip(*sorted(lines), strict=True) if lines else [()] * 4
    style.beside(ax, names, colors)
    text = f"Best: {names[0]}" if lines else "Nothing to compare"
    if lines and "xscale" in axis:
        i = int(np.argmax(few))
        text = f"At one false alarm in 1,000 benign windows, {names[i]} finds {100 * few[i]:.1f} %"
    return style.title(ax, title or text)


def alarm_curves(curves: dict[str, Sequence[dict]], at: dict[str, dict], ax=None, title=None):
    """Attacks found against false alarms an hour, over all thresholds; the upper left is perfect.

    `curves`: name → rows of `evaluation.alarm_curve`; `at`: name → the row at the threshold in
    use, a dot. The axis is linear up to one false alarm an hour, logarithmic beyond.
    """
    ax, lines = style.axes(ax, 3.2), []
    every = [row for rows in (*curves.values(), at.values()) for row in rows]
    far = max([10.0, *(1.2 * (row["false_alarms_per_hour"] or 0) for row in every)])
    for name, rows in curves.items():
        points = [(row["false_alarms_per_hour"], row["recall"]) for row in rows]
        points = [point for point in points if None not in point]
        if not points:
            continue
        x = np.unique([hourly for hourly, _ in points])
        best = np.array([max(y for hourly, y in points if hourly <= limit) for limit in x])
        (line,) = ax.step([*x, far], [*best, best[-1]], where="post", clip_on=False)
        used = at.get(name) or {}
        if used.get("recall") is not None and used["false_alarms_per_hour"] is not None:
            look = {"color": line.get_color(), "ms": 6.5, "mec": "white", "zorder": 4}
            where = used["false_alarms_per_hour"], used["recall"]
            ax.plot(*where, "o", clip_on=False, **look)
        lines.append((-best[x <= 5].max(initial=0), name, line.get_color()))
    lines.sort()
    texts = [f"{name} {style.percent(-less)}" for less, name, _ in lines]
    style.beside(ax, texts, [color for *_, color in lines])
    ax.axvline(5, **DASHED)
    style.note(ax, "5 an hour", (5, 0.03), (4, 0), color=MUTED, bbox=PLAIN)
    ax.set(xscale="symlog", ylim=(0, 1), xlabel="false alarms per hour", ylabel="attacks found")
    ax.set_xlim(0, far)
    ax.grid(axis="y")
    text = "No attack to find"
    if lines:
        less, name, _ = lines[0]
        text = f"At 5 false alarms an hour at most, {name} finds {style.percent(-less)} of attacks"
    return style.title(ax, title or text)


def reliability(kinds: dict[str, tuple], ece: dict[str, float], ax=None, title=None):
    """Share of attacks among windows of a probability, which should be the probability.

    `kinds`: name → (value (B,), label (B,)); bins by scikit-learn's `calibration_curve`, ten of
    equal width; a dot's area follows the windows in it. `ece`: name → calibration error.
    """
    from sklearn.calibration import calibration_curve

    ax = style.axes(ax, 3.2)
    ax.plot([0, 1], [0, 1], **DASHED)
    for i, (value, label) in enumerate(kinds.values()):
        value = np.clip(value, 0, 1)
        true, predicted = calibration_curve(np.asarray(label, int), value, n_bins=10)
        # in bins that are closed above, as `calibration_curve` has them
        counts = np.bincount(np.searchsorted(np.linspace(0, 1, 11)[1:-1], value))
        size = 12 + 160 * np.sqrt(counts[counts > 0] / counts.max())
        ax.plot(predicted, true, color=f"C{i}", lw=1, alpha=0.7, clip_on=False)
        ax.scatter(predicted, true, size, f"C{i}", alpha=0.6, lw=0, clip_on=False, zorder=3)
    texts = [f"{name}\nECE {ece[name]:.4f}" for name in kinds]
    style.beside(ax, texts, [f"C{i}" for i in range(len(kinds))], step=28)
    ax.set(xlabel="attack probability", ylabel="share of attacks", xlim=(0, 1), ylim=(0, 1))
    ax.set(aspect="equal", anchor="W")
    value, label = next(iter(kinds.values()))
    said = "too many" if np.mean(value) > np.mean(label) else "too few"
    text = f"Probabilities are off by {next(iter(ece.values())):.3f}, and promise {said} attacks"
    return style.title(ax, title or text)


def bars(names, values, errors=None, reference=None, ax=None, title=None):
    """A table's column as bars: (n,) names and values, errors (n,) or (2, n), a reference value.

    NaN is written as undefined. Do not rank bars whose whiskers overlap.
    """
    n, values = len(names), np.asarray(values, float)
    ax, reach = style.axes(ax, 1.1 + 0.28 * n), np.zeros((2, n)) + (0 if errors is None else errors)
    ax.barh(range(n), np.nan_to_num(values), 0.62, color=BENIGN)
    ax.errorbar(values, range(n), xerr=reach, fmt="none", ecolor=INK, elinewidth=1)
    for i, end in enumerate(np.nan_to_num(np.maximum(values + reach[1], 0))):
        style.note(ax, style.number(values[i]), (end, i), (4, 0), bbox=PLAIN)
    style.rows(ax, names)
    ax.set_xticks([])
    ax.spines.bottom.set_visible(False)
    if reference is not None:
        style.mark(ax, reference, f"reference {style.number(reference)}", 0, -8)
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


def pareto(parameters, quality, names, quality_label="quality", ax=None, title=None):
    """Model size (log) against quality, (n,) each; a line joins those that no smaller one beats."""
    ax, parameters, quality = style.axes(ax), np.asarray(parameters), np.asarray(quality, float)
    order = np.lexsort((-quality, parameters))
    best = np.maximum.accumulate(quality[order])
    front = order[np.r_[True, best[1:] > best[:-1]]]
    ax.plot(parameters[front], quality[front], color=BENIGN, lw=1, zorder=1)
    led = np.isin(range(len(names)), front)
    ax.scatter(parameters, quality, 45, np.where(led, "C0", "#A9B4BF"), ec="white", lw=0.8)
    for name, x, y, up in zip(names, parameters, quality, led, strict=True):
        style.note(ax, name, (x, y), (0, 11 if up else -11), ha="center", bbox=PLAIN)
    ax.set(xscale="log", xlabel="parameters", ylabel=quality_label, xmargin=0.12, ymargin=0.15)
    i = np.argmax(quality)
    text = f"Best: {names[i]}, {style.number(quality[i])} with {parameters[i]:,.0f} parameters"
    return style.title(ax, title or text)


def mixing(grid, vgae, gat, alpha, ax=None, title=None):
    """The policy as a map of α: `grid` (m, n) over GAT × VGAE probability. Windows (B,) are dots in
    the colour of their own α: where they stand out from the map, the rest of the state decides."""
    ax, alpha, odds = style.axes(ax), np.asarray(alpha, float), np.abs(np.subtract(vgae, gat)) > 0.5
    cells = ax.imshow(grid, origin="lower", extent=(0, 1, 0, 1), aspect="auto", clim=(0, 1))
    ax.scatter(vgae, gat, 14, alpha, ec="white", lw=0.5, clip_on=False, zorder=3, clim=(0, 1))
    ax.set(xlabel="VGAE probability", ylabel="GAT probability")
    bar = ax.figure.colorbar(cells, ax=ax, label="α, the weight of the GAT", ticks=(0, 0.5, 1))
    bar.outline.set_visible(False)
    near, far = (style.number(np.mean(a)) if len(a) else "–" for a in (alpha[~odds], alpha[odds]))
    return style.title(ax, title or f"The GAT weighs {near} where both agree, {far} elsewhere")


def heat(value, rows, columns, state, label="AUROC", ax=None, title=None):
    """A matrix of a metric as colours with its figures: `value` (rows, columns), 1 is the best.

    Look for dark rows: what no model sees. From .5 down all cells are as dark. NaN is grey and
    says its `state` (rows, columns) str: absent, undefined.
    """
    value = np.asarray(value, float)
    n, m = value.shape
    ax = style.axes(ax, 1.3 + 0.27 * n)
    if not n:
        ax.set_axis_off()
        return style.title(ax, title or "No run has a report yet")
    ax.set_facecolor("#EEF1F4")
    # a linear scale would hide the difference between .99 and .999, and a log scale has no 1
    depth = np.sqrt(np.clip((1 - value) / 0.5, 0, 1))
    ax.imshow(depth, cmap="Blues", clim=(0, 1.25), aspect="auto")
    for i, j in np.ndindex(n, m):
        known = np.isfinite(value[i, j])
        text = f"{value[i, j]:.3f}" if known else state[i][j]
        color = "white" if known and depth[i, j] > 0.7 else INK
        style.note(ax, text, (j, i), ha="center", size=8 if known else 6, color=color)
    ax.set_xticks(range(m), [fill(name, 9, break_long_words=False) for name in columns], size=6.5)
    ax.set_yticks(range(n), rows, size=8)
    ax.xaxis.tick_top()
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.set_xticks(np.arange(m + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="white", lw=2)
    ax.tick_params(which="both", length=0)
    text = f"{label}: nothing to show"
    if np.isfinite(value).any():
        best = np.nanmax(np.where(np.isfinite(value), value, -np.inf), axis=1)
        i = int(np.where(np.isfinite(best), best, np.inf).argmin())
        text = f"Hardest: {rows[i]}; the best {label} is {style.number(best[i])}, by "
        text += columns[int(np.nanargmax(value[i]))]
    return style.title(ax, title or text)


def mistakes(rows: Sequence[dict], ax=None, title=None):
    """Windows called, by capture (down) and by what they are (across); `rows` as
    `evaluation.by_attack_and_capture` gives them. The deeper a cell, the more of it is wrong:
    attacks that were missed, benign windows that were called."""
    captures = list(dict.fromkeys(row["capture"] for row in rows))
    kinds = [*sorted({row["attack"] for row in rows} - {"benign"}), "benign"]
    ax = style.axes(ax, 1.2 + 0.27 * len(captures))
    wrong = np.full((len(captures), len(kinds)), np.nan)
    for row in rows:
        i, j = captures.index(row["capture"]), kinds.index(row["attack"])
        wrong[i, j] = row["share"] if row["attack"] == "benign" else 1 - row["share"]
        color = "white" if wrong[i, j] > 0.75 else INK
        style.note(ax, style.percent(row["share"]), (j, i), ha="center", size=8, color=color)
    colors = LinearSegmentedColormap.from_list("wrong", ["#F3F6F9", ATTACK])
    ax.imshow(wrong, cmap=colors, vmin=0, vmax=1, aspect="auto")
    look = {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "size": 8.5}
    ax.set_xticks(range(len(kinds)), [*kinds[:-1], "benign, called"], **look)
    ax.set_yticks(range(len(captures)), captures)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    i, j = divmod(int(np.nanargmax(wrong)), len(kinds))
    share = style.percent(wrong[i, j])
    text = f"Missed most: {share} of the {kinds[j]} in {captures[i]}"
    if kinds[j] == "benign":
        text = f"Most wrong: {share} of the benign windows of {captures[i]} are called"
    return style.title(ax, title or (text if wrong[i, j] else "Every window is judged rightly"))


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


def portraits(windows: Sequence[dict], title):
    """Windows as graphs, small multiples: IDs clockwise by number, the disc's area and depth the
    node's score, a vermillion ring around IDs under attack; the highest and these are named.

    `windows`: dicts with `caption`, `arbitration_id` (N,), `edge_index` (2, E), `score` (N,) in 0
    to 1, `attack` (N,) bool.
    """
    lines = max(-(-len(windows) // 2), 1)
    _, grid = plt.subplots(lines, 2, figsize=(5.6, 0.5 + 2.05 * lines), squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, window in zip(grid.flat, windows, strict=False):
        _portrait(ax, **window)
    if not len(windows):
        style.note(grid[0, 0], "none", (0.5, 0.5), coords="axes fraction", color=MUTED)
    return style.heading(grid, title)


def _portrait(ax, caption, arbitration_id, edge_index, score, attack):
    xy, names = style.circle(arbitration_id), style.id_names(arbitration_id)
    attack, score = np.asarray(attack, bool), np.clip(np.asarray(score, float), 0, 1)
    source, target = np.asarray(edge_index, int)
    lit = attack[source] | attack[target]
    for these, color, alpha in ((~lit, "#CBD5DE", 0.7), (lit, ATTACK, 0.35)):
        lines = LineCollection(np.stack([xy[source[these]], xy[target[these]]], 1), zorder=1)
        lines.set(color=color, alpha=alpha, linewidth=0.6)
        ax.add_collection(lines)
    shade = plt.get_cmap("Blues")(0.25 + 0.7 * score)
    ax.scatter(*xy.T, 14 + 110 * score, shade, ec="white", lw=0.5, zorder=3)
    ring = {"fc": "none", "ec": ATTACK, "lw": 1.6, "zorder": 4}
    ax.scatter(*xy[attack].T, 14 + 110 * score[attack] + 45, **ring)
    first = np.argsort(-score, kind="stable")
    chief = [*first[:1], *(i for i in first[1:3] if score[i] > 0.1), *first[attack[first]][:2]]
    for side, right in (("left", True), ("right", False)):
        mine, level = {i for i in chief if (xy[i, 0] >= 0) == right}, np.inf
        for i in sorted(mine, key=lambda i: -xy[i, 1]):
            level = min(xy[i, 1] * 1.08, level - 0.21)  # no label on another
            look = {"color": ATTACK, "weight": "bold"} if attack[i] else {"color": INK}
            look |= {"size": 8, "ha": side, "zorder": 5}
            where, away = (1.02 * xy[i, 0], level), (9 if right else -9, 0)
            style.note(ax, f"{names[i]} {score[i]:.2f}", where, away, **look)
    ax.set(xlim=(-1.95, 1.95), ylim=(-1.2, 1.2), aspect="equal")
    ax.set_title(caption, loc="left", weight="normal", size=8.5, pad=3)


def explanation(arbitration_id, edge_index, edge_share, attack, features, title=None):
    """One detection explained: the graph with its edges as thick as they matter, the chief ones
    named, and beside it what of the nodes' features matters.

    `arbitration_id` (N,), `edge_index` (2, E), `edge_share` (E,) and `features`, name → share, in
    shares of the largest; `attack` (N,) bool.
    """
    _, (ax, beside) = plt.subplots(1, 2, figsize=(5.6, 3.1), width_ratios=(1.25, 1))
    xy, names = style.circle(arbitration_id), style.id_names(arbitration_id)
    (source, target), attack = np.asarray(edge_index, int), np.asarray(attack, bool)
    share, lit = np.asarray(edge_share, float), attack[source] | attack[target]
    color = np.where(lit, ATTACK, BENIGN)
    lines = LineCollection(np.stack([xy[source], xy[target]], 1), colors=color, zorder=1)
    lines.set(linewidth=0.2 + 3.5 * share**2, alpha=np.clip(0.15 + share, 0, 0.9))
    ax.add_collection(lines)
    ax.scatter(*xy.T, 26, np.where(attack, ATTACK, BENIGN), ec="white", lw=0.5, zorder=3)
    chief = np.argsort(-share, kind="stable")[:10]
    for i in {*source[chief[:4]].tolist(), *target[chief[:4]].tolist()}:
        look = {"size": 8, "ha": "left" if xy[i, 0] >= 0 else "right", "zorder": 4}
        look |= {"color": ATTACK, "weight": "bold"} if attack[i] else {"color": INK}
        style.note(ax, names[i], xy[i], 7 * xy[i], **look)
    ax.set(xlim=(-1.45, 1.45), ylim=(-1.3, 1.3), aspect="equal")
    ax.set_axis_off()
    beside.barh(range(len(features)), list(features.values()), 0.4, color=BENIGN)
    for i, name in enumerate(features):
        style.note(beside, name, (0, i), (2, 9), size=8)
    beside.set(ylim=(len(features) - 0.4, -0.9), xticks=[], yticks=[])
    beside.spines[["left", "bottom"]].set_visible(False)
    text = f"{lit[chief].sum()} of the {len(chief)} successions that matter most touch an attacked "
    style.heading(ax, title or f"{text}ID; of the features, {next(iter(features))}")
    return np.array([ax, beside])
