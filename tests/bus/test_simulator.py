import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cangraph.bus.arbitration import frame_duration
from cangraph.bus.attacks import ATTACKS
from cangraph.bus.simulator import CAPTURES, VEHICLES, demo_captures, messages, simulate

BIT = 2e-6  # s


@pytest.fixture(scope="module")
def demo():
    return demo_captures(seconds=24.0)


def rows(frames):
    """Arbitration ID and payload of each frame, sorted: what was sent, whenever it was."""
    return np.unique(np.column_stack([frames.arbitration_id, frames.data]), axis=0)


def test_frames_do_not_overlap_and_load_the_bus_as_in_a_car(demo):
    for frames in demo:
        gaps, shortest = np.diff(frames.timestamp), BIT * (47 + 8 * frames.dlc.astype(int))
        assert (gaps >= shortest[1:] - 1e-9).all() and (gaps >= 50e-6).all()
        assert frames.timestamp[0] >= 0 and frames.timestamp[-1] <= 24.0
        assert np.allclose(frames.timestamp * 1e6, np.rint(frames.timestamp * 1e6), atol=1e-3)
        busy = np.bincount(frames.timestamp.astype(int), frame_duration(frames.dlc) * 1e-9)
        assert busy.max() < 1
        if not frames.attack.any() and not frames.attack_spans:
            assert busy[1:-1].min() > 0.2 and busy.max() < 0.4
        assert 900 < (~frames.attack).sum() / frames.duration < 1600


def test_vehicles_are_different_cars():
    ids = {vehicle: {m.arbitration_id for m in messages(vehicle)} for vehicle in VEHICLES}
    assert len({len(s) for s in ids.values()}) == len(VEHICLES)
    for vehicle, own in ids.items():
        assert 30 <= len(own) <= 90 and max(own) < 0x800 and min(own) > 0
        for other in set(VEHICLES) - {vehicle}:
            assert len(own & ids[other]) < len(own) / 4


def test_a_fleet_is_of_many_cars_each_always_the_same():
    fleet = [messages(f"fleet-{n}") for n in (0, 1, 10**9 - 1)]
    tables = {tuple(m.arbitration_id for m in table) for table in fleet}
    tables |= {tuple(m.arbitration_id for m in messages(vehicle)) for vehicle in VEHICLES}
    assert len(tables) == len(fleet) + len(VEHICLES)
    messages.cache_clear()
    assert messages("fleet-1") == fleet[1]


def test_a_switch_of_the_fleet_is_sent_at_once_and_again_when_it_turns():
    frames = simulate("fleet-17", 30.0, seed=3)
    cyclic = [message for message in messages("fleet-17") if message.period]
    switched = [(m, field) for m in cyclic for field in m.fields if field.kind == "switch"]
    assert len(switched) >= 2
    for message, field in switched:
        own = frames[frames.arbitration_id == message.arbitration_id]
        assert set(own.data[:, field.byte]) == set(field.values)
        turns = 1 + np.flatnonzero(np.diff(own.data[:, field.byte]))
        assert len(turns) == pytest.approx(30 * message.events, rel=0.8)
        for turn in turns:  # unless the next event, or the end of the drive, comes first
            soon = own.timestamp[turn] + message.pace * (message.repeats - 1) + 5e-3
            sent = np.searchsorted(own.timestamp, soon) - turn
            assert sent >= message.repeats or soon > 30


