"""One attack is one incident: joined, counted, limited, explained, and remembered."""

import copy
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cangraph.bus.attacks import inject
from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported, Judged
from cangraph.deploy.incidents import Incidents
from cangraph.deploy.monitor import Buses, Monitor
from cangraph.deploy.reasons import Cause, Tally
from cangraph.deploy.recent import ODD, Recent
from cangraph.deploy.state import Source, SpoiltStateError, resume_state, save_state
from cangraph.evaluation.alarms import AlarmRule
from cangraph.frames import ATTACK_TYPES, Frames
from cangraph.io.names import Names

TALE = ("alarm", "update", "holding", "over", "ongoing")
SCHEMA = json.loads((Path(__file__).parents[2] / "docs/alarm.schema.json").read_text())


@pytest.fixture(scope="module")
def box():
    return Exported(boxed())


def taken(incidents, frames, size=200):
    return [e for p in frames.chunks(size) for e in incidents.take(incidents.buses.feed(p))]


def tale(events):
    return [event for event in events if event["event"] in TALE]


def watched(detector, frames, size=200, **settings):
    incidents = Incidents(Buses(partial(Monitor, detector)), **settings)
    return tale(taken(incidents, frames, size) + incidents.ending())


@pytest.mark.parametrize(
    "attack, cause",
    [
        ("flooding", Cause.LOAD),
        ("fuzzing", Cause.FOREIGN),
        ("suppression", Cause.SILENCE),
        ("replay", Cause.COUNTER),
    ],
)
def test_an_attack_is_one_incident_that_names_its_cause(attack, cause, box, clean):
    jsonschema = pytest.importorskip("jsonschema")
    log = inject(clean, attack, spans=[(7.0, 9.0)], seed=1)
    told = watched(box, log)
    first, last = told[0], told[-1]
    assert (first["event"], last["event"]) == ("alarm", "over")
    assert {event["alarm"] for event in told} == {1}
    assert last["cause"] == cause and last["why"].startswith(
        f"0x{last['id']}" if last["many"] == 1 else f"{last['many']} IDs"
    )
    truth = {*np.unique(log.arbitration_id[log.attack]).tolist()}
    truth |= {span.arbitration_id for span in log.attack_spans}
    assert int(last["id"], 16) in truth
    assert first["called"] <= last["called"] <= last["windows"] and 7.0 < first["since"] < 8.0
    about = last["security_event"]
    assert about["count"] == last["called"] and about["name"].startswith("CANGRAPH_")
    for event in told:
        jsonschema.validate(json.loads(json.dumps(event, allow_nan=False)), SCHEMA)


def test_pieces_do_not_change_what_is_told(box, clean):
    log = inject(clean, "spoofing", spans=[(7.0, 9.0)], seed=1)
    whole = watched(box, log, len(log))
    assert whole and watched(box, log, 97) == whole


class Scripted:
    """A detector that calls the windows that begin in these spans (s), of a bus of 100 frames a
    second."""

    kind, threshold, window, stride, sha256 = "GAT", 0.5, 10, 10, "0" * 64
    rule, baseline = AlarmRule(0.5, 1, 1), None

    def __init__(self, *spans):
        self.spans, self.windows = spans, 0

    def judge(self, x, edge_index, edge_attr):
        now, self.windows = self.windows / 10, self.windows + 1
        on = any(begin <= now < end for begin, end in self.spans)
        node = np.zeros(len(x))
        node[0] = 1.0
        return Judged(0.9 if on else 0.1, node, np.zeros(len(ATTACK_TYPES)))


def bus(seconds):
    """Five IDs that are on time."""
    n = int(100 * seconds)
    return Frames(np.arange(n) / 100, 0x100 + np.arange(n) % 5)


def test_a_long_attack_is_told_of_at_doubling_intervals():
    told = watched(Scripted((10.0, 1000.0)), bus(1005.0), 5000)
    assert [event["event"] for event in told] == ["alarm", *["holding"] * 5, "over"]
    since = [event["time"] - event["since"] for event in told[1:-1]]
    assert since == pytest.approx([60, 120, 240, 480, 960], abs=0.3)
    over = told[-1]
    assert over["windows"] == over["called"] + 1 == 9901 and over["reopened"] == 0
    assert over["frames"] == 2 * over["called"], "two of ten frames are of the blamed ID"


def test_an_attack_that_comes_and_goes_for_an_hour_is_one_incident():
    pulses = [(10.0 + 12 * k, 12.0 + 12 * k) for k in range(300)]
    told = watched(Scripted(*pulses), bus(3700.0), 20_000)
    assert {event["alarm"] for event in told} == {1}
    assert len(told) < 20 and told[-1]["event"] == "over"
    last = told[-1]
    assert last["reopened"] == 299 and last["called"] == 300 * 20
    assert last["until"] == pytest.approx(10 + 12 * 299 + 2.2, abs=0.2)


