"""Detectors as files, and on a bus: export, judging without torch, the monitor."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "box": ["boxed"],
        "detector": ["Exported"],
        "dry_run": ["attack_trials", "spans_of"],
        "known_vehicle": ["with_baseline"],
        "export": ["export_run", "to_onnx"],
        "latency": ["footprint"],
        "monitor": ["Monitor"],
        "onewindow": ["Fused"],
    },
)