@pytest.mark.parametrize("vehicle", VEHICLES)
def test_clean_traffic_keeps_the_rules_of_its_messages(vehicle):
    frames = simulate(vehicle, 12.0, seed=5)
    kinds = set()
    for message in messages(vehicle):
        own = frames[frames.arbitration_id == message.arbitration_id]
        assert (own.dlc == message.dlc).all() and not own.data[:, message.dlc :].any()
        if message.period and not message.events:
            assert len(own) == pytest.approx(12.0 / message.period, rel=0.01, abs=1)
            off = np.abs(np.diff(own.timestamp) - message.period)
            assert off.max() < 0.75 * message.period + 5e-3, "queues delay by milliseconds"
        data = own.data.astype(int)
        for kind, byte, values, *_ in message.fields:
            kinds.add(kind)
            if kind == "counter":
                assert set(np.diff(data[:, byte]) % values[0]) == {1}
                assert (data[:, byte] & values[1] == values[1]).all()
            elif kind in ("table", "enum"):
                assert set(data[:, byte]) <= set(values)
            elif kind in ("xor", "sum"):
                together = {"xor": np.bitwise_xor, "sum": np.add}[kind]
                rest = together.reduce(np.delete(data, byte, axis=1), axis=1)
                assert (data[:, byte] == together(rest, values[0]) & 0xFF).all()
    assert kinds == {"table", "counter", "enum", "signal", "xor", "sum"}
    assert any(f.kind == "table" and len(f.values) > 1 for m in messages(vehicle) for f in m.fields)


def test_signals_move_smoothly_and_follow_one_drive():
    frames = simulate("aster", 30.0, seed=2)
    speeds = []
    for message in messages("aster"):
        own = frames[frames.arbitration_id == message.arbitration_id]
        for field in message.fields:
            if field.channel == "speed" and 0 < message.period <= 0.02:
                raw = own.data[:, field.byte].astype(int) << 8 | own.data[:, field.byte + 1]
                assert np.abs(np.diff(raw)).max() < 0.02 * field.values[1] + 8 * field.noise
                speed = (raw - field.values[0]) / field.values[1]
                speeds.append(np.interp(np.arange(1, 29), own.timestamp, speed))
    assert len(speeds) >= 2 and np.std(speeds, axis=0).max() < 0.01 and np.ptp(speeds[0]) > 0.1


def test_an_attack_leaves_the_drive_as_it_is():
    clean, left = (simulate("aster", 18.0, attack=a, seed=3) for a in ("", "suppression"))
    kept = np.isin(clean.timestamp, left.timestamp)
    assert kept.sum() == len(left) < len(clean) and not clean.attack_spans
    assert np.array_equal(clean.data[kept], left.data)


def test_attacks_look_as_they_are_called():
    under = {a: simulate("borage", 40.0, attack=a, seed=1) for a in ATTACKS}
    own = {m.arbitration_id for m in messages("borage")}
    injected = {attack: frames[frames.attack] for attack, frames in under.items()}
    gap = {a: np.median(np.diff(f.timestamp)) for a, f in injected.items() if len(f)}
    ids = {attack: set(frames.arbitration_id) for attack, frames in injected.items()}
    assert ids["flooding"] == {0} and not injected["flooding"].data.any()
    assert len(ids["fuzzing"]) > 1500 and 1 < len(ids["replay"]) < len(own)
    for attack in ("spoofing", "malfunction", "masquerade"):
        assert len(ids[attack]) <= 3 and ids[attack] <= own
    assert len(rows(injected["spoofing"])) <= 3 and len(rows(injected["malfunction"])) > 500
    assert 0.3e-3 < gap["flooding"] < 0.6e-3 and 0.4e-3 < gap["fuzzing"] < 1.1e-3
    assert 2e-3 <= gap["spoofing"] <= 9e-3 and 2e-3 <= gap["malfunction"] <= 4.5e-3


@pytest.mark.parametrize("attack", ATTACKS)
@settings(deadline=None, max_examples=8)
@given(seconds=st.sampled_from([3.0, 14.0, 16.0, 40.0]), seed=st.integers(0, 10**6))
def test_bursts_leave_the_calibration_clean(attack, seconds, seed):
    frames = simulate("borage", seconds, attack=attack, seed=seed)
    times = frames.timestamp[frames.attack]
    starts = [*times, *(span.start for span in frames.attack_spans)]
    assert min(starts) >= 11 * min(1, seconds / 15) - frames.timestamp[0]
    if seconds == 40.0 and attack not in ("replay", "suppression", "masquerade"):
        pauses = np.flatnonzero(np.diff(times) > 0.2)
        begin, end = times[np.append(0, pauses + 1)], times[np.append(pauses, -1)]
        assert len(begin) == 3 and (begin[1:] - end[:-1]).min() > 0.8
        assert (end - begin > 1.9).all() and (end - begin < 5.1).all()


