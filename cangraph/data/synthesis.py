"""Synthesised training windows: clean captures and simulated vehicles under new attacks.

A detector for unknown vehicles must not memorise one car. So each draw contains every clean capture
several times under different attacks, some copies altered into another car, and simulated vehicles
that no other draw has.
"""

import ctypes
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from itertools import pairwise, repeat
from pathlib import Path
from weakref import finalize

import numpy as np

from cangraph.bus.attacks import NoVictimError, inject
from cangraph.bus.recorder import recorded
from cangraph.bus.simulator import simulate
from cangraph.data.graphs import Graphs, join, to_graphs
from cangraph.data.splits import PARTS, Split, by_time
from cangraph.features.baseline import Baseline
from cangraph.frames import COLUMNS, CaptureInfo, Frames
from cangraph.params import Params, SynthesisParams

# how often each attack is drawn: more often if it is hard to detect
_WEIGHTS = {
    "flooding": 0.08,
    "fuzzing": 0.12,
    "spoofing": 0.26,
    "malfunction": 0.12,
    "replay": 0.12,
    "suppression": 0.12,
    "masquerade": 0.18,
}
_FIRST = (0.5, 8.0)  # s before the first attack
_PIECE = 240.0  # s; each attack rewrites the log that it is put into, so a long one is cut first
_LENGTH = (0.3, 6.0)  # s of an attack
_PAUSE = (1.0, 6.0)  # s between two attacks
_LEAST = {"masquerade": 0.5}  # severity under which most payloads show no trace of the attack
_LOST = (-4.0, -2.0)  # log10 of the share of frames that a recorder loses
_SECONDS = (20.0, 40.0)  # of a simulated vehicle
_WILD_SECONDS = (15.0, 60.0)  # of one with the habits of real buses
_STRAGGLERS = (0.0, 0.0, 0.02)  # shares of the IDs of a drive that turn up late
_UNHEARD = (0.01, 0.7)  # share of the IDs that it lacks, for they belong to another mode
_HELD_OUT = 10**6  # draws from here on are never trained on


def attacked(capture: Frames, rng: np.random.Generator, severity: float) -> Frames:
    """The capture under attacks from begin to end, each of a random kind, length and severity of at
    least `severity`; attacks without a victim in the capture are left out. One of more than four
    minutes is attacked in pieces, each with what it holds itself, in time linear in its length."""
    pieces = max(1, int(np.ceil(capture.duration / _PIECE)))
    if pieces == 1 or len(capture) < 2 * pieces:
        return _attacked(capture, rng, severity)
    edges = np.linspace(0, len(capture), pieces + 1).astype(int)
    parts = [capture[a:b] for a, b in pairwise(edges)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(_attacked, parts, rng.spawn(pieces), repeat(severity)))
    columns: dict = {n: np.concatenate([getattr(p, n) for p in made]) for n in COLUMNS}
    order = np.argsort(columns["timestamp"], kind="stable")  # some wait into the next piece
    later = [float(piece.timestamp[0] - capture.timestamp[0]) for piece in made]
    spans = [
        span._replace(start=span.start + since, end=span.end + since)
        for piece, since in zip(made, later, strict=True)
        for span in piece.attack_spans
    ]
    columns = {name: column[order] for name, column in columns.items()}
    return replace(capture, **columns, attack_spans=tuple(spans))


def _attacked(capture: Frames, rng: np.random.Generator, severity: float) -> Frames:
    time, out = float(np.exp(rng.uniform(*np.log(_FIRST)))), capture
    kinds, weights = zip(*_WEIGHTS.items(), strict=True)
    while time < capture.duration - 1:
        end = min(time + float(np.exp(rng.uniform(*np.log(_LENGTH)))), capture.duration - 0.1)
        kind = str(rng.choice(kinds, p=weights))
        how_hard = float(rng.uniform(max(severity, _LEAST.get(kind, 0.0)), 1.0))
        dice = int(rng.integers(1 << 31))
        with suppress(NoVictimError):  # nothing to suppress, replay or pose as in this span
            out = inject(out, kind, spans=[(time, end)], severity=how_hard, seed=dice)
        time = end + float(rng.uniform(*_PAUSE))
    return out


