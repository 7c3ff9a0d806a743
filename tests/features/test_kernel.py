"""The running profile: causal, the same in any pieces, relative to the ID, hard to poison."""

from dataclasses import replace
from itertools import pairwise
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest import approx

from cangraph.features.profile import Profiles, profile
from cangraph.features.schema import FRAME_FEATURES
from cangraph.frames import CRC_8, Frames

COLUMN = {feature.name: i for i, feature in enumerate(FRAME_FEATURES)}


def features(frames, *names):
    """Some features by name, one list for each."""
    values, *_ = profile(frames)
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


def over_usual(raw, grain, most):
    """What is told of the raw values of an ID's first nine frames: what they have over the mean of
    those before, none larger than `most`."""
    told, usual = [], 0.0
    for n, value in enumerate(raw):
        room = grain * (1 + 8 / max(n, 1))
        told.append(max(log2((room + value) / (room + usual)), 0))
        if n:
            usual += (min(value, most) - usual) / n
    return told


def out_of_the_blue(raw, grain, n):
    """What is told of a raw value of the frame after `n` that had 0."""
    return log2(1 + raw / (grain * (1 + 8 / n)))


def turning_up(gaps_ms, begin=6.0):
    """What is told of an ID that joins a bus at `begin` s, its gaps in ms."""
    late = after(gaps_ms)
    late = replace(late, timestamp=late.timestamp + begin, arbitration_id=late.arbitration_id + 1)
    values, slots, *_ = profile(together(periodic(0, late.timestamp[-1], 0.1), late))
    return values[slots == 1]


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


def test_gap_ratio_is_the_gap_in_periods_and_gap_surprise_what_it_has_over_the_usual_one():
    names = ("gap_ratio", "jitter", "gap_surprise")
    ratio, jitter, surprise = features(after([10, 10, 20, 5]), *names)
    # ticks of 1 ms, counted from 1: 11, 11, 21, 6; a step is at most half an octave, and the third
    # gap weighs a third
    r3, r4 = log2(21 / 11), log2(6) - (log2(11) + 0.5 / 3)
    # told beyond the shortest gap, which went from 11 ticks a 32nd of the way to 21
    r4 += 0.5 / 3 - r3 / 32
    assert ratio == approx([0, 0, 0, r3, r4], abs=1e-6)
    assert jitter == approx([0, 0, 0, 0, r3 / 3], abs=1e-6)
    assert surprise == approx(over_usual([0, 0, 0, r3, -r4], 0.1, 1), abs=1e-6)
    assert surprise[3] == approx(log2(1 + r3 / (0.1 * 11 / 3)))


def test_a_gap_is_measured_from_the_last_frame_on_time():
    ratio, surprise = features(after([10] * 20 + [4, 6, 10]), "gap_ratio", "gap_surprise")
    early, pull = log2(5 / 11), 0.5 * 0.004 / 20  # of what came early, for 4 ms of 20 s
    assert ratio[-3:] == approx([early, pull, pull], abs=1e-6)
    assert surprise[-3] == approx(out_of_the_blue(-early, 0.1, 21), abs=1e-6)
    assert surprise[-2] == 0, "what follows is innocent"


def test_what_an_unsteady_id_may_send_early_is_on_time():
    # .25 octaves and two for each of jitter, which is known from the gaps of the first frames
    gaps = [10, 10, 13, 10, 10, 10, 10, 10, 10]
    jitter = log2(14 / 11) / 3
    for gap, innocent in ((8, True), (7, False)):
        frames = after([*gaps, gap, 6])  # too late for the clock of those before
        ratio, told = features(frames, "gap_ratio", "jitter")
        assert jitter / 4 < told[-2] < jitter
        assert (ratio[-2] > -0.25 - 2 * told[-2]) == innocent
        assert (ratio[-1] < -0.6) == innocent, "measured from it, or from the one before"


@pytest.mark.parametrize(("gap", "innocent"), [(7, True), (5, False)])
def test_behind_a_late_frame_the_next_one_on_the_clock_is_on_time(gap, innocent):
    payloads = [[i % 16] for i in range(24)]
    frames = after([10] * 20 + [13, gap, 20 - 13 - gap + 10], payloads)
    ratio, rule = features(frames, "gap_ratio", "broken_rule")
    assert ratio[22] < -0.3, "early by its gap"
    assert (ratio[23] < 0.5) == innocent, "measured from it, or from the one before"
    assert rule[23] == 0, "it counts on from the frame before, learnt or not"


def test_a_burst_is_early_until_the_id_is_known_for_it_and_a_flood_is_not_soon():
    # ten frames 2 ms apart every 100 ms: an eighth of the way at each short gap, a 32nd back
    told = np.array(features(after([100] * 5 + ([2] * 9 + [82]) * 40), "gap_ratio"))
    assert told[6] < -4, "unheard of"
    assert told[-20:].min() > -0.6, "part of its bursts"
    # one forged frame 10 ms behind every fifth frame of the first seconds
    told = np.array(features(after([100, 100, 100, 100, 10, 90] * 10), "gap_ratio"))
    assert told[5::6].max() < -1.5, "few frames make no habit"
    flood = after([100] * 60 + [2] * 500)
    told = np.array(features(flood, "gap_ratio"))
    assert told[-100:].min() < -4.5, "one second of it lets the shortest gap fall by .02 octaves"


