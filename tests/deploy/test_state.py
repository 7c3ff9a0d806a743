"""The state of a monitor: it goes on as if it had not stopped, or begins anew, and says so."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cangraph.deploy.monitor import Buses, Monitor
from cangraph.deploy.state import Source, SpoiltStateError, resume_state, save_state
from cangraph.evaluation.alarms import AlarmRule

BUS = Source("virtual one")


def fed(buses, frames, size=97):
    return [e for piece in frames.chunks(size) for e in buses.feed(piece)]


def on_two(frames, cut):
    """The frames, behind a cut on another bus too."""
    bus = np.arange(len(frames)) % 3 == 0
    return replace(frames, bus=bus & (np.arange(len(frames)) >= cut), bus_names=("a", "b"))


@pytest.mark.parametrize("cut", [0, 50, 4321, 9000])
def test_it_goes_on_from_a_file_as_if_it_had_not_stopped(cut, detector, drive, tmp_path):
    make = partial(Monitor, detector, stride=40, calibrate=3.0, rate=0.05)
    whole, first, second = (Buses(make, ["a"]) for _ in range(3))
    drive = on_two(drive, cut - 40)
    events = fed(whole, drive)
    before = fed(first, drive[:cut])
    save_state(tmp_path / "state.npz", first, BUS, beside="here")
    assert resume_state(tmp_path / "state.npz", second, BUS) == {"beside": "here"}
    assert before + fed(second, drive[cut:]) == events
    for bus, monitor in whole.of.items():
        assert (second.of[bus].count, second.of[bus].time) == (monitor.count, monitor.time)


def test_a_state_that_does_not_fit_is_refused(detector, drive, tmp_path):
    path, make = tmp_path / "state.npz", partial(Monitor, detector)
    save_state(path, Buses(make, ["a"]), BUS)
    other = Buses(partial(Monitor, detector, stride=7, rule=AlarmRule(0.5, 1, 2)))
    with pytest.raises(ValueError, match="saved with another stride and at and k and n; expected"):
        resume_state(path, other, BUS)
    with pytest.raises(ValueError, match="saved at virtual one; expected virtual two; "):
        resume_state(path, Buses(make), Source("virtual two"))
    whole = path.read_bytes()
    np.savez(path, state=np.array([object()], dtype=object))
    for content in (b"", bytes(99), path.read_bytes(), *(whole[:k] for k in (3, 34, 999))):
        path.write_bytes(content)
        with pytest.raises(SpoiltStateError, match=r"state.npz: not as a monitor saved it"):
            resume_state(path, Buses(make), BUS)
    path.write_text("(1.0) can0 1A0#00")
    with pytest.raises(ValueError, match="no state of a monitor"):
        resume_state(path, Buses(make), BUS)
