"""Parts share no recording and no time; what is left out is said."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cangraph.data.graphs import to_graphs
from cangraph.data.splits import PARTS, by_time, split
from cangraph.frames import Frames
from cangraph.params import SplitParams

CLEAN, ATTACKS, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"
SIDES = (CLEAN, ATTACKS, ATTACKS, TEST)
USUAL = SplitParams(blocks=10, val=0.2, calib=0.2, gap=0.5, most=20_000)


def capture(name, scenario, seconds=100.0, recording="", every=10):
    """A hundred frames a second, each tenth an attack (none if `every` is 0)."""
    n = int(seconds * 100)
    count = np.arange(n)
    attack = count % every == 0 if every else np.zeros(n, bool)
    frames = Frames(count * 0.01, count % 7, attack=attack)
    return frames.label(name=name, scenario=scenario, recording=recording or f"{scenario}/{name}")


def graphs_of(*captures, stride=20):
    return to_graphs(captures, 20, stride)


def names_of(graphs):
    return sorted({graphs.captures[number].name for number in graphs.capture})


def places(graphs):
    return set(zip(graphs.capture.tolist(), graphs.begin.tolist(), strict=True))


def refused(graphs, **changes):
    with pytest.raises(ValueError) as caught:
        split(graphs, USUAL.model_copy(update=changes))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def usual():
    return graphs_of(
        capture("a", CLEAN, every=0), capture("b", ATTACKS, 60), capture("c", TEST), stride=7
    )


# parts


@settings(max_examples=25)
@given(
    st.integers(2, 30),
    st.sampled_from([0.1, 0.2, 0.3]),
    st.sampled_from([0.1, 0.3]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_parts_share_no_frame_and_keep_the_gap(usual, blocks, val, calib, gap):
    params = SplitParams(blocks=blocks, val=val, calib=calib, gap=gap, most=20_000)
    try:
        result = split(usual, params)
    except ValueError:
        assume(False)
    for number in range(2):
        mine = usual.capture == number
        for one, two in combinations(range(3), 2):
            left, right = mine & (result.part == one), mine & (result.part == two)
            if not left.any() or not right.any():
                continue
            ahead = usual.start[right][:, None] - usual.end[left]
            behind = usual.start[left] - usual.end[right][:, None]
            assert np.maximum(ahead, behind).min() >= max(2 * gap - 1e-9, 0), "no common frame"


@pytest.mark.parametrize(
    "val, calib, turns",
    [(0.2, 0.2, "ttvtcttvtc"), (0.1, 0.3, "ttctvttctc"), (0.4, 0.1, "tvtvtctvtv")],
)
def test_blocks_take_turns_and_only_windows_near_a_border_are_dropped(usual, val, calib, turns):
    part = split(usual, USUAL.model_copy(update={"val": val, "calib": calib})).part
    template = np.array(["tvc".index(turn) for turn in turns])
    middle = (usual.start + usual.end) / 2
    for number, seconds in enumerate((100.0, 60.0)):
        mine = usual.capture == number
        dropped, kept = mine & (part == 4), mine & (part < 4)
        block = (middle[kept] / (seconds / 10)).astype(int).clip(max=9)
        assert np.array_equal(part[kept], template[block])
        edges = np.arange(1, 10) * seconds / 10
        start, end = usual.start[dropped][:, None], usual.end[dropped][:, None]
        to_edge = np.maximum(start - edges, edges - end)
        assert 0 < to_edge.min(1).max() < 0.5 + 0.05  # a block ends where the last window does


def test_the_parts_are_the_windows_marked_so_and_test_captures_are_test(usual):
    result = split(usual, USUAL)
    assert np.array_equal(result.part == PARTS.index("test"), usual.capture == 2)
    for number, name in enumerate(PARTS[:4]):
        part = getattr(result, name)
        assert np.array_equal(part.start, usual.start[result.part == number])
        assert np.array_equal(part.capture, usual.capture[result.part == number])
    rows = result.counts()
    assert [row["part"] for row in rows] == list(PARTS)
    assert sum(row["windows"] for row in rows) == len(usual)
    assert rows[3] == {
        "part": "test",
        "windows": int((usual.capture == 2).sum()),
        "attack_windows": int(usual.label[usual.capture == 2].sum()),
        "captures": 1,
    }


def test_a_large_part_trains_on_other_windows_of_its_own_in_each_epoch(usual):
    whole = split(usual, USUAL)
    few = split(usual, USUAL.model_copy(update={"most": 50}))
    every, first, second = map(places, (whole.train, few.draw(0), few.draw(1)))
    assert len(first) == len(second) == 50 and first != second
    assert first <= every and second <= every
    assert places(few.draw(1)) == second  # the same again
    assert len(few.test) == len(whole.test) and len(few.train) == len(whole.train)
    assert len(whole.draw(3)) == len(whole.train)


def test_by_time_is_what_a_training_capture_of_its_own_recording_gets(usual):
    trained = usual.capture < 2
    assert np.array_equal(by_time(usual, USUAL)[trained], split(usual, USUAL).part[trained])
    assert (by_time(usual, USUAL)[~trained] == PARTS.index("val")).any(), "whatever the scenario"


# recordings


def test_a_recording_shared_with_a_test_capture_does_not_train():
    graphs = graphs_of(
        capture("a", ATTACKS),
        capture("b", ATTACKS, recording="r"),
        capture("c", TEST, recording="r"),
        capture("d", TEST, recording="r"),
    )
    result = split(graphs, USUAL)
    assert names_of(result.train) == names_of(result.val) == names_of(result.calib) == ["a"]
    assert names_of(result.test) == ["c", "d"]
    assert (result.part[graphs.capture == 1] == PARTS.index("dropped")).all()
    left_out, merged = result.notes
    assert f"{ATTACKS}/b" in left_out and f"{TEST}/c and {TEST}/d" in left_out
    assert f"{TEST}/c and {TEST}/d" in merged


def test_captures_of_one_recording_train_whole():
    graphs = graphs_of(
        capture("a", CLEAN, recording="r"),
        capture("b", ATTACKS, recording="r"),
        capture("d", ATTACKS),
        capture("c", TEST),
    )
    result = split(graphs, USUAL)
    assert (result.part[graphs.capture <= 1] == PARTS.index("train")).all()
    assert names_of(result.val) == names_of(result.calib) == ["d"]
    (note,) = result.notes
    assert f"{CLEAN}/a and {ATTACKS}/b" in note


@settings(max_examples=25)
@given(st.lists(st.sampled_from("rst"), min_size=4, max_size=4))
def test_no_recording_stands_on_two_sides(recordings):
    captures = [
        capture(f"{i}", side, 20, recording)
        for i, (side, recording) in enumerate(zip(SIDES, recordings, strict=True))
    ]
    graphs = graphs_of(capture("mine", ATTACKS), *captures)
    result = split(graphs, USUAL)
    recording = np.array([info.recording for info in graphs.captures])
    used = {part: {*recording[getattr(result, part).capture]} for part in PARTS[:4]}
    assert not used["test"] & (used["train"] | used["val"] | used["calib"])
    twice = {r for r in recordings if recordings.count(r) > 1}
    assert not twice & (used["val"] | used["calib"])
    for name, recording in enumerate(recordings):
        told = any(f"/{name} " in f"{note} " for note in result.notes)
        assert told == (recording in twice)


# refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val": 0.5, "calib": 0.5}, "val 0.5 + calib 0.5 of 10 blocks leave none to train on"),
        ({"val": 0.5, "calib": 0.5, "blocks": 5}, "val 0.5 + calib 0.5 of 5 blocks leave none"),
        ({"val": 0.5, "calib": 0.45, "blocks": 3}, "val 0.5 + calib 0.45 of 3 blocks leave none"),
        ({"val": 0.0}, "val has no window"),
        ({"calib": 0.0}, "calib has no window"),
        ({"gap": 11.0}, "val has no window"),
    ],
)
def test_a_cut_that_leaves_a_part_empty_is_refused(usual, changes, said):
    assert said in refused(usual, **changes)


@pytest.mark.parametrize(
    ("captures", "said"),
    [
        ([capture("c", TEST)], "no training capture came"),
        (
            [capture("a", ATTACKS, recording="r"), capture("c", TEST, recording="r")],
            f"train has no window ({ATTACKS}/a is left out of training",
        ),
        (
            [capture("a", ATTACKS).label(recording=""), capture("c", TEST)],
            "train_02 a came without a recording",
        ),
    ],
)
def test_captures_that_cannot_be_split_are_refused(captures, said):
    assert said in refused(graphs_of(*captures))
