"""What is said of a frame, a node and an edge, computed while frames arrive."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["kernel", "profile", "schema", "windows"],
    submod_attrs={"schema": ["EDGE_FEATURES", "FRAME_FEATURES", "NODE_FEATURES"]},
)