def test_the_rate_counts_bursts_but_no_flood():
    rate = np.array(features(after([2, 2, 96] * 200), "rate"))
    assert rate[-3:] == approx(3 / 100, rel=0.05)
    rate = np.array(features(after([10] * 1000 + [1] * 1000), "rate"))
    assert rate[1000:] == approx(0.1, rel=0.05)


def test_of_two_frames_the_one_that_keeps_the_clock_is_genuine():
    # the first comes ahead of time, but not so early as to be refused
    payloads = [[1]] * 21 + [[9], [1], [1]]
    names = ("gap_ratio", "intruder", "flip_excess", "gap_surprise")
    ratio, intruder, flips, surprise = features(after([10] * 20 + [9, 1, 10], payloads), *names)
    ahead = log2(10 / 11)
    period = log2(11) + 0.009 / 20 * ahead
    assert intruder[20:] == approx([0, 0, period - log2(2), 0], abs=1e-6)
    assert ratio[22:] == approx([0, 0], abs=3e-4) and surprise[22:] == approx([0, 0], abs=3e-3)
    assert flips[21] > 0 and max(flips[22:]) < 0.1, "against the payload before the intruder's"


@pytest.mark.parametrize("gaps", [(10, 2), (9, 2), (9, 3), (4, 7)])
def test_a_frame_behind_one_that_is_no_further_from_the_clock_is_not_excused(gaps):
    assert max(features(after([10] * 20 + [*gaps, 10]), "intruder")) == 0


def test_jitter_counts_an_octave_at_most_and_a_grown_up_period_follows_in_20_s():
    assert features(after([10, 10, 500, 10]), "jitter")[-1] == approx(1 / 3)
    ratio = features(after([10] * 20 + [12, 12]), "gap_ratio")
    r = log2(13 / 11)
    assert ratio[-3:] == approx([0, r, r * (1 - 0.012 / 20)], abs=1e-6)


def test_flips_are_measured_against_the_flip_rates():
    payloads = [[0b0], [0b1], [0b0], [0b0]]
    excess, surprise = features(after([10] * 3, payloads), "flip_excess", "flip_surprise")
    # bit 0 flips, flips, rests; its rate is 0, then 1/2, then 1/2 + (1 - 1/2)/3 = 2/3
    assert excess == approx([0, 1, 0.5 / sqrt(1.25), -(2 / 3) / sqrt(1 + 2 / 9)], abs=1e-6)
    rests = log2((1 + (4 / 9) / (2 / 9 + 0.02)) / (1 + (2 / 9) / (2 / 9 + 0.02)))
    raw = [0, log2(1 + 1 / 0.02), 0, rests]
    assert surprise == approx(over_usual(raw, 0.5, 3), abs=1e-5)


def test_a_flip_of_a_bit_at_rest_is_a_surprise_once():
    surprise = features(after([10] * 102, [[0]] * 101 + [[1], [0]]), "flip_surprise")
    raw = log2(1 + 1 / 0.02)
    assert surprise[101] == approx(out_of_the_blue(raw, 0.5, 101), abs=1e-5)
    q = 1 / 102
    u = q * (1 - q)
    raw = log2((1 + (1 - q) ** 2 / (u + 0.02)) / (1 + u / (u + 0.02)))
    grain, usual = 0.5 * (1 + 8 / 102), 3 * 0.011 / 20  # a period of 11 ticks in 20 s
    assert surprise[102] == approx(log2((grain + raw) / (grain + usual)), abs=1e-4)


@pytest.mark.parametrize(
    "gap, seen, rate",
    [
        (10, 200, 1 / 201),  # the mean, as long as there are few frames
        (10, 2500, 0.01 / 20),  # 20 s
        (1000, 200, 1 / 64),  # 64 frames, of an ID with fewer in 20 s
    ],
)
def test_a_grown_up_flip_rate_forgets_in_20_s_or_64_frames(gap, seen, rate):
    payloads = [[0]] * seen + [[1], [0]]
    excess = features(after([gap] * (seen + 1), payloads), "flip_excess")
    assert excess[-2:] == approx([1, (1 - rate) / sqrt(1 + rate * (1 - rate))], abs=1e-6)


def test_flip_trend_forgets_in_16_frames_and_novel_bytes_are_new_in_their_place():
    trend = features(after([10] * 40, [[0]] * 39 + [[255], [255]]), "flip_trend")
    excess = -8 / 40 / sqrt(1 + 8 * 39 / 40**2)  # eight bits, each with a rate of 1/40
    assert trend[-3:] == approx([0, 8 / 16, 8 / 16 + (excess - 8 / 16) / 16], abs=1e-6)
    payloads = [[1, 2], [1, 3], [1, 2], [2, 1], [3, 3], []]
    novel = features(after([10] * 5, payloads), "novel_bytes")
    assert novel == approx(over_usual([0, 0.5, 0, 1, 0.5, 0], 0.05, 1), abs=1e-6)


