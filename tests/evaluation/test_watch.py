"""Alarms while windows come are those of `alarms.raise_alarms`, at every cut."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.evaluation.alarms import Alarm, raise_alarms
from cangraph.evaluation.scores import Scores
from cangraph.evaluation.watch import Seen, Watch


def seen_of(values, ends):
    return [Seen(v, e - 0.5, e) for v, e in zip(values, ends, strict=True)]


def told(watch, windows):
    """The alarms that the turns of a watch add up to."""
    found: dict[float, Alarm] = {}
    for window in windows:
        if turn := watch.see(window):
            found[turn.start] = Alarm(0, turn.start, turn.end, turn.peak)
    if watch.on:  # the traffic ended before the alarm did
        found[watch.alarm.start] = Alarm(0, watch.alarm.start, windows[-1].end, watch.alarm.peak)
    return list(found.values())


WINDOWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 1.0, 2.0, 3.0]), st.sampled_from([0.25, 0.5, 2.0])),
    min_size=1,
    max_size=40,
)


@given(WINDOWS, st.integers(1, 3), st.integers(0, 2), st.sampled_from([0.0, 1.0, 3.0]))
def test_the_alarms_are_those_of_the_report(rows, k, more, hold):
    values, gaps = np.array(rows).T
    ends = np.cumsum(gaps)
    n = len(values)
    scores = Scores(values, np.zeros(n, bool), *np.zeros((2, n), int), ends - 0.5, ends, ())
    watch = Watch(1.0, k, k + more, hold)
    assert told(watch, seen_of(values, ends)) == raise_alarms(scores, 1.0, k, k + more, hold)


CHANCES = st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.6, 0.8, 0.96, 1.0])


@given(st.lists(st.tuples(CHANCES, st.sampled_from([0.25, 2.0])), min_size=1, max_size=40))
def test_the_alarms_by_evidence_are_those_of_the_report(rows):
    values, gaps = np.array(rows).T
    ends = np.cumsum(gaps)
    n = len(values)
    scores = Scores(values, np.zeros(n, bool), *np.zeros((2, n), int), ends - 0.5, ends, ())
    assert told(Watch(0.5, 0, 0), seen_of(values, ends)) == raise_alarms(scores, 0.5, 0, 0)


def test_evidence_tells_since_when():
    windows = [Seen(v, t, t + 1.0) for t, v in enumerate([0.01, 0.7, 0.8, 0.9, 0.99])]
    watch = Watch(0.5, 0, 0)
    turns = [watch.see(window) for window in windows]
    assert turns[:3] == [None] * 3 and turns[4] is None
    assert (turns[3].end, turns[3].delay, turns[3].suspect) == (4.0, 3.0, windows[3])
    assert watch.alarm.suspect == windows[4]
    watch = Watch(0.5, 0, 0)
    turn = [watch.see(Seen(v, t, t + 1.0, t)) for t, v in enumerate([0.01, 0.9, 0.7])][2]
    assert (turn.peak, turn.suspect.blamed, turn.delay) == (0.9, 1, 2.0), "the highest it rests on"


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


def test_an_alarm_tells_its_suspect_and_how_long_it_took():
    windows = [
        Seen(0.9, 0.0, 1.0, 0x10, 0.7, "replay"),
        Seen(0.0, 1.0, 2.0),
        Seen(0.8, 2.0, 3.0, 0x20, 0.6, "fuzzing"),
    ]
    watch = Watch(0.5)
    turns = [watch.see(window) for window in windows]
    assert turns[:2] == [None, None]
    assert turns[2].suspect == windows[0], "the highest of those it rests on"
    assert turns[2].delay == 3.0, "from the start of the first of them"


def test_k_of_n_that_is_none_is_refused():
    for k, n in ((4, 3), (1, 0), (0, 3)):
        with pytest.raises(ValueError, match=f"k is {k} and n is {n}; expected k of the last n"):
            Watch(0.5, k, n)
