"""What a masquerade sends in place of one signal, by hand."""

import numpy as np
import pytest

from cangraph.bus.attacks import PAYLOADS, NoVictimError, inject
from cangraph.bus.lies import CHECKSUMS, LIES, agreeing, false_values, retell
from cangraph.bus.simulator import simulate
from cangraph.frames import Frames
from cangraph.signals import Signal, find_signals, read_signal

SPEED = Signal(7, 16, little=False, signed=False)
N = 2000
WAVE = np.sin(np.arange(N) / 60)


def sent(*bytes_, checksum="") -> np.ndarray:
    data = np.zeros((N, 8), np.uint8)
    for k, column in enumerate(bytes_):
        data[:, k] = column
    if checksum:
        data[:, 7] = CHECKSUMS[checksum](data[:, :7], 0x5A)
    return data


def speed(values) -> tuple[np.ndarray, np.ndarray]:
    whole = np.asarray(values).astype(np.int64)
    return whole >> 8, whole & 255


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [70.0, 70.0, 70.0]),  # 20 + half of the range
        ("offset", [70.0, 80.0, 90.0]),
        ("ramp", [20 + 50 / 3, 30 + 100 / 3, 90.0]),
        ("scaled", [60.0, 65.0, 70.0]),  # half as far from 100
        ("mirrored", [40.0, 30.0, 20.0]),
        ("plateau", [20.0, 20.0, 20.0]),
    ],
)
def test_a_lie_of_severity_1_is_half_of_the_range_away(kind, expected):
    values, within = np.array([20.0, 30.0, 40.0]), np.array([0.0, 100.0, 20.0])
    assert false_values(values, within, kind, 1.0) == pytest.approx(expected)


def test_a_lie_goes_where_there_is_more_room_and_at_least_a_step():
    high = np.array([90.0, 80.0])
    assert false_values(high, np.array([0.0, 100.0]), "offset", 0.2).tolist() == [80, 70]
    assert false_values(high, np.array([0.0, 100.0]), "scaled", 0.2).tolist() == [81, 72]
    assert false_values(high, np.array([79.0, 90.0]), "offset", 0.01).tolist() == [89, 79]


@pytest.mark.parametrize("checksum", CHECKSUMS)
@pytest.mark.parametrize("payload", [*LIES, "pair"])
def test_only_the_value_lies_and_the_checksum_holds(checksum, payload):
    ids = np.tile([0x100, 0x200], N)
    values = 9000 + 3000 * WAVE
    one = sent(*speed(values), np.arange(N) % 256, checksum=checksum)
    other = sent(np.arange(N) % 16, *speed(20000 - 2 * values / 3), checksum=checksum)
    data = np.stack([one, other], axis=1).reshape(2 * N, 8)
    log = Frames(np.arange(2 * N) * 0.005, ids, data=data)
    after = inject(log, "masquerade", spans=[(10, 12)], seed=3, payload=payload)
    changed = np.flatnonzero((after.data != log.data).any(1))
    assert set(np.unique(ids[changed])) == (
        {0x100, 0x200} if payload == "pair" else {ids[changed[0]]}
    )
    assert after.attack[changed].all()
    assert after.attack.sum() <= len(changed) + 2  # a value may be what it would have been
    assert (CHECKSUMS[checksum](after.data[:, :7], 0x5A) == after.data[:, 7]).all()
    for arbitration_id, free in ((0x100, [2, 3, 4, 5, 6]), (0x200, [0, 3, 4, 5, 6])):
        mine = ids == arbitration_id
        assert (after.data[mine][:, free] == log.data[mine][:, free]).all()


def test_a_pair_is_moved_in_proportion():
    ids = np.tile([0x100, 0x200], N)
    values = 9000 + 3000 * WAVE
    one, other = sent(*speed(values)), sent(*speed(20000 - 2 * values / 3))
    log = Frames(np.arange(2 * N) * 0.005, ids, data=np.stack([one, other], 1).reshape(-1, 8))
    after = inject(log, "masquerade", spans=[(10, 12)], payload="pair", severity=0.5)
    moved = read_signal(after.data, SPEED) - read_signal(log.data, SPEED)
    first, second = (moved[(ids == i) & after.attack] for i in (0x100, 0x200))
    assert np.abs(first) == pytest.approx(np.full(len(first), 1500), abs=1)  # a quarter of 6000
    assert second / first[: len(second)] == pytest.approx(np.full(len(second), -2 / 3), abs=1e-3)


def test_a_plateau_is_released():
    log = Frames(np.arange(N) * 0.01, np.full(N, 0x100), data=sent(*speed(9000 + 3000 * WAVE)))
    after = inject(log, "masquerade", spans=[(10, 12)], payload="plateau", severity=0.5)
    assert np.flatnonzero(after.attack).tolist() == list(range(1000, 1100))
    assert set(read_signal(after.data[1000:1100], SPEED)) == {read_signal(log.data, SPEED)[1000]}


@pytest.mark.parametrize("payload", ["mirrored", "plateau"])
def test_what_stands_still_is_not_held_or_mirrored(payload):
    still = np.where(np.abs(np.arange(N) - 1100) < 150, 9000, 9000 + 3000 * WAVE)
    both = np.stack([sent(*speed(still)), sent(*speed(9000 + 3000 * WAVE))], axis=1)
    log = Frames(np.arange(2 * N) * 0.005, np.tile([1, 2], N), data=both.reshape(-1, 8))
    for seed in range(4):
        after = inject(log, "masquerade", spans=[(10, 12)], payload=payload, seed=seed)
        assert set(after.arbitration_id[after.attack]) == {2}


def test_where_no_signal_is_found_a_byte_lies():
    noise = np.random.default_rng(0).integers(0, 256, N)
    log = Frames(np.arange(N) * 0.01, np.full(N, 0x100), data=sent(noise, noise[::-1]))
    assert find_signals(log.data, 8) == []
    after = inject(log, "masquerade", spans=[(10, 12)], payload="constant")
    assert len(np.unique(after.data[after.attack, 0])) == 1
    with pytest.raises(NoVictimError, match="0 ID"):
        inject(log, "masquerade", spans=[(10, 12)], payload="pair")


def test_signals_that_agree_are_paired_over_ids():
    times = [np.arange(0, 20, step) for step in (0.01, 0.02, 0.1)]
    values = [np.sin(times[0]), 3 * np.sin(times[1]), np.cos(3 * times[2])]
    pairs = agreeing(times, values, [1, 2, 3])
    assert [(i, j) for i, j, _ in pairs] == [(0, 1)]
    assert pairs[0][2] == pytest.approx(3, rel=0.01)
    assert agreeing(times, values, [1, 1, 1]) == []


def test_the_bits_of_a_signal_are_no_checksum():
    data = sent(0, np.arange(N) % 200, checksum="xor")[:, [7, 0, 2, 3, 4, 5, 6, 1]]
    forged = retell(data[:5], data, Signal(63, 8, False, False), np.full(5, 77.0))
    assert (forged[:, 7] == 77).all()
    assert (CHECKSUMS["xor"](forged, 0x5A) == 0).all()


def test_lies_are_not_drawn():
    assert not set(LIES) & set(PAYLOADS)
    log = simulate("aster", 13.0, seed=8)
    drawn = inject(log, "masquerade", spans=[(4, 6)], seed=5)
    given = [inject(log, "masquerade", spans=[(4, 6)], seed=5, payload=p) for p in PAYLOADS]
    assert drawn.sha256() in [log.sha256() for log in given]
