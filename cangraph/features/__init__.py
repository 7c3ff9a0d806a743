"""What is said of a frame, a node and an edge, computed while frames arrive."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["baseline", "kernel", "profile", "relations", "schema", "windows"],
    submod_attrs={
        "baseline": ["Baseline"],
        "relations": ["Following", "Relations"],
        "schema": ["EDGE_FEATURES", "FRAME_FEATURES", "NODE_FEATURES"],
    },
)
