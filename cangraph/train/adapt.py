"""A trained detector fine-tuned to a new vehicle, from a stretch of its clean traffic."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from cangraph.data.graphs import Graphs, to_graphs
from cangraph.data.splits import Split, by_time
from cangraph.data.synthesis import Synthesis
from cangraph.evaluation.scores import threshold
from cangraph.frames import Frames
from cangraph.nn.models import GAT, VGAE
from cangraph.params import Params
from cangraph.train.callbacks import FineTuning
from cangraph.train.fit import fit
from cangraph.train.tasks import Detector, Reconstructor, Task

__all__ = ["Adapted", "adapt", "stretch"]

_KINDS = {GAT: Detector, VGAE: Reconstructor}


class Adapted(NamedTuple):
    """`task`, the detector of the new vehicle; `threshold`, set on `calib`, windows of the new
    vehicle under synthesised attacks from times that were not trained on."""

    task: Task
    threshold: float
    calib: Graphs


def stretch(clean: Sequence[Frames], params: Params) -> Synthesis:
    """The clean traffic of a vehicle as material to train on: cut into train, val and calib by
    time (`params.split`), with attacks synthesised into each part (`params.synthesis`).

    With `fit.train_on` `both`, the traffic as it is comes along; `clean` is attacked copies alone.

    Raises `ValueError` without traffic, for traffic with attacks or shorter than a window, for
    traffic that is too short to be cut, and for `fit.train_on` `labelled`: no attack is.
    """
    if not clean:
        raise ValueError(
            "transfer: no capture came; expected clean traffic of the new vehicle; give a minute "
            "of it"
        )
    if params.fit.train_on == "labelled":
        raise ValueError(
            "transfer: fit.train_on = 'labelled', and the traffic holds no attack; expected clean "
            "or both; set it"
        )
    # a scenario and recordings of their own: each capture is cut for itself
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
                f"transfer: of {seconds:.1f} s of clean traffic, {row['part']} has no window "
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
    heads learn at the learning rate of the `size`. The given task stays as it is; what comes back
    trains as any other, and a student no longer knows its teacher.

    The scaler of the features is kept: the weights that are not trained anew have seen no other,
    and the moments of a few seconds are noise. What scales a VGAE's errors is no input of any
    weight, and is taken from the new vehicle. The threshold is set anew, on times of the new
    vehicle that are not trained on, as the old one belongs to other scores and other cars.

    Other cars are in the material as far as `params` say (`synthesis.fleet`, `synthesis.varied`):
    0 of both for a detector of this vehicle alone.

    Raises `TypeError` for what is no detector, `ValueError` for one that was never trained, for
    fewer epochs than `gradual` has steps, for `fit.rate` `found`, and as `stretch` and `fit` do.

    >>> from cangraph.params import load_params
    >>> from cangraph.bus.simulator import simulate
    >>> own = {"seconds": 12, "fleet": 0, "varied": 0.0}  # no other car
    >>> params = load_params("demo", split={"blocks": 8, "gap": 0.05}, synthesis=own,
    ...                      teacher={"epochs": 1})
    >>> old, new = [simulate("aster", 12.0)], [simulate("clover", 12.0)]
    >>> gat = Detector(GAT(stretch(old, params).data.graphs.spec, hidden=2, heads=1, layers=1))
    >>> gat = fit(gat, stretch(old, params), params)  # doctest: +ELLIPSIS
    epoch   1/1  val_loss ...
    GAT: 223 parameters
    >>> found = adapt(gat, new, params, "frozen")  # doctest: +ELLIPSIS
    epoch   1/1  val_loss ...
    GAT: 223 parameters
    >>> 0 < found.threshold < 1
    True
    """
    kind = _KINDS.get(type(getattr(task, "model", None)))
    if kind is None:
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
    mine = kind(type(task.model)(**task.model.config))
    mine.model.load_state_dict(task.model.state_dict())
    mine = fit(mine, material, params, size, folder, tuning=tuning)
    return Adapted(mine, threshold(mine.score(material.calib)), material.calib)
