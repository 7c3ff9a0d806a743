"""Trained detectors made into others: fine-tuned to a new vehicle, or several as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit

from cangraph.data.graphs import Graphs, to_graphs
from cangraph.data.splits import Split, by_time
from cangraph.data.synthesis import Synthesis
from cangraph.evaluation.calibration import log_odds
from cangraph.evaluation.scores import Scores, threshold
from cangraph.frames import Frames
from cangraph.nn.models import GAT, VGAE
from cangraph.params import Params
from cangraph.train.callbacks import FineTuning
from cangraph.train.fit import fit
from cangraph.train.tasks import Detector, Reconstructor, Task


class Adapted(NamedTuple):
    """`task`, the detector of the new vehicle; `threshold`, set on `calib`, windows of the new
    vehicle under synthesised attacks from times that were not trained on."""

    task: Task
    threshold: float
    calib: Graphs


def stretch(clean: Sequence[Frames], params: Params) -> Synthesis:
    """The clean traffic of a vehicle as material to train on: cut into train, val and calib by
    time (`params.split`), with attacks synthesised into each part (`params.synthesis`). With
    `fit.train_on` `both`, the traffic as it is comes along; `clean` is attacked copies alone.

    Raises `ValueError` without traffic, for traffic with attacks or shorter than a window, for
    traffic that is too short to be cut, and for `fit.train_on` `labelled`, since none is.
    """
    if not clean:
        raise ValueError(
            "adapt: no capture came; expected clean traffic of the new vehicle; give a minute of it"
        )
    if params.fit.train_on == "labelled":
        raise ValueError(
            "adapt: fit.train_on = 'labelled', and the traffic holds no attack; expected clean or "
            "both; set it"
        )
    # a recording of its own each: a capture is cut by itself
    captures = [
        capture.label(scenario="train_01_attack_free", recording=f"stretch {number}")
        for number, capture in enumerate(clean)
    ]
    graphs = to_graphs(captures, params.window, params.stride)
    data = Split(graphs, by_time(graphs, params.split), ())
    material = Synthesis(data, captures, params)
    for row in data.counts()[:3]:
        if not row["windows"]:
            seconds = sum(capture.duration for capture in clean)
            cut = params.split
            raise ValueError(
                f"adapt: of {seconds:.1f} s of clean traffic, {row['part']} has no window "
                f"(split.blocks = {cut.blocks}, split.gap = {cut.gap} s); expected some in train, "
                "val and calib; use fewer blocks, a shorter gap or more traffic"
            )
    return material


def adapt(
    task: Task,
    clean: Sequence[Frames],
    params: Params,
    how: Literal["frozen", "gradual", "discriminative"] = "gradual",
    size: str = "teacher",
    folder: Path | str | None = None,
) -> Adapted:
    """Fine-tune a trained detector to the vehicle of some `clean` captures, into which attacks are
    synthesised (see `stretch`): the heads alone (`frozen`), layer after layer from the heads down
    (`gradual`), or all, lower layers slower (`discriminative`; see `callbacks.FineTuning`). The
    heads learn at the learning rate of the `size`. The given task stays as it is; the new one
    trains as any other, and a student no longer has its teacher.

    The scaler of the features is kept: the weights know no other, and the moments of a few seconds
    are noise. The scale of a VGAE's errors is no input of any weight, and is taken from the new
    vehicle. The threshold is set anew, on times of the new vehicle that are not trained on.

    Other cars are in the material as far as `params` say (`synthesis.fleet`, `synthesis.varied`):
    0 of both for a detector of this vehicle alone.

    Raises `TypeError` for what is no detector, `ValueError` for one that was never trained, for
    fewer epochs than `gradual` has steps, for `fit.rate` `found`, and as `stretch` and `fit` do.
    """
    if not isinstance(task, Task):
        raise TypeError(
            f"adapt: a {type(task).__name__} came; expected a trained task with a GAT or a VGAE; "
            "take it from fit or runs.load_models"
        )
    if not (task.encoder.node_scale.mean != 0).any():
        raise ValueError(
            "adapt: the scaler of the detector was never fitted; expected a trained detector; "
            "train it with fit first"
        )
    epochs, steps = params[size].epochs, len(task.layers) + 1
    if how == "gradual" and epochs < steps:
        raise ValueError(
            f"adapt: {size}.epochs = {epochs} for the heads and {steps - 1} layers that thaw one "
            f"after the other; expected {steps} or more; use more epochs, or discriminative"
        )
    if params.fit.rate == "found":
        raise ValueError(
            "adapt: fit.rate = 'found', by a test that moves all layers alike; expected given; "
            "set fit.rate to given"
        )
    tuning = FineTuning(how, epochs)
    material = stretch(clean, params)
    gat, config = isinstance(task.model, GAT), task.model.config
    mine: Task = Detector(GAT(**config)) if gat else Reconstructor(VGAE(**config))
    mine.model.load_state_dict(task.model.state_dict())
    mine = fit(mine, material, params, size, folder, tuning=tuning)
    return Adapted(mine, threshold(mine.score(material.calib)), material.calib)


class Ensemble:
    """Tasks of one kind, each trained from another seed, that score together (Lakshminarayanan et
    al. 2017). The value is the mean of theirs, for GATs the mean of log-odds, as several teachers
    teach (`distillation`); the state, `disagreement`, is the standard deviation of their values,
    which is large where a window resembles nothing they were trained on.

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
        gats = isinstance(self.members[0].model, GAT)
        mean = expit(log_odds(values).mean(0)) if gats else values.mean(0)
        return Scores.of(graphs, mean, spread, self.state_names)
