"""Several detectors as one: rules, a DQN, and the choice between them."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "dqn": ["DQNFusion", "all_rules"],
        "rules": ["FusionRule", "Stacking"],
        "verdict": ["best_single", "default_rule", "held_out", "mean_auprc"],
    },
)
