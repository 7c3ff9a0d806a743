"""Many runs at a glance, as figures."""

from textwrap import fill

import numpy as np

from cangraph.figures import style
from cangraph.figures.style import INK, PALE


def heat(value, rows, columns, state=None, label="AUROC", ax=None, title=None):
    """A matrix of a metric as colours with its figures: `value` (rows, columns), 1 is the best.

    Look for dark rows: what no model sees. From .5 down all cells are as dark. NaN is grey and
    says its `state` (rows, columns) str: absent, undefined.
    """
    value = np.asarray(value, float)
    n, m = value.shape
    ax = style.axes(ax, 1.3 + 0.27 * n)
    if not n:
        return style.nothing(ax, title or "No run has a report yet")
    ax.set_facecolor("#EEF1F4")
    # a linear scale would hide the difference between .99 and .999, and a log scale has no 1
    depth = np.sqrt(np.clip((1 - value) / 0.5, 0, 1))
    ax.imshow(depth, cmap="Blues", clim=(0, 1.25), aspect="auto")
    for i, j in np.ndindex(n, m):
        known = np.isfinite(value[i, j])
        text = f"{value[i, j]:.3f}" if known else "–" if state is None else state[i][j]
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


def seeds(mean, half, rows, models, label="AUROC", ax=None, title=None):
    """A metric of each model on each dataset as dots with their interval over seeds: `mean` and
    `half` of it, or of the difference of two seeds (rows, models), NaN where there is none. Models
    whose bars overlap are not ranked."""
    mean, half = np.asarray(mean, float), np.asarray(half, float)
    n, m = mean.shape
    ax = style.axes(ax, 1.2 + 0.16 * n * m)
    if not n:
        return style.nothing(ax, title or "No run has a report yet")
    place = np.arange(n)[:, None] + np.linspace(-0.36, 0.36, m)
    for j, model in enumerate(models):
        look = {"fmt": "o", "ms": 4, "elinewidth": 1.2, "color": f"C{j % 6}", "label": model}
        look["mfc"] = "white" if j >= 6 else f"C{j % 6}"
        ax.errorbar(mean[:, j], place[:, j], xerr=np.nan_to_num(half[:, j]), **look)
    for edge in np.arange(1, n) - 0.5:
        ax.axhline(edge, color=PALE, lw=0.8)
    style.rows(ax, rows)
    ax.set(ylim=(n - 0.5, -0.5), xlabel=label)
    ax.set_xlim(max(0, np.nanmin(mean - np.nan_to_num(half), initial=1) - 0.03), 1.01)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), handlelength=1)
    text = f"{label} of one seed: nothing says how much a seed does"
    if np.isfinite(half).any():
        i, j = np.unravel_index(np.nanargmax(half), half.shape)
        low, high = (style.number(mean[i, j] + sign * half[i, j]) for sign in (-1, 1))
        text = f"Seeds move {models[j]} on {rows[i]} the most: {low} to {high}"
    return style.title(ax, title or text)
