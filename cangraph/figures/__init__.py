"""Every figure: arrays in, matplotlib `Axes` out. Imports nothing else of cangraph.

Functions of one Axes take `ax` (None: a new figure) and `title` (None: a sentence made from the
numbers) and return it; small multiples return an array of Axes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "style": ["described", "use_style"],
        "bus": ["frames", "graph", "second", "watched"],
        "results": ["bars", "forest", "learning_curves", "roc", "timelines",
                    "training_trace"],
    },
)  # fmt: skip
