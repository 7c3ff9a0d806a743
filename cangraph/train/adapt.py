"""Trained detectors made into others: fine-tuned to a new vehicle, or several as one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from cangraph.data.graphs import Graphs, to_graphs
from cangraph.data.splits import Split, by_time, complete
from cangraph.data.synthesis import Synthesis
from cangraph.evaluation.scores import threshold
from cangraph.frames import Frames
from cangraph.nn.models import GAT, VGAE
from cangraph.params import Params
from cangraph.train.callbacks import FineTuning
from cangraph.train.fit import fit
from cangraph.train.tasks import Detector, Reconstructor, Task


class Adapted(NamedTuple):
    """The detector of the new vehicle, and its threshold, set on windows under synthesised attacks
    from times that were not trained on."""

    task: Task
    threshold: float
    calib: Graphs


def stretch(clean: Sequence[Frames], params: Params) -> Synthesis:
    """The clean traffic of a vehicle as material to train on: cut into train, val and calib by
    time (`params.split`), with attacks synthesised into each part (`params.synthesis`).

    Raises `ValueError` without traffic, for traffic with attacks or too short to be cut, and for
    `fit.train_on` `labelled`, since none is.
    """
    if params.fit.train_on == "labelled":
        raise ValueError("adapt: fit.train_on = 'labelled', and no window is; use clean or both")
    # a recording of its own each: a capture is cut by itself
    captures = [
        capture.label(scenario="train_01_attack_free", recording=f"stretch {number}")
        for number, capture in enumerate(clean)
    ]
    graphs = to_graphs(captures, params.window, params.stride)
    data = complete(Split(graphs, by_time(graphs, params.split), (), params.split.most))
    return Synthesis(data, captures, params)


def adapt(
    task: Task,
    clean: Sequence[Frames],
    params: Params,
    how: Literal["frozen", "gradual", "discriminative"] = "gradual",
    size: str = "teacher",
    folder: Path | str | None = None,
) -> Adapted:
    """Fine-tune a trained detector to the vehicle of some `clean` captures, into which attacks are
    synthesised (see `stretch`), as `how` says (see `callbacks.FineTuning`); the heads learn at the
    learning rate of the `size`. The given task stays as it is; a student loses its teacher.

    The scaler of the features is kept: the weights know no other, and the moments of a few seconds
    are noise. The scale of a VGAE's errors, no input of any weight, is that of the new vehicle.
    Other cars are in the material as far as `params` say: `synthesis.fleet` and `.varied` of 0
    make a detector of this vehicle alone.

    Raises `ValueError` for a detector that was never trained, for `fit.rate` `found`, and as
    `stretch` and `fit` do.
    """
    if not (task.encoder.node_scale.mean != 0).any():
        raise ValueError("adapt: the scaler of the detector was never fitted; train it with fit")
    if params.fit.rate == "found":
        raise ValueError("adapt: fit.rate = 'found' moves all layers alike; set it to given")
    tuning = FineTuning(how, params[size].epochs)
    material = stretch(clean, params)
    gat, config = isinstance(task.model, GAT), task.model.config
    mine: Task = Detector(GAT(**config)) if gat else Reconstructor(VGAE(**config))
    mine.model.load_state_dict(task.model.state_dict())
    mine = fit(mine, material, params, size, folder, tuning=tuning)
    return Adapted(mine, threshold(mine.score(material.calib)), material.calib)
