"""What the attacks of benchmarks/evasion.py change, and how their budgets are told."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from cangraph.bus.simulator import simulate

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import evasion


@pytest.fixture(scope="module")
def victim():
    return evasion.victim_of(simulate("clover", 25.0, seed=3))


def attacks(log):
    return (log.timestamp - log.timestamp[0])[log.attack]


def test_bits_are_turned_over():
    data = np.array([[0b101, 0], [0, 255]], np.uint8)
    assert evasion.flipped(data, np.array([0, 1, 8])).tolist() == [[0b110, 1], [3, 254]]


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_spoofed_frames_come_so_long_behind_genuine_ones(victim, share):
    log = evasion.spoofed(victim, 4, 8, share)
    at = attacks(log)
    assert len(at) == 4 and len(log) == len(victim.log) + 4
    assert at.min() >= evasion.SINCE and at.max() < evasion.UNTIL + victim.period
    genuine = (victim.log.timestamp - victim.log.timestamp[0])[victim.rows]
    behind = at - genuine[np.searchsorted(genuine, at) - 1]
    assert behind == approx(share * victim.period, abs=0.2 * victim.period)


def test_a_replay_is_of_the_last_milliseconds(victim):
    log = evasion.replayed(victim, 100)
    at = attacks(log)
    assert at.min() > 11.9 and at.min() >= 12 and at.max() < 12.2
    since = victim.log.timestamp - victim.log.timestamp[0]
    assert len(at) == ((since >= 11.9) & (since < 12)).sum()


def test_a_masquerade_adds_no_frame(victim):
    log = evasion.masked(victim, 3)
    changed = log.data != victim.log.data
    assert len(log) == len(victim.log) and np.array_equal(changed.any(1), log.attack)
    turned = np.unpackbits(log.data[log.attack] ^ victim.log.data[log.attack], axis=1)
    assert set(turned.sum(1).tolist()) == {3}
    assert evasion.masked(victim, 8, 5).attack.sum() == 5


@pytest.mark.parametrize(
    ("levels", "seen", "least"),
    [([1, 2, 4], {2, 4}, 2), ([1, 2, 4], set(), None), ([8, 4, 2], {8, 4}, 4), ([8, 4], {4}, None)],
)
def test_the_budget_is_the_least_level_that_is_seen(monkeypatch, levels, seen, least):
    monkeypatch.setattr(evasion, "sees", lambda detector, rule, log: log in seen)
    assert evasion.budget(levels, lambda level: level, None, None) == least


def test_a_victim_that_is_never_seen_counts_in_the_median():
    found = {("replay: ms", "box"): [40, None, 80], ("replay: ms", "count"): [None, None, 10]}
    box, count = evasion.table(found, {"replay: ms": "ms"})
    assert (box["median"], box["seen"], box["least"], box["most"]) == (80, 2, 40, 80)
    assert (count["median"], count["seen"], count["victims"]) == (None, 1, 3)
