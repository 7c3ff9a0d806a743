"""cangraph: CAN bus logs as graphs, and detectors that say when the bus is under attack.

Four nouns, one direction: capture files → `Frames` → `Graphs` → `Scores` → a run.
Here are the names that a notebook needs; the rest is reached by its package, as in
`cg.figures.roc`. All are imported when first used, so that reading a JSON does not load torch.
"""

import os
import warnings

from cangraph.extras import attach
from cangraph.files import keep_compiled

# threads that spin while they wait slow all other processes; OpenMP reads this when torch loads
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# a watch of a bus tells nobody of itself
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
keep_compiled()
# tqdm, which others load, misses widgets for bars that no notebook here shows
warnings.filterwarnings("ignore", message="IProgress not found")

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["bus", "data", "deploy", "evaluation", "features", "figures", "fusion", "io", "nn",
                "report", "runs", "train"],
    submod_attrs={
        "frames": ["Frames"],
        "data.datasets": ["read", "clean_captures"],
        "io.readers": ["read_frames"],
        "io.writers": ["write_frames"],
        "bus.simulator": ["simulate"],
        "bus.attacks": ["inject"],
        "data.graphs": ["Graphs", "to_graphs"],
        "data.store": ["prepare"],
        "data.splits": ["split"],
        "data.synthesis": ["Synthesis"],
        "nn.models": ["GAT", "VGAE"],
        "train.tasks": ["Detector", "Reconstructor"],
        "train.fit": ["seed_everything", "fit"],
        "train.distillation": ["distill"],
        "train.adapt": ["adapt"],
        "train.search": ["tune"],
        "evaluation.scores": ["Scores", "by_scenario", "by_capture", "threshold"],
        "fusion.dqn": ["DQNFusion"],
        "deploy.export": ["to_onnx"],
        "deploy.detector": ["Exported"],
        "deploy.monitor": ["Monitor"],
        "params": ["load_params", "params_here"],
    },
)  # fmt: skip
