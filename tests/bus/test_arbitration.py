import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cangraph.bus.arbitration import Queued, arbitrate, frame_duration, transmit
from cangraph.frames import Frames


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(*(st.integers(*r) for r in ((0, 2000), (0, 9), (1, 120)))), max_size=60))
def test_the_bus_sends_every_frame_once_and_the_lowest_pending_id_first(queue):
    release, ids, duration = np.array(sorted(queue), np.int64).reshape(-1, 3).T.copy()
    order, end = arbitrate(release, ids, duration)
    begin = end - duration[order]
    assert sorted(order) == list(range(len(release)))
    assert (begin >= release[order]).all() and (begin[1:] >= end[:-1]).all()
    sent = np.empty(len(order), np.int64)
    sent[order] = np.arange(len(order))
    for k, frame in enumerate(order):
        waiting = (release <= begin[k]) & (sent > k)
        assert not (ids[waiting] < ids[frame]).any()
        same = waiting & (ids == ids[frame])
        assert (np.flatnonzero(same) > frame).all()
        # the bus never idles while a frame waits
        assert begin[k] == max(release[frame], end[k - 1] if k else 0)


@pytest.mark.parametrize(
    ("dlc", "extended", "bits"), [(0, False, 51), (8, False, 122), (8, True, 144)]
)
def test_a_frame_takes_its_bits(dlc, extended, bits):
    assert frame_duration(dlc, extended) == bits * 2000


def queued(release, arbitration_id, extended=False):
    n = len(release)
    ids, data, no = np.full(n, arbitration_id), np.zeros((n, 8), np.uint8), np.zeros(n, bool)
    return Queued(np.array(release), ids, np.full(n, 8), data, no | extended, no)


def test_a_log_alone_passes_unchanged():
    rng = np.random.default_rng(0)
    gaps = rng.choice([0, 1e-6, 3e-5, 2.3e-4, 1e-3], 500)  # some shorter than any frame
    log = Frames(np.round(1e3 + np.cumsum(gaps), 6), rng.integers(0, 99, 500))
    again = transmit(log, [queued([], 1)], "spoofing")
    assert again.sha256() == log.sha256()
    more = transmit(log, [queued([log.duration + 1], 1)], "spoofing")
    assert more[~more.attack].sha256() == log.sha256()


def test_as_many_frames_queue_as_the_bus_was_busy_for():
    """Many more than are looked at first; those before and behind keep their exact times."""
    gaps = np.full(3000, 1e-3)
    gaps[1000:1400] = 244e-6
    log = Frames(np.round(np.cumsum(gaps), 6), np.arange(3000) % 7 + 1)
    after = transmit(log, [queued([log.timestamp[1000] - log.timestamp[0] - 1e-5], 0)], "spoofing")
    genuine = after[~after.attack]
    late = np.rint((genuine.timestamp - log.timestamp) * 1e6)
    assert late.tolist() == [0] * 1001 + [244] * 399 + [0] * 1600
    assert np.array_equal(genuine.timestamp[late == 0], log.timestamp[late == 0])


def test_an_added_frame_waits_for_the_frame_on_the_bus_and_the_next_one_queues():
    log = Frames(np.array([0.0, 0.010001, 0.010245, 0.02]), np.array([1, 5, 9, 1]))
    after = transmit(log, [queued([0.0099], 7)], "spoofing")
    assert after.arbitration_id.tolist() == [1, 5, 7, 9, 1]
    assert after.timestamp.tolist() == [0.0, 0.010001, 0.010245, 0.010489, 0.02]
    assert after.attack.tolist() == [False, False, True, False, False]


def test_an_11_bit_id_wins_over_the_29_bit_id_that_begins_alike():
    log = Frames(np.array([0.0, 0.010001]), np.array([1, 2]))
    both = [queued([0.0098], 0x100 << 18, True), queued([0.0099], 0x100)]
    after = transmit(log, both, "spoofing")
    assert after.arbitration_id.tolist() == [1, 2, 0x100, 0x100 << 18]


def test_added_frames_get_the_resolution_of_the_log():
    rng = np.random.default_rng(0)
    for digits in (4, 5, 6, 7):
        log = Frames(np.round(np.cumsum(rng.uniform(0.001, 0.01, 300)), digits), np.ones(300))
        after = transmit(log, [queued(rng.uniform(0, 1, 50), 7)], "fuzzing")
        assert after.attack.sum() == 50
        assert (np.round(after.timestamp, digits) == after.timestamp).all()
