"""What all figures share: colours, titles, labels, and words for those who cannot see them.

Vermillion means attack, or what is wrong; a calm blue benign.
"""

import sys
from numbers import Integral
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

ATTACK, BENIGN, INK, MUTED, PALE = "#D55E00", "#5B84AD", "#2B3640", "#5F6C78", "#E4EAF0"
DASHED = {"color": INK, "lw": 1, "ls": (0, (4, 3))}
PLAIN = {"fc": "white", "ec": "none", "pad": 0.8}  # a box behind a text that lines may cross
_SIDES = ("left", "center", "right")


def use_style():
    """Apply `cangraph.mplstyle` to every figure made from here on, and give the figures that a
    notebook shows an alternative text (`described`); call it once a notebook."""
    plt.style.use(Path(__file__).with_name("cangraph.mplstyle"))
    ipython = sys.modules.get("IPython")  # loaded wherever a notebook runs
    if shell := ipython and ipython.get_ipython():
        from IPython.core.pylabtools import print_figure

        if hasattr(shell, "kernel"):  # a notebook, whatever MPLBACKEND says
            shell.enable_matplotlib("inline")
        else:  # or the first figure would set the formatter anew
            plt.switch_backend(plt.get_backend())
        png = shell.display_formatter.formatters["image/png"]
        # nbconvert puts the metadata `alt` into a page; JupyterLab 4.6 keeps it in the notebook
        png.for_type(Figure, lambda figure: (print_figure(figure), {"alt": described(figure)}))


def described(figure):
    """A figure in words: its titles, which state the finding, and the labels of its axes."""
    shown = [ax for ax in figure.axes if ax.get_visible() and ax.get_label() != "<colorbar>"]
    titles = [" ".join(ax.get_title(loc=side).split()) for ax in shown for side in _SIDES]
    said = [" ".join(figure.get_suptitle().split()), *titles]
    for name, get in (("Across", "get_xlabel"), ("Up", "get_ylabel")):
        labels = ", ".join(filter(None, dict.fromkeys(getattr(ax, get)() for ax in shown)))
        said.append(f"{name}: {labels}" if labels else "")
    return " ".join(part.rstrip(".") + "." for part in said if part)


def axes(ax, height=3.3):
    """The Axes given, or those of a new figure of this height in inches."""
    return ax or plt.subplots(figsize=(5.6, height), layout="constrained")[1]


def panels(ax, names, xlabel, ylabel=""):
    """A named Axes each, flat: those given, or a new grid of two columns."""
    if ax is None:
        n, lines = len(names), -(-len(names) // 2)
        figure = plt.figure(figsize=(5.6, 1.9 * lines + 0.4), layout="constrained")
        ax = [figure.add_subplot(lines, min(n, 2), i + 1) for i in range(n)]
    for panel, name in zip(np.ravel(ax), names, strict=True):
        panel.set_title(name, loc="left", weight="normal", size=9.5)
        panel.set(xlabel=xlabel, ylabel=ylabel)
    return np.ravel(ax)


def heading(axes, text):
    """A title over the whole figure; returns the Axes, flat."""
    figure, size = np.ravel(axes)[0].figure, plt.rcParams["axes.titlesize"]
    text = fill(text, int(10 * figure.bbox.width / figure.dpi))
    figure.suptitle(text, x=0.012, ha="left", weight="bold", size=size)
    return np.ravel(axes)


def title(ax, text, key=()):
    """A title flush with the tick labels, 13 characters an inch; under it a key: name → colour."""
    dpi, labels = ax.figure.dpi, ax.yaxis.get_tightbbox()
    left = min(labels.x0 - ax.bbox.x0, 0) / dpi if labels else 0
    shift = ScaledTranslation(left, 0, ax.figure.dpi_scale_trans)
    text = fill(text, max(12, int(13 * ax.bbox.width / dpi)))
    artist = ax.set_title(text, loc="left", pad=25 if key else 9)
    artist.set_transform(artist.get_transform() + shift)
    if key:
        dots = [Line2D([], [], c=c, marker="o", ls="", ms=6, label=name) for name, c in key.items()]
        look = {"borderaxespad": 0.4, "borderpad": 0, "handletextpad": 0.4, "handlelength": 0.6}
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "columnspacing": 1.2}
        transform = ax.transAxes + shift
        ax.legend(handles=dots, ncols=len(dots), bbox_transform=transform, **place, **look)
    return ax


def rows(ax, names):
    """Named rows from the top down, without an axis line."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.45, -0.55)
    ax.tick_params("y", length=0)
    ax.spines.left.set_visible(False)


def beside(ax, texts, colors, step=13):
    """Texts at the right of the Axes, `step` points below each other, darker than `colors`."""
    for i, (text, color) in enumerate(zip(texts, colors, strict=True)):
        dark = np.multiply(to_rgb(color), 0.7)
        note(ax, text, (1, 1), (5, -step * i - 2), "axes fraction", color=dark, va="top")


def note(ax, text, xy, offset=(0, 0), coords="data", **look):
    """A small direct label, `offset` points away from `xy`."""
    look = {"size": 8.5, "va": "center", "annotation_clip": False} | look
    return ax.annotate(text, xy, offset, coords, "offset points", **look)


def circle(arbitration_id):
    """Places of IDs on the unit circle, clockwise from the top by number, f8 (N, 2)."""
    n = len(arbitration_id)
    angle = np.empty(n)
    angle[np.argsort(arbitration_id, kind="stable")] = np.pi / 2 - 2 * np.pi * np.arange(n) / n
    return np.c_[np.cos(angle), np.sin(angle)].round(9)


def id_names(arbitration_id):
    """IDs in hexadecimal, of three digits or, where one is extended, of eight.

    >>> id_names([0x1A0, 0x18FF1234])
    ['1A0', '18FF1234']
    """
    return [f"{i:03X}" if i <= 0x7FF else f"{i:08X}" for i in np.asarray(arbitration_id).tolist()]


def number(value):
    """
    >>> number(0.12345), number(12345.6), number(np.nan), number(3)
    ('0.123', '12,346', 'undefined', '3')
    """
    if isinstance(value, Integral):
        return f"{value:,}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}" if np.isfinite(value) else "undefined"
