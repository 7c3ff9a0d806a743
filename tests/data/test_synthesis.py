"""Training material: labelled by construction, never twice the same, never what is held out."""

import shutil
import weakref

import numpy as np
import pytest

from cangraph.bus.attacks import inject
from cangraph.bus.simulator import simulate
from cangraph.data.datasets import clean_captures, read
from cangraph.data.graphs import Graphs, to_graphs
from cangraph.data.splits import PARTS, Split, by_time, split
from cangraph.data.synthesis import Synthesis, attacked, varied
from cangraph.frames import ATTACK_TYPES, AttackSpan, Frames
from cangraph.params import load_params

SMALL = {"seconds": 30, "fleet": 1}


@pytest.fixture(scope="module")
def clean():
    return [
        simulate(vehicle, 16.0, seed=5).label(scenario="train_01_attack_free", recording=vehicle)
        for vehicle in ("aster", "borage")
    ]


@pytest.fixture(scope="module")
def data(clean):
    drive = simulate("aster", 16.0, attack="fuzzing", seed=3)
    labelled = drive.label(scenario="train_02_with_attacks", recording="c")
    return split(to_graphs([*clean, labelled]), load_params("demo", split={"gap": 0.1}).split)


def material(data, clean, train_on="both", **synthesis):
    more = {"synthesis": SMALL | synthesis, "fit": {"train_on": train_on}}
    return Synthesis(data, clean, load_params("demo", split={"gap": 0.1}, **more))


def same(one: Graphs, two: Graphs) -> bool:
    return all(np.array_equal(getattr(one, n), getattr(two, n)) for n in Graphs.names())


def test_attacks_of_every_kind_are_drawn(clean):
    rng = np.random.default_rng(0)
    made = [attacked(clean[0], rng, 0.5) for _ in range(12)]
    kinds = np.unique(np.concatenate([np.unique(c.attack_type) for c in made]))
    assert {1, 2, 3, 4, 5, 7} <= set(kinds.tolist())
    assert any(c.attack_spans for c in made)


def test_a_capture_with_no_victim_is_left_alone():
    quiet = Frames(np.array([0.0, 20.0]), np.array([1, 2]))
    added = {"flooding", "fuzzing"}  # which need none
    for seed in range(8):
        out = attacked(quiet, np.random.default_rng(seed), 1.0)
        assert {ATTACK_TYPES[k] for k in out.attack_type[out.attack]} <= added
        assert not out.attack_spans


