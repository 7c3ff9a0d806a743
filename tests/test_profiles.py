"""The running profile: causal, the same in any pieces, relative to the ID, hard to poison."""

from dataclasses import replace
from itertools import pairwise
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from cangraph.features import FRAME_FEATURES
from cangraph.frames import Frames
from cangraph.memory import Profiles
from cangraph.profiles import profile

COLUMN = {feature.name: i for i, feature in enumerate(FRAME_FEATURES)}


def features(frames, *names):
    """Some features by name, one list for each."""
    values, _ = profile(frames)
    assert values.dtype == np.float32 and values.shape == (len(frames), len(FRAME_FEATURES))
    lists = [values[:, COLUMN[name]].tolist() for name in names]
    return lists[0] if len(names) == 1 else lists


def after(gaps_ms, payloads=None, **columns):
    """Frames of one ID, the first at 0 s, the others after these gaps in ms."""
    timestamp = np.concatenate([[0.0], np.cumsum(np.array(gaps_ms, float))]) * 1e-3
    if payloads is not None:
        columns["data"] = np.zeros((len(timestamp), 8), np.uint8)
        for row, payload in zip(columns["data"], payloads, strict=True):
            row[: len(payload)] = payload
        columns["dlc"] = np.array([len(payload) for payload in payloads])
    return Frames(timestamp, np.full(len(timestamp), 0x1A0), **columns)


def periodic(begin, end, period, identifier=0x1A0):
    """Frames of one ID at a fixed period, all in s, with payload 0."""
    timestamp = np.arange(begin, end, period)
    return Frames(timestamp, np.full(len(timestamp), identifier))


def together(*parts):
    """Logs of one bus merged by time."""
    columns = ("arbitration_id", "dlc", "data")
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in columns}
    return Frames.in_order(np.concatenate([p.timestamp for p in parts]), **joined)


@st.composite
def buses(draw):
    """A few frames of a few IDs at any time with any payload."""
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    microseconds = draw(st.lists(st.integers(0, 3_000_000), min_size=n, max_size=n))
    return Frames(
        np.sort(microseconds) * 1e-6,
        rng.integers(0, 4, n),
        dlc=rng.integers(0, 9, n),
        data=rng.integers(0, 256, (n, 8)) * (rng.random((n, 8)) < 0.5),
        is_remote_frame=rng.random(n) < 0.1,
    )


# by hand


def test_gap_ratio_is_the_gap_in_periods():
    ratio, jitter = features(after([10, 10, 20, 5]), "gap_ratio", "jitter")
    # ticks of 1 ms, counted from 1: 11, 11, 21, 6; a step is at most half an octave
    r3 = log2(21 / 11)
    period = log2(11) + 0.5 / 3  # the third gap weighs a third
    assert ratio == approx([0, 0, 0, r3, log2(6) - period], abs=1e-6)
    assert jitter == approx([0, 0, 0, 0, r3 / 3], abs=1e-6)


def test_jitter_counts_an_octave_at_most():
    assert features(after([10, 10, 500, 10]), "jitter")[-1] == approx(1 / 3)


def test_a_grown_up_period_follows_with_a_time_constant_of_20_s():
    ratio = features(after([10] * 20 + [12, 12]), "gap_ratio")
    r = log2(13 / 11)
    assert ratio[-3:] == approx([0, r, r * (1 - 0.012 / 20)], abs=1e-6)


def test_gap_ratio_is_clipped_at_6_octaves():
    assert features(after([1, 1, 10_000]), "gap_ratio")[-1] == 6
    assert features(after([10_000, 10_000, 0]), "gap_ratio")[-1] == -6


def test_flips_are_measured_against_the_flip_rates():
    payloads = [[0b0], [0b1], [0b0], [0b0]]
    excess, surprise = features(after([10] * 3, payloads), "flip_excess", "flip_surprise")
    # bit 0 flips, flips, rests; its rate is 0, then 1/2, then 1/2 + (1 - 1/2)/3 = 2/3
    assert excess == approx([0, 1, 0.5 / sqrt(1.25), -(2 / 3) / sqrt(1 + 2 / 9)], abs=1e-6)
    rests = log2((1 + (4 / 9) / (2 / 9 + 0.02)) / (1 + (2 / 9) / (2 / 9 + 0.02)))
    assert surprise == approx([0, log2(1 + 1 / 0.02), 0, rests], abs=1e-5)


