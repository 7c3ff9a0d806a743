"""What a window takes."""

import itertools

import pytest

from cangraph.bus.simulator import simulate
from cangraph.deploy import latency as module
from cangraph.deploy.latency import footprint, latency


def test_each_window_counts_with_the_least_of_its_rounds(monkeypatch):
    took = [3.0, 1.0, 9.0, 2.0, 4.0, 9.0]  # s: two windows in three rounds
    ends = itertools.accumulate(x for each in took for x in (0.0, each))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ends))
    seen = []
    cost = latency(seen.append, simulate("aster", 1.0), 50, 2)
    assert [len(graphs) for graphs in seen] == [1] * 6
    # the first window 3, 9, 4 → 3, the second 1, 2, 9 → 1
    assert cost == {"p50_ms": 2000.0, "p99_ms": pytest.approx(2980.0)}


def test_the_last_whole_window_is_taken_and_less_is_refused():
    frames, seen = simulate("aster", 1.0), []
    latency(seen.append, frames[:100], 50)
    assert len(seen) == 2 * 3
    with pytest.raises(ValueError, match="latency: 30 frames; expected at least a window of 50"):
        latency(seen.append, frames[:30], 50)


def test_a_footprint_counts_weights_and_times_windows(nets, detector, drive):
    net = footprint(nets["gat"].model, drive, 50, 3)
    assert net["bytes"] >= 4 * net["parameters"] > 0
    file = detector.footprint(drive, 3)
    assert file["bytes"] == detector.path.stat().st_size > file["parameters"] > 0
    for cost in (net, file):
        assert 0 < cost["p50_ms"] <= cost["p99_ms"]
