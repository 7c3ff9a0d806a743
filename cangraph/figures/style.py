"""What all figures share: the style, titles, small labels, and words for those who cannot see."""

from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

__all__ = ["ATTACK", "BENIGN", "INK", "MUTED", "described", "use_style"]

ATTACK, BENIGN, INK, MUTED = "#D55E00", "#5B84AD", "#2B3640", "#5F6C78"
DASHED = {"color": INK, "lw": 1, "ls": (0, (4, 3))}
PLAIN = {"fc": "white", "ec": "none", "pad": 0.8}  # a box behind a text that lines may cross


def use_style():
    """Apply `cangraph.mplstyle` to every figure made from here on, and give the figures that a
    notebook shows an alternative text (`described`); call it once a notebook."""
    plt.style.use(Path(__file__).with_name("cangraph.mplstyle"))
    import IPython

    if shell := IPython.get_ipython():
        plt.switch_backend(plt.get_backend())  # or the first figure would set the formatter anew
        _speak(shell.display_formatter.formatters["image/png"])


def _speak(formatter):
    """Have IPython's formatter for PNG say what a figure shows, as the metadata `alt` that
    nbconvert puts into a page. (JupyterLab 4.6 keeps it in the notebook and does not show it.)"""
    from IPython.core.pylabtools import print_figure

    formatter.for_type(Figure, lambda figure: (print_figure(figure), {"alt": described(figure)}))


def described(figure):
    """A figure in words: its titles, which state the finding, what the axes are, and its labels.

    >>> figure, ax = plt.subplots()
    >>> _ = ax.set(title="F1 falls", xlabel="time (s)", ylabel="F1")
    >>> described(figure)
    'F1 falls. Across: time (s). Up: F1.'
    """
    heading = figure.get_suptitle()
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]
    titles = [" ".join(ax.get_title(loc=side).split()) for ax in panels for side in _SIDES]
    said = [" ".join(heading.split()), *titles]
    for name, get in (("Across", "get_xlabel"), ("Up", "get_ylabel")):
        labels = dict.fromkeys(getattr(ax, get)() for ax in panels)
        said.append(", ".join(label for label in labels if label))
        said[-1] = f"{name}: {said[-1]}" if said[-1] else ""
    return " ".join(part.rstrip(".") + "." for part in said if part)


_SIDES = ("left", "center", "right")


def axes(ax, height=3.3):
    return ax or plt.subplots(figsize=(5.6, height), layout="constrained")[1]


def panels(ax, names, xlabel, ylabel=""):
    """A named Axes each, flat: those given, or a new grid of two columns."""
    if ax is None:
        n, rows = len(names), -(-len(names) // 2)
        figure = plt.figure(figsize=(5.6, 1.9 * rows + 0.4), layout="constrained")
        ax = [figure.add_subplot(rows, min(n, 2), i + 1) for i in range(n)]
    for panel, name in zip(np.ravel(ax), names, strict=True):
        panel.set_title(name, loc="left", weight="normal", size=9.5)
        panel.set(xlabel=xlabel, ylabel=ylabel)
    return np.ravel(ax)


def heading(axes, text):
    figure, size = axes[0].figure, plt.rcParams["axes.titlesize"]
    text = fill(text, int(10 * figure.bbox.width / figure.dpi))
    figure.suptitle(text, x=0.012, ha="left", weight="bold", size=size)
    return axes


def title(ax, text, pad=9):
    """A title flush with the tick labels, 13 characters an inch."""
    labels, inches = ax.yaxis.get_tightbbox(), ax.figure.dpi_scale_trans
    left = min(labels.x0 - ax.bbox.x0, 0) / ax.figure.dpi if labels else 0
    text = fill(text, max(12, int(13 * ax.bbox.width / ax.figure.dpi)))
    artist = ax.set_title(text, loc="left", pad=pad)
    artist.set_transform(artist.get_transform() + ScaledTranslation(left, 0, inches))
    return ax


def mark(ax, x, text, height, offset):
    """A dashed line at `x` with its label, `offset` points above `height` (0..1)."""
    ax.axvline(x, **DASHED)
    note(ax, text, (x, height), (0, offset), ax.get_xaxis_transform(), ha="center", bbox=PLAIN)


def note(ax, text, xy, offset=(0, 0), coords="data", **look):
    """A small direct label, `offset` points away from `xy`."""
    look = {"size": 8.5, "va": "center", "annotation_clip": False} | look
    return ax.annotate(text, xy, offset, coords, "offset points", **look)


def number(value):
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}" if np.isfinite(value) else "undefined"
