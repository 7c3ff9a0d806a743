"""How a detector is trained, distilled, adapted, searched for and explained."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "tasks": ["Task"],
        "adapt": ["stretch"],
        "search": ["finished", "reached"],
        "explain": ["ablation"],
    },
)
