"""Which windows train, stop, calibrate and test: by base recording and time, with a gap."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cangraph.data.graphs import Graphs
from cangraph.frames import CaptureInfo
from cangraph.params import SplitParams

PARTS = ("train", "val", "calib", "test", "dropped")


def _windows(part: str) -> cached_property[Graphs]:
    return cached_property(lambda split: split.graphs[split.part == PARTS.index(part)])


@dataclass(frozen=True, eq=False)
class Split:
    """The windows of each part: `train` fits, `val` chooses the epoch, `calib` sets thresholds and
    fusion, `test` is only looked at. `part` is the part of every window, u1 (B,) into `PARTS`;
    `notes` says what was merged or left out and why. An epoch has the windows of its part, or, of
    a part with more than `most`, so many of them."""

    graphs: Graphs
    part: np.ndarray
    notes: tuple[str, ...]
    most: int | None = None

    train = _windows("train")
    val = _windows("val")
    calib = _windows("calib")
    test = _windows("test")

    def draw(self, number: int, progress: float = 1.0) -> Graphs:
        """The windows to train on in epoch `number`."""
        return self.some("train", number)

    def some(self, part: str, number: int) -> Graphs:
        """The windows of a part in epoch `number`: all, or `most` of them, drawn for each epoch."""
        mine = np.flatnonzero(self.part == PARTS.index(part))
        if self.most is None or len(mine) <= self.most:
            return getattr(self, part)
        rng = np.random.default_rng([number, PARTS.index(part)])
        return self.graphs[np.sort(rng.choice(mine, self.most, replace=False))]

    def counts(self) -> list[dict]:
        """The number of windows, attack windows and captures, a row for each part."""
        return [
            {
                "part": name,
                "windows": int(mine.sum()),
                "attack_windows": int(self.graphs.label[mine].sum()),
                "captures": len(np.unique(self.graphs.capture[mine])),
            }
            for name, mine in ((name, self.part == n) for n, name in enumerate(PARTS))
        ]


def _blocks(n: int, val: float, calib: float) -> np.ndarray:
    """The part of each of n blocks, u1 (n,): val and calib lie spread evenly among train."""
    parts = np.zeros(n, np.uint8)
    held = round(n * val), round(n * calib)
    total = sum(held)
    if total >= n or val + calib >= 1:
        raise ValueError(
            f"split: val {val} + calib {calib} of {n} blocks leave none to train on; "
            "expected a sum below 1; use more blocks or smaller shares"
        )
    places = n - 1 - np.arange(total)[::-1] * n // max(total, 1)
    turns = [((k + 0.5) / count, part) for part, count in enumerate(held, 1) for k in range(count)]
    parts[places] = [part for _, part in sorted(turns)]
    return parts


def split(graphs: Graphs, params: SplitParams) -> Split:
    """Cut the windows of the training captures into train, val and calib; the rest is test.

    No base recording is on two sides: a training capture that shares its recording with a test
    capture is dropped. The others are cut into `blocks` equal spans of time; val and calib blocks
    lie spread among the train blocks, and windows within `gap` seconds of a border between two
    parts are dropped. Training captures that share a recording go to train whole, since their
    times may differ. `notes` name every capture that was merged or left out.

    Raises `ValueError` when a capture has no recording, when no training capture is left, or when
    a part has no window.
    """
    nameless(graphs)
    trained = np.array([c.scenario.startswith("train") for c in graphs.captures])
    if not trained.any():
        raise ValueError(
            "split: no training capture came; expected scenarios train_01… or train_02…; "
            "add them to the dataset's folder"
        )
    part, notes = separated(graphs, by_time(graphs, params), trained, ~trained)
    return complete(Split(graphs, part, notes, params.most))


def nameless(graphs: Graphs) -> None:
    """Raises `ValueError` that names the captures without a recording."""
    if without := [c.label for c in graphs.captures if not c.recording]:
        raise ValueError(
            f"split: {', '.join(without)} came without a recording; expected one for every "
            "capture; read captures with cangraph.read, or label them with same_recording"
        )


def separated(
    graphs: Graphs, part: np.ndarray, trained: np.ndarray, tested: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The part of every window, and the notes, if captures marked in `trained` are cut as `part`
    says, those in `tested` are test, and others are dropped. No recording is on two sides."""
    part = part.copy()
    training, testing = (_by_recording(graphs.captures, side) for side in (trained, tested))
    for number, info in enumerate(graphs.captures):
        mine = graphs.capture == number
        if tested[number]:
            part[mine] = PARTS.index("test")
        elif not trained[number] or info.recording in testing:
            part[mine] = PARTS.index("dropped")
        elif len(training[info.recording]) > 1:
            part[mine] = PARTS.index("train")
    return part, tuple(_notes(training, testing))


def by_time(
    graphs: Graphs, params: SplitParams, seconds: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """The part of every window, u1 (B,) into `PARTS`, by its time alone, as `split` cuts a training
    capture with a recording of its own. Of each capture, the first `seconds` are cut; by default
    all. Altered copies of a capture keep its times, and so get its parts."""
    template = _blocks(params.blocks, params.val, params.calib)
    part = np.zeros(len(graphs), np.uint8)
    for number in np.unique(graphs.capture):
        mine = graphs.capture == number
        start, end = graphs.start[mine], graphs.end[mine]
        until = graphs.captures[number].seconds if seconds is None else seconds[number]
        edges = np.linspace(0.0, until, len(template) + 1)
        edges[-1] = np.inf
        cut = template[np.searchsorted(edges, start, "right") - 1]
        for border in edges[np.flatnonzero(np.diff(template)) + 1]:
            near = (end > border - params.gap) & (start < border + params.gap)
            cut[near] = PARTS.index("dropped")
        part[mine] = cut
    return part


def _by_recording(captures: Sequence[CaptureInfo], side: np.ndarray) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for info, mine in zip(captures, side, strict=True):
        if mine:
            groups.setdefault(info.recording, []).append(f"{info.scenario}/{info.name}")
    return groups


def _notes(trained: dict[str, list[str]], tested: dict[str, list[str]]) -> list[str]:
    """A sentence for everything that was left out of training or merged."""
    left_out = [
        f"{name} is left out of training: it is the same recording as "
        f"{' and '.join(tested[recording])}"
        for recording, names in trained.items()
        if recording in tested
        for name in names
    ]
    return left_out + [
        f"{' and '.join(names)} are merged: they are one recording, which goes to {where} whole"
        for where, groups in (("train", trained), ("test", tested))
        for recording, names in groups.items()
        if len(names) > 1 and not (where == "train" and recording in tested)
    ]


def complete(split: Split, parts: int = 3) -> Split:
    """The split, if each of its first `parts` has a window, else `ValueError`."""
    for row in split.counts()[:parts]:
        if not row["windows"]:
            because = f" ({'; '.join(split.notes)})" if split.notes else ""
            raise ValueError(
                f"split: {row['part']} has no window{because}; expected some; use fewer blocks, a "
                "shorter gap or a larger share, or add training captures of other recordings"
            )
    return split
