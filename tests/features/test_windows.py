"""The kernels under the graphs: silent IDs become nodes, and chunks leave no trace."""

from dataclasses import replace
from itertools import pairwise
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from cangraph.bus.attacks import inject
from cangraph.features.schema import NODE_FEATURES
from cangraph.features.windows import SILENCE, windows
from cangraph.frames import AttackSpan, Frames

NODE = {feature.name: i for i, feature in enumerate(NODE_FEATURES)}
A, B = 0x10, 0x20


def arrays(chunks, window, stride):
    """The windows of the chunks, the parts joined."""
    parts = list(windows(chunks, window, stride))
    return {
        name: np.concatenate([part[name] for part in parts], -1 if name == "edge_index" else 0)
        for name in parts[0]
    }


def with_b(seconds, b):
    """A every 5 ms, and B at these times in s."""
    a = np.arange(0, seconds, 0.005)
    ids = np.concatenate([np.full(len(a), A), np.full(len(b), B)])
    return Frames.in_order(np.concatenate([a, b]), arbitration_id=ids)


def bus(seconds, b_until, b_again=np.inf):
    """A every 5 ms; B every 20 ms until `b_until` and again from `b_again` on, in s."""
    b = np.arange(0.0012, seconds, 0.02)
    return with_b(seconds, b[(b < b_until) | (b >= b_again)])


def nodes_of(made, w):
    cut = np.cumsum(np.concatenate([[0], made["node_size"]]))
    return slice(cut[w], cut[w + 1])


@pytest.mark.parametrize("window, seen", [(22, True), (21, False)])
def test_an_intruder_is_told_of_where_it_stands(window, seen):
    # at 199 ms instead of 200 ms comes one ahead of the clock, and then the genuine frame
    times = np.concatenate([np.arange(20) * 0.01, [0.199, 0.2], 0.21 + np.arange(20) * 0.01])
    made = arrays([Frames(times + 1e-4, np.full(len(times), A))], window, window)
    told = made["x"][:, NODE["intruder_max"]]
    assert made["label"].tolist() == [False] * len(told)
    assert (told[0] > 1) == seen, "in the window that holds both"
    assert told[1:] == approx(0), "not in one that begins with the genuine frame"


# silence


def test_a_missed_id_is_a_node_without_frames_or_edges():
    frames = bus(2.0, b_until=1.0)
    made = arrays([frames], 10, 10)
    last = nodes_of(made, -1 + len(made["begin"]))
    assert made["node_id"][last].tolist() == [A, B]
    assert made["node_count"][last].tolist() == [10, 0]
    edges = made["edge_index"][:, -made["edge_size"][-1] :]
    assert edges.tolist() == [[0], [0]], "only A follows A"
    x = made["x"][last][1]
    ticks = np.floor((made["end"][-1] - 0.9812) * 1e3) + 1  # B's period is 20 ms: 21 ticks
    away = log2(ticks / 21)
    told = {"silence": away - 2, "count_ratio": log2(1 / (45 / 20 + 1))}
    told |= dict.fromkeys(["gap_ratio_mean", "gap_ratio_min", "gap_ratio_max"], away)
    frames_so_far = len(frames)  # in 1.995 s; A alone has 10 in 45 ms
    told |= {"missed": 0.5, "rank": 0.5, "bus_rate": log2(10 / 46), "arrivals": log2(3)}
    told |= {"age": log2(1 + made["end"][-1] - 0.005), "company": 1.0}  # A came with it
    told |= {"bus_pace": told["bus_rate"] + log2(1995 / frames_so_far)}
    assert x == approx([told.get(name, 0) for name in NODE], abs=2e-2)


@pytest.mark.parametrize("b_again, missed", [(1.06, False), (1.1, True)])
def test_an_id_is_missed_after_four_of_its_periods(b_again, missed):
    # its last frame came at .9812 s, so that it is missed from 1.065 s on: over 84 ticks
    made = arrays([bus(2.0, 1.0, b_again)], 4, 1)
    assert (made["node_count"] == 0).any() == missed


def test_an_unsteady_id_is_given_more_time():
    steady = np.arange(0, 3, 0.02)
    unsteady = steady + np.random.default_rng(0).uniform(0, 0.019, len(steady))
    made = [arrays([with_b(4, times)], 10, 10)["node_count"] for times in (steady, unsteady)]
    assert (made[1] == 0).sum() < (made[0] == 0).sum()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_keeps_no_period_is_not_missed(times):
    events = np.cumsum(np.random.default_rng(1).exponential(0.1, 30))
    bursts = np.concatenate([events + k * 0.002 for k in range(times)])  # of each event
    assert not (arrays([with_b(6, bursts)], 10, 10)["node_count"] == 0).any()