def test_a_grown_up_flip_rate_follows_with_a_time_constant_of_64_frames():
    payloads = [[0]] * 200 + [[1], [0]]
    excess = features(after([10] * 201, payloads), "flip_excess")
    q = 1 / 64  # after the first flip
    assert excess[-2:] == approx([1, (1 - q) / sqrt(1 + q * (1 - q))], abs=1e-6)


def test_flip_features_are_clipped():
    excess, surprise = features(after([10], [[0] * 8, [255] * 8]), "flip_excess", "flip_surprise")
    assert (excess[-1], surprise[-1]) == (8, 6)


def test_novel_bytes_is_the_share_of_values_new_in_their_place():
    payloads = [[1, 2], [1, 3], [1, 2], [2, 1], [3, 3], []]
    assert features(after([10] * 5, payloads), "novel_bytes") == [0, 0.5, 0, 1, 0.5, 0]


def test_dlc_change_compares_with_the_last_frame():
    payloads = [[1], [1], [1, 1], [1, 1], []]
    assert features(after([10] * 4, payloads), "dlc_change") == [0, 0, 1, 0, 1]


def test_a_remote_frame_has_no_payload():
    frames = after([10] * 2, [[1] * 8] * 3, is_remote_frame=np.array([False, True, False]))
    dlc, novel = features(frames, "dlc_change", "novel_bytes")
    assert (dlc, novel) == ([0, 1, 1], [0, 0, 0])


def test_a_first_frame_of_a_recording_is_plain_and_a_late_one_is_not():
    assert not profile(after([], [[255] * 8]))[0].any()
    late = Frames(np.array([0.0, 6.0]), np.array([1, 2]), data=np.full((2, 8), 255))
    expected = np.zeros(len(FRAME_FEATURES))
    expected[[COLUMN["distrust"], COLUMN["novel_bytes"]]] = 1
    assert profile(late)[0][1].tolist() == expected.tolist()


def test_ids_do_not_mix():
    one, two = periodic(0, 1, 0.01, 0x10), periodic(0.003, 1, 0.05, 0x20)
    both, slots = profile(together(one, two))
    for number, frames in enumerate((one, two)):
        assert np.array_equal(both[slots == number], profile(frames)[0])


def test_11_bit_and_29_bit_ids_of_one_number_are_two():
    frames = Frames(np.arange(2.0), np.array([5, 5]), is_extended_id=np.array([False, True]))
    assert profile(frames)[1].tolist() == [0, 1]


# trust


def test_trust_is_earned_by_keeping_the_period_and_lost_by_the_eighth():
    distrust, rate = features(after([10, 10, 20, 5]), "distrust", "rate")
    # there from the start: trusted, until the gap of 20 ms
    assert distrust == approx([0, 0, 0, 0, 1 / 8])
    assert rate[3] == approx(1 / 11)


def test_half_an_octave_parts_regular_gaps_from_irregular_ones():
    # 15 and 16 ticks over a period of 11: .45 and .54 octaves
    regular, irregular = (features(after([10, 10, gap, 10]), "distrust")[-1] for gap in (14, 15))
    assert regular == 0
    assert irregular == approx(1 / 8)


def test_a_slow_id_of_the_warm_up_earns_trust_by_time():
    # lost by the gap of 3 s, a fifth of it earned back in the next second
    gaps = [1000, 1000, 1000, 3000, 1000, 1000]
    assert features(after(gaps), "distrust") == approx([0, 0, 0, 0, 0, 1 / 8, 1 / 8 * 4 / 5])


def test_an_id_that_turns_up_later_starts_without_trust():
    frames = together(periodic(0, 7, 0.1, 1), periodic(5.05, 7, 0.1, 2))
    values, slots = profile(frames)
    assert [values[slots == i, COLUMN["distrust"]][0] for i in (0, 1)] == [0.0, 1.0]


def test_an_id_of_the_warm_up_is_trusted_within_a_second():
    early = features(periodic(0, 1, 0.01), "distrust")
    assert early[-1] < 0.01


def test_an_id_that_turns_up_later_needs_a_minute():
    frames = together(periodic(0, 66.005, 0.1, 1), periodic(6, 66.005, 0.01, 2))
    values, slots = profile(frames)
    late = values[slots == 1, COLUMN["distrust"]]
    assert late[100] == approx((1 - 0.01 / 60) ** 98, abs=1e-5), "one second: hardly any"
    assert late[-1] == approx(np.exp(-1), abs=0.01), "one minute: its time constant"


