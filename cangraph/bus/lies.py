"""A masquerade that lies about one physical value: what else a payload holds stays right.

The value is a signal that `cangraph.signals` finds; a checksum of the payload is made to fit again.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from cangraph.frames import CRC_8
from cangraph.signals import Signal, write_signal

LIES = ("constant", "offset", "scaled", "ramp", "mirrored", "plateau")
_SAMPLES = 5000  # of the signals that are compared, at most
_STEP = 0.1  # s from one to the next
_AGREE = 0.9  # correlation from which on two signals tell the same


def _crc(data: np.ndarray, start: int = 0) -> np.ndarray:
    crc = np.full(len(data), start, np.uint8)
    for byte in data.T:
        crc = CRC_8[crc ^ byte]
    return crc


CHECKSUMS = {  # of the rows of u1 (n, bytes), from a start; crc is CRC-8 SAE J1850
    "xor": lambda data, start=0: np.bitwise_xor.reduce(data, axis=1) ^ np.uint8(start),
    "sum": lambda data, start=0: data.sum(1) + start & 0xFF,
    "crc": _crc,
}


def false_values(values: np.ndarray, within: np.ndarray, kind: str, severity: float) -> np.ndarray:
    """What is sent in place of the `values` of a signal, f8 (n,); `within` are all its values.

    With d = `severity` / 2 of its range (one step at least), towards the farther end of the range:

    | kind | what is sent |
    |---|---|
    | constant | the first value + d |
    | offset, ramp | each value + d, or + a share of d that rises to 1 |
    | scaled | the distance to that end is smaller by half of the severity |
    | mirrored | twice the mean - each value, whatever the severity |
    | plateau | the first value |

    >>> false_values(np.array([2.0, 4.0]), np.array([0.0, 10.0]), "ramp", severity=0.4)
    array([3., 6.])
    """
    low, high, n = within.min(), within.max(), len(values)
    size = max(severity / 2 * (high - low), 1.0)
    around = values[0] if kind == "constant" else values.mean()
    shift, end = (size, high) if high - around >= around - low else (-size, low)
    return {
        "constant": np.full(n, values[0] + shift),
        "offset": values + shift,
        "ramp": values + shift * np.arange(1, n + 1) / n,
        "scaled": end + (values - end) * (1 - severity / 2),
        "mirrored": 2 * values.mean() - values,
        "plateau": np.full(n, values[0]),
    }[kind]


def retell(genuine: np.ndarray, own: np.ndarray, signal: Signal, values: np.ndarray) -> np.ndarray:
    """The `genuine` payloads with other values of a signal, u1 (n, width). A checksum that holds in
    all of `own`, the payloads that the ID sends, holds again."""
    forged = write_signal(genuine, signal, values)
    lying = np.flatnonzero(
        (write_signal(own[:1], signal, -np.inf) ^ write_signal(own[:1], signal, np.inf))[0]
    )
    moving = np.flatnonzero(np.ptp(own, axis=0))
    for k in np.setdiff1d(moving, lying)[::-1].tolist():
        for name, rule in CHECKSUMS.items():
            for end in {int(moving[-1]) + 1, own.shape[1]} if name == "crc" else {own.shape[1]}:
                others = np.setdiff1d(np.arange(end), k)
                sent, now = (rule(rows[:, others]).astype(np.uint8) for rows in (own, forged))
                start = own[:, k] - sent if name == "sum" else own[:, k] ^ sent
                if np.ptp(start) == 0:
                    forged[:, k] = now + start[0] if name == "sum" else now ^ start[0]
                    return forged
    return forged


def agreeing(
    times: Sequence[np.ndarray], values: Sequence[np.ndarray], group: Sequence[int]
) -> list[tuple[int, int, float]]:
    """The pairs of signals of different groups that tell the same, best first: their numbers, and
    how much the second changes with one unit of the first (least squares).

    Signals are compared as they were last sent, every .1 s. Of pairs whose correlation is under .9,
    either way, only the best is given, if any.
    """
    begin, end = max(t[0] for t in times), min(t[-1] for t in times)
    grid = np.linspace(begin, end, int(np.clip((end - begin) / _STEP, 2, _SAMPLES)))
    held = [v[np.searchsorted(t, grid, "right") - 1] for t, v in zip(times, values, strict=True)]
    spread = np.maximum(np.std(held, axis=1), 1e-9)
    unit = (np.stack(held) - np.mean(held, axis=1, keepdims=True)) / spread[:, None]
    alike, pairs = unit @ unit.T / len(grid), combinations(range(len(held)), 2)
    strong = sorted((-abs(alike[i, j]), i, j) for i, j in pairs if group[i] != group[j])
    told_twice = [(i, j) for r, i, j in strong if r <= -_AGREE or (r, i, j) == strong[0]]
    return [(i, j, float(alike[i, j] * spread[j] / spread[i])) for i, j in told_twice]
