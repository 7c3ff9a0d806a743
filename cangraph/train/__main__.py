"""Train the two teachers of a dataset from a shell, with as many processes as it was started with.

    python -m cangraph.train dataset=hcrl_sa
    torchrun --nproc-per-node 2 -m cangraph.train dataset=hcrl_sa seed=1 teacher.epochs=12
    srun python -m cangraph.train dataset=hcrl_sa      # under SLURM, on one machine or several

It reads what data_prep saved, and leaves in `runs/<dataset>/teacher/` the checkpoints that
teacher.ipynb would: with the same parameters, the notebook goes on from them instead of training.
Every `name=value` is a parameter, as in params/base.yaml; groups have a dot.
"""

import os
import sys
from collections.abc import Sequence

import yaml
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from cangraph.data.datasets import clean_captures, read
from cangraph.data.synthesis import Synthesis
from cangraph.nn.models import GAT, VGAE
from cangraph.params import Params, load_params
from cangraph.runs import load_data, training_folder
from cangraph.train.fit import fit, seed_everything
from cangraph.train.tasks import Detector, Reconstructor, Task

__all__ = ["asked", "launched", "teachers"]


def asked(words: Sequence[str]) -> Params:
    """The parameters that `name=value` words ask for.

    Raises `ValueError` for another word, and as `load_params` does.

    >>> teacher = asked(["dataset=demo", "teacher.epochs=2", "teacher.gat.hidden=8"]).teacher
    >>> teacher.epochs, teacher.gat.hidden
    (2, 8)
    """
    values: dict = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise ValueError(
                f"train: {word!r} came; expected name=value, with a dot for groups; write for "
                "instance dataset=hcrl_sa teacher.epochs=12"
            )
        *groups, last = name.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = yaml.safe_load(value)
    return load_params(**values)


def launched() -> tuple[int, int]:
    """(processes on each machine, machines) that torchrun or srun started this script with; (1, 1)
    without them."""
    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        return devices, TorchElasticEnvironment().world_size() // devices
    if SLURMEnvironment.detect():
        nodes = int(os.environ["SLURM_NNODES"])
        return SLURMEnvironment().world_size() // nodes, nodes
    return 1, 1


def teachers(params: Params, devices: int = 1, nodes: int = 1) -> dict[str, Task]:
    """VGAE and GAT, trained step by step as teacher.ipynb does, so that its runs are these.

    Raises `FileNotFoundError` without a data_prep of these parameters, and as `fit` does.
    """
    seed_everything(params.seed)
    place = training_folder(params, "teacher")
    data = load_data(params)
    material = Synthesis(data, clean_captures(read(params.dataset, params.seed)), params)
    tasks: dict[str, Task] = {}
    for name, task, net in (("vgae", Reconstructor, VGAE), ("gat", Detector, GAT)):
        # the weights of a net are drawn with the dice of the run before
        made = task(net(data.graphs.spec, **params.teacher[name]))
        tasks[name] = fit(made, material, params, "teacher", place / name, devices, nodes)
    return tasks


if __name__ == "__main__":
    try:
        chosen = asked(sys.argv[1:])
        teachers(chosen, *launched())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))
    rank_zero_only(print)(f"{training_folder(chosen, 'teacher')}: teacher.ipynb goes on from here")
