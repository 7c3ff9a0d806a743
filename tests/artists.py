"""What tests read off a figure."""

import re

from matplotlib.colors import same_color


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
