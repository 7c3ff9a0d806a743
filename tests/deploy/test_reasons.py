"""Reasons are measured in the frames: counters, checksums, gaps, bytes."""

import numpy as np
import pytest
from logs import heard_in

from cangraph.deploy.reasons import RARE, broken, own_frames, why
from cangraph.frames import Frames


def traffic(n=1500, period=0.01):
    """One ID with a counter, a byte that moves, a resting byte, and an XOR at the end."""
    count = np.arange(n)
    data = np.zeros((n, 8), np.uint8)
    data[:, 0], data[:, 1], data[:, 3] = count % 16, (count // 7) % 40, 0x55
    data[:, 7] = np.bitwise_xor.reduce(data[:, :7], 1)
    return np.arange(n) * period, np.full(n, 0x1A0), data


def reasons(time, ids, data, span):
    own = own_frames(heard_in(Frames(time, ids, data=data)))[0x1A0]
    quiet = (own.time < span[0]) | (own.time > span[1])
    return why(own, span, quiet)


def of(found):
    return {reason["feature"]: reason for reason in found["reasons"]}


def test_a_forged_frame_breaks_its_counter_comes_too_early_and_is_shown_with_its_bytes():
    time, _, data = traffic()
    at = 1000
    forged = data[at - 1].copy()
    forged[:2] = 9, 200
    time, data = np.insert(time, at, time[at - 1] + 0.002), np.insert(data, at, forged, 0)
    found = reasons(time, np.full(len(time), 0x1A0), data, (9.98, 10.05))
    assert found["period_ms"] == pytest.approx(10, abs=0.01)
    told = of(found)
    assert {"broken_rule", "gap_surprise"} <= set(told)
    assert "2.0 ms behind the one before, where 10.0 ms are usual" in told["gap_surprise"]["says"]
    assert all(reason["elsewhere"] < RARE for reason in told.values() if reason["elsewhere"])
    frame = found["frame"]
    assert frame["time"] == pytest.approx(time[at]) and set(frame["changed"]) == {0, 1}
    assert frame["gap_ms"] == pytest.approx(2.0)
    assert frame["after"].startswith("09 C8") and frame["before"].startswith("07")


def test_a_message_that_is_missing_and_one_that_floods():
    time, ids, data = traffic()
    kept = (time < 10) | (time > 10.4)
    silent = of(reasons(time[kept], ids[kept], data[kept], (9.9, 10.35)))
    assert "no frame for 3" in silent["silence"]["says"]
    more = np.sort(np.r_[time, np.arange(10, 10.4, 0.001) + 0.0003])
    place = np.searchsorted(time, more, "right") - 1
    flood = of(reasons(more, np.full(len(more), 0x1A0), data[place], (10.0, 10.4)))
    assert "where 40 are usual" in flood["count"]["says"]


def test_the_rule_that_breaks_is_named():
    _, _, data = traffic(200)
    counting, summed = data[:100].copy(), data[:100].copy()
    counting[-1, 0] = 9
    assert "the counter in the lower half of byte 0 goes from 02 to 09" in broken(counting, 8)
    summed[-1, 3] = 7
    assert "a checksum breaks: the XOR of all bytes" in broken(summed, 8)
    assert broken(data[:3], 8) == "a counter or checksum breaks that the frames before kept"


def test_an_id_without_a_past_is_called_new_and_nothing_else_is_usual():
    time, ids, data = traffic()
    ids[1000:1005] = 0x6A
    own = own_frames(heard_in(Frames(time, ids, data=data)))[0x6A]
    found = why(own, (9.9, 10.1), np.zeros(5, bool))
    assert set(of(found)) == {"distrust"} and found["period_ms"] is None
