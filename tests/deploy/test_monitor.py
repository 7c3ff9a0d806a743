"""Traffic as it comes has the windows, scores and alarms of the same traffic on disk."""

from copy import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cangraph.bus.attacks import inject
from cangraph.data.graphs import to_graphs
from cangraph.deploy.monitor import Buses, Monitor
from cangraph.evaluation.alarms import AlarmRule, alarm_rule, raise_alarms
from cangraph.evaluation.calibration import clean_stretch, clean_threshold
from cangraph.frames import ATTACK_TYPES, Frames
from cangraph.io.readers import LogFile


def fed(monitor, frames, size=97):
    return [e for piece in frames.chunks(size) for e in monitor.feed(piece)]


def alarms_of(events):
    """(since, end, peak) of each alarm; of those that go on, the last word counts."""
    ends = [e for e in events if e["event"] in ("over", "ongoing")]
    return [*{e["since"]: (e["since"], e["time"], e["peak"]) for e in ends}.values()]


def expected(scores, at, k=0, n=0):
    """The windows and alarms of the path of the notebooks."""
    rows = zip(scores.start.tolist(), scores.end.tolist(), scores.value.tolist(), strict=True)
    return list(rows), [(a.start, a.end, a.peak) for a in raise_alarms(scores, at, k, n)]


def judged_as_in_the_notebooks(detector, frames, scores, rule, **settings):
    """The monitor of these frames, whose windows and alarms are those of the notebooks."""
    monitor = Monitor(detector, rule=AlarmRule(*rule), **settings)
    windows, alarms = expected(scores, *rule)
    events = fed(monitor, frames)
    told = [e for e in events if e["event"] == "window"]
    assert [(e["start"], e["time"], e["value"]) for e in told] == windows
    assert alarms and alarms_of(events + monitor.ongoing()) == alarms
    return monitor


@pytest.mark.parametrize("stride, rule", [(100, (2, 3)), (33, (2, 3)), (33, (0, 0))])
def test_a_demo_log_is_judged_as_in_the_notebooks(detector, drive, stride, rule):
    scores = detector.score(to_graphs([drive], detector.window, stride))
    at = detector.threshold if rule[1] else 0.5
    monitor = judged_as_in_the_notebooks(detector, drive, scores, (at, *rule), stride=stride)
    assert monitor.count["called"] == (scores.value >= at).sum()
    assert monitor.count["alarms"] == len(expected(scores, at, *rule)[1])
    told = monitor.statistics()
    assert (told["frames"], told["windows"]) == (len(drive), len(scores))
    assert 0 < told["p50_ms"] <= told["p99_ms"]


def test_real_test_captures_are_judged_as_in_the_notebooks(detector, real_data):
    paths = sorted((real_data / "hcrl_sa").glob("test_0[1-4]_*/*.csv*"))
    assert len(paths) >= 4
    for path in paths:
        frames = next(LogFile(path).chunks(60_000))
        scores = detector.score(to_graphs([frames]))
        for share, *rule in ((0.8, 2, 3), (0.1, 0, 0)):
            rule = (float(np.quantile(scores.value, share)), *rule)
            judged_as_in_the_notebooks(detector, frames, scores, rule)


def other(detector, kind, spread=1.0):
    """The detector as one of another kind, its log-odds over those of the threshold `spread`."""
    made = copy(detector)
    made.kind, made.rule = kind, alarm_rule(kind, detector.threshold)

    def judged(*window):
        found = detector.judge(*window)
        odds = np.log(found.value / (1 - found.value)) - np.log(0.6 / 0.4)
        return found._replace(value=float(1 / (1 + np.exp(-spread * odds))))

    made.judge = judged
    return made


def test_alarms_are_raised_by_the_rule_of_the_detector(detector):
    own = alarm_rule("GAT", detector.threshold)
    for given, rule in ((None, own), (AlarmRule(0.4, 1, 3), AlarmRule(0.4, 1, 3))):
        watch = Monitor(detector, rule=given).watch
        assert (watch.at, watch.k, watch.n) == rule
    with pytest.raises(ValueError, match="k and n are 0, for evidence, with a VGAE"):
        Monitor(other(detector, "VGAE"), rule=AlarmRule(0.5, 0, 0))
    for odd in ({"stride": 0}, {"calibrate": -1.0}, {"rate": 0.0}):
        with pytest.raises(ValueError, match="monitor: stride "):
            Monitor(detector, **odd)


@pytest.mark.parametrize("kind", ["GAT", "VGAE"])
def test_the_calibrated_threshold_is_that_of_the_report(kind, detector, drive):
    made = other(detector, kind, spread=30.0)
    scores = made.score(to_graphs([drive]))
    scores = replace(scores, label=np.zeros(len(scores), bool))  # nobody knows on a bus
    found = clean_threshold(scores[clean_stretch(scores, 5.0)], 0.3)
    for lowest in (0.0, 0.99):
        rule = made.rule._replace(at=lowest)
        monitor = Monitor(made, rule=rule, calibrate=5.0, rate=0.3)
        events = fed(monitor, drive)
        (told,) = (event for event in events if event["event"] == "calibrated")
        at, k, n = alarm_rule(kind, found)
        at = max(at, lowest) if kind == "GAT" else at  # of other scores, each car has its level
        calm = scores.value[scores.end <= 5.0]
        assert (told["at"], told["windows"], told["before"]) == (at, len(calm), lowest)
        assert told["rate"] == ((calm >= at).sum() + 1) / (len(calm) + 1)
        alarms = expected(scores[scores.end > 5.0], at, k, n)[1]
        assert alarms_of(events + monitor.ongoing()) == alarms
        assert alarms or lowest == 0.99


