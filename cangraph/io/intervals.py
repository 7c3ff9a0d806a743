"""Labels beside a log: the intervals of attack that ROAD's authors publish with their captures."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.frames import Frames

BESIDE = "capture_metadata.json"  # its name in ROAD's folders


def injected(frames: Frames, path: str | Path, capture: str) -> np.ndarray:
    """Which frames of a `capture` a file of intervals calls injected, bool (n,).

    It is one JSON object that holds, by the capture's name, `injection_interval` (its begin and end
    in s since the first frame; null: none), `injection_id` and `injection_data_str`, both
    hexadecimal, in which X is any digit.

    Raises `ValueError` for a file that is none, or does not know the capture.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), BESIDE)
    >>> _ = path.write_text('{"bus": {"injection_interval": [1, 2.5], "injection_id": "0x1A0",'
    ...                     ' "injection_data_str": "XXFX"}}')
    >>> data = np.array([[0, 255, 0, 0, 0, 0, 0, 0]] * 3 + [[0] * 8], np.uint8)
    >>> frames = Frames(np.arange(4.0), np.array([416, 416, 416, 417]), data=data)
    >>> injected(frames, path, "bus")
    array([False,  True,  True, False])
    """
    try:
        captures: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        said = captures[capture]
        begin, end = said.get("injection_interval") or (np.inf, np.inf)
        identifier = str(said.get("injection_id") or "X").lower().removeprefix("0x")
        digits = str(said.get("injection_data_str") or "").lower()
        number = None if "x" in identifier else int(identifier, 16)
        fixed = bytes.fromhex("".join("0" if digit == "x" else "f" for digit in digits))
        value = bytes.fromhex(digits.replace("x", "0"))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        why = f"no interval of attack for {capture!r} ({type(error).__name__}: {error})"
        expected = "an object as in ROAD's capture_metadata.json"
        raise ValueError(f"{path}: {why}; expected {expected}; give that of this log") from error
    time = frames.timestamp - frames.timestamp[:1]
    found = (time >= begin) & (time <= end)
    if number is not None:
        found &= frames.arbitration_id == number
    fixed_bits, bits = np.frombuffer(fixed, np.uint8), np.frombuffer(value, np.uint8)
    if len(bits) > frames.data.shape[1]:
        return found & False
    return found & ((frames.data[:, : len(bits)] & fixed_bits) == bits).all(1)
