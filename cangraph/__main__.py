"""The commands `cangraph scan`, `monitor`, `baseline`, `export`, `data`, `freeze`, `unseen` and
`train`, also as `python -m cangraph`.

    cangraph scan my.log --html my.html
    cangraph baseline city.log motorway.log -o car.onnx
    cangraph monitor car.onnx --interface socketcan --channel can0
    cangraph export car.onnx --c car.c
    cangraph train dataset=hcrl_sa teacher.epochs=12
    torchrun --nproc-per-node 4 -m cangraph train dataset=hcrl_sa   # four devices of one machine
    srun python -m cangraph train dataset=hcrl_sa                   # a SLURM job, several machines

Of a log, `scan` and `monitor --log` exit with a `deploy.detector.Status`: 0 nothing found, 1 an
alarm, 2 not readable, 3 not judged.

A command imports what it needs when it is called, so that watching a bus loads no torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from cangraph.extras import MissingExtraError, named_extra
from cangraph.files import printable

if TYPE_CHECKING:
    from cangraph.params import Params
    from cangraph.train.tasks import Task

_COMMANDS = {  # the module that has `run_<command>`, and what it does
    "scan": ("report.scanpage", "say whether logs look under attack, when, which ID, and why"),
    "monitor": ("deploy.console", "watch a CAN bus, or a log, with an exported detector"),
    "baseline": ("deploy.known_vehicle", "learn what is normal for one vehicle, from clean logs"),
    "export": ("deploy.embedded", "write a detector as one C file, for an ECU"),
    "data": ("data.catalog", "list the datasets, where to get them, and what is there"),
    "freeze": ("report.frozen", "write down what a claim about a detector rests on"),
    "unseen": ("report.frozen", "measure a frozen detector on logs that were never opened"),
    "train": ("__main__", "train the two teachers of a dataset, with one process or several"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # closed: what is said there must not land among the results, nor in the next file opened
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    parser = argparse.ArgumentParser("cangraph", description="Attack detectors for CAN buses.")
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    for name, (_, does) in _COMMANDS.items():
        commands.add_parser(name, help=does, add_help=False)
    for word in words:  # a file may be called like an option that a terminal obeys
        if word.startswith("-") and not (option := word.split("=")[0]).isprintable():
            parser.error(f"no option: {printable(option)}; write ./ before the name of a file")
    command = parser.parse_args(words[:1]).command
    try:
        with named_extra(f"cangraph {command}"):
            module = import_module(f"cangraph.{_COMMANDS[command][0]}")
            status = getattr(module, f"run_{command}")(words[1:])
            if sys.stdout:  # `monitor --output` needs none
                sys.stdout.flush()  # a reader that is gone is noticed here, not while Python ends
            return status
    except BrokenPipeError:  # `| head` has seen enough; Python would complain when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a shell says of SIGPIPE
    except (MissingExtraError, ValueError, OSError) as error:
        where = "" if isinstance(error, MissingExtraError) else f"cangraph {command}: "
        print(printable(" ".join(f"{where}{error}".split())), file=sys.stderr)
        usual = 2 if command in ("scan", "monitor") else 1  # the status of an alarm is 1
        return getattr(error, "status", usual)


def run_train(words: Sequence[str]) -> int:
    """Run `cangraph train`; returns its exit status."""
    parser = argparse.ArgumentParser(
        "cangraph train",
        description="Train the VGAE and the GAT of a dataset, from what data_prep.ipynb saved. "
        "With the same parameters, teacher.ipynb goes on from runs/<dataset>/teacher/.",
    )
    words_help = "a parameter of params/base.yaml, groups with a dot: fit.batch_size=32"
    parser.add_argument("parameters", nargs="*", metavar="name=value", help=words_help)
    params = asked(parser.parse_args(words).parameters)

    from lightning.pytorch.utilities import rank_zero_only

    from cangraph.runs import folder

    teachers(params, *launched())
    rank_zero_only(print)(f"{folder(params) / 'teacher'}: teacher.ipynb goes on from here")
    return 0


def asked(words: Sequence[str]) -> Params:
    """The parameters that `name=value` words ask for. Raises `ValueError` as `load_params` does.

    >>> teacher = asked(["dataset=demo", "teacher.epochs=2", "teacher.gat.hidden=8"]).teacher
    >>> teacher.epochs, teacher.gat.hidden
    (2, 8)
    """
    import yaml

    from cangraph.params import load_params

    values: dict = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise ValueError(f"{word!r} came; expected name=value; write teacher.epochs=12")
        *groups, last = name.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = yaml.safe_load(value)
    return load_params(**values)


def launched() -> tuple[int, int]:
    """(processes on each machine, machines) that torchrun or srun started; (1, 1) without them."""
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        return devices, TorchElasticEnvironment().world_size() // devices
    if SLURMEnvironment.detect():
        nodes = int(os.environ["SLURM_NNODES"])
        return SLURMEnvironment().world_size() // nodes, nodes
    return 1, 1


def teachers(params: Params, devices: int = 1, nodes: int = 1) -> dict[str, Task]:
    """Train the VGAE and the GAT step by step as teacher.ipynb does, which goes on from these runs.

    Raises as `load_data` and `fit` do.
    """
    from cangraph.data.datasets import clean_captures, read
    from cangraph.data.synthesis import Synthesis
    from cangraph.nn.models import GAT, VGAE
    from cangraph.runs import folder, load_data
    from cangraph.train.fit import fit, seed_everything
    from cangraph.train.tasks import Detector, Reconstructor

    seed_everything(params.seed)
    place = folder(params) / "teacher"
    data = load_data(params)
    material = Synthesis(data, clean_captures(read(params.dataset, params.seed)), params)
    spec, nets = data.graphs.spec, params.teacher
    run = partial(fit, data=material, params=params, size="teacher", devices=devices, nodes=nodes)
    vgae = run(Reconstructor(VGAE(spec, **nets.vgae)), folder=place / "vgae")
    # its first weights are drawn after the VGAE was trained
    gat = run(Detector(GAT(spec, **nets.gat)), folder=place / "gat")
    return {"vgae": vgae, "gat": gat}


if __name__ == "__main__":
    sys.exit(main())
