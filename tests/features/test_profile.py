"""The table of profiles: a slot for each ID, kept when the table grows."""

import numpy as np

from cangraph.features.profile import Profiles


def keys(*ids):
    return np.array(ids, np.uint32)


def test_slots_stand_in_order_of_first_appearance_and_stay():
    state = Profiles()
    assert state.slots_of(keys(9, 3, 9, 7), 8).tolist() == [0, 1, 0, 2]
    assert state.slots_of(keys(1, 7, 3, 2), 8).tolist() == [3, 2, 1, 4]
    assert state.slots == {9: 0, 3: 1, 7: 2, 1: 3, 2: 4}
    assert state.slots_of(keys(), 8).tolist() == []
    extended = 5 | 1 << 31
    assert Profiles().slots_of(keys(5, extended, 5), 8).tolist() == [0, 1, 0]


def columns(table, of=""):
    """Every column of a table by its path, those of nested records too."""
    if table.dtype.names is None:
        return {of: table}
    return {k: v for n in table.dtype.names for k, v in columns(table[n], f"{of}/{n}").items()}


def filled(n, width):
    """A state with `n` IDs in which no byte is zero."""
    state = Profiles()
    state.slots_of(np.arange(n, dtype=np.uint32), width)
    for column in columns(state.table).values():
        column[:] = 1 + np.arange(column.size).reshape(column.shape) % 250
    return state


def test_growing_keeps_what_is_known():
    state = filled(3, 8)
    before = state.table.copy()
    state.slots_of(np.arange(100, dtype=np.uint32), 8)
    assert len(state.table) >= 100 > len(before)
    old = columns(before)
    for name, now in columns(state.table).items():
        assert (now[: len(before)] == old[name]).all() and not now[len(before) :].any(), name


PER_BYTE = """
    /data /before /early /flips/rate /flips/moves /moves/rest /moves/longest /moves/step
    /moves/changes /moves/values /counters/turn /counters/kept /counters/lapsed
"""


def test_wider_payloads_keep_what_is_known_of_the_first_bytes():
    state = filled(2, 8)
    before = columns(state.table.copy())
    state.slots_of(keys(0), 64)  # the table grows in width only
    for name, now in columns(state.table).items():
        old = before[name]
        wide = now.shape[1:] != old.shape[1:]
        assert wide == (name in PER_BYTE.split()), name
        assert (now[tuple(slice(size) for size in old.shape)] == old).all(), name
        if wide:
            assert now.shape[1] == 64 and not now[:, 8:].any(), name
    table = state.table
    state.slots_of(keys(0, 1), 8)
    assert state.table is table, "a narrower payload leaves a wide table alone"


def test_the_table_doubles_so_that_new_ids_are_cheap():
    state, sizes = Profiles(), set()
    for identifier in range(1000):
        state.slots_of(keys(identifier), 8)
        sizes.add(len(state.table))
    assert len(sizes) <= 11
