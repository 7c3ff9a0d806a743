"""What is kept of a vehicle: streams that start with it know it from their first frame on."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.features.baseline import Baseline
from cangraph.features.schema import NODE_FEATURES
from cangraph.frames import Frames

NAMES = [feature.name for feature in NODE_FEATURES]
FOREIGN = 0x7A1


def drive(seed, seconds=12.0, start=0.0):
    return simulate("aster", seconds, seed=seed, start=start)


@pytest.fixture(scope="module")
def baseline():
    return Baseline.learn([drive(1), drive(2, start=1e6)])


@pytest.fixture(scope="module")
def visited():
    """Another drive, and in it an ID that the car lacks, from the first frame on."""
    log = drive(3, start=5e5)
    ids = log.arbitration_id.copy()
    ids[np.arange(len(ids)) % 25 == 0] = FOREIGN
    return replace(log, arbitration_id=ids)


def told(graphs, arbitration_id, name):
    return graphs.x[graphs.node_id == arbitration_id, NAMES.index(name)]


def test_a_known_vehicle_has_no_blind_first_seconds(baseline, visited):
    alone = to_graphs([visited])
    known = to_graphs([visited], baselines=[baseline])
    assert (alone.x[:, NAMES.index("foreign")] == 0).all(), "without a baseline nobody is foreign"
    assert (told(alone, FOREIGN, "distrust_max") == 0).all(), "it was there from the beginning"
    assert (told(known, FOREIGN, "foreign") == 1).all()
    assert (told(known, FOREIGN, "distrust_max")[:40] > 0.9).all()
    others = known.node_id != FOREIGN
    assert (known.x[others][:, NAMES.index("foreign")] == 0).all()
    assert (known.x[others][:, NAMES.index("distrust_max")] == 0).all()
    young, old = (g.x[:400, NAMES.index("age")].max() for g in (alone, known))
    assert young < 2 and old == 6


def test_one_baseline_for_many_streams(baseline, visited):
    first = to_graphs([visited], baselines=[baseline])
    again = to_graphs(
        [drive(4), visited], baselines=[None, Baseline.from_bytes(baseline.to_bytes())]
    )
    assert (again.x[again.node_ptr[np.flatnonzero(again.capture)[0]] :] == first.x).all()
    assert again.x[: again.node_ptr[1], NAMES.index("age")].max() < 1


def test_five_minutes_teach_which_messages_agree():
    """Of less, a vehicle has driven too little to learn what moves together."""
    short, log = Baseline.learn([drive(1, 200.0)]), drive(2, 120.0, start=1e6)
    assert short.related("can0") is None
    long = Baseline.learn([drive(1, 200.0), log])
    again = Baseline.from_bytes(long.to_bytes())
    (learnt,), (read,) = long.relations.values(), again.relations.values()
    assert len(learnt.relations) and again.related("") is read
    for name in ("signals", "relations"):
        np.testing.assert_array_equal(getattr(read, name), getattr(learnt, name))
    assert [*read.disputes(log)] == []


def test_a_bus_has_its_own(visited):
    bus = np.arange(len(visited)) % 2
    both = replace(visited, bus=bus.astype(np.uint8), bus_names=("a", "b"))
    kept = Baseline.learn([both])
    assert [*kept.buses] == ["a", "b"] and kept.of("c") is None
    graphs = to_graphs([both], 50, 50, [kept])
    assert (graphs.x[:, NAMES.index("foreign")] == 0).all()
    swapped = Baseline({"a": kept.buses["b"]})
    assert swapped.of("whatever") is kept.buses["b"], "the only one needs no name"


def test_nothing_to_learn_from():
    with pytest.raises(ValueError, match="baseline: no frame came"):
        Baseline.learn([Frames(np.zeros(0), np.zeros(0))])


def refused(content):
    with pytest.raises(ValueError, match="cangraph baseline"):
        Baseline.from_bytes(content)


@given(data=st.data())
def test_what_is_damaged_is_refused(data, baseline):
    content = baseline.to_bytes()
    refused(content[: data.draw(st.integers(0, len(content) - 1))])
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name].copy() for name in file.files}
    name = data.draw(st.sampled_from(sorted(set(arrays) - {"names", "ended"})))
    how = data.draw(st.sampled_from(["cut", "other type", "no number"]))
    if how == "cut":
        arrays[name] = arrays[name][:-1]
    elif how == "other type" or name.endswith("slots"):
        arrays[name] = np.zeros(len(arrays[name]), np.float32)
    else:
        inner = {"table": "clock", "heard": "rate", "last": "time"}[name.split("/")[1]]
        place = arrays[name][inner]
        place = place["jitter"] if place.dtype.names else place
        place[data.draw(st.integers(0, len(place) - 1))] = data.draw(
            st.sampled_from([np.nan, np.inf])
        )
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    refused(buffer.getvalue())
