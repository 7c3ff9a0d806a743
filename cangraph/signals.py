"""Physical signals in payloads, found without a database: which bits move like one value.

1. Bytes are cut into runs of bits: the rate at which a bit flips rises from the most to the least
   significant bit of a value and drops where the next one begins (Marchetti and Stabili, "READ:
   Reverse engineering of automotive data frames", IEEE TIFS 2019).
2. Runs of neighbouring bytes are one value if the lower one carries into the upper: where the upper
   one steps by 1, the lower one wraps the other way. This tells the byte order too.
3. A value is a signal if it is smooth (its steps are smaller than differences between two of its
   values at random: an L1 form of von Neumann's ratio) and no counter or checksum.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

_PAIRS = 8192  # consecutive payloads that are compared, at most
_FEW, _VALUES = 8, 6  # steps and values that a signal takes at least; what takes fewer has states
_DROP = 0.3  # share of the rate of the bit above, below which a new value begins
_BUSY = 0.2  # rate from which on a bit flips with others by chance
_TOGETHER = 0.35  # how often a slower bit flips when the bit above does, at least
_CARRY, _SOME = 0.7, 0.1  # share of carries that needs no statistics, and the least with them
_ROUGH = 0.5  # steps relative to random differences: 1 for a checksum
_STEADY = 0.9  # share of the payloads at which a counter takes its usual step


class Signal(NamedTuple):
    """Bits of a payload that hold one number, as a DBC file counts them.

    Bit 8 k + j is that of worth 2^j in byte k. `start` is the number of the least significant bit
    if `little` (Intel), of the most significant one otherwise (Motorola). `length` is in bits;
    `signed` values are two's complements.
    """

    start: int
    length: int
    little: bool
    signed: bool


def read_signal(data: np.ndarray, signal: Signal) -> np.ndarray:
    """The values of a signal in payloads, f8 (n,). `data` is u1 (n, width).

    >>> data = np.array([[0x12, 0x34], [0xFF, 0xFE]], np.uint8)
    >>> read_signal(data, Signal(7, 16, little=False, signed=True)).tolist()
    [4660.0, -2.0]
    >>> read_signal(data, Signal(4, 12, little=True, signed=False)).tolist()
    [833.0, 4079.0]
    """
    return _numbers(np.unpackbits(data, axis=1), signal).astype(np.float64)


def write_signal(data: np.ndarray, signal: Signal, values: np.ndarray | float) -> np.ndarray:
    """The payloads with other values of a signal, u1 (n, width): rounded and clipped to what its
    bits can hold. All other bits stay.

    >>> data = np.array([[0x12, 0x34], [0xFF, 0xFE]], np.uint8)
    >>> write_signal(data, Signal(3, 12, little=False, signed=False), [1, 9999]).tolist()
    [[16, 1], [255, 255]]
    """
    low = -(1 << signal.length - 1) if signal.signed else 0
    number = np.rint(values).clip(low, low + (1 << signal.length) - 1).astype(np.int64)
    bits = np.unpackbits(data, axis=1)
    for worth, place in enumerate(reversed(_places(signal))):
        bits[:, place] = number >> worth & 1
    return np.packbits(bits, axis=1)


def find_signals(data: np.ndarray, used: int) -> list[Signal]:
    """The signals in the payloads of one arbitration ID, in order of their first byte.

    `data` is u1 (n, width) in order of time, `used` the number of payload bytes in use. Signals
    share no bits. Nothing is found of what is constant so far, takes under 6 values or under 8
    steps, counts, checks or jumps about. Top bits of a byte that never changed are taken for part
    of the value below them, unless that was negative.

    >>> speed = (3000 + 2000 * np.sin(np.arange(500) / 50)).astype(">u2")
    >>> counter = np.arange(500, dtype=np.uint8) % 16
    >>> find_signals(np.column_stack([counter, speed[:, None].view(np.uint8)]), 3)
    [Signal(start=15, length=16, little=False, signed=False)]
    """
    data = data[:, :used]
    if used > 1:  # a node that wakes up sends the same byte all over at first
        data = data[(data != data[:, :1]).any(1)]
    rows = np.flatnonzero((data[1:] != data[:-1]).any(1))
    if len(rows) < _FEW:
        return []
    moving = len(rows) / (len(data) - 1)  # share of the payloads that differ from the one before
    rows = rows[:: -(-len(rows) // _PAIRS)]
    before, after = data[rows], data[rows + 1]
    checks = _checksum(np.concatenate([before[:1], after]))
    before[:, checks] = after[:, checks] = 0
    before, after = np.unpackbits(before, axis=1), np.unpackbits(after, axis=1)
    judged = (_judged(field, before, after, moving) for field in _fields(before, after))
    found = [_with_still_bits(signal, before != after) for signal in judged if signal]
    return sorted(found, key=lambda signal: min(_places(signal)))


def _places(signal: Signal) -> list[int]:
    """The bits of a signal, the most significant first, counted from the top bit of byte 0: n ^ 7
    for what a DBC file calls n."""
    if signal.little:
        return [n ^ 7 for n in range(signal.start + signal.length - 1, signal.start - 1, -1)]
    return [*range(signal.start ^ 7, (signal.start ^ 7) + signal.length)]


def _numbers(bits: np.ndarray, signal: Signal) -> np.ndarray:
    """The values of a signal, i8 (n,), in u1 (n, bits)."""
    number = np.zeros(len(bits), np.int64)
    for worth, place in enumerate(reversed(_places(signal))):
        number |= bits[:, place].astype(np.int64) << worth
    return number - (number >> signal.length - 1 << signal.length) * signal.signed


def _checksum(data: np.ndarray) -> list[int]:
    """The last or first moving byte where it is the sum or the exclusive or of all others, but for
    a constant: it can be as smooth as they are."""
    moving = np.flatnonzero(np.ptp(data, axis=0))
    either, total = np.bitwise_xor.reduce(data, axis=1), data.sum(1, dtype=np.uint8)
    for k in moving[[-1, 0]].tolist() if len(moving) > 1 else []:
        alone = (data == data[:, k : k + 1]).all(0).sum() == 1  # no byte is a copy of it
        if alone and 0 in (np.ptp(2 * data[:, k] - total), np.ptp(either)):
            return [k]
    return []


def _ends(flips: np.ndarray, bit: int) -> bool:
    """Whether a run ends above this bit of a byte, bool (n, 8) for the payloads that change it."""
    above, here = flips[:, bit - 1], flips[:, bit]
    often, now, both = (int(np.count_nonzero(f)) for f in (above, here, above & here))
    if not often or not now:
        return often > 0
    if bit < 7 and now < _DROP * often and often - now > 2.5 * (often + now) ** 0.5:
        return True
    return often > 1 and now < _BUSY * len(flips) and both < _TOGETHER * often


def _runs(flips: np.ndarray) -> list[Signal]:
    """The runs of moving bits within bytes that may be (parts of) values."""
    runs = []
    for byte in np.flatnonzero(flips.any(0).reshape(-1, 8).any(1)).tolist():
        mine = flips[:, 8 * byte : 8 * byte + 8]
        mine = mine[mine.any(1)]
        cuts = [0, *(bit for bit in range(1, 8) if _ends(mine, bit)), 8]
        for begin, end in pairwise(cuts):
            moving = begin + np.flatnonzero(mine[:, begin:end].any(0))
            if len(moving):
                runs.append(
                    Signal(8 * byte + 7 - int(moving[0]), end - int(moving[0]), False, False)
                )
    return runs


def _carries(upper: np.ndarray, lower: np.ndarray, high: int, low: int) -> float:
    """How much more often than the other way the lower run wraps as it should where the upper one
    steps by 1; 0 if that can be chance. The steps of runs of so many bits, i8 (n,)."""
    size, half = 1 << high, 1 << low - 1
    step = (upper + size // 2) % size - size // 2 if high > 1 else upper
    turn = (step * lower)[np.abs(step) == 1]
    right, other = (int(np.count_nonzero(t >= half)) for t in (-turn, turn))
    wraps, excess = np.count_nonzero(np.abs(lower) >= half), right - other
    clear = right >= max(_CARRY * len(turn), 1) and (right > 1 or wraps == right)
    likely = excess > 2.5 * (right + other) ** 0.5 and excess > _SOME * len(turn)
    return excess / len(turn) if clear or likely else 0.0


def _fields(before: np.ndarray, after: np.ndarray) -> list[Signal]:
    """The runs, those of neighbouring bytes joined where the one carries into the other."""
    runs = _runs(before != after)
    ends = {run.start // 8: run for run in runs if run.start % 8 + 1 == run.length}  # at bit 0
    tops = {run.start // 8: run for run in runs if run.start % 8 == 7}
    steps = {run: _numbers(after, run) - _numbers(before, run) for run in runs}
    made = {run: run for run in runs}  # by its last run so far
    for byte in range(before.shape[1] // 8 - 1):
        joints = []
        for first, second, little in ((ends, tops, False), (tops, ends, True)):
            here, there = first.get(byte), second.get(byte + 1)
            if here and there and (made[here] == here or made[here].little == little):
                up, down = (there, here) if little else (here, there)
                share = _carries(steps[up], steps[down], up.length, down.length)
                joints += [(share, not little, here, there)] if share else []
        if joints:
            _, big, here, there = max(joints)
            field = made.pop(here)
            start = field.start if big or field != here else here.start + 1 - here.length
            made[there] = Signal(start, field.length + there.length, not big, False)
    return list(made.values())


def _judged(field: Signal, before, after, moving: float) -> Signal | None:
    """The field, with its sign, if it is a signal. The sign is that which makes it jump less."""
    if not 2 < field.length < 49:
        return None
    both = [field, field._replace(signed=True)]
    steps = [_numbers(after, reading) - _numbers(before, reading) for reading in both]
    signed = int(np.abs(steps[1]).sum() < np.abs(steps[0]).sum())
    old, step = _numbers(before, both[signed]), steps[signed]
    moved, rng = step != 0, np.random.default_rng(0)
    many = np.count_nonzero(moved)
    if many < _FEW or len(np.unique(old)) < _VALUES:
        return None
    apart = max(np.abs(v - rng.permutation(v)).mean() for v in (old, old[moved]))
    smooth = np.abs(step[moved]).mean() <= (_ROUGH - 1 / np.sqrt(many)) * apart
    counts = _counts(step[moved], field.length, moving * moved.mean())
    return both[signed] if smooth and not counts else None


def _counts(step: np.ndarray, length: int, moving: float) -> bool:
    """Whether a field that moves in such a share of the payloads counts: by the same step nearly
    always, also back to 0, or only forward and over and over."""
    kinds, often = np.unique(step, return_counts=True)
    often, usual = np.sort(often)[::-1], kinds[np.argsort(often)[::-1][:2]].tolist()
    if often[0] >= _STEADY * len(step) and moving >= _STEADY:
        return True
    if often[:2].sum() >= _STEADY * len(step) and min(usual) < 0 < max(usual):
        return abs(sum(usual)) >= max(map(abs, usual)) / 1.5
    half = 1 << length - 1
    forward = float((step % (2 * half) < half).mean())
    return bool(np.count_nonzero(np.abs(step) > half) > 1 and max(forward, 1 - forward) > 0.97)


def _with_still_bits(signal: Signal, flips: np.ndarray) -> Signal:
    """An unsigned signal with the bits above it up to the top of their byte, if they never move."""
    top, extra = _places(signal)[0], _places(signal)[0] % 8
    if signal.signed or flips[:, top - extra : top].any():
        return signal
    start = signal.start if signal.little else signal.start + extra
    return signal._replace(start=start, length=signal.length + extra)
