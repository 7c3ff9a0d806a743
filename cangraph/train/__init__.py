"""How a detector is trained, distilled, adapted and searched for."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "tasks": ["Task"],
        "adapt": ["stretch"],
        "search": ["finished", "reached"],
    },
)
