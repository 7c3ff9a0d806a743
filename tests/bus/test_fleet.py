"""The habits of drawn vehicles: who is awake, what a tester says, and that cars differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.bus import fleet
from cangraph.bus.fleet import batched, bursts, diagnosis, inside, on_change, slower, waking
from cangraph.bus.simulator import messages, simulate

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.floats(5, 100))
def test_spans_lie_in_the_drive_in_order_and_somebody_is_awake(seed, seconds):
    nodes = waking(seconds, 8, np.random.default_rng(seed))
    assert len(nodes) == 8
    for spans in nodes:
        times = [t for span in spans for t in span]
        # a node may be due to wake up behind the end of the drive
        inner = [t for t in times if t < seconds]
        assert inner == sorted(inner) and min(times) >= 0
    awake = np.any([inside(np.linspace(0, seconds, 50)[:-1], spans) for spans in nodes], axis=0)
    assert awake.mean() > 0.9, "but for a node that restarts, the bus is never empty"


def test_buses_wake_up_and_go_to_sleep():
    drives = [waking(60.0, 8, np.random.default_rng(seed)) for seed in range(200)]
    late = [sum(spans[0][0] > 5 for spans in drive) for drive in drives]
    asleep = [sum(spans[0][1] < 55 for spans in drive) for drive in drives]
    assert 0.15 < np.mean([n >= 1 for n in late]) < 0.6
    assert 0.1 < np.mean([n >= 3 for n in asleep]) < 0.3


def test_times_by_hand():
    rng = np.random.default_rng(0)
    assert batched(np.array([0.001, 0.009, 0.011]), 0.01) == pytest.approx([0.01, 0.01, 0.02])
    burst = bursts(np.array([0.0, 1.0]), 3, 0.9, rng)
    assert burst[[0, 3]].tolist() == [0, 1] and 0.03 <= burst[1] - burst[0] <= 0.15
    assert np.diff(burst[:3]) == pytest.approx(np.diff(burst[3:]))
    gaps = np.diff(on_change(0.1, 100.0, 1.5, rng))
    assert gaps.min() >= 0.025 - 1e-9 and np.quantile(gaps, 0.9) > 4 * gaps.min()
    times = np.arange(0, 60, 0.1)
    left = slower(times, 5, 60.0, rng)
    assert set(left) < set(times)
    assert {1, 5} <= set(np.rint(np.diff(left) * 10)) <= {1, 2, 3, 4, 5}, "at both paces"


@pytest.mark.parametrize("extended", [False, True])
def test_a_tester_asks_and_a_segmented_answer_is_whole(extended):
    times, arbitration_id, _, data = diagnosis(60.0, extended, np.random.default_rng(5))
    assert len(times) > 5 and (np.diff(times) >= 0).all()
    assert (arbitration_id > 0x7FF).all() == extended
    kinds = data[:, 0] >> 4  # ISO 15765-2: single, first, consecutive, flow control
    assert set(kinds) == {0, 1, 2, 3}
    first = np.flatnonzero(kinds == 1)[0]
    parts = data[first, 1] // 7
    numbers = data[first:][kinds[first:] == 2][: parts - 1, 0]
    assert numbers.tolist() == [0x20 | k % 16 for k in range(1, parts)]


def test_wild_cars_differ_in_size_and_pace():
    sizes = [len(messages(f"wild-{n}")) for n in range(60)]
    assert min(sizes) < 15 and max(sizes) > 100
    rates = [len(simulate(f"wild-{n}", 5.0)) / 5 for n in range(30)]
    assert min(rates) < 250 and max(rates) > 1500
    assert any(messages(f"wild-{n}")[0].arbitration_id > 0x7FF for n in range(40)), "J1939"


def test_a_crc_is_that_of_sae_j1850():
    # the check of its catalogue: "123456789", start FF, inverted at the end, is 4B
    from cangraph.bus.lies import CHECKSUMS

    text = np.frombuffer(b"123456789", np.uint8)[None]
    assert CHECKSUMS["crc"](text, 0xFF)[0] ^ 0xFF == 0x4B


def test_twins_say_the_same_in_words_of_their_own():
    rng, n = np.random.default_rng(0), 6000
    speed = 0.5 + 0.4 * np.sin(np.arange(n) / 700)
    drive = {"speed": speed, "steering": np.full(n, 0.5), "pedal": speed, "driven": np.ones(n)}
    drive["driven"][:500] = 0
    names = [f"wheel_fl {k}" for k in range(60)] + [f"speed {k}" for k in range(60)]
    found = fleet.channels(drive, names, 7, 100, rng)
    assert list(found) == names
    rows = np.stack([found[name] for name in names])
    alike = np.abs(np.corrcoef(rows))[np.triu_indices(len(rows), 1)]
    assert 0.05 < (alike > 0.99).mean() < 0.5, "near copies"
    assert (alike < 0.8).mean() > 0.2, "and others that share little"
    assert len(np.unique(rows, axis=0)) == len(names)
    again = fleet.channels(drive, names, 7, 100, np.random.default_rng(1))
    sizes = np.std([rows - speed, np.stack([again[n] for n in names]) - speed], axis=2)
    assert np.corrcoef(np.log(sizes))[0, 1] > 0.9, "who errs is the vehicle's, how is the drive's"


def test_a_twin_is_a_vehicle_like_others():
    fields = [f for message in messages("twin-3") for f in message.fields if f.kind == "signal"]
    assert len({field.channel for field in fields}) == len(fields) > 5
    log = simulate("twin-3", 5.0, seed=1)
    assert len(log) > 50
    assert log.sha256() == simulate("twin-3", 5.0, seed=1).sha256()
