"""Windows become graphs: nodes are IDs, edges are successions, each by hand."""

from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from cangraph.data.graphs import Graphs, GraphSpec, join, to_graphs
from cangraph.features.profile import profile
from cangraph.features.schema import (
    AGGREGATES,
    EDGE_FEATURES,
    FRAME_FEATURES,
    NODE_FEATURES,
)
from cangraph.frames import ATTACK_TYPES, Frames, attack_code
from cangraph.io.readers import LogFile

A, B, C = 0x30, 0x10, 0x20
NODE = {feature.name: i for i, feature in enumerate(NODE_FEATURES)}
EDGE = {feature.name: i for i, feature in enumerate(EDGE_FEATURES)}


def bus(ids, gap_ms=10.0, **columns):
    """Frames of these IDs, one every `gap_ms` (a number or one for each after the first)."""
    gaps = np.broadcast_to(gap_ms, len(ids) - 1)
    timestamp = np.concatenate([[0.0], np.cumsum(gaps)]) * 1e-3
    return Frames(timestamp, np.array(ids), **columns)


def window_of(graphs, b):
    """The arrays of window b, cut by the pointers."""
    nodes, edges = (slice(p[b], p[b + 1]) for p in (graphs.node_ptr, graphs.edge_ptr))
    own = {"edge_index": graphs.edge_index[:, edges], "edge_attr": graphs.edge_attr[edges]}
    own |= {n: getattr(graphs, n)[nodes] for n in ("x", "node_id", "node_count", "node_attack")}
    names = ("label", "attack_type", "capture", "start", "end")
    return own | {name: getattr(graphs, name)[b] for name in names}


def same(one, two):
    return all(np.array_equal(one[name], two[name]) for name in one)


def graphs_equal(one, two):
    return all(np.array_equal(getattr(one, n), getattr(two, n)) for n in Graphs.names())


@pytest.fixture(scope="module")
def graphs(drive, clean):
    return to_graphs([drive, clean], window=50, stride=30)


def test_joined_windows_are_those_of_the_parts_and_know_their_capture(graphs):
    few = graphs[graphs.capture == 1]
    both = join([graphs, few])
    assert graphs_equal(both[: len(graphs)], graphs)
    again = both[len(graphs) :]
    assert {both.captures[k].name for k in again.capture} == {graphs.captures[1].name}
    assert graphs_equal(replace(again, capture=again.capture - 2), few)


def test_windows_of_two_lengths_are_not_joined(clean):
    one, two = (to_graphs([clean], window, window) for window in (50, 60))
    for parts in ([], [one, two]):
        with pytest.raises(ValueError, match=r"join: windows of .*; expected one length"):
            join(parts)


@pytest.fixture
def drawn():
    """A window drawn by hand: A→B, B→A, A→A, A→C, C→A, A→B."""
    gaps = [1.0, 2.5, 4.0, 8.9, 0.0, 3.999]
    attack = np.array([0, 0, 0, 0, 1, 0, 0])
    kinds = attack * attack_code("fuzzing")
    return to_graphs([bus([A, B, A, A, C, A, B], gaps, attack=attack, attack_type=kinds)], 7, 7)


def test_nodes_and_edges_stand_in_order_of_appearance(drawn):
    assert drawn.node_id.tolist() == [A, B, C]
    assert drawn.node_count.tolist() == [4, 2, 1]
    assert drawn.edge_index.T.tolist() == [[0, 1], [1, 0], [0, 0], [0, 2], [2, 0]]
    assert (drawn.node_ptr.tolist(), drawn.edge_ptr.tolist()) == ([0, 3], [0, 5])


def test_edges_know_count_share_and_gap(drawn):
    count = np.array([2, 1, 1, 1, 1])
    departures = np.array([4, 1, 4, 4, 1])  # A is left 4 times, B and C once
    gap = np.array([(1 + 3) / 2, 2, 4, 8, 0])  # whole ms, mean of the successions
    expected = np.stack([np.log2(1 + count), count / departures, np.log2(1 + gap)], axis=1)
    assert drawn.edge_attr == approx(expected, abs=1e-6)


