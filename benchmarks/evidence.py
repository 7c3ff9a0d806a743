"""What each constant of `alarms.Evidence` is worth: alarms an hour on clean traffic of strangers'
vehicles, and attacks found there, as it is and with each constant changed.

    CANGRAPH_DATA=… python benchmarks/evidence.py [--detector FILE] [--vehicles NAME …]

Windows are judged once, by the detector in the box; alarms are raised anew for each variation.
`off`: a stream is judged by the threshold alone, as if nothing were usual. The vehicles are those
of clean/ but for the race car, the attacks the seven kinds of `vehicles.trials` that begin later.
The last line is one JSON object.
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from any_vehicle import show, told
from vehicles import Vehicle, trials, vehicles

import cangraph as cg
from cangraph.bus.attacks import ATTACKS
from cangraph.deploy.box import BOX
from cangraph.evaluation import alarms
from cangraph.evaluation.alarms import AlarmRule, raise_alarms
from cangraph.evaluation.stats import poisson

VARIATIONS: dict[str, dict[str, float]] = {
    "as it is": {},
    "off": {"_WARM": float("inf")},
    "off, odds of 19": {"_WARM": float("inf"), "SURE": 2.944, "_MOST": 5.888},
    "SURE 3": {"SURE": 3.0, "_MOST": 6.0},
    "SURE 4": {"SURE": 4.0, "_MOST": 8.0},
    "_SPREADS 4": {"_SPREADS": 4.0},
    "_SPREADS 6": {"_SPREADS": 6.0},
    "_WARM 3": {"_WARM": 3.0},
    "_WARM 10": {"_WARM": 10.0},
    "_MEMORY 10": {"_MEMORY": 10.0},
    "_MEMORY 60": {"_MEMORY": 60.0},
    "_LOWEST -3": {"_LOWEST": -3.0},
    "_LOWEST 0": {"_LOWEST": 0.0},
    "_SUSPECT .1": {"_SUSPECT": 0.1},
    "_SUSPECT 1": {"_SUSPECT": 1.0},
    "_STEP .2": {"_STEP": 0.2},
    "_STEP 5": {"_STEP": 5.0},
}


class Judged(NamedTuple):
    """The scores of a vehicle's clean logs, and of each trial with its severity and events."""

    clean: cg.Scores
    attacked: list[tuple[str, list, cg.Scores]]


def judged(vehicle: Vehicle, file: str) -> Judged:
    detector, logs = cg.Exported(file), vehicle.read()
    clean = detector.score(cg.to_graphs(logs))
    attacked = [
        (trial.severity, trial.events, detector.score(cg.to_graphs([trial.frames])))
        for trial in trials(max(logs, key=lambda log: log.duration))
        if trial.kind in ATTACKS and trial.when == "later"
    ]
    return Judged(clean, attacked)


def row(name: str, of: list[Judged], rule: AlarmRule) -> dict[str, Any]:
    """Alarms and attacks found with these constants."""
    before = {constant: getattr(alarms, constant) for constant in VARIATIONS[name]}
    vars(alarms).update(VARIATIONS[name])
    try:
        raised = [len(raise_alarms(one.clean, *rule)) for one in of]
        events: dict[str, list[bool]] = {"gross": [], "middle": [], "subtle": []}
        for one in of:
            for severity, spans, scores in one.attacked:
                found = told(spans, raise_alarms(scores, *rule))
                events[severity] += [alarm is not None for alarm, _ in found]
    finally:
        vars(alarms).update(before)
    hours = sum(info.seconds for one in of for info in one.clean.captures) / 3600
    low, high = poisson(sum(raised), hours)
    said: dict[str, Any] = {"constants": name, "alarms": sum(raised), "hours": hours}
    said |= {"per hour": sum(raised) / hours, "low": low, "high": high}
    said |= {"silent": sum(not alarms for alarms in raised), "vehicles": len(of)}
    return said | {severity: sum(found) / len(found) for severity, found in events.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", default=str(BOX))
    parser.add_argument("--vehicles", nargs="+", metavar="NAME")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes, two cores
    real = [v for v in vehicles(given.vehicles) if v.group == "clean"]
    with ProcessPoolExecutor(2) as pool:
        of = list(pool.map(partial(judged, file=given.detector), real))
    rule = cg.Exported(given.detector).rule
    rows = [row(name, of, rule) for name in VARIATIONS]
    show(rows)
    print(json.dumps({"detector": given.detector, "rows": rows}))


if __name__ == "__main__":
    main()
