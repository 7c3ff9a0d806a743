"""Captures of a dataset as graphs: prepared, split, synthesised, cut into batches."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["batches", "card", "datasets", "graphs", "splits", "store", "synthesis"],
    submod_attrs={
        "card": ["data_card"],
        "datasets": ["DATASETS", "clean_captures", "present", "read"],
        "graphs": ["Graphs", "to_graphs"],
        "splits": ["PARTS", "Split", "split"],
        "store": ["open_graphs", "prepare"],
        "synthesis": ["Synthesis"],
    },
)
