"""What a detector would find on a car: attacks of every kind synthesised into its clean traffic."""

from contextlib import suppress

import numpy as np

from cangraph.bus.attacks import ATTACKS, NoVictimError, inject
from cangraph.data.graphs import to_graphs
from cangraph.deploy.detector import Exported
from cangraph.evaluation.alarms import event_metrics
from cangraph.evaluation.scores import Scores
from cangraph.frames import Frames

_LENGTH, _PAUSE, _AHEAD = 2.0, 2.0, 1.0  # s: of an attack, behind one, ahead of the first
_SEVERITIES = 1.0, 0.5, 0.2


def spans_of(capture: Frames, since: float) -> list[tuple[float, float]]:
    """Spans of 2 s, 2 s apart, from `since` to the end, in s since the first frame.

    >>> spans_of(Frames(np.arange(1001) * 0.01, np.zeros(1001)), 1.0)
    [(2.0, 4.0), (6.0, 8.0)]
    """
    begin = np.arange(since + _AHEAD, capture.duration - _LENGTH, _LENGTH + _PAUSE)
    return [(start, start + _LENGTH) for start in begin.tolist()]


def attack_trials(
    detector: Exported,
    capture: Frames,
    since: float,
    seed: int = 0,
) -> list[dict]:
    """Synthesise attacks of each kind and severity into a clean capture from `since` s on
    (`spans_of`), and judge them: a row for each, its `attack`, `severity`, and `event_metrics`.
    A span without a victim for an attack holds none. The profiles start with the detector's
    baseline, or, if it has none, with the capture's first frame.

    Raises `ValueError` when less than an attack fits behind `since`.
    """
    spans = spans_of(capture, since)
    if not spans:
        left = f"{capture.duration - since:.1f} s of {capture.name!r} are left"
        raise ValueError(f"attack_trials: {left}; expected 3 s or more; give a longer log")
    rows = []
    for kind in ATTACKS:
        for severity in _SEVERITIES:
            made = capture
            for number, span in enumerate(spans):
                with suppress(NoVictimError):
                    dice = 1000 * seed + number
                    made = inject(made, kind, spans=[span], severity=severity, seed=dice)
            scores = _judged(detector, made, since)
            row = {"attack": kind, "severity": severity}
            rows.append(row | event_metrics(scores, *detector.rule))
    return rows


def _judged(detector: Exported, made: Frames, since: float) -> Scores:
    """The scores of what comes from `since` s on."""
    if detector.baseline:
        rest = made[made.timestamp - made.timestamp[0] >= since]
        windows = to_graphs([rest], detector.window, detector.stride, [detector.baseline])
        return detector.score(windows)
    windows = to_graphs([made], detector.window, detector.stride)
    return detector.score(windows[windows.start >= since])