# rests and steps of bytes


def test_a_byte_that_stops_is_stuck_and_its_longest_rest_wears_so_that_it_is_not_for_good():
    payloads = [[i % 2] for i in range(20)] + [[1]] * 100 + [[0], [0]]
    stuck = features(after([10] * 121, payloads), "stuck")
    assert max(stuck[:20]) == 0
    # an octave in 5 s
    k = np.arange(1, 101)
    expected = np.minimum(np.log2(1 + k) - (k - 1) * 0.01 / 5, 6)
    assert stuck[20:120] == approx(expected, abs=1e-4)
    assert stuck[120] == approx(log2(101) - 100 * 0.01 / 5 if log2(101) < 6 else 6)
    assert stuck[121] == 0, "its longest rest is known by now"
    payloads = [[i % 2] for i in range(20)] + [[1]] * 8000
    stuck = np.array(features(after([10] * 8019, payloads), "stuck"))
    assert stuck[20 + 100 :][:1000].min() > 5.9
    assert stuck[7200:].max() < 0.01, "worn by an octave in 5 s"


def test_the_longest_rest_grows_by_an_octave_a_change():
    rests = [0] * 8 + [6, 6, 6, 6]
    payloads, value = [[0]], 0
    for rest in rests:
        payloads += [[value]] * rest
        value ^= 1
        payloads.append([value])
    stuck = features(after([1] * (len(payloads) - 1), payloads), "stuck")
    # told at its sixth frame of rest: longest was 0, then 1, 3, 6; its wear in 6 ms is below .002
    told = [max(stuck[9 + 7 * k : 16 + 7 * k]) for k in range(4)]
    assert told == approx([log2(7), log2(7 / 2), log2(7 / 4), 0], abs=0.01)


def test_a_leap_is_a_step_over_the_longest_so_far_the_short_way_round():
    payloads = [[i % 2] for i in range(20)] + [[51], [101], [99]]
    leap = features(after([10] * 22, payloads), "leap")
    assert max(leap[:20]) == 0
    assert leap[20] == approx(out_of_the_blue(log2(51 / 2), 0.5, 20), abs=1e-5)  # 50 over 1
    grain, usual = 0.5 * (1 + 8 / 21), 3 * 0.011 / 20
    second = log2((grain + log2(51 / 4)) / (grain + usual))  # 50 over 3: it grew by an octave
    assert leap[21:] == approx([second, 0], abs=1e-4)
    payloads = [[i % 2] for i in range(20)] + [[255]]  # from 1: two down
    leap = features(after([10] * 20, payloads), "leap")
    assert leap[-1] == approx(out_of_the_blue(log2(3 / 2), 0.5, 20), abs=1e-5)


def test_four_changes_are_needed_to_judge_a_byte():
    payloads = [[0], [1], [0], [1]]
    for more, judged in (([], False), ([[0]], True)):
        told = [*payloads, *more, [100], [100]]
        leap, stuck = features(after([10] * (len(told) - 1), told), "leap", "stuck")
        assert (leap[-2] > 0) == judged
        assert stuck[-1] > 0, "by now it has changed four times"


# counters and checksums


def broken(kept, n=256):
    """Bits of surprise when a rule that was kept so reliably over n frames breaks."""
    return -log2(1 - kept + max(1 / (n + 1), 1 / 256))


COUNTERS = {
    "two bits": lambda i: i % 4,
    "two bits, by threes": lambda i: 3 * i % 4,
    "the upper two bits": lambda i: i % 4 << 6,
    "four bits": lambda i: i % 16,
    "the upper four bits": lambda i: i % 16 << 4,
    "eight bits": lambda i: i % 256,
    "eight bits by fives": lambda i: 5 * i % 256,
}


@pytest.mark.parametrize("count", COUNTERS.values(), ids=COUNTERS)
@pytest.mark.parametrize("stall", [True, False])
def test_a_counter_is_known_by_itself_and_told_when_it_breaks(count, stall):
    n = 400  # over the wrap of all of them
    values = [count(i) for i in range(n)]
    values += [values[-1] if stall else count(n + 1)]
    rule = features(after([10] * n, [[7, v] for v in values]), "broken_rule")
    assert max(rule[:n]) == 0
    kept = 254 / 255 * (1 - 1 / 256) ** (n - 256) + 1 - (1 - 1 / 256) ** (n - 256)
    assert rule[n] == approx(out_of_the_blue(broken(kept), 0.5, n), abs=1e-4)


