"""How many physical signals `signals.find_signals` finds, and how many of the found ones are none.

    CANGRAPH_DATA=… python benchmarks/signals.py [--cars 40] [--log LOG.parquet DBC [DBC …]] …
        [--vehicles]

The truth is known of simulated cars, and of real logs by DBC files: those of opendbc (MIT) come
with `pip download opendbc`; for clean/comma-rav4 (a Toyota RAV4 of 2017) bus 0 is described by
generator/toyota/_toyota_2017.dbc and toyota_new_mc_pt.dbc, bus 1 by toyota_adas.dbc.

A signal of the truth counts if it moves smoothly in the log: 8 values at least and the mean square
of its steps below .6 of its variance (von Neumann's ratio below .3). Of these, `exact` have a found
signal with the same bits in the same order, of those that ever move; `top` one with their upper
bits only. A found signal is `wrong` if it holds a bit that moves and that the truth gives to
nothing that moves smoothly (counter, checksum, flags), or bits of two signals, or lacks upper bits;
`unknown` if the truth says nothing of one of its bits, so that nobody can tell. Beside: each byte
that changes taken for a signal. With `--vehicles`, of real vehicles without a truth: how often
what two logs of a vehicle (or its first 10 s and its first 60 s) show in the same place ends in the
same bit and has the same byte order; and how closely each signal follows another one of
another ID, beside simulated cars: the highest correlation, of values every .1 s and of their
changes over 1 s. The last line is one JSON object.
"""

import argparse
import json
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from vehicles import vehicles

import cangraph as cg
from cangraph.bus.recorder import recorded
from cangraph.bus.simulator import messages
from cangraph.signals import Signal, find_signals, read_signal

SECONDS = 60.0  # of a simulated car


class Entry(NamedTuple):
    """What the truth says of some bits of a message, and whether it may be a physical value."""

    name: str
    signal: Signal
    physical: bool