def test_a_window_has_its_span_its_sizes_and_its_attack(drawn):
    assert drawn.node_attack.tolist() == [False, False, True]
    assert drawn.label.tolist() == [True]
    assert ATTACK_TYPES[drawn.attack_type[0]] == "fuzzing"
    assert (drawn.start[0], drawn.end[0]) == approx((0.0, 0.020399))
    assert drawn.begin.tolist() == [0]
    assert drawn.spec == GraphSpec(len(NODE_FEATURES), len(EDGE_FEATURES))
    assert len(drawn) == 1 and drawn.window == 7


def test_a_node_sums_up_the_features_of_its_frames(drive):
    window, stride = 50, 30
    graphs = to_graphs([drive], window, stride)
    frames, *_ = profile(drive)
    how = {"mean": np.mean, "min": np.min, "max": np.max}
    seen = 0
    for b in (0, 7, len(graphs) - 1):
        cut = slice(b * stride, b * stride + window)
        part = window_of(graphs, b)
        for v, identifier in enumerate(part["node_id"]):
            mine = frames[cut][drive.arbitration_id[cut] == identifier]
            if not len(mine):  # a silent one, see test_windows
                continue
            for frame_feature, aggregate in AGGREGATES:
                name = f"{frame_feature}_{aggregate}"
                column = NODE[name]
                at = [f.name for f in FRAME_FEATURES].index(frame_feature)
                expected = how[aggregate](mine[:, at])
                assert part["x"][v, column] == approx(expected, abs=1e-5), name
                seen += 1
    assert seen > 300


def test_count_ratio_compares_with_what_the_rate_predicts():
    # A every 10 ms for 6 s; then B, which is new, floods
    graphs = to_graphs([bus([A] * 600 + [A] + [B] * 7, [10.0] * 600 + [0.1] * 7)], 8, 8)
    settled, last = (window_of(graphs, b)["x"][:, NODE["count_ratio"]] for b in (70, 75))
    assert settled == approx([log2((8 + 1) / (70 / 10 + 1))], abs=1e-3)
    of_a, of_b = log2((1 + 1) / (0.7 / 10 + 1)), log2((7 + 1) / (0 + 1))
    assert last == approx([of_a, of_b], abs=1e-3)


@pytest.mark.parametrize("window, stride", [(50, 50), (50, 20), (50, 70), (2, 1)])
def test_a_window_begins_at_every_stride(clean, window, stride):
    frames = clean[:505]
    graphs = to_graphs([frames], window, stride)
    begin = np.arange(0, 505 - window + 1, stride)
    since = frames.timestamp - frames.timestamp[0]
    assert np.array_equal(graphs.begin, begin)
    assert np.array_equal(graphs.start, since[begin])
    assert np.array_equal(graphs.end, since[begin + window - 1])
    assert (np.add.reduceat(graphs.node_count, graphs.node_ptr[:-1]) == window).all()


def test_successions_of_a_window_add_up(graphs):
    counts = np.exp2(graphs.edge_attr[:, EDGE["log_count"]].astype(float)) - 1
    per_window = np.add.reduceat(counts, graphs.edge_ptr[:-1])
    assert per_window == approx(np.full(len(graphs), graphs.window - 1), abs=1e-3)
    sizes = np.diff(graphs.node_ptr)
    assert (graphs.edge_index < np.repeat(sizes, np.diff(graphs.edge_ptr))).all()
    assert (graphs.edge_index >= 0).all()


def test_overlap_leaves_the_windows_alone(drive):
    dense, sparse = (to_graphs([drive[:2000]], 100, stride) for stride in (25, 100))
    assert graphs_equal(sparse, dense[::4])


def test_a_window_is_under_attack_if_one_frame_is(drive):
    graphs = to_graphs([drive], 100, 100)
    n = len(graphs) * 100
    assert graphs.label.tolist() == drive.attack[:n].reshape(-1, 100).any(1).tolist()
    assert 0 < graphs.label.sum() < len(graphs)
    marked = np.logical_or.reduceat(graphs.node_attack, graphs.node_ptr[:-1])
    assert np.array_equal(marked, graphs.label)
    assert set(graphs.attack_type[graphs.label]) == {attack_code("spoofing")}
    assert set(graphs.attack_type[~graphs.label]) == {attack_code("benign")}