def _drive(
    vehicle: int, run: SynthesisParams, rng: np.random.Generator, severity: float
) -> tuple[Frames, Baseline | None]:
    """A drive of a simulated vehicle under attack, and, of the share `known` of the vehicles, the
    baseline of another drive."""
    name, lengths = f"fleet-{vehicle}", _SECONDS
    if run.wild:
        name, lengths = f"wild-{vehicle}", _WILD_SECONDS
    least, most = np.log(lengths).tolist()
    (seconds, before), recorder = np.exp(rng.uniform(least, most, 2)), rng.integers(2**31)
    drive, other = rng.integers(2**31, size=2).tolist()

    def written(log: Frames) -> Frames:  # all of a vehicle by one recorder
        return recorded(log, np.random.default_rng(recorder)) if run.wild else log

    known = None
    if rng.random() < run.known:
        known = Baseline.learn([_partly(written(simulate(name, before, seed=other)), rng)])
    log = simulate(name, seconds, seed=drive)
    if not run.wild:  # the wild ones know how to
        ids, slot = np.unique(log.arbitration_id, return_inverse=True)
        first = _late(len(ids), seconds, rng)
        log = log[log.timestamp - log.timestamp[0] >= first[slot]]
    return written(attacked(log, rng, severity)), known


def _partly(log: Frames, rng: np.random.Generator) -> Frames:
    """The log without some IDs, every second time: those that its mode does not send."""
    ids = np.unique(log.arbitration_id)
    unheard = rng.random(len(ids)) < np.exp(rng.uniform(*np.log(_UNHEARD)))
    if rng.random() < 0.5 or unheard.all():
        return log
    return log[~np.isin(log.arbitration_id, ids[unheard])]


def varied(capture: Frames, rng: np.random.Generator) -> Frames:
    """Another car derived from this one: some IDs are missing, some turn up late, send only every
    k-th frame or lose frames at random, most have payload bytes permuted or inverted. From time to
    time many payloads without a counter stay constant, as in a parked car. The recorder loses
    single frames."""
    keep, data = rng.random(len(capture)) >= 10 ** rng.uniform(*_LOST), capture.data.copy()
    _, slot = np.unique(capture.arbitration_id, return_inverse=True)
    order = np.argsort(slot, kind="stable")
    of_id = np.split(order, 1 + np.flatnonzero(np.diff(slot[order])))
    since = capture.timestamp - capture.timestamp[0]
    for rows, first in zip(of_id, _late(len(of_id), since[-1], rng), strict=True):
        keep[rows] &= _thinned(len(rows), rng) & (since[rows] >= first)
        used = int(capture.dlc[rows].min())
        if rng.random() < 0.35:
            data[rows, :used] = data[rows][:, rng.permutation(used)]
        if rng.random() < 0.35:
            data[rows, :used] ^= rng.integers(0, 256, used, np.uint8)
    may_rest = [rows for rows in of_id if not _counting(data[rows])]
    time = float(rng.uniform(4, 15))
    while time < since[-1]:
        end = time + float(rng.uniform(2, 15))
        begin, stop = np.searchsorted(since, (time, end))
        still = rng.random(len(may_rest)) < rng.uniform(0.2, 0.7)
        for rows in (may_rest[k] for k in np.flatnonzero(still)):
            rows = rows[slice(*np.searchsorted(rows, (begin, stop)))]
            data[rows] = data[rows[:1]]
        time = end + float(rng.uniform(5, 30))
    return replace(capture, data=data)[keep]