def bits(signal: Signal, moving: np.ndarray) -> tuple[int, ...]:
    """The bits of a signal that move, the most significant first, counted from byte 0's top one."""
    if signal.little:
        numbers = range(signal.start + signal.length - 1, signal.start - 1, -1)
        places = [n // 8 * 8 + 7 - n % 8 for n in numbers]
    else:
        first = signal.start // 8 * 8 + 7 - signal.start % 8
        places = list(range(first, first + signal.length))
    return tuple(p for p in places if moving[p])


def of_simulated(vehicle: str) -> dict[int, list[Entry]]:
    """The fields of a simulated vehicle, by arbitration ID."""
    truth = {}
    for message in messages(vehicle):
        truth[message.arbitration_id] = [
            Entry(f.kind, Signal(8 * f.byte + 7, 8 + 8 * (f.kind == "signal"), False, False), kind)
            for f in message.fields
            for kind in [f.kind == "signal"]
        ]
    return truth


def of_dbc(paths: list[Path]) -> dict[int, list[Entry]]:
    """The signals of DBC files, by arbitration ID; of a message, those of the last file."""
    import cantools

    truth = {}
    for path in paths:
        for message in cantools.database.load_file(path, strict=False).messages:
            truth[message.frame_id] = [
                Entry(
                    s.name,
                    Signal(s.start, s.length, s.byte_order == "little_endian", s.is_signed),
                    not any(w in s.name for w in ("CHECKSUM", "COUNTER", "ENCODER", "SUM", "SM2")),
                )
                for s in message.signals
            ]
    return truth


def smooth(values: np.ndarray) -> bool:
    """Whether these move, smoothly."""
    if len(values) < 8:
        return False
    ratio = np.mean(np.diff(values) ** 2) / max(2 * values.var(), 1e-12)
    return len(np.unique(values)) >= 8 and ratio < 0.3


def judged(found: list[Signal], truth: list[Entry], data: np.ndarray) -> dict[str, list[str]]:
    """The names of true signals that were found or missed; the found ones that are wrong."""
    moving = np.unpackbits(np.bitwise_or.reduce(data ^ data[0], axis=0)) > 0
    length = data.shape[1] * 8
    fits = [e for e in truth if max(bits(e.signal, np.ones(length + 512)), default=0) < length]
    real = {
        e.name + str(e.signal.start): bits(e.signal, moving)
        for e in fits
        if e.physical and smooth(read_signal(data, e.signal))
    }
    known = {p for e in fits for p in bits(e.signal, moving)}
    out: dict[str, list[str]] = {
        k: [] for k in ("exact", "wider", "top", "missed", "wrong", "unknown")
    }
    mine = {signal: bits(signal, moving) for signal in found}
    seen = set()
    for signal, places in mine.items():
        same = [name for name, true in real.items() if true == places]
        part = [name for name, true in real.items() if true[: len(places)] == places]
        wide = [n for n, true in real.items() if true == places[: len(true)]]
        wide = wide if not known & set(places[len(real[wide[0]]) :] if wide else ()) else []
        if same or part or wide:
            out["exact" if same else "top" if part else "wider"] += (same or part or wide)[:1]
            seen.update((same or part or wide)[:1])
        elif not set(places) & known or not set(places) <= known:
            out["unknown"].append(str(tuple(signal)))
        else:
            hit = [e.name for e in fits if set(bits(e.signal, moving)) & set(places)]
            out["wrong"].append(f"{tuple(signal)} in {'+'.join(hit)}")
    out["missed"] = [name for name in real if name not in seen]
    return out


def bytes_that_change(data: np.ndarray, used: int) -> list[Signal]:
    """The baseline."""
    return [Signal(8 * k + 7, 8, False, False) for k in np.flatnonzero(np.ptp(data[:, :used], 0))]


def measure(log: cg.Frames, truth: dict[int, list[Entry]], verbose: bool) -> tuple[Counter, float]:
    """Counts over the IDs of a log, and the seconds that finding took."""
    counts: Counter = Counter()
    seconds = 0.0
    order = np.argsort(log.arbitration_id, kind="stable")
    ids, begins = np.unique(log.arbitration_id[order], return_index=True)
    for arbitration_id, rows in zip(ids.tolist(), np.split(order, begins[1:]), strict=True):
        data, used = log.data[rows], int(log.dlc[rows].max())
        begin = time.perf_counter()
        found = find_signals(data, used)
        seconds += time.perf_counter() - begin
        counts["found"] += len(found)
        for how, signals in (("", found), ("bytes: ", bytes_that_change(data, used))):
            result = judged(signals, truth.get(arbitration_id, []), data)
            counts.update({how + what: len(names) for what, names in result.items()})
            if verbose and not how:
                named = {what: names for what, names in result.items() if names}
                print(f"  {arbitration_id:X} ({len(rows)}): {named}")
    return counts, seconds


def show(name: str, counts: Counter, seconds: float, ids: int) -> dict:
    """Prints and returns the figures of a group of logs."""
    row: dict = {"log": name, "IDs": ids, "s": round(seconds, 3)}
    for how in ("", "bytes: "):
        kinds = ("exact", "wider", "top", "missed", "wrong", "unknown")
        row |= {how + kind: counts[how + kind] for kind in kinds}
        true = row["true"] = sum(counts[how + kind] for kind in kinds[:4])
        found = ", ".join(f"{counts[how + kind]} {kind}" for kind in kinds)
        print(f"{name}, {how or 'signals: '}of {true}: {found}")
    print(f"{name}: {seconds:.2f} s for {ids} IDs")
    return row


def of_log(log: cg.Frames) -> dict[int, list[Signal]]:
    """What is found in a log, by arbitration ID."""
    found = {}
    for arbitration_id in np.unique(log.arbitration_id).tolist():
        mine = log.arbitration_id == arbitration_id
        found[arbitration_id] = find_signals(log.data[mine], int(log.dlc[mine].max()))
    return found


def agreement(one: dict[int, list[Signal]], other: dict[int, list[Signal]]) -> Counter:
    """How many pairs of signals that overlap are the same value, as far as its bits moved."""
    all_bits, counts = np.ones(8 * 64), Counter()
    for arbitration_id in one.keys() & other.keys():
        for a in one[arbitration_id]:
            for b in other[arbitration_id]:
                mine, theirs = bits(a, all_bits), bits(b, all_bits)
                if set(mine) & set(theirs):
                    order = a.little == b.little or min(a.length, b.length) <= 8
                    counts["agree" if mine[-1] == theirs[-1] and order else "differ"] += 1
    return counts


def partners(logs: list[cg.Frames]) -> np.ndarray:
    """Of each signal the highest correlation with one of another ID: of values and of changes."""
    found = []
    for log in logs:
        times, values, ids = [], [], []
        for arbitration_id, signals in of_log(log).items():
            mine = log.arbitration_id == arbitration_id
            ids += [arbitration_id] * len(signals)
            times += [log.timestamp[mine]] * len(signals)
            values += [read_signal(log.data[mine], signal) for signal in signals]
        grid = np.arange(max((t[0] for t in times), default=0), log.timestamp[-1], 0.1)
        if len(set(ids)) < 2 or len(grid) < 50:
            continue
        held = [
            v[np.searchsorted(t, grid, "right") - 1] for t, v in zip(times, values, strict=True)
        ]
        other = np.not_equal.outer(ids, ids)
        both = []
        for rows in (np.stack(held), np.stack(held)[:, 10:] - np.stack(held)[:, :-10]):
            unit = rows - rows.mean(1, keepdims=True)
            unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
            both.append((np.abs(unit @ unit.T) * other).max(1))
        found.append(np.stack(both, axis=1))
    return np.concatenate(found)


def redundancy(cars: int) -> dict[str, dict[str, float]]:
    """How many signals have a close partner, in real vehicles and in simulated ones."""
    of = {"real": [log for v in vehicles() if v.group == "clean" for log in v.read(SECONDS)]}
    for kind in ("fleet", "wild", "twin"):
        rng = np.random.default_rng(0)
        cars_of = (cg.simulate(f"{kind}-{9001 + 2 * k}", SECONDS, seed=k) for k in range(cars))
        of[kind] = [recorded(log, rng) for log in cars_of]
    rows = {}
    for kind, logs in of.items():
        alike = partners([log for log in logs if log.duration > 5])
        rows[kind] = {"signals": len(alike)}
        for what, column in zip(("values", "changes"), alike.T, strict=True):
            rows[kind] |= {f"{what} > {r}": float((column > r).mean()) for r in (0.8, 0.95, 0.99)}
        print(f"partners, {kind}:", {name: round(value, 3) for name, value in rows[kind].items()})
    return rows


def agreements() -> dict[str, int]:
    """The same over the logs of real vehicles, and over the beginning and the whole of each."""
    over, within = Counter(), Counter()
    for vehicle in vehicles():
        if vehicle.group != "simulated":
            logs = [log for log in vehicle.read(SECONDS) if log.duration > 5]
            found = [of_log(log) for log in logs]
            over.update(sum((agreement(a, b) for a, b in combinations(found, 2)), Counter()))
            for log, whole in zip(logs, found, strict=True):
                begin = of_log(log[log.timestamp <= log.timestamp[0] + 10])
                within.update(agreement(begin, whole))
                within["found in 60 s"] += sum(map(len, whole.values()))
                within["found in 10 s"] += sum(map(len, begin.values()))
    print(f"two logs of a vehicle: {dict(over)}; the first 10 s and 60 s: {dict(within)}")
    return {"logs: " + k: v for k, v in over.items()} | dict(within)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cars", type=int, default=40, help="half of the fleet, half wild")
    parser.add_argument("--log", nargs="+", action="append", default=[], metavar="FILE")
    parser.add_argument("--vehicles", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    rows = []
    for kind in ("fleet", "wild"):
        counts, seconds, ids = Counter(), 0.0, 0
        for number in range(900, 900 + given.cars // 2):
            vehicle = f"{kind}-{number}"
            log = cg.simulate(vehicle, SECONDS, seed=number)
            more, took = measure(log, of_simulated(vehicle), given.verbose)
            counts, seconds, ids = counts + more, seconds + took, ids + log.info.arbitration_ids
        if given.cars:
            rows.append(show(kind, counts, seconds, ids))
    for path, *databases in given.log:
        log = cg.read_frames(path, strict=False)
        truth = of_dbc([Path(p) for p in databases])
        counts, seconds = measure(log, truth, given.verbose)
        rows.append(show(Path(path).stem, counts, seconds, log.info.arbitration_ids))
    record = {"rows": rows}
    if given.vehicles:
        record |= {"vehicles": agreements(), "partners": redundancy(given.cars // 2)}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
