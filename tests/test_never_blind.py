"""Never silently blind: what cannot be judged is an error that names the file, an event, or an exit
status, and never passes for clean."""

import copy
import hashlib
import json
import math
from functools import partial

import can
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cangraph.__main__ import main
from cangraph.bus.attacks import inject
from cangraph.data.graphs import to_graphs
from cangraph.deploy.detector import KEY, KINDS, Exported, Status, graph_of
from cangraph.deploy.monitor import Buses, Monitor
from cangraph.deploy.state import Source, SpoiltStateError, resume_state, save_state
from cangraph.frames import Frames
from cangraph.fusion.dqn import all_rules
from cangraph.io.writers import write_frames
from cangraph.params import load_params

pytestmark = pytest.mark.acceptance

BLIND = [math.nan, math.inf, 2.0, -5.0]


@pytest.fixture
def log(drive, tmp_path):
    write_frames(drive, tmp_path / "bus.log")
    return tmp_path / "bus.log"


@pytest.fixture
def odd(detector_file, tmp_path):
    """A detector file with other facts, and perhaps another graph: what an attacker would write,
    who knows the format."""

    def make(facts=None, graph=None):
        model = onnx.load(detector_file)
        if graph:
            graph(model.graph)
        held = json.loads({p.key: p.value for p in model.metadata_props}[KEY])
        sha256 = hashlib.sha256(model.graph.SerializeToString()).hexdigest()
        facts = held | {"weights_sha256": sha256} | (facts or {})
        text = facts.pop("text", "") or json.dumps(facts)
        helper.set_model_props(model, {KEY: text})
        (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "odd.onnx"

    return make


def strict(line):
    """A line of JSON, without what only Python reads."""

    def never(word):
        raise AssertionError(f"{word} in {line}")

    return json.loads(line, parse_constant=never)


@pytest.fixture
def run(capsys):
    """The exit status of a command, its JSON lines, and its one line of error."""

    def call(*words):
        status = main([*map(str, words)])
        out, err = capsys.readouterr()
        assert err.count("\n") == (1 if err else 0) and "Traceback" not in err
        return status, [strict(line) for line in out.splitlines()], err

    return call


def no_number(graph):
    """The first output is NaN, whatever comes."""
    for node in graph.node:
        for k, name in enumerate(node.output):
            if name == "value":
                node.output[k] = "number"
    nan = helper.make_tensor("nan", TensorProto.DOUBLE, [], [math.nan])
    graph.initializer.append(nan)
    graph.node.append(helper.make_node("Add", ["number", "nan"], ["value"]))


def sometimes_no_number(graph):
    """NaN in windows of more than 20 nodes, by a root of a negative number."""
    no_number(graph)
    del graph.node[-1], graph.initializer[-1]
    for name, value in (("twenty", 20.0), ("zero", 0.0)):
        graph.initializer.append(helper.make_tensor(name, TensorProto.DOUBLE, [], [value]))
    first = helper.make_tensor("first", TensorProto.INT64, [], [0])
    graph.initializer.append(first)
    steps = [("Shape", ["x"], "shape_of"), ("Gather", ["shape_of", "first"], "count_of")]
    for kind, inputs, output in steps:
        graph.node.append(helper.make_node(kind, inputs, [output]))
    graph.node.append(helper.make_node("Cast", ["count_of"], ["nodes"], to=TensorProto.DOUBLE))
    graph.node.append(helper.make_node("Sub", ["twenty", "nodes"], ["more"]))
    graph.node.append(helper.make_node("Sqrt", ["more"], ["root"]))
    graph.node.append(helper.make_node("Mul", ["root", "zero"], ["nought"]))
    graph.node.append(helper.make_node("Add", ["number", "nought"], ["value"]))


def endless(graph):
    """2⁶² rounds of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("a", TensorProto.DOUBLE, [])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("b", TensorProto.DOUBLE, [])],
    )  # fmt: skip
    no_number(graph)
    del graph.node[-1]
    graph.initializer.append(helper.make_tensor("most", TensorProto.INT64, [], [1 << 62]))
    graph.node.append(helper.make_node("Loop", ["most", "", "number"], ["value"], body=body))


def greedy(graph):
    """A window costs 8 GB."""
    no_number(graph)
    del graph.node[-1]
    graph.initializer.append(helper.make_tensor("much", TensorProto.INT64, [1], [1 << 31]))
    graph.node.append(helper.make_node("ConstantOfShape", ["much"], ["zeros"]))
    graph.node.append(helper.make_node("ReduceMax", ["zeros"], ["nought"], keepdims=0))
    graph.node.append(helper.make_node("Cast", ["nought"], ["wide"], to=TensorProto.DOUBLE))
    graph.node.append(helper.make_node("Add", ["number", "wide"], ["value"]))


@pytest.mark.parametrize("at", BLIND)
def test_a_threshold_out_of_reach_is_refused_by_all_three_ways(at, odd, log, detector_file, run):
    status, _, said = run("monitor", odd({"threshold": at}), "--log", log)
    assert status == 2 and "odd.onnx: " in said and ("threshold" in said or "numbers" in said)
    status, _, said = run("monitor", detector_file, "--log", log, f"--at={at}")
    assert status == 2 and f"threshold {at}" in said
    make, path = partial(Monitor, Exported(detector_file)), log.with_name("state.npz")
    first = Buses(make, ["a"])
    first.of["a"].watch.at = at
    save_state(path, first, Source("a"))
    with pytest.raises(SpoiltStateError, match=r"state\.npz: "):
        resume_state(path, Buses(make), Source("a"))


def test_a_threshold_that_clean_traffic_puts_out_of_reach_is_not_taken(detector_file, drive):
    detector = Exported(detector_file)
    judge = detector.judge
    detector.judge = lambda *window: judge(*window)._replace(value=1.0)
    monitor = Monitor(detector, calibrate=5.0)
    (told,) = (e for e in monitor.feed(drive) if e["event"] == "calibrated")
    assert told["at"] == told["before"] < 1 and told["rate"] == 1.0, "and the rate says it"


@pytest.mark.parametrize("name", ["x", "value", "node"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1e999"])
def test_a_proof_with_no_number_in_it_proves_nothing(name, number, odd, run, log):
    facts = json.loads({p.key: p.value for p in onnx.load(odd()).metadata_props}[KEY])
    proof = copy.deepcopy(facts["proof"])
    match name:
        case "x":
            proof["x"][0][0] = "HERE"
        case "value":
            proof["value"] = "HERE"
        case "node":
            proof["node"][-1] = "HERE"
    text = json.dumps(facts | {"proof": proof}).replace('"HERE"', number)
    status, _, said = run("monitor", odd({"text": text}), "--log", log)
    assert status == 2 and "odd.onnx: its metadata cannot be read" in said


@pytest.mark.parametrize(
    "facts",
    [
        {"kind": "oracle"},
        {"kind": "GAT\x1b[31m"},
        {"kind": "fusion (oracle)"},
        {"window": 10**9},
        {"window": -1},
        {"window": True},
        {"stride": 0},
        {"threshold": "high"},
        {"threshold": None},
        {"weights_sha256": "0" * 64},
        {"weights_sha256": ["\x1b[31m"]},
        {"node_features": ["\x1b[31m" * 9999]},
        {"edge_features": [[]]},
        {"profile": {"scale.tick": "\x1b[31m"}},
        {"format": {"\x1b[31m": 1}},
        {"proof": []},
        {"proof": {"x": [[1.0], [1.0, 2.0]], "value": 0.5, "node": []}},
        {"proof": {"x": [["a"]], "value": 0.5, "node": ["b"]}},
        {"text": "{}"},
        {"text": "[]"},
        {"text": "1" * 9999},
        {"text": "[" * 99999},
        {"text": '{"format": 1e999}'},
    ],
    ids=lambda facts: next(iter(facts)),
)
def test_odd_metadata_are_an_error_of_one_line_that_names_the_file(facts, odd, run, log):
    status, _, said = run("scan", log, "--detector", odd(facts))
    assert status == 2 and "odd.onnx: " in said and "\x1b" not in said and len(said) < 1000


def test_an_answer_of_the_maker_is_compared_number_by_number(odd, run, log):
    proof = json.loads({p.key: p.value for p in onnx.load(odd()).metadata_props}[KEY])["proof"]
    for wrong in (
        {"value": 1e9},
        {"node": proof["node"][:1]},
        {"node": []},
        {"node": [proof["node"]]},
        {"node": [1e9] * len(proof["node"])},
    ):
        status, _, said = run("monitor", odd({"proof": proof | wrong}), "--log", log)
        assert status == 2 and "odd.onnx: " in said


def test_every_rule_of_fusion_that_a_file_can_hold_is_a_known_kind():
    rules = all_rules(load_params(fusion={"steps": 20}).fusion).values()
    assert {f"fusion ({rule.kind})" for rule in rules} <= {*KINDS}


def test_a_file_that_would_compute_for_ever_is_never_run(odd, run, log):
    status, _, said = run("monitor", odd(graph=endless), "--log", log)
    assert status == 2 and "odd.onnx: operators that cangraph does not write (" in said


def test_a_file_that_would_take_all_memory_is_an_error(odd, run, log):
    status, _, said = run("monitor", odd(graph=greedy), "--log", log)
    assert status == 2 and "odd.onnx: " in said


@pytest.mark.parametrize("seed", range(3))
def test_any_damage_to_a_file_is_an_error_that_names_it(seed, detector_file, tmp_path):
    dice, content = np.random.default_rng(seed), bytearray(detector_file.read_bytes())
    path = tmp_path / "odd.onnx"
    for at in dice.integers(0, len(content), 100).tolist():
        path.write_bytes(
            content[:at] + bytes([content[at] ^ 1 << dice.integers(8)]) + content[at + 1 :]
        )
        try:
            same = Exported(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
        else:  # what says where it comes from is not proven, nor does it change a score
            assert same.threshold == Exported(detector_file).threshold
            assert graph_of(path.read_bytes())[0] == graph_of(bytes(content))[0]


def test_a_detector_that_answers_nan_from_the_start_is_refused(odd, run, log):
    status, _, said = run("monitor", odd(graph=no_number), "--log", log)
    assert status == 2 and "a value of nan instead of" in said


def test_a_window_without_a_number_is_told_and_is_never_clean(odd, run, log, drive):
    path = odd(graph=sometimes_no_number)
    many = Frames(np.arange(1000) * 1e-3, np.arange(1000) % 40 + 1, dlc=np.full(1000, 8))
    write_frames(many, log.with_name("many.log"))
    status, events, _ = run("monitor", path, "--log", log.with_name("many.log"))
    unjudged = [event for event in events if event["event"] == "unjudged"]
    assert status == Status.NOT_JUDGED and len(unjudged) == 10
    assert events[-1]["status"] == 3
    told = [event for event in events if event["event"] == "statistics"][-1]
    assert (told["windows"], told["unjudged"], told["called"]) == (0, 10, 0)
    status, (facts,), _ = run("scan", log.with_name("many.log"), "--detector", path, "--json")
    assert status == 3 and facts["logs"][0]["buses"][0]["unjudged"] == 10
    assert "not judged" in facts["logs"][0]["verdict"]
    with pytest.raises(ValueError, match=r"odd\.onnx: no number for 10 of 10 windows"):
        Exported(path).score(to_graphs([many]))


def test_exit_statuses(run, log, detector_file, clean, tmp_path, capsys):
    found, quiet, short = (tmp_path / f"{name}.log" for name in ("found", "quiet", "short"))
    write_frames(inject(clean, "flooding", spans=[(6.0, 9.0)]), found)
    write_frames(clean, quiet)
    write_frames(clean[:99], short)
    never, always = ("--at", "0.9999999"), ("--at", "0")
    assert run("monitor", detector_file, "--log", quiet, *never)[0] == 0
    assert run("monitor", detector_file, "--log", quiet, *always)[0] == 1
    assert run("monitor", "--log", quiet)[0] == 0
    assert run("monitor", "--log", found)[0] == 1
    assert run("monitor", "--log", short)[0] == 3
    assert run("monitor", "--log", quiet, "--calibrate", "60")[0] == 3
    for seconds in ("nan", "inf"):
        with pytest.raises(SystemExit, match="2"):
            main(["monitor", "--log", str(quiet), "--calibrate", seconds])
        with pytest.raises(ValueError, match="s to calibrate on"):
            Monitor(Exported(detector_file), calibrate=float(seconds))
    capsys.readouterr()
    assert run("monitor", "--log", tmp_path / "none.log")[0] == 2
    assert run("monitor", tmp_path / "none.onnx", "--log", quiet)[0] == 2
    for path, status in ((found, 1), (quiet, 0), (short, 3), (tmp_path / "none.log", 2)):
        assert run("scan", path, "--json")[0] == status


def test_a_log_that_is_mostly_refused_is_not_readable(run, tmp_path):
    """Of a binary log each message is read by itself, so that none says what the log is."""
    path = tmp_path / "bus.db"
    with can.SqliteWriter(path) as writer:
        for k in range(40_000):
            dlc = 8 if k % 200 == 0 else 99
            writer(can.Message(k * 1e-3, 0x100 + k % 7, data=bytes(8), dlc=dlc))
    for words in (("monitor", "--log", path), ("scan", path, "--json")):
        assert run(*words)[0] == 2


def test_the_status_of_several_logs_is_that_of_an_alarm_or_else_the_least_known():
    assert Status.worst([Status.NOT_JUDGED, Status.ALARM]) is Status.ALARM
    assert Status.worst([Status.NOTHING, Status.UNREADABLE]) is Status.UNREADABLE
    assert Status.worst([]) is Status.NOTHING
