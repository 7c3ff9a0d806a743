"""`cangraph scan`: what it finds and why, its exit status, and that data is text alone."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import heard_in

import cangraph.report.scanpage as scanpage
from cangraph.__main__ import main
from cangraph.bus.attacks import inject
from cangraph.bus.simulator import simulate
from cangraph.deploy import box
from cangraph.deploy.detector import Judged
from cangraph.deploy.reasons import own_frames
from cangraph.evaluation.alarms import alarm_rule
from cangraph.features.baseline import Baseline
from cangraph.features.relations import signal_of
from cangraph.features.schema import NODE_FEATURES
from cangraph.frames import ATTACK_TYPES, Frames
from cangraph.io.diagnosis import conversations
from cangraph.io.names import Names
from cangraph.io.writers import write_frames
from cangraph.report.scanned import scan
from cangraph.report.scanpage import page, picture, told
from cangraph.signals import read_signal, write_signal

LOUD = [f.name for f in NODE_FEATURES].index("broken_rule_max")


class Plain:
    """A detector that needs no training: counters and checksums that break."""

    kind, threshold, window, stride, sha256 = "GAT", 0.5, 100, 100, "0" * 64
    rule, baseline = alarm_rule("GAT", 0.5), None

    def __init__(self, path):
        self.path = path

    def judge(self, x, edge_index, edge_attr):
        odd = x[:, LOUD] > 2
        node = np.where(odd, 0.95 + x[:, LOUD] / 1000, 0.01)
        kinds = np.eye(len(ATTACK_TYPES))[3 if odd.any() else 0]
        return Judged(float(node.max()), node, kinds)


@pytest.fixture
def plain(tmp_path, monkeypatch):
    monkeypatch.setattr(scanpage, "Exported", Plain)
    monkeypatch.setattr(scanpage, "boxed", lambda: tmp_path / "plain.onnx")
    return Plain(tmp_path / "plain.onnx")


@pytest.fixture(scope="module")
def quiet():
    return simulate("aster", 20.0, seed=5)


@pytest.fixture(scope="module")
def attacked(quiet):
    return inject(quiet, "masquerade", spans=[(12.0, 14.0)], seed=1)


@pytest.fixture
def log(attacked, tmp_path):
    write_frames(attacked, tmp_path / "bus.log")
    return tmp_path / "bus.log"


def longest(facts):
    return max(facts["alarms"], key=lambda alarm: alarm["called"])


def test_an_attack_is_found_with_its_id_its_time_and_its_reason(attacked, plain):
    facts = scan(attacked, plain).facts
    truth = np.unique(attacked.arbitration_id[attacked.attack])
    assert facts["status"] == 1 and facts["verdict"] == "looks under attack"
    alarm = longest(facts)
    assert alarm["sure"] == "high"
    assert int(alarm["id"], 16) in truth and alarm["kind"] == "spoofing"
    assert 11.5 < alarm["begin"] <= alarm["raised"] < alarm["end"] < 16
    assert (
        alarm["reasons"][0]["elsewhere"] in (None, 0.0) or alarm["reasons"][0]["elsewhere"] < 0.01
    )
    labels = facts["buses"][0]["labels"]
    assert (labels["events"], labels["found"], labels["alarms"]) == (1, 1, len(facts["alarms"]))
    # what is told of the frame stands in the log
    frame = alarm["frame"]
    at = np.argmin(abs(attacked.timestamp - attacked.timestamp[0] - frame["time"]))
    assert f"{attacked.arbitration_id[at]:03X}" == alarm["id"]
    used = attacked.data[at, : attacked.bytes_used[at]].tobytes()
    assert bytes.fromhex(frame["after"]) == used and frame["changed"]


def test_clean_traffic_is_clean_and_what_cannot_be_judged_is_told(quiet, plain):
    facts = scan(quiet, plain).facts
    assert (facts["status"], facts["alarms"]) == (0, [])
    short = scan(quiet[:99], plain).facts
    assert short["status"] == 3 and "99 frames" in short["buses"][0]["not_judged"][0]
    late = np.where(np.arange(len(quiet)) < 9000, 0.0, 3.0)
    paused = Frames(quiet.timestamp + late, quiet.arbitration_id, quiet.dlc, quiet.data)
    rare = scan(paused[: 9000 + 55], plain).facts["buses"][0]["not_judged"]
    assert any(line.startswith("1 pauses of the whole bus, 3.") for line in rare)


def test_the_command_says_it_as_text_as_json_and_as_a_page(log, quiet, plain, tmp_path, capsys):
    write_frames(quiet, tmp_path / "clean.asc")
    out = tmp_path / "out.html"
    assert main(["scan", str(tmp_path / "clean.asc")]) == 0
    assert "raises no alarm" in capsys.readouterr().out
    assert main(["scan", str(tmp_path / "clean.asc"), str(log), "--html", str(out)]) == 1
    text = capsys.readouterr().out
    assert "ALARM at 1" in text and "raises no alarm" in text
    html = out.read_text()
    assert "1 of 2 logs raise an alarm" in html and html.count("<img") >= 3
    assert html.index("bus.log") < html.index("clean.asc"), "alarms first"
    assert not re.search(r'(?:src|href)="(?!data:|#)', html), "nothing from elsewhere"
    links = re.findall(r'href="#([^"]+)"', html)
    assert links and all(f'id="{at}"' in html for at in links)
    assert main(["scan", str(log), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["status"] == 1 and facts["logs"][0]["alarms"][0]["reasons"]


def test_what_cannot_be_read_is_2_and_leaves_the_others(log, plain, tmp_path, capsys):
    odd = tmp_path / "odd.log"
    odd.write_text("no frame at all\n" * 9)
    assert main(["scan", str(odd), str(log)]) == 1, "the alarm comes first"
    text = capsys.readouterr().out
    assert "odd.log cannot be read" in text and "ALARM" in text
    assert main(["scan", str(tmp_path / "none.log")]) == 2
    with pytest.raises(SystemExit) as stopped:
        main(["scan"])
    assert stopped.value.code == 2
    log.write_text(log.read_text() + "(1.5) can0 1A")
    assert main(["scan", str(log), "--json"]) == 1
    read = json.loads(capsys.readouterr().out.splitlines()[-1])["logs"][0]["read"]
    assert read["refused"] == 1 and "bus.log" in read["first_refused"][0]


def test_two_buses_are_two_streams_each_with_its_own_alarms(quiet, attacked, plain):
    n, both = len(quiet), [quiet, attacked]
    assert len(attacked) == n, "a masquerade takes the place of frames"
    columns = {
        name: np.concatenate([getattr(frames, name) for frames in both])
        for name in ("arbitration_id", "dlc", "data", "attack")
    }
    frames = Frames.in_order(
        np.r_[quiet.timestamp, attacked.timestamp + 3.0],
        **columns,
        bus=np.repeat([0, 1], n),
        bus_names=("can0", "can1"),
    )
    found = scan(frames, plain)
    alone = scan(attacked, plain).facts["alarms"]
    assert [bus["alarms"] for bus in found.facts["buses"]] == [0, len(alone)]
    for alarm, same in zip(found.facts["alarms"], alone, strict=True):
        assert (alarm["bus"], alarm["id"]) == ("can1", same["id"])
        assert alarm["begin"] == pytest.approx(same["begin"] + 3.0, abs=1e-5)
        assert alarm["frame"]["after"] == same["frame"]["after"]
    assert "on 2 buses (can0, can1)" in told(found) and "can1: 0x" in page([found])


@pytest.mark.usefixtures("closed_figures")
def test_a_missing_message_is_drawn_without_a_frame(quiet, plain):
    missing = inject(quiet, "suppression", spans=[(12.0, 13.0)], seed=1)
    found = scan(missing, plain)
    found.streams[""].own.update(own_frames(heard_in(missing)))  # as where an alarm was raised
    number = missing.attack_spans[0].arbitration_id
    alarm = {"bus": "", "begin": 12.0, "id": f"{number:03X}", "many": 1, "reasons": []}
    alarm |= {"frame": None, "period_ms": 10.0, "message": "", "part": ""}
    assert picture(found, alarm)[0].patches


def test_a_table_of_another_shape_is_read_by_its_columns(quiet, plain, tmp_path, capsys):
    path = tmp_path / "table.csv"
    rows = zip(quiet.timestamp * 1e3, quiet.arbitration_id, quiet.data[:, :2], strict=True)
    text = "".join(f"{t:.3f};{i};{a};{b}\n" for t, i, (a, b) in rows)
    path.write_text(f"when;who;p;q\n{text}")
    given = ["--column", "timestamp=when", "--column", "arbitration_id=who", "--column", "data=p,q"]
    assert main(["scan", str(path), *given, "--time-unit", "ms", "--base", "10", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)["logs"][0]["read"]
    assert (read["frames"], read["ids"]) == (len(quiet), 45)
    assert read["seconds"] == pytest.approx(quiet.duration, abs=1e-3)
    assert main(["scan", str(path), "--column", "when"]) == 2
    assert "write timestamp=t" in capsys.readouterr().err


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 900), st.sampled_from([0.0, 0.001, 3.0]))
def test_any_frames_give_facts_that_json_holds_and_lines_that_are_printed(seed, n, step):
    dice = np.random.default_rng(seed)
    frames = Frames(
        np.cumsum(dice.choice([0.0, step], n)),
        dice.choice(dice.integers(0, 1 << 29, 40), n),
        dice.integers(0, 9, n),
        dice.integers(0, 256, (n, 8)),
        is_remote_frame=dice.random(n) < 0.1,
        bus=dice.integers(0, 2, n),
        bus_names=("can0", "can1"),
    )
    found = scan(frames, Plain("plain.onnx"))
    assert json.loads(json.dumps(found.facts, allow_nan=False))["read"]["frames"] == n
    assert all(line.isprintable() for line in told(found).splitlines())


def test_without_a_detector_in_the_box_the_command_says_what_makes_it(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(box, "BOX", tmp_path / "any_vehicle.onnx")
    assert main(["scan", "bus.log"]) == 2
    assert "python benchmarks/box.py" in capsys.readouterr().err
    assert main(["monitor", "--log", "bus.log"]) == 2
    (tmp_path / "any_vehicle.onnx").touch()
    assert box.boxed() == tmp_path / "any_vehicle.onnx"


def test_messages_that_contradict_each_other_are_told_and_raise_no_alarm(quiet, plain):
    clean = simulate("aster", 310.0, seed=6)
    plain.baseline = Baseline.learn([clean])
    relations = plain.baseline.related("")
    signal = relations.signals[np.bincount(relations.relations["target"]).argmax()]
    time = quiet.timestamp - quiet.timestamp[0]
    mine = (quiet.arbitration_id == signal["arbitration_id"]) & (time > 8) & (time < 14)
    data, where = quiet.data.copy(), signal_of(signal)
    more = read_signal(data[mine], where) + 0.4 * (signal["high"] - signal["low"])
    data[mine] = write_signal(data[mine], where, more)
    lie = replace(quiet, data=data)
    found = scan(lie, plain)
    (row,) = found.facts["disputes"]
    assert int(row["id"], 16) == signal["arbitration_id"] and row["partners"] and row["value"] > 2
    assert 7.9 < row["begin"] < row["end"] < 16
    assert f"no alarm: {row['begin']:.2f}" in told(found)
    assert "Messages that contradict each other" in page([found])
    assert scan(quiet, plain).facts["disputes"] == []


def test_names_of_a_log_are_text_on_the_page_and_on_the_terminal(attacked, plain):
    found = scan(attacked.label(name="<script>alert(1);\x1b[2J.log"), plain)
    assert "<script>" not in page([found]) and "&lt;script&gt;" in page([found])
    assert "\x1b" not in told(found)


def test_a_dbc_names_messages_and_signals(attacked, plain, tmp_path):
    pytest.importorskip("cantools")
    number = int(np.unique(attacked.arbitration_id[attacked.attack])[0])
    path = tmp_path / "car.dbc"
    path.write_text(
        f'VERSION ""\nBU_: ECU\nBO_ {number} Speed<b>: 8 ECU\n'.replace("<b>", "_b")
        + "".join(f' SG_ Byte{j} : {8 * j}|8@1+ (0.5,0) [0|0] "km/h" ECU\n' for j in range(8))
    )
    alarm = longest(scan(attacked, plain, Names(path)).facts)
    assert alarm["message"] == "Speed_b"
    changed = [f"Byte{j}" for j in alarm["frame"]["changed"]]
    assert set(alarm["frame"]["signals"]) <= set(changed) and changed
    path.write_text("no database")
    with pytest.raises(ValueError, match=r"car.dbc: no database of messages .* expected a .dbc"):
        Names(path)


def test_a_tester_is_named_with_its_services_and_sessions(quiet, plain):
    payloads = ["021003", "065003003201F4", "022701", "037F2735", "021003", "022701", "037F2735"]
    ids = [0x7E0, 0x7E8, 0x7E0, 0x7E8, 0x7E0, 0x7E0, 0x7E8]
    data = np.array([list(bytes.fromhex(p.ljust(16, "0"))) for p in payloads], np.uint8)
    talk = Frames(np.arange(7) * 0.1 + 9, np.array(ids), data=data)
    tester, ecu = conversations(talk)
    assert tester["services"] == {"session control": 2, "security access": 2}
    assert (tester["sessions"], tester["grave"], tester["part"]) == (["extended"], True, "tester")
    assert (ecu["refused"], ecu["services"], ecu["part"]) == (2, {"session control": 1}, "ECU")
    columns = {
        name: np.concatenate([getattr(quiet, name), getattr(talk, name)])
        for name in ("arbitration_id", "dlc", "data")
    }
    both = Frames.in_order(np.concatenate([quiet.timestamp, talk.timestamp]), **columns)
    found = scan(both, plain)
    assert "security access ×2; sessions: extended; this can change an ECU" in told(found)
    assert "tester" in page([found])


def test_the_monitor_takes_the_detector_in_the_box(log, detector_file, monkeypatch, capsys):
    monkeypatch.setattr(box, "BOX", detector_file)
    assert main(["monitor", "--log", str(log)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "stopped"