def test_a_flood_of_a_new_id_earns_nothing():
    frames = together(periodic(0, 9, 0.01, 1), periodic(6, 9, 0.0002, 2))
    values, slots = profile(frames)
    assert values[slots == 1, COLUMN["distrust"]].min() > 0.94
    assert values[slots == 1, COLUMN["rate"]].max() < 0.06


# bounds on what an attacker can teach


def test_a_flood_moves_the_period_by_a_fortieth_octave_a_second():
    state = Profiles()
    profile(periodic(0, 20, 0.01), state)
    before = state.table["log_period"][0]
    profile(periodic(20, 24, 0.0001), state)
    assert -0.5 / 20 * 4.001 <= state.table["log_period"][0] - before < 0


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_nothing_moves_a_grown_up_period_faster(gaps):
    state = Profiles()
    profile(periodic(0, 0.2, 0.01), state)
    before, began = state.table["log_period"][0], state.table["last_time"][0]
    timestamp = began + np.cumsum(gaps)
    profile(Frames(timestamp, np.full(len(gaps), 0x1A0)), state)
    assert abs(state.table["log_period"][0] - before) <= 0.5 / 20 * (timestamp[-1] - began) + 1e-9


def test_an_early_frame_teaches_nothing_about_payloads():
    payloads = [[0]] * 12 + [[255, 255], [255, 255], [0]]
    frames = after([10] * 11 + [2, 8, 10], payloads)
    early, late, again = profile(frames)[0][-3:]
    assert early[COLUMN["gap_ratio"]] < -1
    assert late[COLUMN["gap_ratio"]] > -1
    for name in ("novel_bytes", "dlc_change", "flip_excess", "flip_surprise"):
        assert late[COLUMN[name]] == early[COLUMN[name]] != 0, name
    assert again[COLUMN["dlc_change"]] == 1, "the frame on time did teach"


# any pieces, no look ahead


@given(st.lists(st.integers(0, 1500), max_size=12))
def test_chunks_give_the_same_bits(drive, cuts):
    frames = drive[8000:9500]
    whole, slots = profile(frames)
    state, parts = Profiles(), []
    edges = [0, *sorted(cuts), len(frames)]
    for begin, end in pairwise(edges):
        parts.append(profile(frames[begin:end], state))
    assert np.concatenate([p for p, _ in parts]).tobytes() == whole.tobytes()
    assert np.concatenate([s for _, s in parts]).tolist() == slots.tolist()


def test_the_warm_up_is_counted_from_the_first_frame_of_all():
    frames = together(periodic(0, 8, 0.05, 1), periodic(6, 8, 0.01, 2))
    state = Profiles()
    late = frames.timestamp > 5.5
    parts = [profile(frames[part], state)[0] for part in (~late, late)]
    assert np.concatenate(parts).tobytes() == profile(frames)[0].tobytes()


def test_frame_by_frame_gives_the_same_bits(drive):
    frames = drive[:1000]
    state = Profiles()
    one_by_one = [profile(frames[i : i + 1], state)[0] for i in range(len(frames))]
    assert np.concatenate(one_by_one).tobytes() == profile(frames)[0].tobytes()


@given(st.integers(1, 1499), st.integers(0, 2**32 - 1))
def test_what_comes_later_changes_nothing(drive, now, seed):
    frames = drive[8000:9500]
    rng = np.random.default_rng(seed)
    n = len(frames) - now
    other = Frames(
        np.concatenate([frames.timestamp[:now], frames.timestamp[now] + np.sort(rng.random(n))]),
        np.concatenate([frames.arbitration_id[:now], rng.integers(0, 2048, n)]),
        dlc=np.concatenate([frames.dlc[:now], rng.integers(0, 9, n)]),
        data=np.concatenate([frames.data[:now], rng.integers(0, 256, (n, 8))]),
    )
    assert profile(other)[0][:now].tobytes() == profile(frames)[0][:now].tobytes()
    assert profile(other)[0][now:].tobytes() != profile(frames)[0][now:].tobytes()


def test_a_call_without_a_state_begins_anew(clean):
    assert np.array_equal(profile(clean)[0], profile(clean)[0])


def test_no_frames_have_no_features():
    state = Profiles()
    values, slots = profile(Frames(np.zeros(0), np.zeros(0)), state)
    assert values.shape == (0, len(FRAME_FEATURES)) and len(slots) == 0
    assert np.isnan(state.began), "the clock starts with the first frame"


