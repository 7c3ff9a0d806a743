"""The figures: NumPy arrays in, matplotlib `Axes` out.

Vermillion means attack, a calm blue benign; the colours are Okabe and Ito's, which colour-blind
readers can tell apart. Every function takes `ax` (None: a new figure) and `title` (None: a
sentence made from the numbers) and returns its Axes; small multiples take and return an array.
"""

from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, ScaledTranslation

__all__ = """use_style frames graph split_timeline balance learning_curves score_distributions roc
precision_recall confusion timeline pareto mixing training_trace bars""".split()

ATTACK, BENIGN, DEEP, INK, MUTED = "#D55E00", "#5B84AD", "#0072B2", "#2B3640", "#5F6C78"
PART = dict(train=DEEP, val="#56B4E9", calib="#E69F00", test="#009E73", dropped="#CDD4DB")
PALE, PLAIN = "#E4EAF0", dict(fc="white", ec="none", pad=0.8)


def use_style() -> None:
    """Apply `cangraph.mplstyle` to every figure made from here on; call it once a notebook."""
    plt.style.use(Path(__file__).with_name("cangraph.mplstyle"))


def _axes(ax, height=3.3):
    return ax or plt.subplots(figsize=(5.6, height), layout="constrained")[1]


def _panels(ax, n, columns=2, **share):
    """`n` Axes, flat: those given, or a new grid."""
    if ax is not None:
        return np.ravel(ax)
    rows = -(-n // columns)
    layout = dict(figsize=(5.6, 1.9 * rows + 0.4), squeeze=False, layout="constrained", **share)
    grid = plt.subplots(rows, min(n, columns), **layout)[1].ravel()
    for spare in grid[n:]:
        spare.remove()
    return grid[:n]


def _note(ax, text, xy, offset=(0, 0), coords="data", **look):
    """A small direct label, `offset` points away from `xy`."""
    look = dict(size=8.5, color=MUTED, va="center") | look
    return ax.annotate(text, xy, offset, coords, "offset points", annotation_clip=False, **look)


def _wrap(text, inches):
    width = text.get_window_extent().width / text.figure.dpi
    if width > inches:
        text.set_text(fill(text.get_text(), max(12, int(len(text.get_text()) * inches / width))))


def _title(ax, text, key=()):
    """A title flush with the tick labels, and under it a key of (name, colour) pairs."""
    dpi, labels = ax.figure.dpi, ax.yaxis.get_tightbbox()
    left = min(labels.x0 - ax.bbox.x0, 0) / dpi if labels else 0
    shift = ScaledTranslation(left, 0, ax.figure.dpi_scale_trans)
    artist = ax.set_title(text, loc="left", pad=25 if key else 9)
    artist.set_transform(artist.get_transform() + shift)
    _wrap(artist, ax.bbox.width / 0.775 / dpi - 0.15)  # .775: an axes' share of its cell
    if key:
        dots = [Line2D([], [], marker="o", ls="", ms=6, color=c, label=name) for name, c in key]
        place = dict(loc="lower left", bbox_to_anchor=(0, 1), bbox_transform=ax.transAxes + shift)
        tight = dict(borderaxespad=0.4, borderpad=0, handletextpad=0.4, handlelength=0.6)
        ax.legend(handles=dots, ncols=len(dots), columnspacing=1.2, **place, **tight)
    return ax


def _heading(axes, text):
    size, figure = plt.rcParams["axes.titlesize"], axes[0].figure
    artist = figure.suptitle(text, x=0.012, ha="left", weight="bold", size=size)
    _wrap(artist, figure.bbox.width / figure.dpi - 0.15)
    return axes


def _panel(ax, name, **axis):
    ax.set_title(name, loc="left", weight="normal", size=9.5)
    ax.set(**axis)


def _mark(ax, x, text, place, **look):
    """A dashed line at `x` with its label at (height in the axes, points)."""
    ax.axvline(x, color=INK, lw=1, ls=(0, (4, 3)))
    _note(ax, text, (x, place[0]), (0, place[1]), ax.get_xaxis_transform(), color=INK, **look)


def _end_labels(ax, heights, texts, colors):
    """Texts right of the axes at data heights, moved apart where they would overlap."""
    line = 8.5 * 1.35 / 72 * ax.figure.dpi / ax.bbox.height  # one line of text, in axes heights
    place = ax.transData.transform([(ax.get_xlim()[1], y) for y in heights])
    place = ax.transAxes.inverted().transform(place)[:, 1]
    texts, ceiling = [text if "\n" in text else fill(text, 22) for text in texts], np.inf
    for i in np.argsort(-place, kind="stable"):
        half = line * (texts[i].count("\n") + 1.15) / 2
        place[i] = min(place[i], ceiling - half)
        ceiling = place[i] - half
    for y, text, color in zip(place + max(0, -ceiling), texts, colors, strict=True):
        _note(ax, text, (1, y), (5, 0), "axes fraction", color=np.multiply(to_rgb(color), 0.7))


def _rows(ax, names):
    """Named rows from the top down."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.tick_params("y", length=0)
    ax.spines.left.set_visible(False)


def _hex(arbitration_id):
    return [f"{i:03X}" if i <= 0x7FF else f"{i:08X}" for i in np.asarray(arbitration_id).tolist()]


def _percent(share):
    digits = 0 if share in (0, 1) else 2 if min(share, 1 - share) < 0.005 else 1
    return f"{100 * share:.{digits}f} %" if np.isfinite(share) else "undefined"


def _number(value):
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}" if np.isfinite(value) else "undefined"


def frames(timestamp, arbitration_id, attack, ax=None, title=None):
    """A window as its frames: ms since the first (x) against arbitration ID (y), attacks large.

    `timestamp` (n,) s, `arbitration_id` (n,), `attack` (n,) bool. Evenly spaced ticks are a
    periodic ID; look for what breaks the rhythm. At most 60 IDs, attacked and frequent ones first.

    >>> ax = frames(np.array([0.0, 0.01]), np.array([0x1A0, 0x2B0]), np.array([False, True]))
    """
    attack = np.asarray(attack, bool)
    ids, row, count = np.unique(arbitration_id, return_inverse=True, return_counts=True)
    attacked = np.bincount(row, attack, len(ids)) > 0
    kept = np.sort(np.argsort(-count - len(row) * attacked, kind="stable")[:60])
    place = np.full(len(ids), np.nan)
    place[kept] = np.arange(len(kept))
    ax = _axes(ax, np.clip(1.5 + 0.13 * len(kept), 2.4, 8.5))
    x, y = 1e3 * (timestamp - np.min(timestamp, initial=np.inf)), place[row]
    ax.hlines(place[kept], 0, x.max(initial=1), color=PALE, lw=0.8, zorder=0)
    ax.scatter(x[~attack], y[~attack], 26, BENIGN, marker="|", lw=1.6)
    ax.scatter(x[attack], y[attack], 30, ATTACK, lw=0.5, ec="white", zorder=3)
    _rows(ax, _hex(ids[kept]))
    size = np.clip(50 * ax.bbox.height / ax.figure.dpi / max(len(kept), 1), 4.5, 9)
    for label, lit in zip(ax.get_yticklabels(), attacked[kept], strict=True):
        label.set(family="DejaVu Sans Mono", size=size, color=ATTACK if lit else MUTED)
    some = f" ({len(kept)} of {len(ids)})" if len(kept) < len(ids) else ""
    ax.set(xlabel="time since the first frame (ms)", ylabel=f"arbitration ID{some}")
    text = f"{attack.sum()} of {len(row)} frames are attacks, on {attacked.sum()} of {len(ids)} IDs"
    return _title(ax, title or text, [("benign frame", BENIGN), ("attack frame", ATTACK)])


def graph(arbitration_id, edge_index, edge_weight=None, node_attack=None, edge_attack=None,
          node_weight=None, ax=None, title=None):  # fmt: skip
    """A window as its graph: IDs clockwise from the top, arrows from each to the next on the bus.

    `arbitration_id` (N,); `edge_index` (2, E) positions in it; `edge_weight` (E,) counts, the
    arrows' width; `node_attack` (N,), `edge_attack` (E,) bool (None: edges of attacked nodes);
    `node_weight` (N,) the discs' area (None: weighted degree). A ring is an ID that follows itself.
    An injected ID is a hub: its arrows reach everywhere. Above 60 IDs only the chief are named.

    >>> ax = graph(np.array([0, 0x1A0]), np.array([[0, 1], [1, 0]]), node_attack=np.array([1, 0]))
    """
    n, (source, target) = len(arbitration_id), np.asarray(edge_index, int).reshape(2, -1)
    weight = np.ones(len(source)) if edge_weight is None else np.asarray(edge_weight, float)
    lit = np.zeros(n, bool) if node_attack is None else np.asarray(node_attack, bool)
    lit_edge = lit[source] | lit[target] if edge_attack is None else np.asarray(edge_attack, bool)
    degree = np.bincount(np.r_[source, target], np.r_[weight, weight], n).astype(float)
    size = degree if node_weight is None else np.asarray(node_weight, float)
    angle = np.empty(n)
    angle[np.argsort(arbitration_id, kind="stable")] = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    xy = np.c_[np.cos(angle), np.sin(angle)].round(9) * (n > 1)
    ax = _axes(ax, 4.9)
    slot = 2 * np.pi * ax.bbox.height / ax.figure.dpi * 72 / 2.5 / n  # points of circle per node
    names, font = _hex(arbitration_id), np.clip(0.75 * slot, 5.5, 9)
    long = max(map(len, names), default=0)
    turned = 0.65 * font * long > slot  # labels read outwards where they would not fit side by side
    reach = 1.2 + 0.005 * font * long * turned
    ax.update_datalim([(-reach, -reach), (reach, reach)])
    ax.set(xticks=[], yticks=[], xmargin=0, ymargin=0)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set_visible(False)
    disc = min(0.8 * slot, 24) * (0.4 + 0.6 * np.sqrt(size / size.max(initial=1e-9)))
    width = np.clip(slot / 22, 0.5, 1) * (0.6 + 2.2 * np.sqrt(weight / weight.max(initial=1e-9)))
    color, edge_color = np.where(lit, ATTACK, BENIGN), np.where(lit_edge, ATTACK, BENIGN)
    for e, (a, b) in enumerate(zip(source, target, strict=True)):
        if a != b:
            middle, chord = xy[[a, b]].mean(0), xy[b] - xy[a]
            inward = np.sign(middle @ (-chord[1], chord[0])) or 1
            depth = 0.35 * np.linalg.norm(middle) / np.linalg.norm(chord)  # bend to the centre
            bend = inward * min(depth, 0.5) + 0.05  # two opposite arrows lie .1 apart
            look = dict(color=edge_color[e], alpha=0.75 if lit_edge[e] else 0.45, lw=width[e])
            look |= dict(connectionstyle=f"arc3,rad={bend}", zorder=1 + lit_edge[e])
            look |= dict(arrowstyle="-|>,head_length=.45,head_width=.2", mutation_scale=8)
            ends = dict(shrinkA=disc[a] / 2 + 1, shrinkB=disc[b] / 2 + 1.5)
            ax.add_patch(FancyArrowPatch(xy[a], xy[b], **ends, **look))
    loop = np.flatnonzero(source == target)
    ring = dict(ec=edge_color[loop], lw=width[loop], zorder=3)
    ax.scatter(*xy[source[loop]].T, (disc[source[loop]] + 5) ** 2, "none", **ring)
    ax.scatter(*xy.T, disc**2, color, ec="white", lw=0.8, zorder=4)
    chief = np.argsort(-degree - 1e9 * lit, kind="stable")[: n if n <= 60 else max(40, lit.sum())]
    for i in chief:
        x, y = out = np.cos(angle[i]), np.sin(angle[i])
        side = "center" if abs(x) < 0.3 and not turned else "right" if x < -1e-9 else "left"
        look = dict(color=ATTACK, weight="bold") if lit[i] else dict(color=MUTED)
        look |= dict(ha=side, family="DejaVu Sans Mono", size=font, rotation_mode="anchor")
        turn = (np.degrees(angle[i]) + 180 * (side == "right")) * turned
        distance = disc[i] / 2 + (6 if turned or side != "center" else 9) + 2 * (i in source[loop])
        _note(ax, names[i], xy[i], np.multiply(out, distance), rotation=turn, **look)
    hot, total = weight[lit_edge].sum(), weight.sum()
    text = f"{hot:.0f} of {total:.0f} successions touch an attacked ID"
    key = [("benign", BENIGN), ("attack", ATTACK)] if lit.any() or lit_edge.any() else ()
    return _title(ax, title or (text if key else f"{n} IDs, {total:.0f} successions"), key)


def split_timeline(capture, start, end, part, names, ax=None, title=None):
    """Which seconds of a capture serve what: a row a capture, a coloured bar a stretch.

    `capture` (B,) positions in `names`, `start`, `end` (B,) s, `part` (B,) of train, val, calib,
    test, dropped. Captures of one drive must not differ in colour at the same time.

    >>> t = np.arange(4.0)
    >>> ax = split_timeline(np.zeros(4, int), t, t + 1, np.array(["train"] * 3 + ["test"]), ["DoS"])
    """
    capture, start, end, part = map(np.asarray, (capture, start, end, part))
    ax = _axes(ax, np.clip(1.3 + 0.26 * len(names), 2, 9))
    seconds = dict.fromkeys([*PART, *np.unique(part).tolist()], 0.0)
    for row in np.unique(capture):
        mine = np.flatnonzero(capture == row)
        mine = mine[np.argsort(start[mine], kind="stable")]
        s, e, p = start[mine] - start[mine[0]], end[mine] - start[mine[0]], part[mine]
        breaks = (p[1:] != p[:-1]) | (s[1:] - e[:-1] > np.median(e - s))
        first = np.r_[0, 1 + np.flatnonzero(breaks)]
        spans = np.c_[s[first], np.maximum.reduceat(e, first) - s[first]]
        for name in np.unique(p).tolist():
            mine = spans[p[first] == name]
            seconds[name] += mine[:, 1].sum()
            ax.broken_barh(mine, (row - 0.32, 0.64), color=PART.get(name, MUTED), lw=0)
    _rows(ax, names)
    ax.margins(x=0.01)
    ax.set(xlabel="time since the capture's first window (s)")
    used = {name: s for name, s in seconds.items() if s}
    text = ", ".join(f"{100 * s / sum(used.values()):.0f} % {name}" for name, s in used.items())
    return _title(ax, title or text, [(name, PART.get(name, MUTED)) for name in used])


def balance(names, attack_share, counts, ax=None, title=None):
    """Share of attack windows by capture: (n,) names, shares 0 to 1, window counts at the right.

    Where a bar is nearly empty or nearly full, accuracy says little.

    >>> ax = balance(["DoS", "fuzzing"], np.array([0.3, 0.02]), np.array([900, 1200]))
    """
    ax = _axes(ax, 1.1 + 0.28 * len(names))
    share, counts = np.asarray(attack_share, float), np.asarray(counts)
    ax.barh(range(len(names)), np.ones(len(names)), 0.62, color=PALE)
    ax.barh(range(len(names)), np.nan_to_num(share), 0.62, color=ATTACK)
    for i, (s, n) in enumerate(zip(np.nan_to_num(share), counts, strict=True)):
        inside = dict(color="white", ha="right") if s > 0.8 else dict(color=INK, ha="left")
        _note(ax, _percent(share[i]), (s, i), (-4 if s > 0.8 else 4, 0), **inside)
        _note(ax, f"{n:,}" + " windows" * (i == 0), (1, i), (6, 0))
    _rows(ax, names)
    ax.set(xticks=[], xlim=(0, 1))
    ax.spines.bottom.set_visible(False)
    known = np.isfinite(share)
    total, windows = (share * counts)[known].sum(), counts[known].sum()
    text = f"{_percent(total / max(windows, 1))} of {windows:,} windows hold an attack"
    return _title(ax, title or text)


def learning_curves(history, ax=None, title=None):
    """Loss by epoch, a panel a model; the dot is the best epoch, the one to keep.

    `history`: name → list of {"epoch", "train_loss", "val_loss"}, where losses may be missing.
    A val line that rises while train falls is overfitting.

    >>> axes = learning_curves({"GAT": [{"epoch": 0, "train_loss": 0.7, "val_loss": 0.6}]})
    """
    axes, best = _panels(ax, len(history)), []
    for ax, (name, epochs) in zip(axes, history.items(), strict=True):
        ends = []
        for part, color in (("train", BENIGN), ("val", INK)):
            points = [(row["epoch"], row.get(f"{part}_loss")) for row in epochs]
            points = np.array([p for p in points if p[1] is not None and np.isfinite(p[1])])
            if len(points):
                ax.plot(*points.T, color=color, lw=1.8)
                ends.append((points[-1, 1], part, color))
                low = points[points[:, 1].argmin()]  # of val, where there is a val
        _panel(ax, name, xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if ends:
            ax.plot(*low, "o", color=INK)
            _end_labels(ax, *zip(*ends, strict=True))
            best.append(f"{name} {low[0]:.0f}")
    return _heading(axes, title or f"Best epoch: {', '.join(best)}")


def score_distributions(value, label, threshold=None, scenario=None, ax=None, title=None):
    """Histograms of benign and attack scores, counts on a log scale, a panel a scenario.

    `value` (B,) higher = more likely attack, `label` (B,) bool, `scenario` (B,) str (None: one
    panel). Attacks left of the threshold are missed, benign windows right of it are false alarms.

    >>> axes = score_distributions(np.array([0.1, 0.2, 0.9]), np.array([0, 0, 1]), threshold=0.5)
    """
    value, label = np.asarray(value, float), np.asarray(label, bool)
    scenario = np.full(len(value), "") if scenario is None else np.asarray(scenario)
    names = np.unique(scenario).tolist() or [""]
    own, axes = ax is None, _panels(ax, len(names), sharex=True, sharey=True)
    known = np.r_[value, 0 if threshold is None else threshold]
    low, high = np.quantile(known, (0, 0.999))
    bins, middle = np.linspace(low, high + (low == high), 50), (low + high) / 2
    for ax, name in zip(axes, names, strict=True):
        for part, text, color in ((~label, "benign", BENIGN), (label, "attack", ATTACK)):
            seen = np.clip(value[part & (scenario == name)], low, high)
            height = ax.hist(seen, bins, color=color, alpha=0.5, histtype="stepfilled")[0]
            if len(seen):
                peak = (bins[height.argmax()], height.max())
                side = "left" if peak[0] < middle else "right"
                _note(ax, text, peak, (0, 7), ha=side, color=color)
        _panel(ax, name, xlabel="score", ylabel="windows", yscale="log")
        if threshold is not None:
            side = "right" if threshold > middle else "left"
            _mark(ax, threshold, f" threshold {_number(threshold)} ", (1, -5), ha=side)
        if own:
            ax.label_outer()
    plt.setp(axes, ylim=(0.7, 12 * max(2, *(ax.dataLim.y1 for ax in axes))))
    return _heading(axes, title or f"{label.sum():,} attack and {(~label).sum():,} benign windows")


def _curves(ax, curves, points, title, axis):
    """A line per curve: `points` of its true and false alarms at each threshold, highest first."""
    ax, ends, undefined = _axes(ax), [], []
    ax.set(**axis, anchor="W")
    for name, (value, label) in curves.items():
        order = np.argsort(-np.asarray(value, float), kind="stable")
        value, label = np.asarray(value, float)[order], np.asarray(label, bool)[order]
        if label.all() or not label.any():
            undefined.append(f"{name} undefined: one class only")
            continue
        last = np.r_[np.flatnonzero(np.diff(value)), len(value) - 1]  # of each run of ties
        true = np.r_[0, np.cumsum(label)[last]]
        x, y = points(true, np.r_[0, last + 1] - true)
        (line,) = ax.plot(x, y, clip_on=False)
        ends.append((-np.trapezoid(y, x), y[-1], name, line.get_color()))
    ends.sort()
    if ends:
        _end_labels(ax, *list(zip(*ends, strict=True))[1:])
    _note(ax, "\n".join(undefined), (0.5, 0.5), (0, 0), "axes fraction", ha="center")
    return _title(ax, title or (f"Best: {ends[0][2]}" if ends else "Nothing to compare"))


def roc(curves, log=False, ax=None, title=None):
    """Attacks found against false alarms over all thresholds; the upper left corner is perfect.

    `curves`: name → (value (B,), label (B,)); the names stand at the right, best first, so put the
    AUROC in them. `log=True` opens up false positive rates from 1e-4 on, where detectors are used.

    >>> ax = roc({"GAT": (np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))})
    >>> ax.lines[0].get_ydata()
    array([0. , 0.5, 0.5, 1. , 1. ])
    """
    axis = dict(xscale="log", xlim=(1e-4, 1)) if log else dict(xlim=(0, 1), aspect="equal")
    axis |= dict(xlabel="false positive rate", ylabel="attack windows found", ylim=(0, 1))
    lowest = 1e-4 * log  # a logarithm has no 0
    return _curves(ax, curves, lambda t, f: (np.maximum(f / f[-1], lowest), t / t[-1]), title, axis)


def precision_recall(curves, ax=None, title=None):
    """Alarms that are right against attacks found; the upper right corner is perfect.

    `curves` as for `roc`, with the AP in the names. Every line ends at the share of attack windows,
    which is what a coin would reach: compare areas only where that share is the same.

    >>> ax = precision_recall({"GAT": (np.array([0.1, 0.4, 0.8]), np.array([0, 1, 1]))})
    """
    axis = dict(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis |= dict(xlabel="attack windows found (recall)", ylabel="alarms that are right (precision)")
    return _curves(ax, curves, lambda t, f: (t / t[-1], np.r_[1, t[1:] / (t + f)[1:]]), title, axis)


def confusion(matrix, labels=("benign", "attack"), ax=None, title=None):
    """Counts of windows by truth (rows) and verdict (columns), with each row's percentages.

    `matrix` (2, 2). Blue cells are right, vermillion ones wrong; depth is the row's share.

    >>> ax = confusion(np.array([[90, 10], [5, 95]]))
    """
    ax, matrix = _axes(ax, 2.9), np.asarray(matrix)
    share = matrix / np.where(matrix.sum(1), matrix.sum(1), np.nan)[:, None]
    tint = (0.08 + 0.5 * np.nan_to_num(share))[..., None]
    hue = np.where(np.eye(2)[..., None], to_rgb(BENIGN), to_rgb(ATTACK))
    ax.imshow(1 - tint * (1 - hue), aspect="auto")
    for i, j in np.ndindex(2, 2):
        centre = dict(ha="center", color=INK)
        _note(ax, f"{matrix[i, j]:,}", (j, i), (0, 7), size=16, weight="bold", **centre)
        _note(ax, f"{_percent(share[i, j])} of {labels[i]}", (j, i), (0, -11), **centre)
    ax.axhline(0.5, color="white", lw=4)
    ax.axvline(0.5, color="white", lw=4)
    ax.set_xticks([0, 1], [f"called {label}" for label in labels])
    ax.set_yticks([0, 1], labels)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    text = f"{_percent(share[1, 1])} of attacks found, {_percent(share[0, 1])} false alarms"
    return _title(ax, title or text)


def timeline(start, end, value, threshold=None, attack_spans=(), ax=None, title=None):
    """The score over one capture: attacks shaded, threshold dashed, alarms as vermillion dots.

    `start`, `end`, `value` (B,), in s; `attack_spans`: (start, end) pairs in s. Dots outside the
    shade are false alarms, shade without dots a missed attack. Far outliers are cut at the top.

    >>> t = np.arange(4.0)
    >>> ax = timeline(t, t + 1, np.array([0.1, 0.2, 0.9, 0.1]), 0.5, [(2, 3)])
    """
    start, end, value = (np.asarray(a, float) for a in (start, end, value))
    limit = np.inf if threshold is None else threshold
    ax, alarm, time = _axes(ax, 2.7), value > limit, (start + end) / 2
    low, high = np.quantile(value, (0, 0.98)) if len(value) else (0, 1)
    high = low + 1.3 * max(high - low, 0 if threshold is None else limit - low, 1e-9)
    y = np.minimum(value, high)
    for span in attack_spans:
        ax.axvspan(*span, color=ATTACK, alpha=0.13, lw=0)
    ax.plot(time, y, color=BENIGN, lw=0.9)
    ax.plot(time[alarm], y[alarm], "o", color=ATTACK, ms=3, mew=0)
    ax.set(xlabel="time (s)", ylabel="score")
    ax.margins(x=0.01)
    if threshold is not None:
        ax.axhline(limit, color=INK, lw=1, ls=(0, (4, 3)))
        _end_labels(ax, [limit], [f"threshold\n{_number(limit)}"], [INK])
    hit = [(alarm & (start <= b) & (end >= a)) for a, b in attack_spans]
    false = (alarm & ~np.any(hit, axis=0)).sum() if hit else alarm.sum()
    found = sum(h.any() for h in hit)
    text = f"{found} of {len(hit)} attacks found, {false} false alarms in {np.ptp(time):.0f} s"
    return _title(ax, title or text, [("alarm", ATTACK), ("attack under way", "#F6DFD0")])


def pareto(parameters, quality, names, quality_label="quality", ax=None, title=None):
    """Model size (log) against quality: (n,) each. The line joins those that no smaller one beats.

    >>> ax = pareto(np.array([27e3, 512e3]), np.array([0.97, 0.99]), ["student", "teacher"])
    """
    ax, parameters, quality = _axes(ax), np.asarray(parameters), np.asarray(quality, float)
    order = np.lexsort((-quality, parameters))
    best = np.maximum.accumulate(quality[order])
    front = order[np.r_[True, best[1:] > best[:-1]]]
    ax.plot(parameters[front], quality[front], "-", color=BENIGN, lw=1, zorder=1)
    color = np.where(np.isin(np.arange(len(order)), front), DEEP, "#A9B4BF")
    ax.scatter(parameters, quality, 45, color, ec="white", lw=0.8, zorder=3)
    ax.set(xscale="log", xlabel="parameters", ylabel=quality_label)
    ax.margins(x=0.12, y=0.15)
    dots = ax.transData.transform(np.c_[parameters, quality])
    taken = [Bbox.from_bounds(*(dot - 4), 8, 8) for dot in dots]
    for i in order:  # a label goes above, right, below or left of its point: the first free place
        note = _note(ax, names[i], (parameters[i], quality[i]), color=INK, bbox=PLAIN)
        for x, y, ha in ((0, 11, "center"), (7, 0, "left"), (0, -11, "center"), (-7, 0, "right")):
            note.set(position=(x, y), ha=ha)
            box = note.get_window_extent()
            if not box.count_overlaps(taken) and ax.bbox.x0 < box.x0 and box.x1 < ax.bbox.x1:
                break
        taken.append(box)
    top = np.argmax(quality)
    text = f"Best: {names[top]}, {_number(quality[top])} with {parameters[top]:,.0f} parameters"
    return _title(ax, title or text)


def mixing(alpha, vgae, gat, ax=None, title=None, label="α, the weight of the GAT"):
    """Where the fusion listens to whom: mean mixing weight over (VGAE score, GAT probability).

    `alpha`, `vgae`, `gat` (B,). One colour everywhere means that the policy has learnt a constant.

    >>> ax = mixing(np.array([0.2, 0.8]), np.array([0.1, 0.9]), np.array([0.3, 0.7]))
    """
    ax, hexes = _axes(ax), dict(gridsize=(26, 12), mincnt=1, lw=0.2)
    cells = ax.hexbin(vgae, gat, alpha, cmap="cividis", vmin=0, vmax=1, **hexes)
    ax.set(xlabel="VGAE score", ylabel="GAT probability")
    text = f"The mixing weight is {np.mean(alpha):.2f} ± {np.std(alpha):.2f}"
    _title(ax, title or text)  # before the bar takes from the width
    bar = ax.figure.colorbar(cells, ax=ax, label=label, ticks=(0, 0.5, 1))
    bar.outline.set_visible(False)
    return ax


def training_trace(values, ax=None, title=None):
    """Named traces of a training, a panel each: every step pale, the running mean dark.

    `values`: name → (n,), such as reward, epsilon, loss, mean alpha. A reward that is flat from the
    first step on means that nothing was learnt.

    >>> axes = training_trace({"reward": np.arange(9.0), "epsilon": np.ones(9)})
    """
    axes, last = _panels(ax, len(values)), []
    for ax, (name, value) in zip(axes, values.items(), strict=True):
        span = max(1, len(value) // 25)
        mean = np.convolve(value, np.ones(span) / span, "valid")
        ax.plot(value, color=BENIGN, alpha=0.35, lw=0.8)
        ax.plot(np.arange(len(mean)) + (span - 1) / 2, mean, color=DEEP)
        _panel(ax, name, xlabel="step")
        last.append(f"{name} {_number(mean[-1])}")
    return _heading(axes, title or f"At the end: {', '.join(last)}")


def bars(names, values, errors=None, reference=None, ax=None, title=None):
    """A table's column as bars: (n,) names and values, errors (n,) or (2, n), a reference value.

    NaN is written as undefined. Do not rank bars whose whiskers overlap.

    >>> ax = bars(["teacher", "student"], [0.98, 0.97], errors=[0.01, 0.02], reference=0.95)
    """
    ax, values = _axes(ax, 1.1 + 0.28 * len(names)), np.asarray(values, float)
    reach = np.zeros((2, len(values))) + (0 if errors is None else errors)
    ax.barh(range(len(values)), np.nan_to_num(values), 0.62, color=BENIGN)
    if errors is not None:
        ax.errorbar(values, range(len(values)), xerr=reach, fmt="none", ecolor=INK, elinewidth=1)
    for i, end in enumerate(np.nan_to_num(np.maximum(values + reach[1], 0))):
        _note(ax, _number(values[i]), (end, i), (4, 0), color=INK, bbox=PLAIN)
    _rows(ax, names)
    ax.set(xticks=[])
    ax.spines.bottom.set_visible(False)
    if reference is not None:
        _mark(ax, reference, f"reference {_number(reference)}", (0, -8), ha="center")
    known = values[np.isfinite(values)]
    text = f"From {_number(known.min())} to {_number(known.max())}" if len(known) else "undefined"
    return _title(ax, title or text)
