"""A detector that knows one vehicle, as a file and on the command line."""

import json

import pytest

from cangraph.__main__ import main
from cangraph.bus.attacks import inject
from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.deploy.detector import Exported
from cangraph.deploy.dry_run import attack_trials
from cangraph.deploy.known_vehicle import with_baseline
from cangraph.deploy.monitor import Monitor
from cangraph.features.baseline import Baseline
from cangraph.io.writers import write_frames


@pytest.fixture(scope="module")
def baseline():
    return Baseline.learn([simulate("aster", 10.0, seed=7)])


@pytest.fixture(scope="module")
def knowing(detector, baseline, tmp_path_factory):
    path = tmp_path_factory.mktemp("known") / "car.onnx"
    return with_baseline(detector, baseline, path)


def test_the_file_holds_one_baseline_and_the_same_net(detector, knowing, baseline, drive, tmp_path):
    assert repr(knowing.baseline) == repr(baseline) and not detector.baseline
    graphs = to_graphs([drive])
    assert (knowing.score(graphs).value == detector.score(graphs).value).all()
    longer = Baseline.learn([simulate("aster", 20.0, seed=7)])
    other = with_baseline(knowing, longer, tmp_path / "b.onnx")
    other = with_baseline(other, baseline, tmp_path / "c.onnx")
    assert repr(other.baseline) == repr(baseline)
    apart = other.path.stat().st_size - knowing.path.stat().st_size
    assert abs(apart) < 100, "in place of the one before"
    onnx = pytest.importorskip("onnx")
    onnx.checker.check_model(onnx.load(knowing.path))


def test_the_monitor_starts_with_it(knowing, drive):
    graphs = to_graphs([drive], baselines=[knowing.baseline])
    events = Monitor(knowing).feed(drive)
    told = [event["value"] for event in events if event["event"] == "window"]
    assert told == knowing.score(graphs).value.tolist()
    assert told != knowing.score(to_graphs([drive])).value.tolist()


def test_a_damaged_baseline_is_refused(knowing, tmp_path):
    content = bytearray(knowing.path.read_bytes())
    content[-400:-380] = b"A" * 20
    (tmp_path / "spoilt.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"spoilt.onnx: .*cangraph baseline"):
        Exported(tmp_path / "spoilt.onnx")


@pytest.mark.parametrize("known", [False, True])
def test_trials_on_a_short_rest_know_the_car(detector, knowing, known):
    detector, capture = knowing if known else detector, simulate("aster", 24.0, seed=3)
    rows = attack_trials(detector, capture, since=18.0)
    assert {row["events"] for row in rows} >= {1} and len(rows) == 21
    with pytest.raises(ValueError, match=r"0\.5 s of .* are left"):
        attack_trials(detector, capture, since=capture.duration - 0.5)


def test_the_command(detector_file, tmp_path, capsys):
    clean, attacked = simulate("aster", 12.0, seed=1), simulate("aster", 12.0, seed=2)
    attacked = inject(attacked, "fuzzing", spans=[(0.2, 3)], severity=0.7)
    write_frames(clean, tmp_path / "clean.log")
    write_frames(attacked, tmp_path / "attacked.log")
    car = tmp_path / "car.onnx"
    assert main(["baseline", str(tmp_path / "clean.log"), "-o", str(car)]) == 0
    said = capsys.readouterr().out
    assert str(car) in said and "less than 30 s" in said
    status = main(["scan", str(tmp_path / "attacked.log"), "--detector", str(car), "--json"])
    found = json.loads(capsys.readouterr().out)["logs"][0]
    here = ["--baseline", str(tmp_path / "clean.log"), "--json"]
    assert main(["scan", str(tmp_path / "attacked.log"), *here]) == status
    assert json.loads(capsys.readouterr().out)["logs"][0]["alarms"] == found["alarms"]
    assert not any("taken for normal" in why for why in found["buses"][0]["not_judged"])
    learnt_without = ["-o", str(car), "--detector", str(detector_file)]
    assert main(["baseline", str(tmp_path / "clean.log"), *learnt_without]) == 1
    assert "gat.onnx: it was trained without baselines" in capsys.readouterr().err
    assert main(["baseline", str(tmp_path / "none.log"), "-o", str(car)]) != 0
    assert "none.log" in capsys.readouterr().err
