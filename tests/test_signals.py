"""Signals are found as hand-made payloads hold them, read and written back bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cangraph.signals import Signal, find_signals, read_signal, write_signal

TIME = np.arange(1500)
WAVE = np.sin(TIME / 80)
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, len(TIME), np.uint8)


def payloads(*columns) -> np.ndarray:
    """Payloads of which each column, or part of two (u2, its byte order kept), is given."""
    parts = [np.ascontiguousarray(np.asarray(c))[:, None].view(np.uint8) for c in columns]
    return np.concatenate(parts, axis=1)


def big(values) -> np.ndarray:
    return np.asarray(values).astype(np.int16).astype(">i2")


def little(values) -> np.ndarray:
    return np.asarray(values).astype(np.int16).astype("<i2")


FILLER = np.zeros(len(TIME), np.uint8)
SPEED = 9000 + 4000 * WAVE  # some steps are larger than the low byte


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((FILLER, big(SPEED)), Signal(15, 16, False, False)),
        ((FILLER, little(SPEED)), Signal(8, 16, True, False)),
        ((FILLER, big(300 * WAVE)), Signal(10, 11, False, True)),  # the sign fills the upper bits
        ((little(300 * WAVE), FILLER), Signal(0, 11, True, True)),
        ((FILLER, (90 + 80 * WAVE).astype(np.uint8)), Signal(15, 8, False, False)),
        ((NOISE, big(SPEED), NOISE), Signal(15, 16, False, False)),
        ((TIME.astype(np.uint8), little(SPEED), NOISE), Signal(8, 16, True, False)),
        ((big(SPEED), (TIME % 16).astype(np.uint8)), Signal(7, 16, False, False)),
    ],
)
def test_a_signal_is_found_with_its_order_and_sign(columns, expected):
    data = payloads(*columns)
    found = find_signals(data, data.shape[1])
    assert [read_signal(data, s).tolist() for s in found] == [read_signal(data, expected).tolist()]
    assert found[0][2:] == expected[2:]


def test_two_signals_and_a_counter_may_share_a_byte_boundary():
    # 12 bits, 4 bits that count, 8 bits
    upper = (2000 + 1500 * WAVE).astype(np.int64)
    word = (upper << 4 | TIME % 16) << 8 | (120 + 100 * np.cos(TIME / 60)).astype(np.int64)
    data = np.stack([word >> 16, word >> 8, word], axis=1).astype(np.uint8)
    assert find_signals(data, 3) == [Signal(7, 12, False, False), Signal(23, 8, False, False)]


@pytest.mark.parametrize(
    "column",
    [
        TIME % 256,
        255 - TIME % 256,
        TIME % 16 | 0x50,
        np.cumsum(RNG.integers(1, 9, len(TIME))) % 256,  # counts pulses
        NOISE,  # as a checksum looks
        np.repeat(NOISE[:50], 30),  # a word that changes from time to time
        NOISE[TIME % 7],  # the pages of a multiplexer
        (WAVE > 0.3) * 16,
        (TIME // 300),
        np.full(len(TIME), 7),
    ],
)
def test_what_counts_checks_or_switches_is_no_signal(column):
    data = payloads(column.astype(np.uint8), FILLER)
    assert find_signals(data, 2) == []


def test_a_smooth_checksum_is_told_by_its_rule():
    level = (90 + 80 * WAVE).astype(np.uint8)
    still = np.full(len(TIME), 0x21, np.uint8)
    for checksum in (level + still + 7, level ^ still ^ 7):
        data = payloads(still, level, checksum.astype(np.uint8))
        assert find_signals(data, 3) == [Signal(15, 8, False, False)]


def test_nothing_is_said_of_a_few_payloads():
    data = payloads(big(SPEED))
    for n in range(8):
        assert find_signals(data[:n], 2) == []
    assert find_signals(data[:0], 0) == []


def test_used_bounds_what_is_looked_at():
    data = payloads(FILLER, FILLER, big(SPEED))
    assert find_signals(data, 2) == []


@st.composite
def signals(draw) -> Signal:
    length = draw(st.integers(1, 48))
    order, sign = draw(st.booleans()), draw(st.booleans())
    begin = draw(st.integers(0, 64 - length))  # the first bit, counted as the byte order does
    start = begin if order else begin // 8 * 8 + 7 - begin % 8
    return Signal(start, length, order, sign)


@given(signals(), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read_and_no_other_bit_changes(signal, seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (4, 8), np.uint8)
    other = rng.integers(0, 256, (4, 8), np.uint8)
    values = read_signal(other, signal)
    written = write_signal(data, signal, values)
    assert read_signal(written, signal).tolist() == values.tolist()
    back = write_signal(written, signal, read_signal(data, signal))
    assert back.tolist() == data.tolist()
    changed = np.bitwise_count(write_signal(data, signal, 1e18) ^ write_signal(data, signal, -1e18))
    assert changed.sum(1).tolist() == [signal.length] * 4


@given(signals(), st.integers(0, 2**32 - 1))
def test_values_are_clipped_and_rounded(signal, seed):
    data = np.random.default_rng(seed).integers(0, 256, (2, 8), np.uint8)
    low = -(2 ** (signal.length - 1)) if signal.signed else 0
    high = low + 2**signal.length - 1
    written = write_signal(data, signal, [low - 3.0, high + 3.0])
    assert read_signal(written, signal).tolist() == [low, high]
    assert read_signal(write_signal(data, signal, low + 0.4), signal).tolist() == [low, low]
