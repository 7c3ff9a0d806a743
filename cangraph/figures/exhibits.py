"""Witnesses: captures over time, who was blamed, and single windows as graphs with node scores.

Vermillion means attack, a calm blue benign. Every function takes `title` (None: a sentence made
from the numbers) and returns its Axes; small multiples, an array.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection

from cangraph.figures import style as canvas
from cangraph.figures.charts import percent
from cangraph.figures.style import ATTACK, BENIGN, DASHED, INK, MUTED

__all__ = ["blamed", "explanation", "portraits", "timelines"]

_PALE = "#CBD5DE"


def timelines(panels: Sequence[dict], at: float, title=None):
    """The score over every capture, a panel each: attacks shaded, the threshold dashed.

    `panels`: dicts with `name`, `start`, `end`, `value` (B,) and `spans`, (start, end) pairs in s.
    A pale band spans the least and the largest score in each 1/200 of a capture; dots are calls.

    >>> axes = timelines([{"name": "DoS", "start": np.arange(4), "end": np.arange(1, 5),
    ...                    "value": np.array([0.1, 0.2, 0.9, 0.1]), "spans": [(2, 3)]}], 0.5)
    """
    rows = -(-len(panels) // 2)
    figure, grid = plt.subplots(
        rows, 2, figsize=(5.6, 0.5 + 0.92 * rows), squeeze=False, sharey=True
    )
    low, high = 0.0, 1.0
    if panels:
        everything = np.concatenate([panel["value"] for panel in panels])
        low, high = min(low, everything.min()), max(high, np.quantile(everything, 0.999))
    quiet, found, total = 0, 0, 0
    for ax, panel in zip(grid.flat, panels, strict=False):
        time, value = (panel["start"] + panel["end"]) / 2, np.clip(panel["value"], low, high)
        for span in panel["spans"]:
            ax.axvspan(*span, color=ATTACK, alpha=0.16, lw=0)
        cell = np.minimum((200 * (time - time[0]) / max(np.ptp(time), 1e-9)).astype(int), 199)
        first = np.flatnonzero(np.r_[True, np.diff(cell) > 0])
        bottom, top = np.minimum.reduceat(value, first), np.maximum.reduceat(value, first)
        middle = np.add.reduceat(time, first) / np.diff(np.r_[first, len(time)])
        ax.fill_between(middle, bottom, top, color=BENIGN, alpha=0.45, lw=0.6)
        called = np.maximum.reduceat(panel["value"], first) >= at
        ax.plot(middle[called], top[called], ".", color=ATTACK, ms=2.5)
        ax.axhline(at, **(DASHED | {"lw": 0.7}))
        hits = [((panel["value"] >= at) & (panel["start"] <= b) & (panel["end"] >= a)).any()
                for a, b in panel["spans"]]  # fmt: skip
        found, total = found + sum(hits), total + len(hits)
        quiet += all(hits)
        ax.set_title(panel["name"], loc="left", weight="normal", size=8.5, pad=3)
        ax.set(xmargin=0, ylim=(low - 0.03 * (high - low), high + 0.06 * (high - low)))
        ax.tick_params(labelsize=7.5)
        ax.locator_params("x", nbins=4)
    for ax in list(grid.flat)[len(panels) :]:
        ax.set_visible(False)
    figure.supxlabel("time (s)", size=8.5, color=MUTED)
    figure.supylabel("score", size=8.5, color=MUTED)
    text = f"{found} of {total} attacks are called in some window, all of them in {quiet} of "
    canvas.heading(grid.flat, title or f"{text}{len(panels)} captures")
    return grid.ravel()


def blamed(rows: Sequence[dict], most: int = 16, title=None):
    """How often which ID is blamed in the windows called; `rows` as `blame.blamed_ids` gives them.
    Vermillion: it was attacked; blue: it was innocent.

    >>> ax = blamed([{"capture": "a", "arbitration_id": "1A0", "windows": 9, "attacked": 8}])
    """
    shown = rows[:most]
    _, ax = plt.subplots(figsize=(5.6, 1.2 + 0.24 * max(len(shown), 1)))
    right = np.array([row["attacked"] for row in shown], float)
    total = np.array([row["windows"] for row in shown], float)
    ax.barh(range(len(shown)), right, 0.62, color=ATTACK)
    ax.barh(range(len(shown)), total - right, 0.62, left=right, color=BENIGN)
    for i, row in enumerate(shown):
        words = f"{row['attacked']:,} of {row['windows']:,}"
        canvas.note(ax, words, (total[i], i), (4, 0), size=8)
    ax.set_yticks(range(len(shown)), [f"{r['arbitration_id']} in {r['capture']}" for r in shown])
    ax.set(ylim=(max(len(shown), 1) - 0.45, -0.55), xlabel="windows called in which it is blamed")
    ax.tick_params("y", length=0)
    ax.spines.left.set_visible(False)
    ax.margins(x=0.16)
    every = sum(row["windows"] for row in rows)
    text = "No window was called, so no ID is blamed"
    if every:
        share = sum(row["attacked"] for row in rows) / every
        text = f"The ID blamed was attacked in {percent(share)} of {every:,} windows called"
    return canvas.title(ax, title or text)


def portraits(windows: Sequence[dict], title=None):
    """Windows as graphs, small multiples: IDs clockwise by number, the disc's area and depth the
    node's score, a vermillion ring around IDs under attack; the highest and these are named.

    `windows`: dicts with `caption`, `arbitration_id` (N,), `edge_index` (2, E), `score` (N,) in 0
    to 1, `attack` (N,) bool.

    >>> one = {"caption": "DoS 3.2 s", "arbitration_id": np.array([0, 0x1A0]), "score": [0.9, 0.1],
    ...        "edge_index": np.array([[0, 1], [1, 0]]), "attack": [True, False]}
    >>> axes = portraits([one])
    """
    rows = -(-len(windows) // 2)
    _, grid = plt.subplots(max(rows, 1), 2, figsize=(5.6, 0.5 + 2.05 * max(rows, 1)), squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, window in zip(grid.flat, windows, strict=False):
        _portrait(ax, **window)
    if not len(windows):
        canvas.note(grid[0, 0], "none", (0.5, 0.5), coords="axes fraction", color=MUTED)
    first = [window for window in windows if np.argmax(window["score"]) is not None]
    hit = sum(bool(np.asarray(w["attack"])[np.argmax(w["score"])]) for w in first)
    text = f"In {hit} of {len(windows)} windows the ID with the highest score is under attack"
    canvas.heading(grid.flat, title or text)
    return grid.ravel()


def _circle(arbitration_id) -> np.ndarray:
    """Places of IDs on the unit circle, clockwise from the top by number, f8 (N, 2)."""
    n = len(arbitration_id)
    place = np.empty(n)
    place[np.argsort(arbitration_id, kind="stable")] = np.arange(n)
    angle = np.pi / 2 - 2 * np.pi * place / max(n, 1)
    return np.c_[np.cos(angle), np.sin(angle)]


def _portrait(ax, caption, arbitration_id, edge_index, score, attack):
    n, attack = len(arbitration_id), np.asarray(attack, bool)
    xy = _circle(arbitration_id)
    source, target = np.asarray(edge_index, int)
    lit = attack[source] | attack[target]
    for these, color, alpha in ((~lit, _PALE, 0.7), (lit, ATTACK, 0.35)):
        lines = LineCollection(np.stack([xy[source[these]], xy[target[these]]], 1), zorder=1)
        lines.set(color=color, alpha=alpha, linewidth=0.6)
        ax.add_collection(lines)
    score = np.clip(np.asarray(score, float), 0, 1)
    shade = plt.get_cmap("Blues")(0.25 + 0.7 * score)
    ax.scatter(*xy.T, 14 + 110 * score, shade, ec="white", lw=0.5, zorder=3)
    ring = {"fc": "none", "ec": ATTACK, "lw": 1.6, "zorder": 4}
    ax.scatter(*xy[attack].T, 14 + 110 * score[attack] + 45, **ring)
    first = np.argsort(-score, kind="stable")[:3]
    named = [first[0], *first[1:][score[first[1:]] > 0.1]] if n else []
    named += np.flatnonzero(attack)[np.argsort(-score[attack], kind="stable")][:2].tolist()
    for side, sign in (("left", 1), ("right", -1)):
        mine = [i for i in dict.fromkeys(named) if (xy[i, 0] >= 0) == (sign > 0)]
        level = np.inf
        for i in sorted(mine, key=lambda i: -xy[i, 1]):
            level = min(xy[i, 1] * 1.08, level - 0.21)  # no label on another
            color, weight = (ATTACK, "bold") if attack[i] else (INK, "normal")
            look = {"size": 8, "ha": side, "color": color, "weight": weight, "zorder": 5}
            words = f"{arbitration_id[i]:03X} {score[i]:.2f}"
            canvas.note(ax, words, (1.02 * xy[i, 0], level), (9 * sign, 0), **look)
    ax.set(xlim=(-1.95, 1.95), ylim=(-1.2, 1.2), aspect="equal")
    ax.set_title(caption, loc="left", weight="normal", size=8.5, pad=3)


def explanation(arbitration_id, edge_index, edge_share, attack, features, title=None):
    """One detection explained: the graph with its edges as thick as they matter, the chief ones
    named, and beside it what of the nodes' features matters.

    `arbitration_id` (N,), `edge_index` (2, E), `edge_share` (E,) and `features`, name → share, in
    shares of the largest; `attack` (N,) bool.

    >>> axes = explanation(np.array([1, 2]), np.array([[0], [1]]), np.array([1.0]), [True, False],
    ...                    {"1A0 distrust": 1.0})
    """
    _, (ax, beside) = plt.subplots(1, 2, figsize=(5.6, 3.1), width_ratios=(1.25, 1))
    attack = np.asarray(attack, bool)
    xy = _circle(arbitration_id)
    source, target = np.asarray(edge_index, int)
    share = np.asarray(edge_share, float)
    color = np.where(attack[source] | attack[target], ATTACK, BENIGN)
    lines = LineCollection(np.stack([xy[source], xy[target]], 1), colors=color, zorder=1)
    lines.set(linewidth=0.2 + 3.5 * share**2, alpha=np.clip(0.15 + share, 0, 0.9))
    ax.add_collection(lines)
    ax.scatter(*xy.T, 26, np.where(attack, ATTACK, BENIGN), ec="white", lw=0.5, zorder=3)
    chief = np.argsort(-share, kind="stable")[:4]
    for i in dict.fromkeys([*source[chief].tolist(), *target[chief].tolist()]):
        look = {"size": 8, "ha": "left" if xy[i, 0] >= 0 else "right", "zorder": 4}
        look |= {"color": ATTACK, "weight": "bold"} if attack[i] else {"color": INK}
        canvas.note(ax, f"{arbitration_id[i]:03X}", xy[i], (7 * xy[i, 0], 7 * xy[i, 1]), **look)
    ax.set(xlim=(-1.45, 1.45), ylim=(-1.3, 1.3), aspect="equal")
    ax.set_axis_off()
    names, value = list(features), np.array(list(features.values()), float)
    beside.barh(range(len(names)), value, 0.62, color=BENIGN)
    beside.set_yticks([])
    for i, name in enumerate(names):
        canvas.note(beside, name, (0, i), (2, 11), size=8)
    beside.set(ylim=(len(names) - 0.4, -0.9), xticks=[])
    beside.spines[["left", "bottom"]].set_visible(False)
    touched = (attack[source] | attack[target])[np.argsort(-share, kind="stable")[:10]]
    text = (
        f"{touched.sum()} of the {len(touched)} successions that matter most touch an attacked ID"
    )
    canvas.heading([ax], title or f"{text}; of the features, {names[0]}")
    return np.array([ax, beside])
