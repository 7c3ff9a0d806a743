"""Combine the scores of the VGAE and the GAT: the plain rules, and stacking."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cangraph.evaluation.scores import Scores, threshold

CLIP = 10.0  # standard deviations
PLAIN: dict[str, Callable] = {  # fused value of (p_v, p_g), by kind
    "vgae": lambda vgae, gat: vgae,
    "gat": lambda vgae, gat: gat,
    "mean": lambda vgae, gat: (vgae + gat) / 2,
    "max": lambda vgae, gat: np.maximum(vgae, gat),
    "noisy-or": lambda vgae, gat: 1 - (1 - vgae) * (1 - gat),
}


def scaling() -> Pipeline:
    """Standardise inputs over the calibration windows and clip them at ±`CLIP`, since on another
    car an error may be a hundred times larger."""
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP})
    return make_pipeline(StandardScaler(), clip)


class FusionRule:
    """A way to combine the scores of the VGAE and the GAT, in that order, into one: `fit` it on
    calibration windows, then `score`; the decision is `score(...).value >= threshold`.

    This class learns only p_v, the VGAE's score as a probability (Platt 1999: σ(a·score + b), by
    logistic regression); p_g is the GAT's. The kinds are those of `PLAIN`; noisy-or takes the
    models for independent witnesses (Pearl 1988, ch. 4.3). Raises `KeyError` for another kind."""

    def __init__(self, kind: str = "mean"):
        self.kind, self.rule = kind, PLAIN[kind]

    def fit(self, scores: Sequence[Scores]) -> Self:
        """Fit the rule on calibration windows. Raises `ValueError` when all are of one class."""
        vgae = scores[0]
        if vgae.label.all() or not vgae.label.any():
            raise ValueError(
                f"fusion: the {len(vgae)} calibration windows are all of one class; expected both; "
                "raise split.calib or split.blocks"
            )
        self.calibration = make_pipeline(scaling(), LogisticRegression())
        self.calibration.fit(vgae.value[:, None], vgae.label)
        return self

    def probabilities(self, scores: Sequence[Scores]) -> np.ndarray:
        """(p_v, p_g) of each window, f8 (B, 2)."""
        vgae, gat = scores
        return np.stack([self.calibration.predict_proba(vgae.value[:, None])[:, 1], gat.value], 1)

    def states(self, scores: Sequence[Scores]) -> np.ndarray:
        """The state of each window, f8 (B, k): what the VGAE saw, what the GAT saw (`state_names`
        of their tasks), p_v, |2 p_v − 1|, |2 p_g − 1| and |p_v − p_g|, how far the two contradict
        each other."""
        vgae, gat = both = self.probabilities(scores).T
        derived = vgae, *np.abs(2 * both - 1), np.abs(vgae - gat)
        return np.column_stack([*(s.state.reshape(len(vgae), -1) for s in scores), *derived])

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        """The fused value of each window, f8 (B,)."""
        vgae, gat = self.probabilities(scores).T
        return self.rule(vgae, gat)

    def score(self, scores: Sequence[Scores]) -> Scores:
        """The fused `Scores`: the one decision function of training, validation and test."""
        none = np.zeros((0, 0), np.float32)
        value = self.combine(scores) if len(scores[0]) else np.zeros(0)
        return replace(scores[0], value=value, state=none, state_names=())

    def zero_shot(self, held_out: Scores) -> float:
        """The threshold from fused scores of held-out calibration windows; of the GAT alone 0.5."""
        return 0.5 if self.kind == "gat" else threshold(held_out)


class Stacking(FusionRule):
    """Logistic regression on the state of both models, L2 with C = 1 (stacked generalisation,
    Wolpert 1992), by scikit-learn. Fit it on windows that the models were not trained on."""

    kind = "logistic"

    def __init__(self) -> None:
        self.classifier = make_pipeline(scaling(), LogisticRegression(max_iter=1000))

    def fit(self, scores: Sequence[Scores]) -> Self:
        super().fit(scores)
        self.classifier.fit(self.states(scores), scores[0].label)
        return self

    def combine(self, scores: Sequence[Scores]) -> np.ndarray:
        return self.classifier.predict_proba(self.states(scores))[:, 1]