def test_an_attack_in_clean_traffic_is_blamed_on_its_id(detector, clean):
    log = inject(clean, "flooding", spans=[(6.0, 9.0)])
    monitor = Monitor(detector, rule=AlarmRule(0.0))
    (alarm,) = (e for e in fed(monitor, log) if e["event"] == "alarm")
    graphs = to_graphs([log])
    blame = detector.blame(graphs)
    first = int(np.argmax(detector.score(graphs).value[:2]))
    nodes = slice(graphs.node_ptr[first], graphs.node_ptr[first + 1])
    assert alarm["id"] == f"{graphs.node_id[nodes][blame[nodes].argmax()]:X}"
    assert alarm["blame"] == blame[nodes].max()
    assert alarm["attack"] in ATTACK_TYPES[1:]
    assert alarm["delay"] == graphs.end[1] - graphs.start[0]


def two_buses(one, other, later=0.0):
    """A log of two buses with the same IDs; the frames of `other` come so many s later."""
    times = np.concatenate([one.timestamp, other.timestamp + later])
    columns = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("arbitration_id", "dlc", "data", "attack_type")
    }
    columns |= {"bus": np.repeat([0, 1], [len(one), len(other)])}
    return Frames.in_order(times, bus_names=("can0", "can1"), **columns)


def test_each_bus_is_judged_as_if_it_were_alone(detector, drive, clean):
    log = two_buses(drive, clean, later=2.5)
    buses = Buses(partial(Monitor, detector, stride=50))
    events = [e for piece in log.chunks(701) for e in buses.feed(piece)]
    for bus, frames in log.by_bus().items():
        alone = fed(Monitor(detector, stride=50), frames)
        since = frames.timestamp[0] - log.timestamp[0]
        mine = [e for e in events if e["bus"] == bus]
        shifted = [
            e | {"bus": bus} | {k: e[k] + since for k in ("time", "start", "since") if k in e}
            for e in alone
        ]
        assert len(alone) > 100 and mine == shifted
    assert buses.frames == len(log)


def test_can_fd_and_29_bit_ids(detector):
    ids = np.array([0x18DAF110, 0x100, 0x18DAF110 & 0x7FF, 0x2A0] * 150)
    data = np.random.default_rng(0).integers(0, 256, (600, 64), np.uint8)
    columns = {"dlc": np.full(600, 64), "data": data, "is_extended_id": ids > 0x7FF}
    frames = Frames(np.arange(600) * 1e-3, ids, **columns)
    classic = frames[:200]
    classic = replace(classic, dlc=np.full(200, 8, np.uint8), data=classic.data[:, :8])
    monitor = Monitor(detector, rule=AlarmRule(0.0))
    events = fed(monitor, classic) + fed(monitor, frames[200:])
    assert monitor.count["windows"] == 6
    assert monitor.statistics()["ids"] == 4, "an ID of 29 bit is not the one with the same bits"
    assert {e["id"] for e in events if e["event"] == "window"} <= {f"{i:X}" for i in ids}


def test_made_up_ids_do_not_fill_the_memory(detector, clean, monkeypatch):
    monkeypatch.setattr("cangraph.deploy.monitor._MOST", 200)
    n, rng = 15_000, np.random.default_rng(0)
    made_up = (np.arange(n) > 3000) & (rng.random(n) < 0.1)
    ids = np.where(made_up, rng.integers(1 << 11, 1 << 29, n), clean.arbitration_id[:n])
    log = Frames(clean.timestamp[:n], ids, dlc=clean.dlc[:n], data=clean.data[:n])
    monitor = Monitor(detector, stride=60)
    told = [e["ids"] for e in fed(monitor, log) if e["event"] == "forgot"]
    known, everything = monitor.sliding.profiles.slots, len(np.unique(ids))
    assert len(told) > 3 and len(known) == everything - sum(told) <= 300
    assert set(np.unique(clean.arbitration_id[:3000]).tolist()) <= set(known), "the car's stay"
    assert len(monitor.sliding.profiles.table) < 1000
    monitor.feed(clean[n : n + 500])
    assert monitor.statistics()["windows"] == (n + 500 - 100) // 60 + 1


def test_what_it_wants_completes_a_window(detector, drive):
    monitor, at = Monitor(detector, stride=30), 0
    assert monitor.statistics()["p50_ms"] is None
    for _ in range(5):
        wanted = monitor.wanted
        assert not monitor.feed(drive[at : at + wanted - 1]) or wanted == 1
        assert any(e["event"] == "window" for e in monitor.feed(drive[at + wanted - 1 :][:1]))
        at += wanted