def test_a_counter_is_a_rule_once_it_was_kept_19_times_of_20():
    for n, told in ((20, False), (30, True)):
        values = [[i % 4] for i in range(n)] + [[(n - 1) % 4]]
        assert (features(after([10] * n, values), "broken_rule")[-1] > 0) == told
    # the first step is no kept one: 28 of 29
    expected = out_of_the_blue(broken(28 / 29, 30), 0.5, 30)
    assert features(after([10] * 30, values), "broken_rule")[-1] == approx(expected, abs=1e-5)


@pytest.mark.parametrize("shift", [0, 4])
def test_a_counter_to_14_is_one_also_from_an_early_frame_on(shift):
    values = [[i % 15 << shift] for i in range(400)]
    told = features(after([10] * 400, [*values, values[-1]]), "broken_rule")
    assert max(told[:400]) == 0 and told[400] > 2
    from_13 = [[v % 15 << shift] for v in (*range(400), 0)]  # 399 % 15 = 9
    assert features(after([10] * 400, from_13), "broken_rule")[400] > 2, "only 14 goes to 0"
    gaps = [10] * 297 + [7, 15]  # the frame before the last is not learnt
    for turn in range(15):
        ahead = [[(i + turn) % 15 << shift] for i in range(300)]
        assert max(features(after(gaps, ahead), "broken_rule")) == 0


def test_a_single_break_costs_a_rule_a_64th_when_the_next_frame_keeps_it():
    n = 400
    values = [i % 16 for i in range(n)]
    lost = [*values, n + 1, n + 2, n + 3, n + 3]  # one frame is lost, two follow, one stalls
    told = features(after([10] * (n + 3), [[v % 16] for v in lost]), "broken_rule")
    kept = 254 / 255 * (1 - 1 / 256) ** (n - 256) + 1 - (1 - 1 / 256) ** (n - 256)
    usual = min(broken(kept), 3) * 0.011 / 20  # of the two breaks, the first is known by then
    after_it = kept * 63 / 64 + (1 - kept * 63 / 64) / 256
    grain = 0.5 * (1 + 8 / (n + 3))
    assert told[n] > told[n + 3] > 0 and told[n + 1 : n + 3] == [0, 0]
    assert told[n + 3] == approx(log2((grain + broken(after_it)) / (grain + usual)), abs=1e-3)


def test_a_new_count_is_learnt_after_rest_or_when_the_old_one_fails():
    values = [[0]] * 300 + [[i % 16] for i in range(900)] + [[i % 16] for i in (899, 899)]
    assert features(after([10] * 1201, values), "broken_rule")[-1] > 3
    values = [i % 4 for i in range(300)] + [3 * i % 4 for i in range(2000)]
    rule = features(after([10] * 2299, [[v] for v in values]), "broken_rule")
    assert rule[302] > 3
    assert max(rule[1000:]) == 0, "no rule by now, or the new one"
    again = features(after([10] * 2300, [[v] for v in [*values, values[-1]]]), "broken_rule")
    assert again[-1] > 3, "the new one is a rule"


def test_a_counter_that_stops_is_told_for_seconds_until_it_was_kept_nine_times_of_ten():
    told = features(after([10] * 599, [[min(i, 99) % 16, 7] for i in range(600)]), "broken_rule")
    assert max(told[:100]) == 0 and min(told[100:]) > 1.5
    kept = 98 / 99  # the first step kept nothing, and the first break says nothing yet
    assert told[101] == approx(
        log2((0.5 * (1 + 8 / 101) + broken(kept, 101)) / (0.5 * (1 + 8 / 101) + 3 * 0.011 / 20)),
        abs=1e-3,
    )
    values = [[i % 16, 7] for i in range(300)] + [[299 % 16, 7]] * 900
    told = np.array(features(after([10] * 1199, values), "broken_rule"))
    last = 300 + np.flatnonzero(told[300:])[-1]
    kept = 254 / 255 * (1 - 1 / 256) ** 44 + 1 - (1 - 1 / 256) ** 44
    # the first break costs nothing, every other one 10 ms of 60 s
    assert last == approx(301 + np.log(kept / 0.9) / -np.log1p(-0.01 / 60), abs=2)


NO_RULE = {
    "the pages of a multiplexer": [[2 * (1 + i % 13)] for i in range(600)],
    "bits that rest": [[0]] * 300 + [[1], [1]],
    "a counter that is there twice": [  # their XOR never changes
        [i % 16, 0x40 if i < 300 else 0x80, i % 16] for i in range(303)
    ],
}


@pytest.mark.parametrize("payloads", NO_RULE.values(), ids=NO_RULE)
def test_what_is_no_rule_is_never_broken(payloads):
    assert max(features(after([10] * (len(payloads) - 1), payloads), "broken_rule")) == 0


CHECKSUMS = ["XOR", "sum of all", "last minus the others", "sum of 16 bits", "negated, 16 bits"]


