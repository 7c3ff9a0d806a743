"""How a detector is trained, distilled, adapted, searched for and explained."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "tasks": ["Task"],
        "adapt": ["stretch"],
        "search": ["finished", "importance", "reached"],
        "explain": ["ablation"],
    },
)
