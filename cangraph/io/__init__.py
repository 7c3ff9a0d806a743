"""Bus logs in files: every format that is read and written."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["pythoncan", "readers", "text", "unpack", "writers"],
    submod_attrs={
        "names": ["Names"],
        "readers": ["LogFile", "read_frames"],
        "writers": ["write_frames"],
    },
)
