"""Which windows train, stop, calibrate and test: by base recording and time, with a gap."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cangraph.graphs import Graphs
from cangraph.params import SplitParams

__all__ = ["PARTS", "Split", "split"]

PARTS = ("train", "val", "calib", "test", "dropped")


@dataclass(frozen=True, eq=False)
class Split:
    """The windows of each part: `train` fits, `val` stops early, `calib` sets threshold and
    fusion, `test` is only looked at. `part` is the part of every window, u1 (B,) into `PARTS`;
    `notes` says what was merged or left out and why."""

    graphs: Graphs
    part: np.ndarray
    notes: tuple[str, ...]

    def _take(self, part: str) -> Graphs:
        return self.graphs[self.part == PARTS.index(part)]

    @cached_property
    def train(self) -> Graphs:
        return self._take("train")

    @cached_property
    def val(self) -> Graphs:
        return self._take("val")

    @cached_property
    def calib(self) -> Graphs:
        return self._take("calib")

    @cached_property
    def test(self) -> Graphs:
        return self._take("test")

    def counts(self) -> list[dict]:
        """Windows, attack windows and captures of each part, a row for each."""
        rows = []
        for number, name in enumerate(PARTS):
            mine = self.part == number
            rows.append(
                {
                    "part": name,
                    "windows": int(mine.sum()),
                    "attack_windows": int(self.graphs.label[mine].sum()),
                    "captures": len(np.unique(self.graphs.capture[mine])),
                }
            )
        return rows


def _blocks(n: int, val: float, calib: float) -> np.ndarray:
    """Part of each of n blocks: val and calib spread evenly, the first block last.

    >>> [PARTS[p][0] for p in _blocks(10, 0.2, 0.2)]
    ['t', 't', 'v', 't', 'c', 't', 't', 'v', 't', 'c']
    """
    parts = np.zeros(n, np.uint8)
    held = round(n * val), round(n * calib)
    total = sum(held)
    if total >= n:
        raise ValueError(
            f"split: {held[0]} val and {held[1]} calib blocks of {n} leave none to train on; "
            "expected some; use more blocks or smaller shares"
        )
    places = n - 1 - np.arange(total)[::-1] * n // max(total, 1)
    turns = np.empty(total, np.uint8)
    order = sorted(
        (
            ((k + 0.5) / count, part)
            for part, count in ((1, held[0]), (2, held[1]))
            for k in range(count)
        )
    )
    turns[:] = [part for _, part in order]
    parts[places] = turns
    return parts


def split(graphs: Graphs, params: SplitParams) -> Split:
    """Cut the windows of the training captures into train, val and calib; the rest is test.

    The unit is the base recording. A training capture that shares its recording with a test
    capture is dropped. The others are cut into `blocks` equal spans of time; val and calib
    blocks lie spread among the train blocks, and windows within `gap` seconds of a border
    between two parts are dropped. Training captures that share one recording go to train
    whole, since their times cannot be told to match.

    Raises `ValueError` when no training capture is left, when a part has no window, or when
    train holds no attack.
    """
    if params.val + params.calib >= 1:
        raise ValueError(
            f"split: val {params.val} + calib {params.calib} leave nothing to train on; "
            "expected a sum below 1; lower them"
        )
    part = np.full(len(graphs), PARTS.index("test"), np.uint8)
    notes = []
    is_train = [c.scenario.startswith("train") for c in graphs.captures]
    # captures that nobody compared are recordings of their own
    recording = [c.recording or f"capture {i}" for i, c in enumerate(graphs.captures)]
    roles = list(zip(graphs.captures, recording, is_train, strict=True))
    tested = {r: c for c, r, train in roles if not train}
    trained = [r for _, r, train in roles if train]
    template = _blocks(params.blocks, params.val, params.calib)
    for number, info in enumerate(graphs.captures):
        mine = np.flatnonzero(graphs.capture == number)
        if not is_train[number] or not len(mine):
            continue
        if recording[number] in tested:
            other = tested[recording[number]]
            part[mine] = PARTS.index("dropped")
            notes.append(
                f"{info.scenario}/{info.name} is left out of training: it is the same recording "
                f"as {other.scenario}/{other.name}"
            )
        elif trained.count(recording[number]) > 1:
            part[mine] = PARTS.index("train")
            notes.append(f"{info.name} goes to train whole: it shares {info.recording}")
        else:
            part[mine] = _cut(graphs.start[mine], graphs.end[mine], template, params.gap)
    result = Split(graphs, part, tuple(notes))
    _check(result, is_train)
    return result


def _cut(start, end, template, gap) -> np.ndarray:
    """Part of each window of one capture."""
    edges = np.linspace(0.0, end[-1], len(template) + 1)
    edges[-1] = np.inf
    block = np.searchsorted(edges, start, "right") - 1
    part = template[block]
    for border in np.flatnonzero(np.diff(template)) + 1:
        near = (end > edges[border] - gap) & (start < edges[border] + gap)
        part[near] = PARTS.index("dropped")
    return part


def _check(split: Split, is_train: list[bool]) -> None:
    if not any(is_train):
        raise ValueError(
            "split: no training capture came; expected scenarios train_01… or train_02…; "
            "add them to the dataset's folder"
        )
    for row in split.counts()[:3]:
        if not row["windows"]:
            raise ValueError(
                f"split: {row['part']} has no window; expected some; use fewer blocks, a shorter "
                "gap or a larger share"
            )
    if not split.graphs.label[split.part == 0].any():
        raise ValueError(
            "split: the training windows are all benign; expected some under attack to train the "
            "classifier; add captures with attacks to train_02_with_attacks"
        )
