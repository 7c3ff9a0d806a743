"""The tables of features agree with one another and with what the kernels say."""

from collections import Counter

from cangraph.features.schema import (
    AGGREGATES,
    EDGE_FEATURES,
    FAMILIES,
    FRAME_FEATURES,
    NODE_FEATURES,
)

TABLES = {"frame": FRAME_FEATURES, "node": NODE_FEATURES, "edge": EDGE_FEATURES}
FRAME = {feature.name: feature for feature in FRAME_FEATURES}


def test_names_are_unique_everything_is_said_and_every_family_is_used():
    for where, table in TABLES.items():
        assert max(Counter(feature.name for feature in table).values()) == 1, where
        assert all(all(feature) for feature in table), where
    used = {feature.family for table in TABLES.values() for feature in table}
    assert used == set(FAMILIES)


def test_a_node_has_the_aggregates_of_every_frame_feature():
    # the rate is what count_ratio expects
    assert {name for name, _ in AGGREGATES} | {"rate"} == set(FRAME)
    pooled = NODE_FEATURES[1 : 1 + len(AGGREGATES)]
    assert [feature.name for feature in pooled] == [f"{name}_{how}" for name, how in AGGREGATES]


def test_an_aggregate_keeps_unit_and_family_and_says_which_it_is():
    words = {"mean": "mean", "min": "smallest", "max": "largest"}
    for (name, how), feature in zip(AGGREGATES, NODE_FEATURES[1:], strict=False):
        assert (feature.unit, feature.family) == (FRAME[name].unit, FRAME[name].family)
        assert feature.sees == f"{words[how]} over the window: {FRAME[name].sees}"