def test_bursts_severity_and_payload_are_choices():
    twice = simulate("aster", 30.0, attack="malfunction", bursts=2)
    assert (np.diff(twice.timestamp[twice.attack]) > 0.2).sum() == 1
    assert simulate("borage", 40.0, attack="spoofing", severity=0.01).attack.sum() == 3
    frozen = simulate("aster", 20.0, attack="masquerade", payload="frozen", bursts=1)
    assert len(rows(frozen[frozen.attack])) == 1


def test_same_seed_same_bytes():
    a, b, c = (simulate("clover", 5.0, attack="fuzzing", seed=k).sha256() for k in (9, 9, 10))
    assert a == b != c
    again = [[f.sha256() for f in demo_captures(seed=seed, seconds=2.0)] for seed in (4, 4, 5)]
    assert again[0] == again[1] and not set(again[0]) & set(again[2])


def test_start_moves_the_timestamps_alone():
    a, b = simulate("aster", 3.0), simulate("aster", 3.0, start=100.0)
    assert np.allclose(a.timestamp + 100.0, b.timestamp, rtol=0, atol=1e-7)
    assert (a.data == b.data).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate("kia", 1.0), "vehicle: 'kia' is unknown; expected one of aster, borage"),
        (lambda: messages("fleet-x"), "'fleet-x' is unknown; expected one of aster"),
        (lambda: simulate("aster", 1.0, attack="dos"), "'dos' is unknown; expected one of flood"),
        (lambda: simulate("aster", 0.0), "0.0 seconds, .*; expected numbers above 0"),
        (lambda: simulate("aster", -3), "-3 seconds"),
        (lambda: simulate("aster", float("nan")), "nan seconds"),
        (lambda: simulate("aster", float("inf")), "inf seconds"),
        (lambda: simulate("aster", 1.0, attack="fuzzing", bursts=0), "0 bursts"),
        (lambda: simulate("aster", 9.0, attack="replay", severity=0), "severity 0; expected 0 < s"),
        (lambda: simulate("aster", 9.0, attack="replay", payload="frozen"), "'frozen' for replay"),
        (lambda: simulate("aster", 1.0, seed=-1), "seed -1; expected .* from 0 on; try"),
        (lambda: demo_captures(seconds=0), "0 seconds"),
    ],
)
def test_bad_input_is_refused_with_advice(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_capture_may_be_too_short_for_a_frame():
    for attack in ("", *ATTACKS):
        assert len(simulate("aster", 1e-5, attack=attack)) == 0


def test_scenarios_hold_back_a_vehicle_and_an_attack(demo):
    assert [frames.name for frames in demo] == " ".join(CAPTURES.values()).split()
    assert len({frames.name for frames in demo}) == len(demo) == 20
    trained = {t for f in demo if f.scenario.startswith("train") for t in f.attack_type[f.attack]}
    for frames in demo:
        assert frames.name in CAPTURES[frames.scenario].split()
        assert frames.recording == "" and frames.report.reordered == 0
        number = int(frames.scenario.split("_")[1]) if frames.scenario[:4] == "test" else 0
        if number < 5:  # test_05 and test_06 hold both vehicles
            assert (frames.vehicle == "clover") == (number in (2, 4))
        unknown = set(frames.attack_type[frames.attack]) - trained or frames.attack_spans
        assert bool(unknown) == (number > 2)
        benign = frames.scenario == "train_01_attack_free"
        assert (frames.attack.any() or bool(frames.attack_spans)) != benign
