"""What recorders do to a bus log: coarse clocks, batches, lost frames, pauses."""

from dataclasses import replace

import numpy as np

from cangraph.frames import Frames

_CLOCKS = (1e-3, 1e-3, 1e-2)  # s, of recorders that do not tell µs
_LOST = (-4.0, -0.4)  # log10 of the share of frames that a recorder loses


def recorded(frames: Frames, rng: np.random.Generator) -> Frames:
    """The log as one of many recorders would have written it: every second one as it is.

    >>> log = Frames(np.arange(1000) * 0.0101, np.arange(1000) % 5)
    >>> len(recorded(log, np.random.default_rng(1))), len(recorded(log, np.random.default_rng(2)))
    (857, 1000)
    """
    if rng.random() < 0.5 or len(frames) < 2:
        return frames
    frames = frames[_kept(frames, rng)]
    drawn, since = rng.random(), frames.timestamp - frames.timestamp[0]
    if drawn < 0.3:
        tick = float(rng.choice(_CLOCKS))
        since = np.floor(since / tick) * tick
    elif drawn < 0.55:  # handed over in batches, and stamped when they arrive
        tick = float(np.exp(rng.uniform(*np.log((1e-3, 0.1)))))
        since = np.ceil(since / tick) * tick
        order = np.arange(len(since)) - np.searchsorted(since, since)
        since += np.minimum(order * np.exp(rng.uniform(*np.log((1e-5, 2e-4)))), tick / 2)
    timestamp = frames.timestamp[0] + np.round(np.maximum.accumulate(since), 6)
    return replace(frames, timestamp=timestamp)


def _kept(frames: Frames, rng: np.random.Generator) -> np.ndarray:
    """Which frames the recorder writes, bool (n,)."""
    since = frames.timestamp - frames.timestamp[0]
    keep = np.ones(len(frames), np.bool_)
    if rng.random() < 0.4:
        keep &= rng.random(len(frames)) >= 10 ** rng.uniform(*_LOST)
    for shortest, longest, most in ((0.01, 0.3, 6), (0.5, 20.0, 2)):  # buffers run over; pauses
        for _ in range(int(rng.integers(most + 1)) if rng.random() < 0.4 else 0):
            start = rng.uniform(0, since[-1])
            length = np.exp(
                rng.uniform(*np.log((shortest, min(longest, since[-1] / 4 + shortest))))
            )
            keep &= (since < start) | (since >= start + length)
    keep[0] = True
    return keep
