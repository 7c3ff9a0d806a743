"""The detector in the box: one that judges a vehicle which nobody trained on."""

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