def _late(ids: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """When each of so many IDs is first sent, s: in every third drive a few turn up late and alone,
    which need be no attack."""
    least, most = np.log((1.0, max(0.8 * seconds, 2.0))).tolist()
    first = np.exp(rng.uniform(least, most, ids))
    return np.where(rng.random(ids) < rng.choice(_STRAGGLERS), first, 0.0)


def _thinned(n: int, rng: np.random.Generator) -> np.ndarray:
    """Which of the n frames of an ID remain, bool (n,)."""
    drawn = rng.random()
    if drawn < 0.15:
        return np.zeros(n, np.bool_)
    if drawn < 0.35:
        return np.arange(n) % rng.integers(2, 6) == 0
    if drawn < 0.5:
        return rng.random(n) >= rng.uniform(0.05, 0.6)
    return np.ones(n, np.bool_)


def _counting(data: np.ndarray) -> bool:
    """Whether two bits of the payloads, u1 (n, bytes), step alike at nearly every frame."""
    turn = np.diff(data[:, :, None] >> 2 * np.arange(4, dtype=np.uint8), axis=0) & 3
    return any((turn == step).mean(0).max() > 0.9 for step in (1, 2, 3)) if len(turn) else False


def _give_back() -> None:
    """Return freed memory to the system, of which glibc keeps up to 64 MB for each thread."""
    with suppress(AttributeError, OSError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


class Synthesis:
    """What `fit.train_on` asks for: labelled windows (`data`), windows synthesised from `clean`
    captures, or both. `draw` depends on nothing but its arguments, and every `number` gives new
    synthesised windows.

    Clean captures are cut into train, val and calib as in `splits.split`. The simulated vehicles of
    val and calib are never trained on.

    Raises `ValueError` when a clean capture holds attacks, or there is nothing to train on.
    """

    def __init__(self, data: Split, clean: Sequence[Frames], params: Params):
        if dirty := [c.name for c in clean if c.attack.any() or c.attack_spans]:
            names = ", ".join(dirty)
            raise ValueError(
                f"Synthesis: {names} hold attacks; expected clean traffic; use clean_captures"
            )
        if not (clean or params.synthesis.fleet or params.fit.train_on == "labelled"):
            raise ValueError(
                "Synthesis: no clean capture came; expected attack-free traffic; add captures to "
                "train_01_attack_free, or set synthesis.fleet or fit.train_on = labelled"
            )
        self.data, self.clean, self.params = data, tuple(clean), params
        self._drawn: dict[tuple[int, float], Graphs] = {}
        self._place = Path(tempfile.mkdtemp(prefix="cangraph-"))  # draws, until this object goes
        self._captures: dict[Path, tuple[CaptureInfo, ...]] = {}
        finalize(self, shutil.rmtree, self._place, ignore_errors=True)
        recordings = Counter(
            info.recording for info in data.graphs.captures if info.scenario.startswith("train")
        )
        self._merged = {recording for recording, n in recordings.items() if n > 1}

    def draw(self, number: int, progress: float = 1.0) -> Graphs:
        """The windows to train on in epoch `number`. The severity of attacks falls from
        `synthesis.gross` to `synthesis.subtle` as `progress` goes from 0 to 1."""
        if (number, progress) not in self._drawn:
            while len(self._drawn) > 1:  # the first draw is asked for again and again
                self._drawn.popitem()
            self._drawn[number, progress] = self._mixed(number, progress, "train")
            _give_back()
        return self._drawn[number, progress]

    @cached_property
    def val(self) -> Graphs:
        """The windows that choose the epoch, under attacks that are never trained on."""
        return self._mixed(_HELD_OUT, 1.0, "val")

    @cached_property
    def calib(self) -> Graphs:
        """The windows that set thresholds."""
        return self._mixed(_HELD_OUT + 1, 1.0, "calib")

    def _mixed(self, number: int, progress: float, part: str) -> Graphs:
        labelled = self.data.some(part, number)
        if self.params.fit.train_on == "labelled":
            return labelled
        made = (self._kept if part == "train" else self._made)(number, progress, part)
        return made if self.params.fit.train_on == "clean" else join([labelled, made])

    def _kept(self, number: int, progress: float, part: str) -> Graphs:
        """What `_made` gives, from the disk where a model before asked for the same draw."""
        path = self._place / f"{number} {progress}.npz"
        if not (path in self._captures and path.is_file()):  # temporary folders are swept
            made = self._made(number, progress, part)
            with suppress(OSError):  # the disk is full: it is made again
                np.savez(path, **{name: getattr(made, name) for name in made.names()})
                self._captures[path] = made.captures
            return made
        with np.load(path) as arrays:
            return Graphs(**arrays, captures=self._captures[path], window=self.params.window)

    def _made(self, number: int, progress: float, part: str) -> Graphs:
        run = self.params.synthesis
        severity = run.gross + (run.subtle - run.gross) * progress
        total = sum(capture.duration for capture in self.clean)
        copies = max(1, round(run.seconds / total)) if total else 0
        jobs = [(k, copy) for k in range(len(self.clean)) for copy in range(copies)]
        jobs += [(-1, vehicle) for vehicle in range(run.fleet)]

        def one(job: tuple[int, int]) -> tuple[Frames, Baseline | None]:
            which, copy = job
            rng = np.random.default_rng([self.params.seed, number, which + 1, copy])
            if which < 0:
                vehicle = 2 * int(rng.integers(10**8)) + (number >= _HELD_OUT)
                return _drive(vehicle, run, rng, severity)
            capture = self.clean[which]
            other = varied(capture, rng) if rng.random() < run.varied else capture
            # too little may be left of a bus with few IDs
            capture = other if len(other) >= self.params.window else capture
            return attacked(capture, rng, severity), None

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made, baselines = zip(*pool.map(one, jobs), strict=True)
        graphs = to_graphs(made, self.params.window, self.params.window, baselines)
        part_of = by_time(graphs, self.params.split)
        merged = np.array([info.recording in self._merged for info in graphs.captures])
        part_of[merged[graphs.capture]] = PARTS.index("train")
        mine = part_of == PARTS.index(part)
        return graphs[mine | (graphs.capture >= len(made) - run.fleet)]