def test_captures_stand_side_by_side(drive, clean):
    both = to_graphs([drive, clean], 100, 100)
    alone = [to_graphs([frames], 100, 100) for frames in (drive, clean)]
    for number, one in enumerate(alone):
        part = both[both.capture == number]
        assert graphs_equal(part, replace(one, capture=one.capture + number))
    assert [c.name for c in both.captures] == ["spoofing-borage", "attack-free-aster"]
    assert both.captures[0] == drive.info
    assert both.scenario[0] == drive.scenario


@given(st.lists(st.integers(-400, 399), max_size=30))
def test_an_index_takes_whole_windows(graphs, positions):
    assert len(graphs) >= 400
    part = graphs[np.array(positions, int)]
    assert len(part) == len(positions)
    for b, position in enumerate(positions):
        assert same(window_of(part, b), window_of(graphs, position % len(graphs)))


def test_slices_masks_and_single_positions_agree(graphs):
    mask = np.zeros(len(graphs), bool)
    mask[10:20] = True
    assert graphs_equal(graphs[10:20], graphs[mask])
    assert graphs_equal(graphs[15], graphs[15:16])
    assert graphs_equal(graphs[-1], graphs[len(graphs) - 1])
    assert len(graphs[:0]) == 0 and graphs[:0].x.shape == (0, len(NODE_FEATURES))


def test_windows_in_a_row_are_not_copied(graphs):
    row, apart = graphs[2:5], graphs[[2, 4]]
    assert np.shares_memory(row.x, graphs.x) and np.shares_memory(row.edge_index, graphs.edge_index)
    assert not np.shares_memory(apart.x, graphs.x)


def test_arrays_have_the_documented_types(graphs):
    dtypes = dict.fromkeys(("node_ptr", "edge_ptr", "begin"), "i8")
    dtypes |= dict.fromkeys(("node_count", "capture", "edge_index"), "i4")
    dtypes |= dict.fromkeys(("node_attack", "label"), "?")
    dtypes |= {"x": "f4", "edge_attr": "f4", "start": "f8", "end": "f8"}
    dtypes |= {"node_id": "u4", "attack_type": "u1"}
    assert set(dtypes) == set(Graphs.names())
    for name, dtype in dtypes.items():
        assert getattr(graphs, name).dtype == np.dtype(dtype), name
    assert np.isfinite(graphs.x).all() and np.isfinite(graphs.edge_attr).all()


@pytest.mark.parametrize(
    ("few", "sizes", "said"),
    [
        (0, (100, 100), "captures: none came"),
        (99, (100, 100), r"'attack-free-aster': it has 99 frames; .*window of 100"),
        (100, (1, 1), "window: 1 frames"),
        (100, (0, 1), "window: 0 frames"),
        (100, (2, 0), "stride: 0 frames"),
        (100, (9, -9), "stride: -9 frames"),
    ],
)
def test_what_makes_no_window_is_refused(clean, few, sizes, said):
    with pytest.raises(ValueError, match=said):
        to_graphs([clean, clean[:few]] if few else [], *sizes)
    assert len(to_graphs([clean[:100]], 100, 100)) == 1


def test_each_bus_of_a_log_has_windows_and_profiles_of_its_own(clean, tmp_path):
    one = clean[:600]
    twice = np.repeat(np.arange(600), 2)  # the same on both buses
    both = replace(one[twice], bus=np.arange(1200) % 2, bus_names=("can0", "can1"))
    graphs, alone = to_graphs([both, one]), to_graphs([one])
    assert [info.name for info in graphs.captures] == [
        f"{one.name} can0",
        f"{one.name} can1",
        one.name,
    ]
    for number in range(3):
        part = graphs[graphs.capture == number]
        assert np.array_equal(part.x, alone.x) and np.array_equal(part.edge_attr, alone.edge_attr)
    path = tmp_path / "two.log"
    rows = zip(both.timestamp, both.bus, both.arbitration_id, both.data, strict=True)
    path.write_text(
        "".join(f"({t:.6f}) can{b} {i:03X}#{d.tobytes().hex()}\n" for t, b, i, d in rows)
    )
    with pytest.raises(ValueError, match=r"holds the buses can0, can1.*LogFile\(bus="):
        to_graphs([LogFile(path)])
    streamed = to_graphs([LogFile(path, bus="can1")])
    assert streamed.captures[0].frames == 600 and np.array_equal(streamed.node_id, alone.node_id)
