"""What is left out of windows by benchmarks/parts.py, and how what a part earns is told."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

import cangraph as cg
from cangraph.features.schema import FAMILIES, NODE_FEATURES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import parts


@pytest.fixture(scope="module")
def graphs():
    return cg.to_graphs([cg.inject(cg.simulate("clover", 12.0), "spoofing", spans=[(6.0, 8.0)])])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_left_out_alone(graphs, family):
    left = parts.as_in(f"without {family}", graphs)
    mine = np.array([feature.family == family for feature in NODE_FEATURES])
    assert not left.x[:, mine].any() and np.array_equal(left.x[:, ~mine], graphs.x[:, ~mine])
    edges = np.zeros_like(graphs.edge_attr) if family == "succession" else graphs.edge_attr
    assert np.array_equal(left.edge_attr, edges)
    assert graphs.edge_attr.any() and graphs.x.any(), "the windows that came stay as they are"


def test_windows_without_edges_are_nodes_alone(graphs):
    left = parts.as_in("without edges", graphs)
    assert left.edge_index.shape == (2, 0) and len(left.edge_attr) == 0
    assert np.array_equal(left[3:5].x, graphs[3:5].x)
    assert np.isfinite(cg.Detector(cg.GAT(left.spec, 4, 2, 1)).score(left).value).all()


def test_a_variant_that_changes_no_window_sees_all(graphs):
    assert all(parts.as_in(name, graphs) is graphs for name in (parts.REFERENCE, parts.CARS[0]))


def test_an_attack_counts_where_an_alarm_begins_in_it(graphs):
    log = cg.simulate("clover", 12.0)
    both = cg.to_graphs([log, cg.inject(log, "spoofing", spans=[(6.0, 8.0)])])
    trial = parts.Trial("spoofing", "middle", "later", log[:0], [(6.0, 8.0)])
    road = parts.Judged("car", both, 1, [trial])
    sure = parts.figures(road, both.label.astype(float), 0.5)
    assert (sure["alarms"], sure["called"]) == (0, 0)
    assert sure["attacks"] == [
        {"kind": "spoofing", "severity": "middle", "events": 1, "found": 1, "auroc": 1.0}
    ]
    before = parts.figures(road, (both.end < 6).astype(float), 0.5)
    assert (before["alarms"], before["attacks"][0]["found"]) == (1, 0)
    assert 0 < before["called"] < 1 and before["attacks"][0]["auroc"] < 0.5


def attack(found, auroc):
    return {"kind": "replay", "severity": "-", "events": 2, "found": found, "auroc": auroc}


def kept(folder, name, seed, *aurocs):
    cars = {
        f"car {k}": {"hours": 0.5, "alarms": k, "called": 0.0}
        | {"attacks": [attack(1, auroc), attack(2, auroc), attack(0, None)]}
        for k, auroc in enumerate(aurocs)
    }
    costs = {"us": 1.0, "parameters": 10, "seconds": 4.0 + seed}
    (folder / f"{name}, {seed}.json").write_text(json.dumps({"vehicles": cars} | costs))


def test_what_a_part_earns_is_paired_by_vehicle_and_seed(tmp_path):
    for seed in (0, 1):
        kept(tmp_path, "reference", seed, 0.9, 0.7, 0.8)
        kept(tmp_path, "without edges", seed, 0.8 + seed / 10, 0.6 + seed / 10, 0.7 + seed / 10)
    kept(tmp_path, "without edges", 2, 0.1, 0.1, 0.1)  # has no pair
    found = parts.table(tmp_path)
    (row,) = found["parts"]
    assert (row["part"], row["trees"], found["vehicles"]) == ("edges", None, 3)
    assert row["GAT"]["auroc by seed"] == approx([0.1, 0.0])
    mean, low, high = row["GAT"]["auroc"]
    assert mean == approx(0.05) and low == approx(0.0) and high == approx(0.1)
    assert row["GAT"]["found"] == [0.0, 0.0, 0.0]
    reference = found["variants"]["reference"]
    assert (reference["alarms"], reference["hours"], reference["seconds"]) == (3, 1.5, 4.5)
    assert reference["found"] == approx(0.5) and reference["auroc"] == approx(0.8)


def test_an_ensemble_has_the_mean_log_odds_and_the_cost_of_all(tmp_path, graphs):
    court = parts.Court(graphs[~graphs.label], [], tmp_path)
    for seed, value in enumerate((0.2, 0.5, 0.8)):
        net = (lambda seen, value=value: np.full(len(seen), value)), 7, 2.0
        court.judge(parts.REFERENCE, seed, net)
    court.ensemble()
    made = json.loads((tmp_path / "ensemble, 0.json").read_text())
    assert made["at"] == approx(0.5) and (made["parameters"], made["seconds"]) == (21, 6.0)
