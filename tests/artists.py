"""What tests draw, and what they read off a figure."""

import re

import numpy as np
from matplotlib.colors import same_color

VALUE, LABEL = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
IDS, EDGES = np.array([0, 0x1A0, 0x2B0, 0x316]), np.array([[0, 1, 2, 3, 0], [1, 2, 3, 1, 0]])
EPOCHS = [{"epoch": i, "train_loss": 1 / (i + 1), "val_loss": abs(i - 2) + 0.1} for i in range(5)]


def words(ax):
    return [text.get_text() for text in ax.texts]


def numbers(ax):
    """The numbers in the title, of the figure or else of the Axes, as written."""
    return re.findall(r"\d[\d,.]*\d|\d", ax.figure.get_suptitle() or ax.get_title(loc="left"))


def count(patches, color):
    """How many of the patches have this colour on their edge or face."""
    pairs = [(patch.get_edgecolor()[:3], patch.get_facecolor()[:3]) for patch in patches]
    return sum(same_color(edge, color) or same_color(face, color) for edge, face in pairs)


def bars_of(ax, color):
    return [p.get_width() for p in ax.patches if same_color(p.get_facecolor(), color)]