# what features must not depend on


@given(st.integers(0, 2**32 - 1))
def test_renaming_the_ids_changes_nothing(drive, seed):
    frames = drive[:3000]
    names = np.random.default_rng(seed).permutation(0x800)
    values, slots = profile(frames)
    renamed, same_slots = profile(replace(frames, arbitration_id=names[frames.arbitration_id]))
    assert renamed.tobytes() == values.tobytes()
    assert np.array_equal(same_slots, slots)


@pytest.mark.parametrize("seconds", [1.0, 60.0, 3600.0])
def test_the_time_of_day_changes_nothing(drive, seconds):
    later = replace(drive, timestamp=drive.timestamp + seconds)
    assert np.array_equal(profile(later)[0], profile(drive)[0])


def test_an_epoch_time_changes_nothing_but_rounding(drive):
    later = replace(drive, timestamp=drive.timestamp + 1478198376.0)  # exact to .24 µs only
    np.testing.assert_allclose(profile(later)[0], profile(drive)[0], atol=1e-3)


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_where_in_its_tick_a_gap_ends_changes_nothing(period, seed):
    rng = np.random.default_rng(seed)
    payloads = rng.integers(0, 256, (40, 8)).tolist()
    one, two = (after(period + rng.uniform(0.01, 0.99, 39), payloads) for _ in range(2))
    assert not np.array_equal(one.timestamp, two.timestamp)
    assert np.array_equal(profile(one)[0], profile(two)[0])


@given(st.lists(st.integers(0, 50), min_size=60, max_size=60), st.integers(0, 2**32 - 1))
def test_irregular_gaps_are_quantised_too(ticks, seed):
    rng = np.random.default_rng(seed)
    one, two = (features(after(ticks + rng.uniform(0.01, 0.99, 60)), "gap_ratio") for _ in range(2))
    # what remains: the speed of learning follows real time
    assert one == approx(two, abs=60 * 0.5 * 1e-3 / 20)


def test_a_steady_bus_has_steady_features():
    values, _ = profile(periodic(0, 120, 0.1))
    assert np.ptp(values[600:], axis=0).max() < 1e-6


# numbers


def test_backward_clocks_give_numbers():
    state = Profiles()
    for begin in (100.0, 0.0, 50.0, 50.0):
        values, _ = profile(periodic(begin, begin + 1, 0.01), state)
        assert np.isfinite(values).all()
    assert np.isfinite(state.table["log_period"]).all() and np.isfinite(state.table["trust"]).all()


def test_equal_timestamps_give_numbers():
    values, _ = profile(Frames(np.zeros(50), np.zeros(50)))
    assert np.isfinite(values).all()
    assert values[-1, COLUMN["gap_ratio"]] == 0


LIMITS = {
    "gap_ratio": (-6, 6),
    "jitter": (0, 1),
    "distrust": (0, 1),
    "flip_excess": (-8, 8),
    "flip_surprise": (-6, 6),
    "novel_bytes": (0, 1),
    "dlc_change": (0, 1),
    "rate": (0, 1),
}


@given(buses())
def test_every_feature_is_finite_and_within_its_limits(frames):
    values, slots = profile(frames)
    assert np.isfinite(values).all()
    for name, (low, high) in LIMITS.items():
        column = values[:, COLUMN[name]]
        assert (low <= column).all() and (column <= high + 1e-6).all(), name
    assert set(slots) == set(range(len(np.unique(frames.arbitration_id))))


def test_every_byte_of_a_can_fd_frame_is_seen():
    data = np.zeros((40, 64), np.uint8)
    data[-1, 63] = 0xFF
    fd = Frames(np.arange(40) * 0.01, np.full(40, 0x1A0), dlc=np.full(40, 64), data=data)
    state = Profiles()
    start, _ = profile(after([10.0] * 5), state)  # 8 bytes wide, then wider, then 8 again
    values, _ = profile(replace(fd, timestamp=fd.timestamp + 1), state)
    assert values[-1, COLUMN["flip_excess"]] > 1 and values[-1, COLUMN["novel_bytes"]] > 0
    assert values[-2, COLUMN["flip_excess"]] <= 0
    assert np.isfinite(values).all() and np.isfinite(profile(after([10.0] * 5), state)[0]).all()
    alone, _ = profile(after([10.0] * 5))
    assert np.array_equal(start, alone)