def summed(kind, seed, n):
    """Random payloads with a checksum in their last byte."""
    data = np.random.default_rng(seed).integers(0, 256, (n, 8))
    total = data[:, :7].sum(1)
    data[:, 7] = {
        "XOR": np.bitwise_xor.reduce(data[:, :7], 1) ^ 0x5A,
        "sum of all": 0x5A - total,
        "last minus the others": total + 0x5A,
        "sum of 16 bits": data[:, :6].sum(1) + 0x5A,
        "negated, 16 bits": 0xFFFF - data[:, :6].sum(1),
    }[kind]
    if "16 bits" in kind:
        data[:, 6] = data[:, 7] >> 8
    return data % 256


@pytest.mark.parametrize("kind", CHECKSUMS)
def test_a_checksum_is_known_by_itself_told_when_it_breaks_and_stays_broken_unmended(kind):
    data = summed(kind, seed=1, n=104)
    data[100, 7] ^= 0x10
    rule = features(after([10] * 103, data.tolist()), "broken_rule")
    assert max(rule[:100]) == 0
    assert rule[100] == approx(out_of_the_blue(broken(99 / 100, 100), 0.5, 100), abs=1e-4)
    assert rule[101:] == [0, 0, 0], "the frames behind it are innocent"
    data = summed(kind, seed=2, n=320)
    data[300:, 2] ^= 0x80  # the checksum differs, by the same each time
    rule = features(after([10] * 319, data.tolist()), "broken_rule")
    assert max(rule[:300]) == 0 and min(rule[300:]) > 2


def test_while_a_checksum_is_kept_others_that_break_are_none():
    i = np.arange(400)
    low = np.where(i < 200, 0, 3 * i)  # at rest first, so that the upper byte rests too
    data = np.column_stack([i % 16, low % 256, 0 * i, 0 * i])
    total = data.sum(1) + 0xE0
    data[:, 2], data[:, 3] = total >> 8, total % 256
    quiet = features(after([10] * 399, data.tolist()), "broken_rule")
    assert max(quiet[:200]) == 0 and max(quiet[260:]) == 0


def test_what_counts_in_a_checksum_while_the_payload_rests_is_no_counter():
    i = np.arange(600)
    data = np.column_stack([i % 16, np.where(i < 300, 0x40, 7 * i % 256), 0 * i])
    data[:300, 1] += (i[:300] % 100 == 50).astype(int)  # that proves the checksum
    data[:, 2] = data[:, 0] + data[:, 1] + 5 & 255
    assert max(features(after([10] * 599, data.tolist()), "broken_rule")[300:]) == 0
    data[599, 2] ^= 0x10
    assert features(after([10] * 599, data.tolist()), "broken_rule")[599] > 2


def along(count, data):
    """A counter, a byte of data, and a byte that counts down with it while the data rest."""
    return [4 * (count % 4), data, -(count % 4 + data) & 255]


def test_what_counts_along_with_a_counter_until_there_is_news_is_a_checksum():
    payloads = [along(i, 0x40) for i in range(300)]
    moving = [along(i, 7 * i % 256) for i in range(300, 330)]
    resting = [along(i, 0x11) for i in range(330, 340)]
    assert max(features(after([10] * 339, payloads + moving + resting), "broken_rule")) == 0
    assert features(after([10] * 300, [*payloads, along(302, 0x40)]), "broken_rule")[-1] > 2
    alone = [*along(300, 0x40)[:2], 0x77]
    assert features(after([10] * 300, [*payloads, alone]), "broken_rule")[-1] > 2, "no news"
    # two equal counters in a byte; only one goes on, and nothing else has changed
    payloads = [[i % 4 << 4 | i % 4, 5] for i in range(300)] + [[300 % 4 << 4 | 3, 5]]
    assert features(after([10] * 300, payloads), "broken_rule")[-1] > 2


@pytest.mark.parametrize("turn", [15, 16])
@pytest.mark.parametrize(("period", "missing"), [(10, 3), (10, 8), (2, 3), (20, 13), (100, 31)])
def test_a_counter_may_skip_what_is_missing(period, missing, turn):
    for n in range(300, 315):  # also over the turn
        payloads = [[i % turn] for i in range(n)]
        gaps = [period] * (n - 1) + [period * missing]
        wrong = next(k for k in range(2, 9) if k % 4 not in (1, missing % 4))
        for skipped, kept in ((missing, True), (1, True), (wrong, False)):
            more = [*payloads, [(n - 1 + skipped) % turn]]
            rule = features(after(gaps, more), "broken_rule")[-1]
            if kept or (n - 1) % turn + skipped < turn:  # 14 goes to 0 in either
                assert (rule == 0) == kept, (n, skipped)


@pytest.mark.parametrize("last", range(0, 256, 17))
def test_a_frame_that_is_excused_makes_no_rule_forgotten(last):
    # on the clock, with the counter stopped, news, and anything for a checksum
    payloads = [along(i, 0x40) for i in range(600)] + [[*along(599, 0x11)[:2], last]]
    payloads += [along(i, 7 * i % 256) for i in range(601, 700)]
    told = np.array(features(after([10] * 699, payloads), "broken_rule"))
    assert (told[601:] > 0).sum() <= 1
    stopped = [*payloads, *[along(699, 9)] * 5]
    assert max(features(after([10] * 704, stopped), "broken_rule")[700:]) > 2


