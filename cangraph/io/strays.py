"""Rows whose time is none of their log's: a clock that was read wrong, or somebody who would have
all rows behind look too late."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cangraph.io.text import Piece

_MOST = 100  # rows in a row; more are a clock that was set


def strays(time: np.ndarray, last: float, apart: float, final: bool) -> np.ndarray:
    """Which rows are strays, bool (n,): at most 100 in a row, more than `apart` s from the row
    before them (at `last`, or NaN: none), to which the rows behind return. Where there are more
    than one and a row in a hundred, the clock is to blame, and none is one; nor is a row at the end
    that goes on, only one that goes back, if it is `final`.

    >>> strays(np.array([0.0, 9e9, 0.1, 0.2, 40.0]), np.nan, 10.0, final=True)
    array([False,  True, False, False, False])
    """
    found, n = np.zeros(len(time), bool), len(time)
    jumps = 1 + np.flatnonzero(abs(np.diff(time)) > apart)
    begins, before, k = [0, *jumps.tolist(), n], last, 0
    while n and k < len(begins) - 1 <= 8 + n // 50:
        begin, end, back = begins[k], begins[k + 1], 0  # where rows go on as before it
        if abs(time[begin] - before) > apart:
            later = begins[k + 1 : -1][:_MOST]
            near = (b for b in later if abs(time[b] - before) <= apart)
            back = next(near, n if final and time[begin] < before else 0)
        elif np.isnan(before) and end < n and time[end] < time[begin]:
            back = end if begins[k + 2] - end > end - begin else 0
        if 0 < back - begin <= _MOST:
            found[begin:back], k = True, begins.index(back, k)
        else:
            before, k = time[end - 1], k + 1
    return found & (found.sum() <= 1 + n // 100)


def in_place(path: Path, pieces: Iterable[Piece], apart: float) -> Iterator[Piece]:
    """The pieces of a log without their `strays`, which the reports count as refused."""
    coming = iter(pieces)
    piece, fault = next(coming, None), None
    last, named = np.nan, False
    while piece:
        columns, report, names = piece
        try:
            piece = next(coming, None)
        except Exception as error:  # what was read before it counts
            piece, fault = None, error
        time = columns.get("timestamp", np.zeros(0))
        behind = piece[0].get("timestamp", time[:0])[:_MOST] if piece else time[:0]
        together = np.concatenate([time, behind])
        stray = strays(together, last, apart, final=not len(behind))[: len(time)]
        if stray.any():
            said = f"{path}: a row at {time[stray][0]:.6f} s, whose neighbours are far from that"
            first = () if named else (f"{said}; expected times in order; mend or delete it",)
            named, faults = True, report.first_refused + first
            report = report._replace(
                refused=report.refused + int(stray.sum()), first_refused=faults
            )
            columns = {name: values[~stray] for name, values in columns.items()}
        if len(columns.get("timestamp", ())):
            last = columns["timestamp"][-1]
        yield columns, report, names
    if fault:
        raise fault
