"""What simulated recorders do to a log, and what they leave alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cangraph.bus.attacks import inject
from cangraph.bus.recorder import recorded


@given(st.integers(0, 2**32 - 1))
def test_frames_are_lost_and_stamped_but_never_altered(drive, seed):
    frames = drive[:3000]
    log = recorded(frames, np.random.default_rng(seed))
    assert log.timestamp[0] == frames.timestamp[0] and (np.diff(log.timestamp) >= 0).all()
    # what is left stands in the same order
    rows, at = [], 0
    for k in range(0, len(log), 97):
        same = (frames.arbitration_id[at:] == log.arbitration_id[k]) & (
            frames.data[at:] == log.data[k]
        ).all(1)
        assert same.any()
        at += int(np.argmax(same))
        rows.append(at)
    assert log.attack.sum() <= frames.attack.sum()
    assert abs(log.timestamp[-1] - frames.timestamp[-1]) < frames.duration / 2


def test_every_kind_of_recorder_is_drawn(clean):
    logs = [recorded(clean, np.random.default_rng(seed)) for seed in range(120)]
    whole = [log is clean for log in logs]
    assert 0.35 < np.mean(whole) < 0.65
    since = [log.timestamp - log.timestamp[0] for log in logs]
    coarse = [np.allclose(t * 1e3, np.rint(t * 1e3), atol=1e-3) for t in since]
    lost = [1 - len(log) / len(clean) for log in logs]
    pause = [np.diff(t).max() for t in since]
    assert 0.05 < np.mean(coarse) < 0.35
    assert 0.03 < np.mean(np.array(lost) > 0.1) < 0.4 and max(lost) < 0.8
    assert 0.05 < np.mean(np.array(pause) > 0.5) < 0.3


def test_suppression_stays_labelled(clean):
    frames = inject(clean, "suppression", spans=[(3.0, 5.0)], seed=1)
    for seed in range(20):
        log = recorded(frames, np.random.default_rng(seed))
        assert log.attack_spans == frames.attack_spans
