"""The yardstick of false alarms: its figures by hand, and what its attacks do to a log."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from cangraph.bus.simulator import simulate
from cangraph.evaluation.alarms import Alarm, AlarmRule
from cangraph.evaluation.scores import Scores
from cangraph.frames import CaptureInfo

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    YARD = runpy.run_path(str(BENCHMARKS / "any_vehicle.py"))
    VEHICLES = runpy.run_path(str(BENCHMARKS / "vehicles.py"))


def test_windows_count_in_the_time_that_they_start_in():
    start = np.array([0.0, 9.9, 10.0, 30.0, 59.0, 59.9])
    called = np.array([1, 0, 1, 0, 0, 0], bool)
    assert YARD["by_phase"](start, called) == {"0–10 s": 0.5, "10–60 s": 0.25, "later": None}


def test_clean_logs_by_hand():
    """Two logs of 20 s in windows of 1 s; three windows of the first are called."""
    info = CaptureInfo("a", "", "", "", 2000, 0, 20.0, 5, 0, "")
    time, log = np.tile(np.arange(20.0), 2), np.repeat([0, 1], 20)
    value = np.where((log == 0) & np.isin(time, [3, 4, 12]), 9.0, 0.0)
    scores = Scores(value, value < 0, np.zeros(40, np.uint8), log, time, time + 1, (info, info))
    row = YARD["silence"](scores, AlarmRule(5.0, 2, 3))
    assert (row["hours"], row["alarms"]) == (40 / 3600, 1)
    assert row["per hour"] == pytest.approx(90)
    assert row["called"] == pytest.approx(3 / 40)
    assert row["under alarm"] == pytest.approx(2 / 40)  # from the end of window 4 to that of 6
    assert (row["0–10 s"], row["10–60 s"]) == (2 / 20, 1 / 20)


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([(4.0, 4.5)], [(4.0, False)]),
        ([(11.0, 11.5)], [(11.5, False)]),  # within a second behind the attack
        ([(9.0, 9.5)], [(None, False)]),
        ([(5.0, 5.5)], [(None, True)]),  # a false alarm was on
        ([(4.0, 4.5), (5.0, 5.5)], [(4.0, False), (4.0, False)]),  # the same alarm goes on
    ],
)
def test_which_alarm_finds_an_attack(spans, found):
    alarms = [Alarm(0, 4.0, 6.0, 1.0), Alarm(0, 11.5, 11.6, 1.0)]
    told = list(YARD["told"](spans, alarms))
    assert [(alarm and alarm.start, before) for alarm, before in told] == found


def test_every_kind_of_attack_is_put_where_it_is_said_to_be():
    log = simulate("clover", 25.0, seed=3)
    trials = list(VEHICLES["trials"](log))
    assert {trial.kind for trial in trials} >= VEHICLES["UNSEEN"].keys()
    for trial in trials:
        since = trial.frames.timestamp - trial.frames.timestamp[0]
        attack = since[trial.frames.attack]
        inside = [((attack >= a) & (attack <= b)) for a, b in trial.events]
        assert np.any(inside, axis=0).all() or trial.kind == "suppression"
        assert (trial.events[0][0] > 5) == (trial.when == "later")
        assert trial.frames.duration <= 21
    again = [trial.frames.sha256() for trial in VEHICLES["trials"](log)]
    assert again == [trial.frames.sha256() for trial in trials]


def test_a_burst_is_of_an_id_heard_once_before():
    log = simulate("clover", 25.0, seed=3)
    trial = next(t for t in VEHICLES["trials"](log) if t.kind == "burst of an ID heard once")
    frames = trial.frames
    (foreign,) = np.unique(frames.arbitration_id[frames.attack])
    mine = frames.arbitration_id == foreign
    assert (mine & ~frames.attack).sum() == 1 and foreign not in log.arbitration_id
    assert [b - a < 0.06 for a, b in trial.events] == [True] * 3
    assert frames.attack.sum() == 270
