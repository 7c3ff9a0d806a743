"""Alarms, delays, false alarms and duty of a few windows, counted by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from cangraph.evaluation.alarms import (
    Alarm,
    Evidence,
    Seen,
    Watch,
    alarm_rule,
    event_metrics,
    events_by_capture,
    raise_alarms,
)
from cangraph.evaluation.scores import Scores
from cangraph.frames import Frames


def scores_of(*captures, start=None):
    """Windows of one second, one after the other, a digit each; a window under attack is in
    brackets: "01[99]0"."""
    rows, infos = [], []
    for number, text in enumerate(captures):
        attack, first = False, len(rows)
        for letter in text:
            if letter in "[]":
                attack = letter == "["
            else:
                rows.append((float(letter), attack, number, len(rows) - first))
        names = {"name": f"c{number}", "scenario": f"t{9 - number}", "vehicle": "v"}
        infos.append(Frames(np.zeros(1), np.zeros(1), **names).info)
    value, label, capture, second = np.array(rows, float).reshape(-1, 4).T
    start = second if start is None else np.asarray(start, float)
    label, capture = label.astype(bool), capture.astype(np.int32)
    return Scores(value, label, label.astype(np.uint8), capture, start, start + 1, tuple(infos))


# alarms


@pytest.mark.parametrize(
    "text, k, n, expected",
    [
        ("0990000", 2, 3, [(3, 5)]),  # on with windows 2 and 3: window 4 knows of one of three
        ("0909000", 2, 3, [(4, 5)]),
        ("9900000", 1, 1, [(1, 3)]),
        ("0000099", 2, 3, [(7, 7)]),  # raised by the last window: nothing comes after
        ("", 2, 3, []),
    ],
)
def test_k_of_the_last_n_windows_raise_an_alarm(text, k, n, expected):
    assert raise_alarms(scores_of(text), 5, k, n) == [Alarm(0, a, b, 9) for a, b in expected]


def test_the_peak_is_the_highest_of_the_windows_behind_an_alarm():
    assert raise_alarms(scores_of("055000"), 5) == [Alarm(0, 3, 5, 5)], "at the threshold counts"
    assert raise_alarms(scores_of("055000"), 5.1) == []
    assert raise_alarms(scores_of("0708600000"), 5) == [Alarm(0, 4, 7, 8)]
    assert [a.peak for a in raise_alarms(scores_of("8066000000"), 5, hold=0)] == [8]
    assert [a.peak for a in raise_alarms(scores_of("8406600000"), 5, hold=0)] == [6], "too old"


def test_alarms_that_follow_within_hold_are_one_but_none_reaches_into_the_next_capture():
    scores = scores_of("0909090000")  # single windows: raised at 2, 4 and 6, over at 3, 5 and 7
    assert [a[1:3] for a in raise_alarms(scores, 5, 1, 1, hold=1.0)] == [(2, 7)]
    assert [a[1:3] for a in raise_alarms(scores, 5, 1, 1, hold=0.9)] == [(2, 3), (4, 5), (6, 7)]
    assert raise_alarms(scores_of("0009", "9000"), 5) == []
    both = raise_alarms(scores_of("0990000", "9900"), 5)
    assert both == [Alarm(0, 3, 5, 9), Alarm(1, 2, 4, 9)]


@given(
    st.text("012345", min_size=1, max_size=25), st.integers(1, 4), st.integers(0, 3), st.randoms()
)
def test_alarms_are_where_k_of_n_say_so_whatever_the_order_of_the_windows(text, k, more, random):
    n, scores = k + more, scores_of(text)
    hits = scores.value >= 3
    on = [hits[max(i - n + 1, 0) : i + 1].sum() >= k for i in range(len(hits))]
    alarms = raise_alarms(scores, 3, k, n, hold=0)
    during = [any(a.start <= e < a.end for a in alarms) for e in scores.end[:-1]]
    assert during == on[:-1]
    scores = scores_of(text, text[::-1])
    mixed = scores[random.sample(range(len(scores)), len(scores))]
    assert raise_alarms(mixed, 3) == raise_alarms(scores, 3)


@pytest.mark.parametrize("k, n", [(0, 3), (4, 3), (1, 0)])
def test_k_that_is_not_of_n_is_refused(k, n):
    for refused in (lambda: raise_alarms(scores_of("012"), 1, k, n), lambda: Watch(0.5, k, n)):
        with pytest.raises(ValueError, match=f"k is {k} and n is {n}"):
            refused()


@pytest.mark.parametrize(
    "kind, k", [("GAT", 0), ("trees", 0), ("fusion (gat)", 0), ("VGAE", 2), ("fusion (mean)", 2)]
)
def test_detectors_of_probabilities_raise_alarms_by_evidence(kind, k):
    assert alarm_rule(kind, 0.5) == (0.5, k, 3 if k else 0)


# what alarms are worth


def test_one_attack_found_with_one_false_alarm():
    # alarms: raised at 3, over at 5 (false); raised at 10 in the attack of 8–12, over at 14
    result = event_metrics(scores_of("09900000[9999]000000"), at=5)
    assert result == {
        "events": 1,
        "found": 1,
        "recall": 1.0,
        "delay_median": 2.0,  # from 8 to the end of the second attack window
        "delay_p90": 2.0,
        "delay_of_all": 2.0,
        "alarms": 2,
        "false_alarms": 1,
        "benign_hours": approx((18 - 4 - 1) / 3600),
        "false_alarms_per_hour": approx(1 / 13 * 3600),
        "duty": approx((2 + 1) / 13),  # 3–5, and 13–14 behind the aftermath
    }


def test_delays_over_three_events():
    result = event_metrics(scores_of("0[99]000[099]000[00999]000[00]000"), at=5)
    assert (result["events"], result["found"], result["recall"]) == (4, 3, 0.75)
    assert result["delay_median"] == 3  # 2, 3 and 4 s
    assert result["delay_p90"] == approx(3.8)
    # the one of 2 s that is missed was watched for 3 s: of 4, half have an alarm after 3 s
    assert result["delay_of_all"] == 3
    assert result["false_alarms"] == 0


def test_a_missed_attack_counts_as_long_as_it_was_watched():
    """By hand: found after 2 s, missed for 4 s and 3 s; of two, half are found after 2 s."""
    assert event_metrics(scores_of("0[99]00000[000]0000"), at=5)["delay_of_all"] == 2
    assert event_metrics(scores_of("0[99]00000[000]0000[00]000"), at=5)["delay_of_all"] is None
    # one is gone after 2 s: of the last two, the one found after 4 s is half
    late = event_metrics(scores_of("0[0]000[00099]0000"), at=5)
    assert (late["found"], late["delay_of_all"]) == (1, 5)


def test_an_alarm_in_the_aftermath_is_late_but_right():
    late = event_metrics(scores_of("00[9]900000"), at=5)
    assert (late["found"], late["false_alarms"], late["delay_median"]) == (1, 0, 2.0)
    assert late["duty"] == approx(2 / 7)  # the alarm is 4–6, all of it behind the aftermath
    too_late = event_metrics(scores_of("00[9]090900"), at=5)
    assert (too_late["found"], too_late["false_alarms"]) == (0, 1)
    always = event_metrics(scores_of("999999[9999]99999"), at=5)
    assert (always["found"], always["alarms"], always["false_alarms"]) == (0, 1, 1)
    assert always["duty"] == approx((6 - 2 + 4) / 10)


def probability(*odds):
    return 1 / (1 + np.exp(-np.array(odds, float)))


def test_evidence_is_summed_until_it_speaks_against_an_attack():
    # log-odds in the first 5 s: 6, over 5 at once; 2.6 twice
    told = probability(6, -9, 2.6, 2.6, -9, -9)
    scores = replace(scores_of("0" * len(told)), value=told)
    alarms = raise_alarms(scores, 0.5, 0, 0, hold=0.0)
    assert [a[1:] for a in alarms] == [(1, 2, told[0]), (4, 5, told[2])]
    assert len(raise_alarms(scores, float(told[2]), 0, 0)) == 0, "over the odds of a threshold"
    two = replace(scores, capture=(np.arange(len(told)) > 2).astype(int))
    assert [a.start for a in raise_alarms(two, 0.5, 0, 0)] == [1], "a capture begins without"
    certain = replace(scores, value=np.array([1.0] * 5 + [0.0]))
    (alarm,) = raise_alarms(certain, 0.5, 0, 0)
    assert (alarm.start, alarm.end) == (1, 6), "forgotten as soon as it is over"


def test_a_calm_stream_is_judged_by_what_is_usual_in_it():
    """By hand: windows of 1 s, m = -4 and s = 0 after six of log-odds -4, level max(-4, -1.5)."""
    evidence = Evidence()
    for end in range(1, 7):
        assert evidence.add(probability(-4)[0], end, 0.9) == 0
    assert (evidence.usual, evidence.spread, evidence.heard) == approx((-4, 0, 6))
    assert evidence.add(probability(1)[0], 7, 0.9) == approx(1 + 1.5)
    # learnt as far as the level alone, and .3 of 1/7
    assert (evidence.usual, evidence.spread) == approx((-4 + 0.75 / 7, 0.75 / 7))
    assert evidence.add(probability(1)[0], 8, 0.9) == approx(5.0)
    assert evidence.add(probability(-9)[0], 9, 0.9) == 0


@given(st.lists(st.floats(-9, 9), min_size=20, max_size=60), st.floats(0.1, 0.99))
def test_no_stream_is_judged_more_strictly_than_by_the_threshold(odds, at):
    evidence, strict = Evidence(), 0.0
    for end, one in enumerate(odds):
        value = probability(one)[0]
        strict = min(max(strict + one - np.log(at / (1 - at)), 0.0), 10.0)
        assert evidence.add(value, end / 10, at) >= strict - 1e-6


@pytest.mark.parametrize(
    "text, k, n, found, false_alarms, delay",
    [
        ("09[9]00000", 1, 1, 0, 1, None),  # raised before the first attack window is over
        ("00[9]00000", 1, 1, 1, 0, 1),
        ("00[99]999[99]0000", 2, 3, 2, 0, (2 + 0) / 2),  # what goes on finds the next at once
        ("00[99]000[00]0000", 2, 3, 1, 0, 2),
        ("0[0]00", 2, 3, 0, 0, None),
        ("", 2, 3, 0, 0, None),
    ],
)
def test_when_an_alarm_finds_an_event(text, k, n, found, false_alarms, delay):
    result = event_metrics(scores_of(text), 5, k, n)
    assert (result["found"], result["false_alarms"]) == (found, false_alarms)
    assert result["delay_median"] == delay


@pytest.mark.parametrize(
    "text, expected",
    [
        ("0990000000", {"recall", "delay_median", "delay_p90", "delay_of_all"}),
        ("[999]", {"false_alarms_per_hour", "duty"}),
    ],
)
def test_what_is_undefined_is_none(text, expected):
    result = event_metrics(scores_of(text), at=5)
    assert {name for name, value in result.items() if value is None} == expected


def test_time_without_windows_is_not_benign_time():
    # windows of 0–3 and of 100–104, as where calibration windows are left out
    scores = scores_of("0000000", start=[0, 1, 2, 100, 101, 102, 103])
    assert event_metrics(scores, at=5)["benign_hours"] == approx(7 / 3600)
    half = scores_of("0000000", start=np.arange(7) / 2)  # overlapping ones count once
    assert event_metrics(half, at=5)["benign_hours"] == approx(4 / 3600)
    across = scores_of("0099000", start=[0, 1, 2, 100, 101, 102, 103])
    (alarm,) = raise_alarms(across, at=5)
    assert (alarm.start, alarm.end) == (101, 103)
    assert event_metrics(across, at=5)["duty"] == approx(2 / 7)


def test_captures_are_pooled_and_listed():
    scores = scores_of("0099000000", "00[99]00000", "000[0]00000")
    names = ("scenario", "capture", "vehicle", "found", "recall", "false_alarms")
    assert [[row[name] for name in names] for row in events_by_capture(scores, 5)] == [
        ["t7", "c2", "v", 0, 0, 0],
        ["t8", "c1", "v", 1, 1, 0],
        ["t9", "c0", "v", 0, None, 1],
    ]
    pooled = event_metrics(scores, at=5)
    assert (pooled["events"], pooled["found"], pooled["recall"]) == (2, 1, 0.5)
    assert pooled["benign_hours"] == approx((10 + 6 + 7) / 3600)
    assert pooled["false_alarms_per_hour"] == approx(3600 / 23)
    assert pooled["duty"] == approx((2 + 1) / 23)


# window by window


GAPS, VALUES = st.sampled_from([0.25, 0.5, 2.0]), st.sampled_from([0.0, 0.2, 1.0, 2.0, 3.0])
WINDOWS = st.lists(st.tuples(VALUES, GAPS), min_size=1, max_size=40)


def seen_of(values, ends):
    return [Seen(v, e - 0.5, e) for v, e in zip(values, ends, strict=True)]


def test_an_alarm_tells_its_suspect_and_since_when():
    windows = [Seen(0.9, 0.0, 1.0, 0x10), Seen(0.0, 1.0, 2.0), Seen(0.8, 2.0, 3.0, 0x20)]
    watch = Watch(0.5)
    turns = [watch.see(window) for window in windows]
    assert turns[:2] == [None, None]
    assert turns[2].suspect == windows[0], "the highest of those it rests on"
    assert turns[2].delay == 3.0, "from the start of the first of them"
    windows = [Seen(v, t, t + 1.0) for t, v in enumerate([0.01, 0.7, 0.9, 0.95, 0.99])]
    watch = Watch(0.5, 0, 0)
    turns = [watch.see(window) for window in windows]
    assert turns[:3] == [None] * 3 and turns[4] is None
    assert (turns[3].end, turns[3].delay, turns[3].suspect) == (4.0, 3.0, windows[3])
    assert watch.alarm.suspect == windows[4]
    watch = Watch(0.5, 0, 0)
    turn = [watch.see(Seen(v, t, t + 1.0, t)) for t, v in enumerate([0.01, 0.95, 0.9])][2]
    assert (turn.peak, turn.suspect.blamed, turn.delay) == (0.95, 1, 2.0), "the highest it rests on"


@given(WINDOWS, st.integers(0, 40), st.booleans())
def test_a_watch_goes_on_from_its_state(rows, cut, summed):
    values, gaps = np.array(rows).T
    windows = seen_of(values / 4, np.cumsum(gaps))
    rule = (0.4, 0, 0) if summed else (0.25,)
    whole, first, second = Watch(*rule), Watch(*rule), Watch(*rule)
    turns = [whole.see(window) for window in windows]
    before = [first.see(window) for window in windows[:cut]]
    second.restore(json.loads(json.dumps(first.state())))
    assert before + [second.see(window) for window in windows[cut:]] == turns
