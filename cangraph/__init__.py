"""cangraph: CAN bus logs as graphs, and detectors that say when the bus is under attack.

Four nouns, one direction: capture files → `Frames` → `Graphs` → `Scores` → a run.
Names are imported when first used, so that reading a JSON does not load torch.
"""

import importlib
import os
import warnings

# threads that spin while they wait slow every other process on a shared machine; OpenMP reads
# this when torch loads, and a notebook's first import is the last chance to say so
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# tqdm, which others load, misses widgets for bars that no notebook here shows
warnings.filterwarnings("ignore", message="IProgress not found")

_HOME = {
    "params": ("Params", "load_params"),
    "notebook": ("params_here",),
    "frames": ("ATTACK_TYPES", "Frames"),
    "scores": (
        "Scores",
        "attack_spans",
        "by_attack",
        "by_capture",
        "by_scenario",
        "compare",
        "localised",
        "metrics",
        "overall",
        "threshold",
    ),
    "calibration": (
        "brier",
        "calibrated",
        "calibrated_thresholds",
        "clean_stretch",
        "clean_threshold",
        "ece",
        "recalibrated",
        "temper",
        "temperature",
    ),
    "alarms": (
        "alarm_curve",
        "event_metrics",
        "events",
        "events_by_capture",
        "raise_alarms",
        "recall_at_false_alarms",
        "recovery",
    ),
    "watch": ("alarm_rule",),
    "readers": ("LogFile", "read_frames"),
    "attacks": ("inject",),
    "writers": ("write_frames",),
    "simulator": ("simulate",),
    "features": ("EDGE_FEATURES", "FRAME_FEATURES", "NODE_FEATURES"),
    "profiles": ("profile",),
    "graphs": ("Graphs", "to_graphs"),
    "prepared": ("prepare",),
    "datasets": ("DATASETS", "clean_captures", "read"),
    "card": ("data_card", "shared_between"),
    "splits": ("PARTS", "Split", "split"),
    "models": ("GAT", "VGAE", "footprint", "n_parameters"),
    "synthesis": ("Synthesis",),
    "folds": ("Fold", "leave_out", "walk_forward"),
    "tasks": ("Detector", "Reconstructor", "Task"),
    "training": ("fit", "seed_everything"),
    "ensembles": ("Ensemble",),
    "search": ("tune",),
    "distillation": ("Teachers", "distill"),
    "transfer": ("adapt",),
    "explain": ("ablation", "explained"),
    "policies": ("DQNFusion", "rules"),
    "baselines": (
        "all_baselines",
        "boosted",
        "calibrated_count",
        "entropy",
        "gap_ratio",
        "id_set",
        "leak_canary",
        "payload_novelty",
    ),
    "exported": ("Exported",),
    "monitor": ("Monitor",),
    "trials": ("tried",),
    "onewindow": ("Fused",),
    "export": ("to_onnx",),
    "literature": ("published",),
}
_MODULES = (*_HOME, "archive", "blame", "charts", "comparison", "digest", "drawings", "exhibits")
_MODULES += ("fusion", "intervals", "losses", "overviews", "plots", "ranking", "report", "runs")
_MODULES += ("summary", "tables", "transfer", "verdict")
_WHERE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*_WHERE, *(m for m in _MODULES if m not in _WHERE)]


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(importlib.import_module(f"cangraph.{_WHERE[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"cangraph.{name}")
    raise AttributeError(f"cangraph has no {name!r}; Tab after `cangraph.` lists what it has")


def __dir__():
    return __all__
