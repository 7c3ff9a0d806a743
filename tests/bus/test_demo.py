"""The demo dataset: what is held back for the tests, and no drive is met twice."""

import pytest

from cangraph.bus.demo import CAPTURES, demo_captures
from cangraph.bus.simulator import VEHICLES, messages


@pytest.fixture(scope="module")
def demo():
    return demo_captures(seconds=24.0)


def test_no_drive_twice(demo):
    for vehicle in VEHICLES:
        captures = [frames for frames in demo if frames.vehicle == vehicle]
        fast = min(m.arbitration_id for m in messages(vehicle) if m.period == 0.01)
        drives = set()
        for frames in captures:
            genuine = frames[~frames.attack & (frames.arbitration_id == fast)]
            drives.add(genuine.data[:500].tobytes())
        assert len(drives) == len(captures)


def test_scenarios_hold_back_a_vehicle_and_an_attack(demo):
    planned = CAPTURES
    assert [frames.name for frames in demo] == [n for names in planned.values() for n in names]
    assert len({frames.name for frames in demo}) == len(demo) == 20
    trained = {t for f in demo if f.scenario.startswith("train") for t in f.attack_type[f.attack]}
    for frames in demo:
        assert frames.name in planned[frames.scenario]
        assert frames.name.endswith(f"-{frames.vehicle}")
        assert frames.recording == "" and frames.report.reordered == 0
        number = int(frames.scenario.split("_")[1]) if frames.scenario[:4] == "test" else 0
        if number < 5:  # test_05 and test_06 hold both vehicles
            assert (frames.vehicle == "clover") == (number in (2, 4))
        unknown = set(frames.attack_type[frames.attack]) - trained or frames.attack_spans
        assert bool(unknown) == (number > 2)
        benign = frames.scenario == "train_01_attack_free"
        assert (frames.attack.any() or bool(frames.attack_spans)) != benign