@pytest.mark.parametrize("mended", [True, False])
def test_a_checksum_is_proven_when_it_goes_along_with_another_byte(mended):
    data = [[i % 16, 0x40, i % 16] for i in range(200)]
    data += [[i % 16, 0x80, i % 16 ^ 0xC0] for i in range(200, 400)]
    data += [[i % 16, 0x10, i % 16 ^ 0x50] for i in range(400, 600)]
    data.append([600 % 16, 0x40, 600 % 16 ^ (0 if mended else 0xC0)])
    told = features(after([10] * 600, data), "broken_rule")
    assert max(told[:600]) == 0 and (told[600] > 2) != mended


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("start", [0x00, 0xFF, 0x37])
def test_a_crc_8_of_j1850_is_known_in_the_first_byte_and_in_the_last_whatever_it_starts_from(
    first, start
):
    rng, rows = np.random.default_rng(start), []
    for i in range(400):
        said = [i % 15, *rng.choice([3, 9, 200], 3).tolist()]
        crc = start
        for byte in said:
            crc ^= byte
            for _ in range(8):
                crc = (crc << 1 ^ 0x11D) if crc & 0x80 else crc << 1
        rows.append([crc, *said] if first else [*said, crc])
    whole = features(after([10] * 399, rows), "broken_rule")
    rows[350][2] ^= 0x08
    forged = features(after([10] * 399, rows), "broken_rule")
    assert max(whole) == 0 and forged[350] > 2 and max(forged[:350]) == 0


