"""Few windows are under attack, fewer nodes: what training does about it (`fit.imbalance`).

| on paper | in code | what it does |
|---|---|---|
| w = min(n₀/n₁, 10) | `weights` | attacks weigh more in the loss, nodes under attack 5 |
| p(y = 1) = ½ | `sampler` | an epoch draws as many attack windows as benign ones |
| (1 − p_t)² | `focal` | what is told well already counts less (Lin et al. 2017, eq. 4) |
| f + log(n₁/n₀) | `logits` | the net need not learn the base rate (Menon et al. 2021, eq. 10) |
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cangraph.data.graphs import Graphs

__all__ = ["Balance", "balanced"]

_CAP = 10.0  # largest weight of an attack window
_NODE = 5.0  # weight of an attacked node
_FOCUS = 2.0  # γ of the focal loss


class Balance(NamedTuple):
    """How the loss of windows and of nodes treats the rare class (see `losses.binary_error`)."""

    window_weight: float = 1.0
    node_weight: float = _NODE
    window_offset: float = 0.0
    node_offset: float = 0.0
    focus: float = 0.0

    @classmethod
    def of(cls, train: Graphs, ways: Sequence[str]) -> "Balance":
        """The balance that `ways` (`fit.imbalance`) give on these windows; warns when several are
        asked for, with the weight that they amount to.

        Raises `ValueError` when the windows are all benign, or the `sampler` or `logits` are asked
        for and none is.
        """
        attacks, attacked = int(train.label.sum()), int(train.node_attack.sum())
        if not attacks:
            raise ValueError(
                f"fit: the {len(train)} windows to train on are all benign; expected some under "
                "attack; add captures to train_02_with_attacks, or set fit.train_on to clean"
            )
        odds = (len(train) - attacks) / attacks
        if not odds and {"sampler", "logits"} & {*ways}:
            raise ValueError(
                f"fit: the {len(train)} windows to train on are all under attack; expected benign "
                f"ones too for fit.imbalance = [{', '.join(ways)}]; use [weights]"
            )
        node_odds = (len(train.x) - attacked) / max(attacked, 1)
        weight = min(odds, _CAP) if "weights" in ways else 1.0
        if len(ways) > 1:
            amounts = {"weights": weight, "sampler": odds, "logits": odds, "focal": 1.0}
            total = float(np.prod([amounts[way] for way in ways]))
            warnings.warn(
                f"fit: fit.imbalance = [{', '.join(ways)}] makes an attack window weigh as much as "
                f"{total:.3g} benign ones at the first step ("
                + " × ".join(f"{way} {amounts[way]:.3g}" for way in ways)
                + f"), where there are {odds:.3g} of them; expected one way; keep one",
                stacklevel=2,
            )
        adjusted = "logits" in ways
        return cls(
            window_weight=weight,
            node_weight=_NODE if "weights" in ways else 1.0,
            window_offset=-float(np.log(odds)) if adjusted else 0.0,
            node_offset=-float(np.log(node_odds)) if adjusted and attacked and node_odds else 0.0,
            focus=_FOCUS if "focal" in ways else 0.0,
        )


def balanced(graphs: Graphs, rng: np.random.Generator) -> Graphs:
    """As many windows, drawn with replacement, benign ones and those under attack equally likely.

    Raises `ValueError` when one of the two kinds is missing.
    """
    attacks = int(graphs.label.sum())
    if attacks in (0, len(graphs)):
        raise ValueError(
            f"fit: {attacks} of {len(graphs)} windows drawn are under attack; expected both kinds "
            "for fit.imbalance = [sampler]; use another way, or draw more windows"
        )
    odds = np.where(graphs.label, 0.5 / attacks, 0.5 / (len(graphs) - attacks))
    return graphs[rng.choice(len(graphs), len(graphs), p=odds)]
