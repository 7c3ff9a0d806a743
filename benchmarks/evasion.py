"""The least change that is seen: how little an attacker may do to one ID and stay unseen, by kind.

    CANGRAPH_DATA=… python benchmarks/evasion.py [--vehicles NAME …] [--out runs/evasion.json]

Of each real vehicle the first 20 s of its longest log are attacked from 9 s on, at one ID: that of
the median period among those with 40 frames or more in 9 to 17 s and two bytes or more. One measure
of the attack grows from level to level, doubled, until an alarm begins between the first attack
frame and a second behind the last:

- spoofing, frames: so many frames in 8 s, each half a period after a genuine one, 8 bits of its
  payload flipped;
- spoofing, bits: 16 such frames, so many bits flipped (0: the genuine payload comes twice);
- spoofing, ms: 16 such frames, each so long after a genuine one, 8 bits flipped, from the nearest
  to the middle of the period down: what is told is the time that is seen last;
- replay, ms: all frames of so long before 12 s come once more behind it;
- masquerade, bits: for 4 s so many bits of the genuine payloads are flipped, always the same ones;
- masquerade, frames: so many genuine frames in a row have 8 bits flipped.

Which bits, by the vehicle's name; so nothing is optimised against the detector but the measure, and
what is told is an upper bound of what an attacker needs who knows it. It need not be monotone. The
detectors are the one in the box, without a baseline, and the count rule, set on the first 9 s. A
log of which the end is under a false alarm of a detector counts as unseen there. The last line is
one JSON object.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from any_vehicle import CountRule, told
from vehicles import vehicles

import cangraph as cg
from cangraph.bus.arbitration import Queued, transmit
from cangraph.deploy.box import BOX
from cangraph.evaluation.alarms import alarm_rule, raise_alarms
from cangraph.evaluation.baselines import COUNT_THRESHOLD
from cangraph.frames import attack_code

SINCE, UNTIL, LENGTH = 9.0, 17.0, 20.0  # s
FRAMES = (1, 2, 4, 8, 16, 32, 64, 128)
BITS = (0, 1, 2, 4, 8, 16, 32)
SHARES = (0.5, 0.25, 0.125, 0.0625, 0.03125)  # of a period behind a genuine frame
REPLAYED = (10, 20, 40, 80, 160, 320, 640, 1280, 2560)  # ms


class Victim(NamedTuple):
    """A log and the rows of the ID that is attacked, its `period` in s, and the order in which bits
    of its payload are flipped."""

    log: cg.Frames
    rows: np.ndarray
    period: float
    order: np.ndarray


def victim_of(log: cg.Frames) -> Victim | None:
    """The ID of the median period; None where none sends enough."""
    log = log[log.timestamp <= log.timestamp[0] + LENGTH]
    since, found = log.timestamp - log.timestamp[0], []
    for number in np.unique(log.arbitration_id).tolist():
        rows = np.flatnonzero((log.arbitration_id == number) & (log.bytes_used >= 2))
        if ((since[rows] >= SINCE) & (since[rows] < UNTIL)).sum() >= 40:
            found.append((float(np.median(np.diff(log.timestamp[rows]))), number, rows))
    if log.duration < UNTIL + 1 or not found:
        return None
    period, _, rows = sorted(found, key=lambda one: one[:2])[len(found) // 2]
    bits = 8 * int(log.bytes_used[rows].min())
    order = np.random.default_rng(crc32(log.name.encode())).permutation(bits)
    return Victim(log, rows, period, order)


def flipped(data: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Payloads, u1 (n, bytes), with these bits turned over."""
    mask = np.zeros(data.shape[1], np.uint8)
    np.bitwise_xor.at(mask, bits // 8, (1 << (bits % 8)).astype(np.uint8))
    return data ^ mask


def spoofed(victim: Victim, frames: int, bits: int, share: float = 0.5) -> cg.Frames:
    """So many more frames of the ID, spread over the attack."""
    log, since = victim.log, victim.log.timestamp - victim.log.timestamp[0]
    mine = victim.rows[(since[victim.rows] >= SINCE) & (since[victim.rows] < UNTIL)]
    chosen = mine[np.linspace(0, len(mine) - 1, min(frames, len(mine))).astype(int)]
    data = flipped(log.data[chosen], victim.order[:bits])
    release = since[chosen] + share * victim.period
    return transmit(log, [Queued.like(log, chosen, release, data)], "spoofing")


def replayed(victim: Victim, milliseconds: int) -> cg.Frames:
    """All frames of the last ms before 12 s once more, as they came."""
    log, since = victim.log, victim.log.timestamp - victim.log.timestamp[0]
    again = np.flatnonzero((since >= 12 - milliseconds / 1e3) & (since < 12))
    if not len(again):
        return log
    release = since[again] + milliseconds / 1e3
    return transmit(log, [Queued.like(log, again, release, log.data[again])], "replay")


def masked(victim: Victim, bits: int, frames: int = 0) -> cg.Frames:
    """Genuine frames with bits flipped: those of 4 s, or so many in a row."""
    log, since = victim.log, victim.log.timestamp - victim.log.timestamp[0]
    mine = victim.rows[since[victim.rows] >= SINCE]
    mine = mine[:frames] if frames else mine[since[mine] < SINCE + 4]
    data, kind = log.data.copy(), log.attack_type.copy()
    data[mine] = flipped(log.data[mine], victim.order[:bits])
    if bits:
        kind[mine] = attack_code("masquerade")
    return replace(log, data=data, attack=kind > 0, attack_type=kind)


def kinds(victim: Victim) -> Iterator[tuple[str, str, list[float], Callable[[float], cg.Frames]]]:
    """Of each budget its name, its unit, the levels and what makes the log of one."""
    yield "spoofing: frames", "frames", [*FRAMES], lambda n: spoofed(victim, int(n), 8)
    yield "spoofing: bits flipped", "bits", [*BITS], lambda n: spoofed(victim, 16, int(n))
    spans = [1e3 * share * victim.period for share in SHARES]
    yield (
        "spoofing: ms behind a genuine frame", "ms", spans,
        lambda ms: spoofed(victim, 16, 8, ms / 1e3 / victim.period),
    )  # fmt: skip
    yield "replay: ms", "ms", [*REPLAYED], lambda ms: replayed(victim, int(ms))
    yield "masquerade: bits flipped", "bits", [*BITS[1:]], lambda n: masked(victim, int(n))
    yield "masquerade: frames", "frames", [*FRAMES], lambda n: masked(victim, 8, int(n))


def sees(detector, rule, log: cg.Frames) -> bool:
    """Whether an alarm finds the attack in a log."""
    since = (log.timestamp - log.timestamp[0])[log.attack]
    if not len(since):
        return False
    graphs = cg.to_graphs([log])
    alarms = raise_alarms(cg.Scores.of(graphs, detector.score(graphs).value), *rule)
    (found,) = told([(float(since[0]), float(since[-1]))], alarms)
    return found[0] is not None


def budget(levels: list[float], make: Callable, detector, rule) -> float | None:
    """The first level that is seen; None if none is. Where levels fall, the last one in a row."""
    falling, last = levels[0] > levels[-1], None
    for level in levels:
        if sees(detector, rule, make(level)):
            last = level
            if not falling:
                return level
        elif falling:
            return last
    return last


def table(found: dict[tuple[str, str], list[float | None]], units: dict[str, str]) -> list[dict]:
    """A row for each budget and detector: the median of the least level that is seen, over the
    victims (None where most are never seen), and the least and the most of those that are."""
    rows = []
    for (kind, name), values in found.items():
        seen = [value for value in values if value is not None]
        median = float(np.median([np.inf if value is None else value for value in values]))
        row = {"kind": kind, "detector": name, "victims": len(values), "seen": len(seen)}
        row |= {"unit": units[kind], "median": median if np.isfinite(median) else None}
        rows.append(row | {"least": min(seen, default=None), "most": max(seen, default=None)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vehicles", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/evasion.json"))
    given = parser.parse_args()
    box = cg.Exported(BOX)
    detectors = {
        "in the box": (box, box.rule),
        "count rule": (CountRule(), alarm_rule("count", COUNT_THRESHOLD)),
    }
    found: dict[tuple[str, str], list[float | None]] = {}
    units, tried = {}, []
    for vehicle in vehicles(given.vehicles):
        if vehicle.group not in ("clean", "race car"):
            continue
        longest = max(vehicle.read(LENGTH + 1), key=lambda log: log.duration)
        if (victim := victim_of(longest)) is None:
            print(f"{vehicle.name}: no ID sends enough, or the log is short")
            continue
        tried.append(vehicle.name)
        for kind, unit, levels, make in kinds(victim):
            units[kind] = unit
            for name, (detector, rule) in detectors.items():
                least = budget(levels, make, detector, rule)
                found.setdefault((kind, name), []).append(least)
                print(f"{vehicle.name}, {kind}, {name}: {least}", flush=True)
    rows = table(found, units)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    record = json.dumps({"vehicles": tried, "rows": rows})
    given.out.write_text(record)
    print(record)


if __name__ == "__main__":
    main()
