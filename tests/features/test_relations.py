"""Relations between signals: what is learnt, who contradicts, in pieces as in one."""

from dataclasses import replace

import numpy as np
import pytest

from cangraph.features.relations import (
    MEMORY,
    RELATION,
    SIGNAL,
    TICK,
    Contradiction,
    Following,
    Relations,
    Samples,
    averaged,
    hats,
    turns,
)
from cangraph.frames import Frames

IDS = (0x100, 0x200, 0x300, 0x400)
PERIOD = 0.01  # s


def speed(time):
    return 20_000 + 12_000 * np.sin(time / 2) + 6_000 * np.sin(time / 0.7)


def bus(seconds=60.0, start=0.0, ids=IDS, says=None):
    """A bus on which each ID says the speed in its own unit, noise of some counts on it; `says`
    maps an ID to a function of its times and values."""
    time = start + PERIOD / len(ids) * np.arange(int(seconds * len(ids) / PERIOD))
    which = np.arange(len(time)) % len(ids)
    noise = np.random.default_rng(0).normal(0, 4, len(time))
    value = speed(time) * np.array([1.0, 0.7, 1.4, -0.5])[which] + noise + 25_000 * (which == 3)
    for k, arbitration_id in enumerate(ids):
        if says and arbitration_id in says:
            mine = which == k
            value[mine] = says[arbitration_id](time[mine], value[mine])
    data = np.zeros((len(time), 8), np.uint8)
    data[:, 2:4] = np.rint(value).clip(0, 65535).astype(">u2")[:, None].view(np.uint8)
    return Frames(time, np.array(ids)[which], data=data)


@pytest.fixture(scope="module")
def learnt():
    return Relations.learn([bus()])


def by_id(relations, said):
    ids = relations.signals["arbitration_id"]
    return {k: float(said.value[:, ids == k].max(initial=0)) for k in IDS}


def test_each_id_has_the_others_as_partners(learnt):
    ids = learnt.signals["arbitration_id"]
    pairs = {(ids[r["target"]], ids[r["partner"]]) for r in learnt.relations}
    assert pairs == {(a, b) for a in IDS for b in IDS if a != b}


def test_clean_traffic_contradicts_nobody(learnt):
    assert Following(learnt).feed(bus(start=7.0)).value.max() < 1


def test_who_lies_contradicts_the_most(learnt):
    lie = {0x200: lambda time, value: np.where((time > 10) & (time < 14), value + 3000, value)}
    found = by_id(learnt, Following(learnt).feed(bus(20.0, says=lie)))
    assert max(found, key=found.get) == 0x200
    assert found[0x200] > 3
    assert all(found[k] < 1 for k in IDS if k != 0x200)


def test_a_frozen_signal_contradicts_while_the_others_move(learnt):
    frozen = {0x300: lambda time, value: np.where(time > 5, value[np.searchsorted(time, 5)], value)}
    found = by_id(learnt, Following(learnt).feed(bus(15.0, says=frozen)))
    assert found[0x300] > 2 > 1 > found[0x100]


