"""The detector in the box: it fits this code, is small, and tells a flood from a quiet bus."""

import numpy as np

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported
from cangraph.evaluation.alarms import raise_alarms


def test_it_is_small_and_was_made_for_these_features():
    detector = Exported(boxed())  # refuses files of other features, constants or formats
    assert boxed().stat().st_size < 100_000
    assert (detector.window, detector.kind) == (100, "GAT")
    assert detector.about["trained_on"]["captures"] == {}, "nothing that may not be passed on"


def test_it_is_silent_on_a_quiet_car_and_finds_a_flood():
    detector = Exported(boxed())
    for attack, alarms in (("", 0), ("flooding", 1)):
        log = simulate("aster", 24.0, attack=attack, seed=11, bursts=1)
        found = raise_alarms(detector.score(to_graphs([log])), *detector.rule)
        assert len(found) == alarms
        begin = (log.timestamp[log.attack] - log.timestamp[0]).min(initial=np.inf)
        assert all(begin <= alarm.start <= begin + 1 for alarm in found)
