"""The bundled detector: one that judges a vehicle which nobody trained on."""

from argparse import ArgumentParser
from pathlib import Path

BOX = Path(__file__).with_name("any_vehicle.onnx")


def boxed() -> Path:
    """The detector that the package brings, for `Exported`. Raises `FileNotFoundError` without."""
    if not BOX.is_file():
        raise FileNotFoundError(
            f"{BOX}: no such file; expected the detector that comes with cangraph; "
            "make it with `python benchmarks/box.py` in a checkout, or name another ONNX file"
        )
    return BOX


def takes_detector(parser: ArgumentParser) -> None:
    """Give a command the option `--detector`, for `boxed` where it is not given."""
    own = "an ONNX file of cangraph (without: the bundled one)"
    parser.add_argument("--detector", type=Path, help=own)
