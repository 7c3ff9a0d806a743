"""The commands `cangraph scan`, `monitor`, `baseline`, `export`, `data`, `freeze` and `unseen`,
also as `python -m cangraph`.

    cangraph scan my.log --html my.html
    cangraph baseline city.log motorway.log -o car.onnx
    cangraph monitor car.onnx --interface socketcan --channel can0
    cangraph export car.onnx --c car.c

Of a log, `scan` and `monitor --log` exit with a `deploy.detector.Status`: 0 nothing found, 1 an
alarm, 2 not readable, 3 not judged.

A command imports what it needs when it is called, so that watching a bus loads no torch.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from cangraph.extras import MissingExtraError, named_extra
from cangraph.files import printable

_COMMANDS = {  # where the function run_<command> is, and what it does
    "scan": ("report.scanpage", "say whether logs look under attack, when, which ID, and why"),
    "monitor": ("deploy.console", "watch a CAN bus, or a log, with an exported detector"),
    "baseline": ("deploy.known_vehicle", "learn what is normal for a vehicle, from clean logs"),
    "export": ("deploy.embedded", "write a detector as one C file, for an ECU"),
    "data": ("data.catalog", "list the datasets, where to get them, and what is there"),
    "freeze": ("report.frozen", "write down what a claim about a detector rests on"),
    "unseen": ("report.frozen", "measure a frozen detector on logs that were never opened"),
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


if __name__ == "__main__":
    sys.exit(main())