@pytest.mark.acceptance
def test_a_long_capture_is_attacked_in_pieces_of_one_size(monkeypatch):
    sizes = []

    def noted(frames, *given, **how):
        sizes.append(len(frames))
        return inject(frames, *given, **how)

    monkeypatch.setattr("cangraph.data.synthesis.inject", noted)
    for seconds in (1000, 4000):
        n = 50 * seconds
        long = Frames(np.arange(n) / 50, np.arange(n) % 5, name="long", scenario="train_01")
        sizes.clear()
        out = attacked(long, np.random.default_rng(0), 0.5)
        assert max(sizes) < 3 * 50 * 240  # what is added counts too
        assert (out.name, out.scenario) == ("long", "train_01")
        times = [*out.timestamp[out.attack], *(span.start for span in out.attack_spans)]
        assert np.ptp(np.sort(times)[:: len(times) // 40]) > 0.9 * seconds
        assert np.diff(np.sort(times)).max() < 40, "attacks from begin to end"
        assert all(0 <= s.start <= s.end <= out.duration for s in out.attack_spans)
        kept = np.isin(long.timestamp, out.timestamp[~out.attack])
        assert kept.mean() > 0.5 and not long.attack.any()


def test_only_a_missing_victim_is_passed_over(clean, monkeypatch):
    def broken(*_, **__):
        raise ValueError("not a matter of victims")

    monkeypatch.setattr("cangraph.data.synthesis.inject", broken)
    with pytest.raises(ValueError, match="not a matter of victims"):
        attacked(clean[0], np.random.default_rng(0), 0.5)


def test_another_car_has_fewer_frames_and_other_payloads_but_no_new_id(clean):
    capture = clean[0]
    other = varied(capture, np.random.default_rng(3))
    assert set(other.arbitration_id) < set(capture.arbitration_id)
    assert 0.3 * len(capture) < len(other) < len(capture)
    kept = np.isin(capture.timestamp, other.timestamp)
    assert (capture.data[kept] != other.data).any()
    assert not other.attack.any()
    assert (other.dlc == capture.dlc[kept]).all()
    beyond = np.arange(8) >= other.dlc[:, None]
    assert not other.data[beyond].any(), "bytes past the DLC stay zero"


def test_a_car_at_rest_goes_on_counting():
    n = 6000  # 60 s of one ID that counts and one that only drifts
    i = np.arange(n)
    data = np.zeros((2 * n, 8), np.uint8)
    data[0::2, 0], data[0::2, 1], data[1::2, 0] = i % 16, i // 7, i // 3
    car = Frames(np.arange(2 * n) * 0.005, np.tile([1, 2], n), data=data)
    held = {1: 0, 2: 0}
    for seed in range(20):
        other = varied(car, np.random.default_rng(seed))
        for k in held:
            same = (np.diff(other.data[other.arbitration_id == k], axis=0) == 0).all(1)
            held[k] += "11111" * 20 in "".join("01"[int(x)] for x in same)  # 100 frames, 1 s
    assert held[1] == 0 and held[2] >= 5


def test_an_empty_payload_stays_empty():
    empty = Frames(np.arange(100) * 0.1, np.full(100, 7), dlc=np.zeros(100))
    for seed in range(8):
        assert not varied(empty, np.random.default_rng(seed)).data.any()


def test_the_same_number_gives_the_same_windows_and_another_gives_others(data, clean):
    one, two = (material(data, clean, "clean") for _ in range(2))
    assert not same(one.draw(0, 0.0), one.draw(0))
    assert not same(one.draw(0), one.draw(1))
    assert one.draw(0) is one.draw(0), "drawn once"
    assert same(one.draw(0), two.draw(0)) and same(one.draw(0, 0.0), two.draw(0, 0.0))


@pytest.mark.acceptance
def test_only_the_first_draw_and_the_last_are_kept(data, clean):
    made = material(data, clean, "clean", fleet=0)
    drawn = [weakref.ref(made.draw(epoch, epoch / 4)) for epoch in range(5)]
    assert [draw() is not None for draw in drawn] == [True, False, False, False, True]


def test_a_draw_that_was_made_for_another_model_is_read_from_the_disk(data, clean):
    drawn = material(data, clean)
    first = [drawn.draw(k, k / 2) for k in range(3)]
    place = drawn._place
    drawn._made = None  # is not called again
    again = [drawn.draw(k, k / 2) for k in (1, 2, 0)]
    assert all(same(first[k], graphs) for k, graphs in zip((1, 2, 0), again, strict=True))
    assert again[0].captures == first[1].captures
    del drawn
    assert not place.exists()


def test_a_folder_that_was_swept_changes_no_draw(data, clean):
    drawn = material(data, clean)
    first = [drawn.draw(k, k / 2) for k in range(3)]
    shutil.rmtree(drawn._place)
    assert same(first[1], drawn.draw(1, 0.5))


def test_a_disk_that_is_full_changes_no_draw(data, clean, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    first = material(data, clean).draw(1)
    monkeypatch.setattr(np, "savez", full)
    assert same(first, material(data, clean).draw(1))


@pytest.mark.parametrize("train_on, labelled", [("labelled", True), ("clean", False)])
def test_what_is_trained_on_is_what_was_asked_for(data, clean, train_on, labelled):
    made = material(data, clean, train_on)
    assert same(made.draw(3), data.train) == labelled
    assert same(made.val, data.val) == labelled
    assert same(made.calib, data.calib) == labelled


def test_both_holds_the_labelled_windows_first(data, clean):
    both, alone = material(data, clean, "both"), material(data, clean, "clean")
    n = len(data.train)
    assert same(both.draw(0)[:n], data.train)
    assert len(both.draw(0)) == n + len(alone.draw(0))
    assert np.array_equal(both.draw(0).x[len(data.train.x) :], alone.draw(0).x)


def test_train_val_and_calib_lie_in_their_own_time(data, clean):
    made = material(data, clean, "clean", fleet=0, varied=0.0)
    for part, graphs in (("train", made.draw(0)), ("val", made.val), ("calib", made.calib)):
        assert (by_time(graphs, made.params.split) == PARTS.index(part)).all()
        assert graphs.label.any() and not graphs.label.all()


def test_a_recording_that_trains_whole_is_not_held_out(clean):
    again = simulate("aster", 16.0, attack="fuzzing", seed=3)
    again = again.label(scenario="train_02_with_attacks", recording="aster")
    params = load_params("demo", split={"gap": 0.1})
    data = split(to_graphs([*clean, again]), params.split)
    made = material(data, clean, "clean", fleet=0, varied=0.0)
    for graphs in (made.val, made.calib):
        assert {graphs.captures[k].recording for k in graphs.capture} == {"borage"}
    train = made.draw(0)
    aster = np.array([info.recording == "aster" for info in train.captures])[train.capture]
    assert (by_time(train[aster], params.split) != PARTS.index("train")).any()


def test_held_out_cars_are_never_trained_on(data, clean):
    made = material(data, clean, "clean", fleet=4)
    cars = {c.vehicle for k in range(6) for c in made.draw(k).captures if "fleet" in c.vehicle}
    held = {c.vehicle for g in (made.val, made.calib) for c in g.captures if "fleet" in c.vehicle}
    assert len(cars) == 24 and len(held) == 8
    assert not cars & held


def test_attacks_grow_subtle(data, clean):
    made = material(data, clean, "clean", fleet=0, varied=0.0, gross=1.0, subtle=0.05)
    gross, subtle = (
        sum(capture.attack_frames for capture in graphs.captures)
        for graphs in (made.draw(0, 0.0), made.draw(1, 1.0))
    )
    assert subtle < 0.6 * gross


def test_captures_with_attacks_are_refused(data, clean):
    drive = simulate("aster", 16.0, attack="fuzzing", seed=3)
    with pytest.raises(ValueError, match="fuzzing-aster hold attacks; expected clean traffic"):
        material(data, [drive])
    silent = clean[0].label(attack_spans=(AttackSpan(1.0, 2.0, "suppression", 5),))
    with pytest.raises(ValueError, match="attack-free-aster hold attacks"):
        material(data, [silent])


def test_nothing_to_train_on_is_refused(data):
    with pytest.raises(ValueError, match=r"no clean capture came; .*fit\.train_on = labelled"):
        material(data, [], fleet=0)
    assert same(material(data, [], "labelled", fleet=0).draw(0), data.train)


def test_simulated_cars_alone_will_do():
    none = Split(to_graphs([simulate("aster", 3.0)]), np.zeros(0, np.uint8), ())
    made = material(none, [], "clean", fleet=2)
    assert {c.vehicle[:5] for c in made.draw(0).captures} == {"fleet"}


def test_clean_captures_are_those_that_no_test_shares():
    captures = read("demo")
    clean = clean_captures(captures)
    assert [c.name for c in clean] == ["attack-free-aster", "attack-free-borage"]
    shared = [c.label(recording="one") if "aster" in c.name else c for c in captures]
    assert [c.name for c in clean_captures(shared)] == ["attack-free-borage"]
