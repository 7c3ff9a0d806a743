"""Detectors trained from several seeds, as one."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from cangraph.data.graphs import Graphs
from cangraph.evaluation.calibration import log_odds
from cangraph.evaluation.scores import Scores
from cangraph.nn.models import GAT
from cangraph.train.tasks import Task

__all__ = ["Ensemble"]


class Ensemble:
    """Tasks of one kind, each trained from another seed, that score together (Lakshminarayanan et
    al. 2017): the value is the mean of theirs, for GATs that of their log-odds, as several teachers
    teach (`distillation`), and `state` holds the standard deviation between their values,
    `disagreement`, which is large where a window is like nothing they were trained on.

    Members come from `runs.load_models` of several seeds, or of several calls of `fit`.

    Raises `ValueError` for fewer than two members, one twice, or members of different kinds.
    """

    state_names = ("disagreement",)

    def __init__(self, members: Sequence[Task]):
        self.members = tuple(members)
        kinds = {type(member.model).__name__ for member in self.members}
        if len({id(member) for member in self.members}) < max(2, len(self.members)):
            raise ValueError(
                f"Ensemble: {len(self.members)} members came, {len(set(self.members))} of them "
                "different; expected two or more; train each from a seed of its own"
            )
        if len(kinds) > 1:
            raise ValueError(
                f"Ensemble: members with a {' and a '.join(sorted(kinds))} came, whose scores have "
                "different units; expected one kind; use fusion for several"
            )

    def score(self, graphs: Graphs) -> Scores:
        """`Scores` of every window: the mean of the members' values or log-odds, f8 (B,), and the
        values' standard deviation, f4 (B, 1)."""
        values = np.stack([member.score(graphs).value for member in self.members])
        spread = values.std(0)[:, None].astype(np.float32)
        mean = values.mean(0)
        if isinstance(self.members[0].model, GAT):
            mean = expit(log_odds(values).mean(0))
        return Scores.of(graphs, mean, spread, self.state_names)
