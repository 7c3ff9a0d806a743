"""The vehicles of the yardstick (`any_vehicle.py`), and the attacks put into their traffic.

A vehicle is all its logs; each log is a stream of its own. Attacks are the seven kinds of
`bus.attacks` at three severities, and kinds that detectors did not see (`UNSEEN`).
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

import cangraph as cg
from cangraph.bus.arbitration import Queued, transmit
from cangraph.bus.attacks import ATTACKS, NoVictimError
from cangraph.files import data_home
from cangraph.frames import attack_code

RACE_CAR = "uwaterloo-formula"
SEVERITIES = {"gross": 1.0, "middle": 0.5, "subtle": 0.2}
LENGTH = 20.0  # s of a log that is attacked
LATER = ((6.0, 8.0), (11.0, 13.0), (16.0, 18.0))  # s, attacks on a bus that is known by then
FIRST = ((0.0, 10.0),)  # s, an attack that is under way when the recording starts
LONG = ((8.0, 16.0),)  # s, what is done to slow messages
# nothing of these two can be known from the first frame on: nothing came before
_NEED_A_PAST = ("replay", "suppression")
_SLOW = 0.09  # s, the shortest period of a slow message

Spans = list[tuple[float, float]]


class Vehicle(NamedTuple):
    """A vehicle by `name`, the `group` that its figures count in, and where its logs come from:
    files, or the names of simulated cars."""

    name: str
    group: str
    logs: tuple[Path | str, ...]

    def read(self, seconds: float = np.inf) -> list[cg.Frames]:
        """Its logs, of each the first `seconds`. Says on stdout how many rows were refused."""
        found = []
        for number, log in enumerate(self.logs):
            if isinstance(log, str):
                frames = cg.simulate(log, 60.0, seed=number)
            else:
                frames = cg.read_frames(log, strict=False, vehicle=self.name)
            if frames.report.refused:
                print(f"{self.name}: {frames.report.refused} rows of {frames.name} refused")
            found.append(frames[frames.timestamp <= frames.timestamp[0] + seconds])
        return found


class Drive(NamedTuple):
    """The `rest` of a log, its `begin`, and the other logs of the vehicle."""

    rest: cg.Frames
    begin: cg.Frames
    others: list[cg.Frames]


def drives(logs: list[cg.Frames], seconds: float) -> list[Drive]:
    """The logs, each cut after so many `seconds` or at half, of the others as much at most; without
    those of which less than a window would be left."""
    found = []
    for log in logs:
        cut = log.timestamp[0] + min(seconds, log.duration / 2)
        begin, rest, others, left = log[log.timestamp < cut], log[log.timestamp >= cut], [], seconds
        for other in sorted((o for o in logs if o is not log), key=lambda o: -o.duration):
            if left > 0:
                others.append(other[other.timestamp <= other.timestamp[0] + left])
                left -= others[-1].duration
        if len(rest) >= 100:
            found.append(Drive(rest, begin, others))
    return found


def vehicles(names: list[str] | None = None) -> list[Vehicle]:
    """Those of clean/, the attack-free captures of hcrl_sa and set_04, and simulated cars that
    nothing is trained on: all, or those of these names."""
    found = [
        Vehicle(
            folder.name,
            "race car" if folder.name == RACE_CAR else "clean",
            tuple(sorted(folder.glob("*.parquet"))),
        )
        for folder in sorted((data_home() / "clean").iterdir())
        if folder.is_dir()
    ]
    for dataset in ("hcrl_sa", "set_04"):
        by_car: dict[str, list[Path | str]] = {}
        for path in sorted((data_home() / dataset / "train_01_attack_free").glob("*.csv*")):
            by_car.setdefault(path.name.split(".")[0].split("-")[-1], []).append(path)
        found += [Vehicle(f"{dataset} {car}", dataset, (*logs,)) for car, logs in by_car.items()]
    # `Synthesis` trains on even numbers
    found += [Vehicle(f"fleet-{n}", "simulated", (f"fleet-{n}",)) for n in (1, 3, 5, 7)]
    if unknown := set(names or ()) - {vehicle.name for vehicle in found}:
        known = ", ".join(vehicle.name for vehicle in found)
        raise ValueError(f"--vehicles: {', '.join(unknown)} unknown; expected some of {known}")
    return [vehicle for vehicle in found if not names or vehicle.name in names]


class Trial(NamedTuple):
    """A log under attack: the `kind`, how severe (`gross`, … or `-`), `when` it begins (`later` or
    `first`), the `events`: when each attack begins and ends, in s since the first frame."""

    kind: str
    severity: str
    when: str
    frames: cg.Frames
    events: Spans


def trials(log: cg.Frames) -> Iterator[Trial]:
    """The first `LENGTH` s of a clean log under each attack. A kind that finds nothing to work on
    in any of its spans is left out."""
    log = log[log.timestamp <= log.timestamp[0] + LENGTH]
    when = {"later": LATER, "first": FIRST}
    for kind in ATTACKS:
        for name, severity in SEVERITIES.items():
            for begin, spans in when.items():
                if begin == "later" or kind not in _NEED_A_PAST:
                    made, where = _injected(log, kind, severity, _fitting(log, spans))
                    if where:
                        yield Trial(kind, name, begin, made, _events(made, where))
    for kind, (attack, spans) in UNSEEN.items():
        where = _fitting(log, spans)
        rng = np.random.default_rng(crc32(f"{log.name} {kind}".encode()))
        if where and (made := attack(log, where, rng)) is not None:
            begin = "later" if where[0][0] else "first"
            yield Trial(kind, "-", begin, made, _events(made, where))


def _fitting(log: cg.Frames, spans) -> Spans:
    """The spans, cut to the log; those of which less than a second is left are dropped. A log is
    attacked for half of its time at most from the first frame on."""
    least = [(a, min(b, log.duration - 0.1, np.inf if a else log.duration / 2)) for a, b in spans]
    return [(start, end) for start, end in least if end - start >= 1]


def _events(log: cg.Frames, spans: Spans) -> Spans:
    """From the first to the last attack frame of each span; where frames are missing, the span."""
    attack, found = (log.timestamp - log.timestamp[0])[log.attack], []
    for start, end in spans:
        mine = attack[(attack >= start) & (attack < end + 1)]
        found.append((float(mine[0]), float(mine[-1])) if len(mine) else (start, end))
    return found


def _injected(log: cg.Frames, kind: str, severity: float, spans: Spans) -> tuple[cg.Frames, Spans]:
    """The log with the attack, and the spans that had a victim."""
    done = []
    for number, span in enumerate(spans):
        with suppress(NoVictimError):
            dice = crc32(f"{log.name} {kind} {number}".encode())  # others in each vehicle
            log = cg.inject(log, kind, spans=[span], severity=severity, seed=dice)
            done.append(span)
    return log, done


def _foreign(log: cg.Frames, release: np.ndarray, rng: np.random.Generator) -> Queued:
    """Frames of an ID that the log does not hold, with one payload."""
    extended = bool(log.is_extended_id[0])
    known, foreign = set(log.arbitration_id.tolist()), -1
    while foreign < 0 or foreign in known:
        foreign = int(rng.integers(0x100, 1 << 29 if extended else 0x700))
    data = np.zeros((len(release), log.data.shape[1]), np.uint8)
    data[:, :8] = rng.integers(0, 256, 8)
    queued = Queued.like(log, np.zeros(len(release), np.int64), release, data)
    ids, full = np.full(len(release), foreign, np.uint32), np.full(len(release), 8, np.uint8)
    none = np.zeros(len(release), np.bool_)
    return queued._replace(arbitration_id=ids, dlc=full, is_remote_frame=none)


def _burst(log: cg.Frames, spans: Spans, rng: np.random.Generator) -> cg.Frames:
    """90 frames back to back in 20 ms of an ID that was heard once in the first five seconds."""
    dice = int(rng.integers(1 << 31))
    begin = rng.uniform(1, 4, 1)
    once = _foreign(log, begin, np.random.default_rng(dice))
    release = np.concatenate([start + np.arange(90) * 20e-3 / 90 for start, _ in spans])
    again = _foreign(log, release, np.random.default_rng(dice))
    return transmit(transmit(log, [once], "benign"), [again], "spoofing")


def _foreign_each_second(log: cg.Frames, spans: Spans, rng: np.random.Generator) -> cg.Frames:
    """An ID that the car never sends, once a second."""
    ticks = np.concatenate([np.arange(start + 0.5, end, 1.0) for start, end in spans])
    return transmit(log, [_foreign(log, ticks, rng)], "spoofing")


def _messages(log: cg.Frames, spans: Spans) -> dict[int, np.ndarray]:
    """The rows of each ID that sends data five times or more in each of the spans."""
    since, found = log.timestamp - log.timestamp[0], {}
    for arbitration_id in np.unique(log.arbitration_id).tolist():
        rows = np.flatnonzero((log.arbitration_id == arbitration_id) & (log.bytes_used > 0))
        if all(((since[rows] >= a) & (since[rows] < b)).sum() >= 5 for a, b in spans):
            found[arbitration_id] = rows
    return found


def _forged(log: cg.Frames, spans: Spans, rng: np.random.Generator, every: float = 0.0):
    """Frames of one ID with random bytes as well: one for each of its own, half a period later, or
    one `every` so many s."""
    messages = _messages(log, spans)
    if not messages:
        return None
    rows = messages[int(rng.choice([*messages]))]
    step = every or float(np.median(np.diff(log.timestamp[rows])))
    release = np.concatenate([np.arange(a + step / 2, b, max(step, 1e-3)) for a, b in spans])
    data = np.repeat(log.data[rows[:1]], len(release), axis=0)
    used = int(log.dlc[rows[0]])
    data[:, :used] = rng.integers(0, 256, (len(release), used))
    return transmit(
        log, [Queued.like(log, np.full(len(release), rows[0]), release, data)], "fuzzing"
    )


def _slow_bytes(log: cg.Frames, spans: Spans) -> list[tuple[np.ndarray, int]]:
    """The rows of each slow message that moves, and the byte that moves the most without changing
    in nine frames of ten as counters and checksums do; without slow ones, of all messages."""
    found, slow = [], []
    for rows in _messages(log, spans).values():
        data = log.data[rows].astype(float)
        turns = (np.diff(data, axis=0) != 0).mean(0)
        spread = np.where((turns > 0) & (turns < 0.9), data.std(0), 0)
        if spread.max() > 0:
            found.append((rows, int(spread.argmax())))
            if np.median(np.diff(log.timestamp[rows])) >= _SLOW:
                slow.append(found[-1])
    return slow or found


def _agreeing(log: cg.Frames, found: list[tuple[np.ndarray, int]]) -> list[tuple[np.ndarray, int]]:
    """Those two whose values, held ten times a second, correlate the most."""
    grid = log.timestamp[0] + np.arange(1.0, log.duration, 0.1)
    held = []
    for rows, byte in found:
        last = np.searchsorted(log.timestamp[rows], grid, "right") - 1
        held.append(log.data[rows[np.maximum(last, 0)], byte].astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.nan_to_num(np.abs(np.corrcoef(held)))
    np.fill_diagonal(alike, -1)
    return [found[k] for k in np.unravel_index(alike.argmax(), alike.shape)]


def _altered(log: cg.Frames, spans: Spans, rng: np.random.Generator, how: str, messages: int = 1):
    """A `constant` or an `offset` put into one slow message, or into two that agree."""
    found, since = _slow_bytes(log, spans), log.timestamp - log.timestamp[0]
    if len(found) < messages:
        return None
    chosen = _agreeing(log, found) if messages == 2 else [found[rng.integers(len(found))]]
    data, kind = log.data.copy(), log.attack_type.copy()
    for rows, byte in chosen:
        for start, end in spans:
            mine = rows[(since[rows] >= start) & (since[rows] < end)]
            said = data[mine, byte]
            data[mine, byte] = said[:1] + 96 if how == "constant" else said + 48
            kind[mine] = attack_code("masquerade")
    return replace(log, data=data, attack=kind > 0, attack_type=kind)


UNSEEN: dict[str, tuple[Callable, tuple]] = {
    "burst of an ID heard once": (_burst, tuple((a, a + 1.0) for a, _ in LATER)),
    "foreign ID each second": (_foreign_each_second, FIRST),
    "foreign ID each second, late": (_foreign_each_second, LONG),
    "constant in a slow message": (partial(_altered, how="constant"), LONG),
    "offset in a slow message": (partial(_altered, how="offset"), LONG),
    "constant in two that agree": (partial(_altered, how="constant", messages=2), LONG),
    "offset in two that agree": (partial(_altered, how="offset", messages=2), LONG),
    "payload fuzzing of one ID": (_forged, LATER),
    "frame each second": (partial(_forged, every=1.0), LONG),
}
