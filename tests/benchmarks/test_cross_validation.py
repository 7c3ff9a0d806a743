"""What is held out in turn: no recording, second, vehicle or attack on two sides."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.data.splits import PARTS
from cangraph.data.synthesis import Synthesis
from cangraph.frames import Frames, attack_code
from cangraph.params import SplitParams, load_params

MODULE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/cross_validation.py"))
leave_out, walk_forward = MODULE["leave_out"], MODULE["walk_forward"]
CLEAN, ATTACKS, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"
CUT = SplitParams(blocks=20, val=0.2, calib=0.2, gap=0.5, most=20_000)


def capture(name, scenario=ATTACKS, vehicle="a", recording="", attack="fuzzing", seconds=100.0):
    """A hundred frames a second, each tenth of `attack`."""
    count = np.arange(int(seconds * 100))
    attacked = (count % 10 == 0) & bool(attack)
    kind = np.where(attacked, attack_code(attack), 0) if attack else None
    columns = {"attack": attacked} | ({"attack_type": kind} if attack else {})
    where = {"name": name, "scenario": scenario, "vehicle": vehicle}
    return Frames(count * 0.01, count % 7, **columns).label(**where, recording=recording or name)


def windows(*captures):
    return to_graphs(captures, 20, 20)


@pytest.fixture(scope="module")
def usual():
    return windows(
        capture("clean a", CLEAN, "a", attack=""),
        capture("clean b", CLEAN, "b", attack=""),
        capture("fuzzing a", vehicle="a"),
        capture("flooding b", vehicle="b", attack="flooding"),
        capture("flooding c", TEST, "c", attack="flooding"),
    )


def of(fold, part):
    """The captures of a part by name."""
    mine = fold.part == PARTS.index(part)
    return {fold.graphs.captures[k].name for k in fold.graphs.capture[mine]}


def refused(call, *args, **options):
    with pytest.raises(ValueError) as caught:
        list(call(*args, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# over time


def test_the_past_is_trained_on_and_the_next_span_tested(usual):
    folds = list(walk_forward(usual, CUT, folds=4))
    assert len(folds) == 4
    for number, fold in enumerate(folds):
        begin, stop = 20.0 * (number + 1), 20.0 * (number + 2)
        assert fold.held == f"{begin:.0f} to {stop:.0f} % of the time"
        assert fold.cut == CUT.model_copy(update={"blocks": 4 * (number + 1)})
        for part in (fold.train, fold.val, fold.calib):
            assert part.end.max() <= begin - 0.5
        assert fold.test.start.min() >= begin + 0.5
        assert fold.test.start.max() < stop
        assert of(fold, "test") == of(fold, "train") == {c.name for c in usual.captures[:4]}
        assert set(fold.part[usual.capture == 4]) == {PARTS.index("dropped")}
    tested = np.sum([fold.part == PARTS.index("test") for fold in folds], axis=0)
    assert tested.max() == 1, "no window is tested twice"
    # the windows of 80 s but for .5 s behind each border of a span
    assert tested[usual.capture == 0].sum() == pytest.approx((80 - 4 * 0.5) / 0.2, abs=8)


def test_shared_recordings_are_trained_on_whole_and_those_of_official_tests_not_at_all():
    graphs = windows(
        capture("one"),
        capture("two", recording="drive"),
        capture("copy of two", recording="drive"),
        capture("of the test", recording="test"),
        capture("test", TEST),
    )
    for fold in walk_forward(graphs, CUT, folds=3):
        assert of(fold, "test") == of(fold, "val") == {"one"}
        assert of(fold, "train") == {"one", "two", "copy of two"}
        assert not {"of the test", "test"} & (of(fold, "train") | of(fold, "test"))
        assert "of the test is left out" in fold.notes[0] and "merged" in fold.notes[1]
        assert {name: s for (_, name), s in fold.seconds.items()} == {
            "one": pytest.approx(fold.cut.blocks * 5 - 0.5, abs=0.02),
            "two": np.inf,
            "copy of two": np.inf,
        }


def test_folds_that_do_not_fit_are_refused(usual):
    assert "1 folds of 20 blocks; expected two" in refused(walk_forward, usual, CUT, folds=1)
    assert "20 folds of 20 blocks" in refused(walk_forward, usual, CUT, folds=20)
    few = CUT.model_copy(update={"blocks": 6})
    assert "split: val has no window" in refused(walk_forward, usual, few, folds=5)


# by group


@pytest.mark.parametrize(
    "by, held",
    [
        ("recording", [{"clean a"}, {"clean b"}, {"flooding b"}, {"fuzzing a"}]),
        ("vehicle", [{"clean a", "fuzzing a"}, {"clean b", "flooding b"}]),
        ("attack", [{"flooding b"}, {"fuzzing a"}]),
    ],
)
def test_each_group_is_held_out_once_and_no_official_test(usual, by, held):
    folds = list(leave_out(usual, CUT, by))
    assert [of(fold, "test") for fold in folds] == held
    everything = {c.name for c in usual.captures[:4]}
    for fold in folds:
        for part in ("train", "val", "calib"):
            assert of(fold, part) == everything - of(fold, "test")
        names = {name for _, name in fold.seconds}
        assert names == everything - of(fold, "test")
        assert set(fold.part[usual.capture == 4]) == {PARTS.index("dropped")}
    assert [fold.held for fold in leave_out(usual, CUT, "attack")] == ["flooding", "fuzzing"]
    bundled = [of(fold, "test") for fold in leave_out(usual, CUT, by, folds=2)]
    assert len(bundled) == 2 and not bundled[0] & bundled[1]
    assert bundled[0] | bundled[1] == set().union(*held)


def test_official_tests_take_part_if_asked_for():
    suppressed = capture("suppress c", "test_05_suppress", "c", attack="")
    graphs = windows(
        capture("clean a", CLEAN, "a", attack=""),
        capture("fuzzing b", vehicle="b"),
        capture("flooding c", TEST, "c", attack="flooding"),
        suppressed,
    )
    a, b, c = leave_out(graphs, CUT, "vehicle", official=True)
    assert [fold.held for fold in (a, b, c)] == ["a", "b", "c"]
    assert of(c, "test") == {"flooding c", "suppress c"}
    assert of(a, "train") == {"fuzzing b", "flooding c"}, "nobody says that suppress c is clean"
    assert "suppress c is not trained on: no attack is labelled" in a.notes[-1]
    held = [of(fold, "test") for fold in leave_out(graphs, CUT, "attack", official=True)]
    assert held == [{"flooding c"}, {"fuzzing b"}]


def test_what_shares_a_recording_with_what_is_held_out_is_not_trained_on():
    graphs = windows(
        capture("clean", CLEAN, attack=""),
        capture("fuzzing"),
        capture("flooding", attack="flooding", recording="fuzzing"),
    )
    flooding, fuzzing = leave_out(graphs, CUT, "attack")
    assert of(flooding, "test") == {"flooding"} and of(fuzzing, "test") == {"fuzzing"}
    for fold in (flooding, fuzzing):
        assert of(fold, "train") == {"clean"} == {name for _, name in fold.seconds}
        assert "it is the same recording" in fold.notes[0]


def test_groups_that_cannot_be_told_apart_are_refused(usual):
    assert "by = 'car'; expected recording, vehicle or" in refused(leave_out, usual, CUT, "car")
    assert "folds = 3" in refused(leave_out, usual, CUT, "vehicle", folds=3)
    assert "folds = 1" in refused(leave_out, usual, CUT, "vehicle", folds=1)
    alone = windows(capture("one"))
    assert "1 of vehicle (a), folds = None; expected two" in refused(
        leave_out, alone, CUT, "vehicle"
    )
    nobody = windows(capture("one", vehicle=""), capture("two"))
    assert "train_02 one came without a vehicle" in refused(leave_out, nobody, CUT, "vehicle")
    two = capture("two", attack="fuzzing")
    two.attack_type[:20] = np.where(two.attack[:20], attack_code("flooding"), 0)
    mixed = windows(capture("one"), two)
    assert "two came under several attacks" in refused(leave_out, mixed, CUT, "attack")
    twins = windows(capture("one"), capture("one", recording="other"))
    assert "several captures are named train_02_with_attacks/one" in refused(leave_out, twins, CUT)


# synthesised attacks


@pytest.fixture(scope="module")
def cars():
    return [
        simulate(car, 16.0, seed=5).label(name=car, scenario=CLEAN, recording=car)
        for car in ("aster", "borage")
    ]


def asked():
    return load_params(
        "demo",
        split={"blocks": 12, "gap": 0.1},
        synthesis={"seconds": 30, "fleet": 0, "varied": 0.0},
        fit={"train_on": "clean"},
    )


def test_attacks_are_synthesised_into_what_may_be_trained_on_and_no_more(cars):
    params = asked()
    graphs = to_graphs(cars)
    for fold in leave_out(graphs, params.split, "vehicle"):
        material = fold.material(cars, params)
        assert isinstance(material, Synthesis)
        assert [c.name for c in material.clean] == sorted({"aster", "borage"} - {fold.held})
        assert len(material.clean[0]) == len(next(c for c in cars if c.name != fold.held))
        assert {c.vehicle for c in material.draw(0).captures} == {material.clean[0].vehicle}


def test_no_synthesised_window_lies_in_what_is_held_out_or_in_another_part(cars):
    params = asked()
    graphs = to_graphs(cars)
    for fold in walk_forward(graphs, params.split, folds=2):
        material = fold.material(cars, params)
        first = {c.name: fold.test[fold.test.capture == k].start.min() for k, c in enumerate(cars)}
        drawn = {"train": material.draw(0, 1.0), "val": material.val, "calib": material.calib}
        for part, made in drawn.items():
            assert len(made) and (made.label.any() or part != "train")
            for number, info in enumerate(made.captures):
                name = next(name for name in first if name in info.name)
                mine = made.capture == number
                assert made.end[mine].max(initial=0) < first[name] - 0.15
                for other in {"train", "val", "calib"} - {part}:
                    own = getattr(fold, other)
                    own = own[own.capture == [c.name for c in cars].index(name)]
                    a0, a1 = made.start[mine][:, None], made.end[mine][:, None]
                    assert not ((a0 < own.end) & (own.start < a1)).any()


def test_clean_captures_of_elsewhere_are_refused(cars):
    fold = next(leave_out(to_graphs(cars), asked().split, "vehicle"))
    with pytest.raises(ValueError, match=r"other is not among the captures of the fold; expected"):
        fold.material([cars[0].label(name="other")], asked())