def test_what_is_gone_for_long_is_not_expected_back():
    made = arrays([bus(20.0, b_until=1.0)], 10, 10)
    silent = made["node_count"][np.cumsum(made["node_size"]) - 1] == 0
    gone = made["end"] > 1 + SILENCE.gone
    assert silent[(made["end"] > 1.2) & (made["end"] < 0.9 + SILENCE.gone)].all()
    assert not silent[gone].any()


def test_a_silent_id_is_the_attacked_one():
    span = AttackSpan(1.0012, 1.9812, "suppression", B)
    made = arrays([replace(bus(3.0, 1.0, 2.0), attack_spans=(span,))], 10, 10)
    attacked = made["node_attack"]
    assert (made["node_id"][attacked] == B).all()
    assert (made["node_count"][attacked] == 0).sum() > 10
    of_window = np.repeat(np.arange(len(made["begin"])), made["node_size"])
    assert made["label"][of_window[attacked]].all()
    missed = (made["start"] <= span.end) & (made["end"] >= span.start)
    assert np.array_equal(made["label"], missed) and not missed.all()


# the bus as a whole


def column(made, name):
    return made["x"][:, NODE[name]]


def test_nobody_is_missed_behind_a_pause():
    frames = bus(2.0, b_until=5.0)
    later = replace(frames, timestamp=frames.timestamp + 9.0)
    both = Frames(
        *(
            np.concatenate(pair)
            for pair in zip(
                (frames.timestamp, frames.arbitration_id),
                (later.timestamp, later.arbitration_id),
                strict=True,
            )
        )
    )
    told = arrays([both], 10, 10)
    assert column(told, "silence").max() == 0
    assert np.abs(column(told, "gap_ratio_max")).max() < 0.5, "all clocks start anew"


def test_who_comes_with_others_and_who_comes_alone():
    times = np.arange(0, 12, 0.01)
    ids = np.concatenate([np.full(len(times), A), np.arange(5) + 100, [B] * 3])
    came = np.concatenate([times, 4.0 + np.arange(5) * 0.1 + 0.005, [8.0031, 8.5031, 9.0031]])
    made = arrays([Frames.in_order(came, arbitration_id=ids)], 10, 10)
    of_a = made["node_id"] == A
    at = made["end"][np.repeat(np.arange(len(made["begin"])), made["node_size"])][of_a]
    arrivals, strays = (column(made, name)[of_a] for name in ("arrivals", "strays"))
    assert arrivals[np.searchsorted(at, 5.0)] == approx(log2(6))
    assert arrivals[np.searchsorted(at, 7.0)] == 0
    assert arrivals[np.searchsorted(at, 8.2)] == 1
    assert strays[np.searchsorted(at, 8.2)] == approx(log2(7)), "the five, and B"
    assert strays[np.searchsorted(at, 9.2)] == approx(log2(6)), "B came back"


def test_a_burst_takes_the_bus():
    times = np.concatenate([np.arange(0, 6, 0.01), 6 + np.arange(90) * 2e-4, [6.02]])
    ids = np.where((times >= 6) & (times < 6.02), B, A)
    made = arrays([Frames(times, ids)], 10, 10)
    burst = (made["node_id"] == B) & (made["node_count"] == 10)
    assert burst.sum() >= 8
    assert column(made, "share")[burst] == approx(1.0)
    assert column(made, "bus_pace")[burst].min() > 4, (
        "log2(10 ms / 200 us) is 5.6, 2 ms are 3 ticks"
    )
    assert column(made, "bus_rate")[burst] == approx(log2(10 / 2.8), abs=0.1)
    assert column(made, "rank")[burst] == approx(0.5)


# chunks


@given(st.lists(st.integers(0, 3000), max_size=8), st.sampled_from([(50, 50), (50, 17), (20, 45)]))
def test_cuts_between_chunks_leave_no_trace(drive, cuts, sizes):
    frames = inject(drive[:3000], "suppression", spans=[(1.0, 2.0)], seed=2)
    edges = [0, *sorted(min(c, len(frames)) for c in cuts), len(frames)]
    chunks = [frames[a:b] for a, b in pairwise(edges)]
    whole, cut = arrays([frames], *sizes), arrays(chunks, *sizes)
    assert (whole["node_count"] == 0).any(), "some ID is silent"
    assert whole["label"].any()
    for name, values in whole.items():
        assert values.tobytes() == cut[name].tobytes(), name