def test_pieces_say_the_same_as_the_whole(learnt):
    log = bus(12.0)
    whole, following = Following(learnt).feed(log), Following(learnt)
    cuts = np.sort(np.random.default_rng(1).integers(0, len(log), 20))
    pieces = [following.feed(log[a:b]) for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    for name in ("ticks", "value", "relation"):
        parts = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(parts, getattr(whole, name))


def test_what_is_heard_no_more_says_nothing(learnt):
    log = bus(20.0)
    quiet = log[(log.arbitration_id == 0x100) | (log.timestamp < 5)]
    said = Following(learnt).feed(quiet)
    assert said.value[said.ticks > 8].max() == 0


def test_two_that_only_drift_are_no_partners():
    drift = {k: (lambda time, value: 1000 + 50 * time) for k in IDS}
    assert len(Relations.learn([bus(says=drift)]).relations) == 0


def test_signals_of_one_id_are_no_partners():
    assert len(Relations.learn([bus(ids=IDS[:1])]).relations) == 0


def test_nothing_is_learnt_of_nothing():
    relations = Relations.learn([Frames(np.arange(9.0), np.zeros(9, int))])
    assert len(relations.signals) == len(relations.relations) == 0
    assert Following(relations).feed(bus(1.0)).value.shape[1] == 0


def test_what_is_heard_now_and_then_raises_no_warning():
    log = bus(60.0)
    rare = log[(log.timestamp % 3 < 0.02) | (log.arbitration_id == 0x100)]
    relations = Relations.learn([rare])
    assert Following(relations).feed(rare).value.max(initial=0) <= 4


def test_no_log_and_several_buses_are_refused():
    two = bus(2.0)
    two = replace(two, bus=np.arange(len(two), dtype=np.uint8) % 2, bus_names=("a", "b"))
    for logs, came in (([], "no log"), ([two], "several buses")):
        with pytest.raises(ValueError, match=came):
            Relations.learn(logs)


def test_averaged_is_the_exponential_average():
    pull = 1 - np.exp(-TICK / MEMORY)
    np.testing.assert_allclose(averaged(np.array([1.0, 1.0])), [pull, pull + pull * (1 - pull)])


def test_hats_are_a_straight_line_between_knots():
    np.testing.assert_allclose(hats(np.array([0.0, 1.0]))[[0, 1], [0, -1]], 1)
    np.testing.assert_allclose(hats(np.array([0.3])) @ np.linspace(0, 8, 9), [2.4])


@pytest.mark.parametrize(("values", "count"), [([0, 4, 0, 4], 2), ([0, 1, 0, 1], 0), ([0, 9], 0)])
def test_turns_are_counted_by_hand(values, count):
    assert turns(np.array(values, float), 3.0) == count


def test_samples_hold_the_last_value():
    relations = Relations.learn([bus()])
    log = bus(1.0)
    ticks, values = Samples(relations.signals).feed(log)
    row = int(np.flatnonzero(relations.signals["arbitration_id"] == 0x100)[0])
    mine = log[log.arbitration_id == 0x100]
    last = mine.data[np.searchsorted(mine.timestamp, ticks, "right") - 1]
    np.testing.assert_array_equal(values[row], last[:, 2].astype(int) * 256 + last[:, 3])


def test_pairs_are_a_graph_of_ids(learnt):
    pairs = learnt.pairs()
    assert pairs.ids.tolist() == list(IDS)
    assert sorted(zip(*pairs.edge_index.tolist(), strict=True)) == [
        (a, b) for a in range(4) for b in range(4) if a != b
    ]
    assert ((pairs.strength > 0.75) & (pairs.strength <= 1)).all()


def test_who_contradicts_comes_first(learnt):
    lie = {0x200: lambda time, value: np.where((time > 10) & (time < 14), value + 3000, value)}
    said = Following(learnt).feed(bus(20.0, says=lie))
    assert next(iter(learnt.contradicting(said, 9.0, 15.0))) == 0x200
    assert next(iter(learnt.blamed(said, 9.0, 15.0))) == 0x200
    assert max(learnt.contradicting(said, 0.0, 9.0).values()) < 1


def test_disputes_have_their_times_and_behind_a_pause_all_begins_anew(learnt):
    lie = {0x200: lambda time, value: value + 3000 * ((time % 30 > 10) & (time % 30 < 14))}
    log = bus(50.0, says=lie)
    first, second = learnt.disputes(log)
    assert (first.blamed, set(first.partners)) == (0x200, {0x100, 0x300, 0x400})
    assert 10 < first.start < 10.5 and 14 < first.end < 15 and first.value > 3
    assert 40 < second.start < 40.5
    later = replace(log, timestamp=log.timestamp + 1e9 * (log.timestamp > 12))
    (one, two, three) = learnt.disputes(later)
    assert one.end <= 12 and two.start > 1e9 and three.start > 1e9 + 40


def test_clean_traffic_is_no_dispute(learnt):
    assert [*learnt.disputes(bus(20.0, start=3.0))] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda signals, relations: relations["partner"].__setitem__(0, 99),
        lambda signals, relations: relations["target"].__setitem__(0, -1),
        lambda signals, relations: relations["target"].__setitem__(0, 2),
        lambda signals, relations: relations["knots"].__setitem__(0, np.nan),
        lambda signals, relations: relations["limits"].__setitem__(0, 0.0),
        lambda signals, relations: signals["high"].__setitem__(0, signals["low"][0]),
        lambda signals, relations: signals["length"].__setitem__(0, 1 << 40),
        lambda signals, relations: signals["start"].__setitem__(0, 63),
        lambda signals, relations: signals["arbitration_id"].__setitem__(0, 1 << 20),
    ],
)
def test_relations_of_a_file_that_no_log_teaches_are_refused(learnt, damage):
    signals, relations = learnt.signals.copy(), learnt.relations.copy()
    assert repr(Relations.checked(signals, relations)) == repr(learnt)
    damage(signals, relations)
    with pytest.raises((ValueError, IndexError)):
        Relations.checked(signals, relations)


def test_of_two_that_contradict_each_other_the_third_decides():
    """A and B have but each other and C; where A lies, B still agrees with C."""
    signals, records = np.zeros(3, SIGNAL), np.zeros(4, RELATION)
    signals["arbitration_id"] = 1, 2, 3
    records["target"], records["partner"] = (0, 1, 1, 2), (1, 0, 2, 1)
    misses = np.array([[3, 3, 0, 0]], np.float32)
    said = Contradiction(np.zeros(1), np.zeros((1, 3), np.float32), misses)
    blamed = Relations(signals, records).blamed(said, 0.0, 1.0)
    assert blamed == {1: 2.0, 2: 1.0, 3: 0.0}
