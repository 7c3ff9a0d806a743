"""Whether an alarm's sentence names what was injected.

    CANGRAPH_DATA=… python benchmarks/reasons.py [--vehicles NAME …] [--draw K] [--wrong]

Attacks of each kind, one at a time, are put into clean logs of real vehicles and simulated cars
(`vehicles.py`): the seven of `bus.attacks` at three severities, and kinds that detectors did not
see. `cangraph monitor`'s own path (`Buses`, `Incidents`) judges each log with the detector in the
box. Of each attack: whether an alarm was raised within it or a second behind it, and whether the
`cause` that its sentence begins with is one that was injected, both at the first word (`alarm`) and
at the last (`over`); and whether it names an ID of the attack. What was injected:

- flooding: load, where it adds 30 % to the bus, or else a foreign ID (timing of a known one)
- fuzzing, foreign IDs: foreign ID; a burst of one: that, or load
- frames beside those of an ID (spoofing, malfunction, replay, fuzzed payloads): timing, and with
  it a payload or a counter of another moment
- other bytes in an ID's own frames (masquerade, constants, offsets): payload or counter
- suppression: silence

`--draw 0` is what the reasons were developed on: of each vehicle the longest log. Another one takes
the next log, where there is one, and other victims, moments and bytes. `--wrong` prints each
sentence that is wrong. The last line is one JSON object.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from vehicles import SEVERITIES, UNSEEN, vehicles

import cangraph as cg
from cangraph.bus.attacks import ATTACKS, NoVictimError
from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported
from cangraph.deploy.incidents import Incidents
from cangraph.deploy.monitor import Buses, Monitor
from cangraph.deploy.reasons import Cause

SPAN = (11.0, 14.0)  # s of the attack
LENGTH = 18.0  # s of a log
AFTER = 1.0  # s behind the attack in which an alarm is raised by it
BESIDE = {Cause.TIMING, Cause.PAYLOAD, Cause.COUNTER}
WITHIN = {Cause.PAYLOAD, Cause.COUNTER}
INJECTED = {
    "fuzzing": {Cause.FOREIGN},
    "suppression": {Cause.SILENCE},
    "masquerade": WITHIN,
    "burst of an ID heard once": {Cause.FOREIGN, Cause.LOAD},
    "foreign ID each second": {Cause.FOREIGN},
    "foreign ID each second, late": {Cause.FOREIGN},
    "constant in a slow message": WITHIN,
    "offset in a slow message": WITHIN,
    "constant in two that agree": WITHIN,
    "offset in two that agree": WITHIN,
}
TALE = ("alarm", "update", "over", "ongoing")


class Attack(NamedTuple):
    """A log under attack: its `kind` and severity, when it was, what was injected, which IDs."""

    kind: str
    severity: str
    frames: cg.Frames
    begin: float
    end: float
    causes: set[Cause]
    ids: set[int]


def attacks(log: cg.Frames, draw: int) -> Iterator[Attack]:
    """A log under each attack, one at a time; kinds without a victim are left out."""
    log = log[log.timestamp <= log.timestamp[0] + LENGTH]
    for kind in ATTACKS:
        for name, severity in SEVERITIES.items():
            with suppress(NoVictimError):
                dice = crc32(f"{log.name} {kind} {draw or ''}".strip().encode())
                made = cg.inject(log, kind, spans=[SPAN], severity=severity, seed=dice)
                yield described(kind, name, log, made)
    for kind, (attack, _) in UNSEEN.items():
        rng = np.random.default_rng(crc32(f"{log.name} {kind} {draw or ''}".strip().encode()))
        if (made := attack(log, [SPAN], rng)) is not None:
            yield described(kind, "-", log, made)


def described(kind: str, severity: str, log: cg.Frames, made: cg.Frames) -> Attack:
    """An attack with what was injected."""
    time, attack = made.timestamp - made.timestamp[0], made.attack
    before = {*made.arbitration_id[~attack & (time < SPAN[0])].tolist()}
    mine = attack & (time >= SPAN[0] - 0.1)
    ids = {*made.arbitration_id[mine].tolist()} | {s.arbitration_id for s in made.attack_spans}
    begin, end = SPAN
    if mine.any():
        begin, end = float(time[mine][0]), float(time[mine][-1])
    causes = INJECTED.get(kind, BESIDE)
    if kind == "flooding":
        usual = len(log) / log.duration
        loud = mine.sum() > 0.3 * usual * (SPAN[1] - SPAN[0])
        causes = {Cause.LOAD} if loud else BESIDE if ids <= before else {Cause.FOREIGN}
    return Attack(kind, severity, made, begin, end, causes, ids)


def told(attack: Attack, detector: Exported) -> tuple[dict, dict] | None:
    """The first and the last word about the alarm that an attack raised, if there is one."""
    buses = Buses(partial(Monitor, detector))
    incidents = Incidents(buses)
    events = [e for p in attack.frames.chunks(200) for e in incidents.take(buses.feed(p))]
    tales: dict[int, list[dict]] = {}
    for event in [*events, *incidents.ending()]:
        if event["event"] in TALE:
            tales.setdefault(event["alarm"], []).append(event)
    for tale in tales.values():
        if attack.begin - 0.01 <= tale[0]["since"] <= attack.end + AFTER:
            return tale[0], tale[-1]
    return None


def judged(log: cg.Frames, detector: Exported, draw: int, wrong: bool) -> Iterator[dict[str, Any]]:
    for attack in attacks(log, draw):
        row = {"kind": attack.kind, "severity": attack.severity, "raised": False}
        if found := told(attack, detector):
            first, last = found
            row |= {"raised": True, "cause": last["cause"], "why": last["why"]}
            row |= {
                "first": first["cause"] in attack.causes,
                "last": last["cause"] in attack.causes,
            }
            row["id"] = int(last["id"], 16) in attack.ids
            if wrong and not (row["first"] and row["last"]):
                print(f"  {attack.kind} {attack.severity} {log.name} {sorted(attack.ids)[:3]}")
                for word in found:
                    print(f"    {word['event']} {word['time']:.2f} {word['cause']}: {word['why']}")
        yield row


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    raised = [row for row in rows if row["raised"]]
    shares = {
        k: round(sum(r[k] for r in raised) / max(len(raised), 1), 3)
        for k in ("first", "last", "id")
    }
    causes = Counter(row["cause"] for row in raised)
    return {"attacks": len(rows), "raised": len(raised)} | shares | {"causes": dict(causes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vehicles", nargs="+")
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--wrong", action="store_true", help="print the sentences that are wrong")
    given = parser.parse_args()
    detector, rows = Exported(boxed()), []
    for vehicle in vehicles(given.vehicles):
        logs = [log for log in vehicle.read(LENGTH) if log.duration >= SPAN[1]]
        if not logs:
            print(f"{vehicle.name}: no log of {SPAN[1]:g} s")
            continue
        log = sorted(logs, key=len, reverse=True)[given.draw % len(logs)]
        mine = [*judged(log, detector, given.draw, given.wrong)]
        rows += mine
        print(
            f"{vehicle.name:20}",
            {k: v for k, v in summed(mine).items() if k != "causes"},
            flush=True,
        )
    print(
        "\n| attack | injected | raise an alarm | cause right, first word | last word | ID right |"
    )
    print("|---|---|---|---|---|---|")
    record: dict[str, Any] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        one = record[kind] = summed([row for row in rows if row["kind"] == kind])
        shares = " | ".join(f"{one[k]:.0%}" for k in ("first", "last", "id"))
        print(f"| {kind} | {one['attacks']} | {one['raised']} | {shares} |")
    for kind, one in record.items():
        right = [r for r in rows if r["kind"] == kind and r["raised"] and r["last"]]
        one["example"] = min((r["why"] for r in right), key=len, default="")
        print(f"{kind} → {one['causes']}: {one['example']}")
    print(json.dumps({"all": summed(rows), "kinds": record}))


if __name__ == "__main__":
    main()
