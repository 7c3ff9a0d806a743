"""Several detectors as one: rules, a DQN, and the choice between them."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "dqn": ["DQNFusion", "all_rules"],
        "rules": ["STATE", "FusionRule", "Stacking"],
        "verdict": [
            "ALL",
            "best_single",
            "default_rule",
            "gains",
            "held_out",
            "mean_auprc",
            "verdict_in_words",
        ],
    },
)