def test_alarms_beyond_the_limit_are_counted_and_told():
    spans = [(10.0 + 61 * k, 10.5 + 61 * k) for k in range(3)]
    rare = watched(Scripted(*spans), bus(300.0), limit=1)
    assert [event["event"] for event in rare] == ["alarm", "over"] * 3
    spans = [(10.0 + 10 * k, 10.5 + 10 * k) for k in range(6)]
    incidents = Incidents(Buses(partial(Monitor, Scripted(*spans))), limit=2)
    events = taken(incidents, bus(200.0))
    told, left = tale(events), [event for event in events if event["event"] == "suppressed"]
    words = sum(event["event"] == "alarm" for event in told)
    assert words == 2 and sum(event["alarms"] for event in left) + words <= 6
    assert left and left[0]["ids"]
    lasting = watched(Scripted((10.0, 10.5), (20.0, 100.0)), bus(200.0), limit=1)
    assert lasting[-1]["event"] == "over" and lasting[-1]["until"] > 100


def test_a_restart_remembers_the_incident(tmp_path):
    log, path, source = bus(100.0), tmp_path / "state.npz", Source("a bus")
    whole = watched(Scripted((10.0, 95.0)), log)
    detector = Scripted((10.0, 95.0))
    first = Incidents(Buses(partial(Monitor, detector)))
    before = tale(taken(first, log[:5000]))
    first.buses.incidents = first.state()
    save_state(path, first.buses, source)
    buses = Buses(partial(Monitor, detector))
    assert resume_state(path, buses, source) == []
    second = Incidents(buses)
    assert second.state() == first.state()
    after = tale(taken(second, log[5000:]) + second.ending())
    held = path.read_bytes()
    for odd in ({"cause": "aliens"}, {"id": "no ID"}, {"many": "x"}, {"frame": {"after": 1}}):
        first.buses.incidents = copy.deepcopy(first.state())
        first.buses.incidents["cases"][""]["facts"] |= odd
        save_state(path, first.buses, source)
        with pytest.raises(SpoiltStateError):
            resume_state(path, Buses(partial(Monitor, detector)), source)
    path.write_bytes(held)
    brief = [(e["event"], e["alarm"], e["since"], e["windows"], e["why"]) for e in before + after]
    told = [(e["event"], e["alarm"], e["since"], e["windows"], e["why"]) for e in whole]
    assert brief[:-1] == told[:-1] and brief[-1][:4] == told[-1][:4]


def test_names_of_a_dbc_stand_in_the_alarm(tmp_path):
    pytest.importorskip("cantools")
    path = tmp_path / "car.dbc"
    path.write_text(
        'VERSION ""\nBU_: ECU\nBO_ 256 Speed: 8 ECU\n SG_ V : 0|8@1+ (1,0) [0|0] "" ECU'
    )
    told = watched(Scripted((10.0, 12.0)), bus(20.0), names=Names(path))
    assert told[0]["id"] == "100" and told[0]["name"] == "Speed"


def test_times_of_day_are_those_of_the_log_or_unknown():
    log = bus(20.0)
    (first, *_) = watched(Scripted((10.0, 12.0)), log)
    assert first["security_event"]["first"] is None
    dated = Frames(log.timestamp + 1.6e9, log.arbitration_id)
    (first, *_) = watched(Scripted((10.0, 12.0)), dated)
    assert first["security_event"]["first"] == "2020-09-13T12:26:50.000Z"


def test_fuzzing_fills_no_memory():
    tally = Tally()
    for k in range(5000):
        window = {"id": f"{k:03X}", "attack": "fuzzing", "count": 1, "value": 0.9, "level": 0.5}
        tally.add(window)
    assert tally.windows == tally.called == 5000 and len(tally.blamed) <= 1000


@pytest.mark.parametrize("most", [50, 1000])
def test_the_last_frames_are_held_and_no_more(most):
    dice, recent = np.random.default_rng(0), Recent(most)
    log, at = bus(30.0), 0
    while at < len(log):
        size = int(dice.choice([1, 7, 120, 300]))
        piece = log[at : at + size]
        recent.add(piece, np.zeros((len(piece), len(ODD)), bool))
        at += size
        frames, odd = recent.frames(0, 1 << 40)
        held = len(frames)
        assert min(most, recent.came) <= held <= 2 * most and len(odd) == held
        assert (frames.timestamp == log.timestamp[recent.came - held : recent.came]).all()
        assert recent.place(log.timestamp[recent.came - 1]) == recent.came
    wide = Frames(np.array([31.0]), np.array([5]), dlc=[64], data=np.ones((1, 64), np.uint8))
    recent.add(wide, np.zeros((1, len(ODD)), bool))
    frames, _ = recent.frames(recent.came - 2, recent.came)
    assert frames.data.sum(1).tolist() == [0, 64] and frames.dlc.tolist() == [8, 64]


def test_each_field_of_an_alarm_is_documented():
    text = (Path(__file__).parents[2] / "docs/deployment.md").read_text()
    for field, of in SCHEMA["properties"].items():
        assert f"| `{field}` | {of['description']} |" in text
    (causes,) = [of["enum"] for name, of in SCHEMA["properties"].items() if name == "cause"]
    assert causes == [*Cause]