def test_what_says_the_same_two_things_in_turn_proves_no_checksum():
    """Both have the same CRC, as one pair in 256 has: a third thing breaks no rule."""
    crc = [int(CRC_8[CRC_8[a] ^ 7]) for a in (1, 2)]
    rows = [[[1, 7, crc[0]], [2, 7, crc[1]]][i // 3 % 2] for i in range(400)] + [[9, 8, 1]]
    assert max(features(after([10] * 400, rows), "broken_rule")) == 0


def test_dlc_change_compares_with_the_last_frame_and_a_remote_one_has_no_payload():
    payloads = [[1], [1], [1, 1], [1, 1], []]
    assert features(after([10] * 4, payloads), "dlc_change") == [0, 0, 1, 0, 1]
    frames = after([10] * 2, [[1] * 8] * 3, is_remote_frame=np.array([False, True, False]))
    dlc, novel = features(frames, "dlc_change", "novel_bytes")
    assert (dlc, novel) == ([0, 1, 1], [0, 0, 0])


def test_a_first_frame_of_a_recording_is_plain_and_a_late_one_is_not():
    assert not profile(after([], [[255] * 8]))[0].any()
    late = Frames(np.array([0.0, 6.0]), np.array([1, 2]), data=np.full((2, 8), 255))
    expected = np.zeros(len(FRAME_FEATURES), np.float32)
    expected[COLUMN["distrust"]] = 1
    expected[COLUMN["novel_bytes"]] = log2(1 + 1 / 0.45)  # all of its bytes
    assert profile(late)[0][1] == approx(expected)


def test_ids_do_not_mix_nor_11_bit_and_29_bit_ids_of_one_number():
    one, two = periodic(0, 1, 0.01, 0x10), periodic(0.003, 1, 0.05, 0x20)
    both, slots, *_ = profile(together(one, two))
    for number, frames in enumerate((one, two)):
        assert np.array_equal(both[slots == number], profile(frames)[0])
    frames = Frames(np.arange(2.0), np.array([5, 5]), is_extended_id=np.array([False, True]))
    assert profile(frames)[1].tolist() == [0, 1]


# trust


def test_an_id_of_the_warm_up_keeps_its_trust_and_a_late_one_earns_it():
    distrust, rate = features(after([10, 10, 20, 5, 500, 1]), "distrust", "rate")
    assert distrust == [0] * 7
    assert rate[:4] == approx([0, 0, 1 / 10, 1 / 10])
    distrust = turning_up([1000] * 20 + [3000, 1000])[:, COLUMN["distrust"]]
    left = 1 - 1 / 60  # of distrust, each second from the second gap on; it is lost by the eighth
    expected = [1, 1, 1, *(left**k for k in range(1, 20))]
    assert distrust[:22] == approx(expected[:22], abs=1e-6)
    assert 1 - distrust[22] == approx((1 - distrust[21]) * 7 / 8, abs=1e-6)


def test_half_an_octave_parts_regular_gaps_from_irregular_ones():
    # 15 and 16 ticks over a period of 11: .45 and .54 octaves
    for gap, regular in ((14, True), (15, False)):
        before, now = 1 - turning_up([10] * 30 + [gap, 10])[-2:, COLUMN["distrust"]]
        expected = before + (1 - before) * gap * 1e-3 / 60 if regular else before * 7 / 8
        assert now == approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "begin, gap, late",
    [(2.0, 10, True), (2.0, 300, False), (0.05, 10, False), (4.9, 500, True), (4.9, 700, False)],
)
def test_an_id_that_missed_its_first_turns_is_late_within_the_warm_up(begin, gap, late):
    distrust = turning_up([gap] * 5, begin)[:, COLUMN["distrust"]]
    assert distrust[0] == 0, "it is not known yet"
    assert (distrust[1] == 1) == late and (distrust[-1] > 0.9) == late


def test_an_id_that_turns_up_later_needs_a_minute_and_its_flood_earns_nothing():
    frames = together(periodic(0, 66.005, 0.1, 1), periodic(6, 66.005, 0.01, 2))
    values, slots, *_ = profile(frames)
    first, late = (values[slots == i, COLUMN["distrust"]] for i in (0, 1))
    assert first.max() == 0 and late[0] == 1
    assert late[100] == approx((1 - 0.01 / 60) ** 98, abs=1e-5), "one second: hardly any"
    assert late[-1] == approx(np.exp(-1), abs=0.01), "one minute: its time constant"
    frames = together(periodic(0, 9, 0.01, 1), periodic(6, 9, 0.0002, 2))
    values, slots, *_ = profile(frames)
    assert values[slots == 1, COLUMN["distrust"]].min() > 0.94
    assert values[slots == 1, COLUMN["rate"]].max() < 0.06


# bounds on what an attacker can teach


@pytest.mark.parametrize("gap", [0.0001, 0.0011, 0.003])
def test_a_flood_teaches_by_its_time_not_by_its_frames(gap):
    state = Profiles()
    profile(periodic(0, 20, 0.01), state)
    before = state.table["clock"]["log_period"][0]
    profile(periodic(20, 22, gap), state)
    told = state.table[0]
    moved = told["clock"]["log_period"] - before
    assert moved >= -0.5 / 20 * 2.01, "a fortieth of an octave a second"
    assert (moved == 0) == (gap < 1e-3), "what has less than a tick teaches no time"
    assert 0 <= told["usual"]["gap"] < 2 * 0.1 * 1.01  # of an octave, in 2 of 20 s, and on time
    assert 0 <= told["clock"]["jitter"] <= 0.1 * 1.01


@given(st.lists(st.floats(0, 2), min_size=1, max_size=60))
def test_nothing_moves_a_grown_up_period_faster(gaps):
    state = Profiles()
    profile(periodic(0, 0.2, 0.01), state)
    before, began = state.table["clock"]["log_period"][0], state.table["clock"]["last_time"][0]
    timestamp = began + np.cumsum(gaps)
    profile(Frames(timestamp, np.full(len(gaps), 0x1A0)), state)
    # a gap may round up by half a microsecond
    elapsed = timestamp[-1] - began + 0.5e-6 * len(gaps)
    assert abs(state.table["clock"]["log_period"][0] - before) <= 0.5 / 20 * elapsed + 1e-9


def test_an_early_frame_teaches_nothing_about_payloads():
    payloads = [[0]] * 12 + [[255, 255], [255, 255], [0]]
    frames = after([10] * 11 + [2, 8, 10], payloads)
    early, late, again = profile(frames)[0][-3:]
    assert early[COLUMN["gap_ratio"]] < -1
    assert late[COLUMN["gap_ratio"]] > -1
    for name in ("dlc_change", "flip_excess"):
        assert late[COLUMN[name]] == early[COLUMN[name]] != 0, name
    flips = log2(1 + 16 / 0.02)
    for name, raw, grain in (("novel_bytes", 1, 0.05), ("flip_surprise", flips, 0.5)):
        told = [out_of_the_blue(raw, grain, n) for n in (12, 13)]
        assert [early[COLUMN[name]], late[COLUMN[name]]] == approx(told, abs=1e-5), name
    assert early[COLUMN["flip_trend"]] == 0 < late[COLUMN["flip_trend"]]
    assert again[COLUMN["dlc_change"]] == 1, "the frame on time did teach"


# any pieces, no look ahead


@example(cuts=range(1500))  # frame by frame
@given(cuts=st.lists(st.integers(0, 1500), max_size=12))
def test_chunks_give_the_same_bits(drive, cuts):
    frames = drive[8000:9500]
    whole, slots, *_ = profile(frames)
    state, edges = Profiles(), [0, *sorted(cuts), len(frames)]
    parts = [profile(frames[begin:end], state) for begin, end in pairwise(edges)]
    assert np.concatenate([p.features for p in parts]).tobytes() == whole.tobytes()
    assert np.concatenate([p.slot for p in parts]).tolist() == slots.tolist()


def test_the_warm_up_is_counted_from_the_first_frame_of_all():
    frames, state = together(periodic(0, 8, 0.05, 1), periodic(6, 8, 0.01, 2)), Profiles()
    values, slots, *_ = profile(frames[:0], state)
    assert values.shape == (0, len(FRAME_FEATURES)) and len(slots) == 0
    assert state.heard["frames"] == 0, "the clock starts with the first frame"
    late = frames.timestamp > 5.5
    parts = [profile(frames[part], state)[0] for part in (~late, late)]
    assert np.concatenate(parts).tobytes() == profile(frames)[0].tobytes()


# what features must not depend on


@given(st.integers(0, 2**32 - 1))
def test_renaming_the_ids_changes_nothing(drive, seed):
    frames = drive[:3000]
    names = np.random.default_rng(seed).permutation(0x800)
    values, slots, *_ = profile(frames)
    renamed, same_slots, *_ = profile(replace(frames, arbitration_id=names[frames.arbitration_id]))
    assert renamed.tobytes() == values.tobytes()
    assert np.array_equal(same_slots, slots)


def test_the_time_of_day_changes_nothing_and_an_epoch_time_nothing_but_rounding(drive):
    for seconds in (1.0, 3600.0):
        later = replace(drive, timestamp=drive.timestamp + seconds)
        assert np.array_equal(profile(later)[0], profile(drive)[0])
    later = replace(drive, timestamp=drive.timestamp + 1478198376.0)  # exact to .24 µs only
    np.testing.assert_allclose(profile(later)[0], profile(drive)[0], atol=1e-3)


REGULAR = st.integers(1, 200).map(lambda period: [period] * 60)
# all of them on time: from a frame before the last, the parts of ticks would add up
IRREGULAR = st.lists(st.integers(20, 25), min_size=60, max_size=60)


@given(st.one_of(REGULAR, IRREGULAR), st.integers(0, 2**32 - 1))
def test_where_in_its_tick_a_gap_ends_changes_nothing(ticks, seed):
    rng = np.random.default_rng(seed)
    payloads = rng.integers(0, 256, (61, 8)).tolist()
    one, two = (after(ticks + rng.uniform(0.01, 0.99, 60), payloads) for _ in range(2))
    assert not np.array_equal(one.timestamp, two.timestamp)
    assert np.array_equal(profile(one)[0], profile(two)[0])


# numbers


def test_backward_clocks_and_equal_timestamps_give_numbers_and_do_not_stop_the_learning():
    state = Profiles()
    for begin in (100.0, 0.0, 50.0, 50.0):
        values, *_ = profile(periodic(begin, begin + 1, 0.01), state)
        assert np.isfinite(values).all()
    assert np.isfinite(state.table["clock"]["log_period"]).all()
    assert np.isfinite(state.table["trust"]["amount"]).all()
    state = Profiles()
    profile(periodic(1000, 1020, 0.01), state)
    values, *_ = profile(periodic(0, 1, 0.01), state)
    assert values[1:, COLUMN["gap_ratio"]] == approx(np.zeros(len(values) - 1), abs=1e-3)
    clock = state.table["clock"][0]
    assert clock["base_time"] == clock["last_time"] == approx(0.99)
    values, *_ = profile(Frames(np.zeros(50), np.zeros(50)))
    assert np.isfinite(values).all()
    assert values[-1, COLUMN["gap_ratio"]] == 0


SHARES = {"jitter", "distrust", "dlc_change", "rate"}
SIGNED = {"gap_ratio": 6, "flip_excess": 8, "flip_trend": 8}


@given(buses())
def test_every_feature_is_finite_and_within_its_limits(frames):
    values, slots, *_ = profile(frames)
    assert np.isfinite(values).all()
    for name, column in zip(COLUMN, values.T, strict=True):
        high = 1 if name in SHARES else SIGNED.get(name, 6)
        low = -high if name in SIGNED else 0
        assert (low <= column).all() and (column <= high + 1e-6).all(), name
    assert set(slots) == set(range(len(np.unique(frames.arbitration_id))))


def test_every_byte_of_a_can_fd_frame_is_seen():
    data = np.zeros((40, 64), np.uint8)
    data[-1, 63] = 0xFF
    fd = Frames(np.arange(40) * 0.01, np.full(40, 0x1A0), dlc=np.full(40, 64), data=data)
    state = Profiles()
    start, *_ = profile(after([10.0] * 5), state)  # 8 bytes wide, then wider, then 8 again
    values, *_ = profile(replace(fd, timestamp=fd.timestamp + 1), state)
    assert values[-1, COLUMN["flip_excess"]] > 1 and values[-1, COLUMN["novel_bytes"]] > 0
    assert values[-2, COLUMN["flip_excess"]] <= 0
    assert np.isfinite(values).all() and np.isfinite(profile(after([10.0] * 5), state)[0]).all()
    alone, *_ = profile(after([10.0] * 5))
    assert np.array_equal(start, alone)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(drive, threads):
    state = Profiles()
    halves = [profile(part, state, threads)[0] for part in (drive[:7001], drive[7001:])]
    assert np.concatenate(halves).tobytes() == profile(drive)[0].tobytes()
