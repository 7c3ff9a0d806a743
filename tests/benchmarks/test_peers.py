"""Each peer on input made by hand, against its paper's definition; how they are compared."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytest import approx

from cangraph.bus.attacks import inject
from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.evaluation import baselines
from cangraph.frames import Frames

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import peer_models
    import peer_rules
    from peers import PEERS, Learnt, of_windows, over_vehicles, summary


def log(times, ids, data=None, attack=()):
    data = np.zeros((len(times), 8), np.uint8) if data is None else data
    return Frames(np.asarray(times, float), np.asarray(ids), data=data, attack=np.asarray(attack))


def steady(period=0.01, n=200, number=1):
    return log(np.arange(n) * period, np.full(n, number))


# timing of each ID


def test_gaps_are_those_of_an_id():
    mixed = log([0.0, 1.0, 3.0, 4.0, 9.0], [1, 2, 1, 2, 1])
    assert peer_rules.gaps(mixed).tolist() == [approx(v, nan_ok=True) for v in
                                               (np.nan, np.nan, 3, 3, 6)]  # fmt: skip
    assert {n: g.tolist() for n, g in peer_rules.by_id([mixed, mixed]).items()} == {
        1: [3, 6, 3, 6], 2: [3, 3],
    }  # fmt: skip


def judged(rule, clean, suspect):
    rule.fit([clean])
    return rule.judge(suspect)


def test_mean_gap_is_how_much_too_early_a_frame_comes():
    value = judged(peer_rules.MeanGap(), steady(), log([0.0, 0.01, 0.015, 0.035], [1, 1, 1, 1]))
    assert value == approx([0.0, 0.0, 0.5, -1.0])
    strange = judged(peer_rules.MeanGap(), steady(), log([0.0, 0.01], [1, 7]))
    assert strange.tolist() == [0.0, peer_rules.UNKNOWN]


def test_binning_counts_the_frames_of_six_mean_gaps():
    rule = peer_rules.Binning()
    rule.fit([steady()])
    mean, most = rule.known[1]
    assert mean == approx(0.01) and most in (6, 7), "six, or seven by rounding"
    rule.known[1] = 0.00999, 6
    # one frame more, between two: seven in place of six
    value = rule.judge(log(np.sort([*np.arange(10) * 0.01, 0.055]), np.ones(11)))
    assert value[:6] == approx(np.array([0, 2, 3, 4, 5, 6]) / 6)
    assert value.max() == approx(7 / 6)


def test_gaussian_gap_is_in_standard_deviations():
    clean = log(np.cumsum([0.009, 0.011] * 100), np.ones(200))
    value = judged(peer_rules.Gaussian(), clean, log([0.0, 0.013, 0.023], [1, 1, 1]))
    assert value == approx([0, 3, 0], abs=0.05)


def test_density_is_least_where_no_gap_was():
    rng = np.random.default_rng(0)
    clean = log(np.cumsum(rng.normal(0.02, 0.001, 500)), np.ones(500))
    likely, odd, wild = judged(
        peer_rules.KernelDensity(), clean, log(np.cumsum([0, 0.02, 0.017, 0.2]), np.ones(4))
    )[1:]
    assert likely < 0.2 and 2 < odd < 30 < wild
    constant = judged(peer_rules.KernelDensity(), steady(), log([0.0, 0.01, 0.03], [1, 1, 1]))
    assert constant[1] < 0.1 and constant[2] > 30


def test_cusum_adds_up_what_is_beyond_the_slack():
    clean = log(np.cumsum([0.009, 0.011] * 100), np.ones(200))  # μ 10 ms, σ 1 ms
    rule = peer_rules.Cusum()
    rule.memory = 0.0
    value = judged(rule, clean, log(np.cumsum([0, 0.008, 0.008, 0.010, 0.004]), np.ones(5)))
    # S⁻: 2 − ½, + 2 − ½, − ½, + 6 − ½
    assert value == approx([0, 1.5, 3.0, 2.5, 8.0], abs=0.1)
    again = rule.judge(log(np.cumsum([0, 0.004, 0.010, 0.008]), np.ones(4)))
    assert again == approx([0, 5.5, 0.0, 1.5], abs=0.1), "an alarm starts it anew"


# sequences and signals


def test_daga_calls_an_n_gram_that_training_does_not_hold():
    rule = peer_rules.Daga()
    rule.fit([log(np.arange(90.0), np.tile([1, 2, 3], 30))])
    assert rule.n == 5, "the longest one that does not call clean traffic"
    rule.lengths = (2,)
    rule.fit([log(np.arange(90.0), np.tile([1, 2, 3], 30))])
    value = rule.judge(log(np.arange(7.0), [1, 2, 3, 3, 1, 9, 1]))
    assert value.tolist() == [0, 0, 0, 1, 0, 1, 1]


def drive(seconds, rng, broken=False):
    """Two signals that agree, two others that agree, each of an ID of its own, every 20 ms."""
    t = np.arange(0, seconds, 0.02)
    first, second = np.cumsum(rng.normal(0, 3, (2, len(t))), axis=1) + 120
    odd = np.cumsum(rng.normal(0, 3, len(t))) + 120
    values = [first, odd if broken else first + 5, second, second + 9]
    data = np.zeros((len(t), 4, 8), np.uint8)
    data[:, :, 0] = np.clip(np.stack(values, 1), 0, 255)
    times = (t[:, None] + np.arange(4) * 1e-3).ravel()
    return log(times, np.tile([1, 2, 3, 4], len(t)), data.reshape(-1, 8))


def test_a_signal_that_leaves_its_kin_changes_the_clusters():
    rule, rng = peer_rules.SignalClusters(), np.random.default_rng(1)
    rule.fit([drive(60, rng)])
    assert rule.signals == [(n, 0) for n in (1, 2, 3, 4)]
    late = slice(1000, None)  # from 5 s on, when the first stretch is full
    assert (
        rule.judge(drive(20, rng))[late].mean()
        < 0.3 * rule.judge(drive(20, rng, True))[late].mean()
    )


# nets and trees on frames


def test_blocks_speak_at_their_last_frame_and_windows_take_the_largest():
    frames = log(np.arange(210) * 1e-3, np.arange(210) % 5)
    rows = peer_models.blocks(frames, 50)
    said = peer_models.at_ends(frames, rows, np.array([1.0, 2.0, 9.0, 4.0]))
    assert np.flatnonzero(np.isfinite(said)).tolist() == [49, 99, 149, 199]
    graphs = to_graphs([frames])
    assert of_windows(graphs, said).tolist() == [2, 9]
    assert of_windows(graphs, said, np.nanmean).tolist() == [1.5, 6.5]


def test_song_sees_the_bits_of_29_ids():
    assert peer_models.bits_of(np.array([5]), 4).tolist() == [[0, 1, 0, 1]]
    weights = sum(p.numel() for p in peer_models.reduced_inception_resnet().parameters())
    assert weights == approx(1.69e6, rel=5e-3), "as in the paper"
    frames = log(np.arange(29 * 8) * 1e-3, np.arange(29 * 8) % 7, attack=np.arange(29 * 8) == 30)
    net = peer_models.DCNN()
    _, label = net.prepare(frames, peer_models.blocks(frames, 29))
    assert label.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    net.most, net.epochs = 8, 1
    net.fit([frames])
    value = net.judge(frames)
    assert np.isfinite(value).sum() == 8 and ((value >= 0) & (value <= 1))[28::29].all()


def test_an_autoencoder_cannot_write_what_it_never_read():
    rng, net = np.random.default_rng(0), peer_models.LSTMAutoencoder()
    data = np.tile([10, 20, 30, 40], 1000)[:, None] * np.ones(8)
    clean = log(np.arange(4000) * 1e-3, np.tile([1, 2, 3, 4], 1000), data.astype(np.uint8))
    net.epochs, net.batch = 20, 8
    net.fit([clean])
    odd = replace(clean, data=rng.integers(0, 256, (4000, 8)).astype(np.uint8))
    assert np.nanmin(net.judge(odd)) > 2 * np.nanmax(net.judge(clean))


def test_kd_gat_makes_a_graph_of_successions():
    data = np.zeros((4, 8), np.uint8)
    data[:, 0] = [255, 0, 255, 51]
    frames = log(np.arange(4.0), [7, 5, 7, 7], data, [0, 0, 0, 1])
    windows = peer_models._Windows.of(frames, np.arange(4)[None])
    assert windows.id.tolist() == [5, 7] and windows.label.tolist() == [1]
    assert windows.x[:, 0] == approx([0, (255 + 255 + 51) / 3 / 255])  # mean bytes
    assert windows.x[:, 8] == approx([1 / 4, 3 / 4])  # share of the frames
    assert sorted(map(tuple, windows.edges.T.tolist())) == [(0, 1), (1, 0), (1, 1)]
    both = peer_models._Windows.join([windows, windows]).pick(np.array([1]))
    assert both.edges.tolist() == windows.edges.tolist() and both.window.tolist() == [0, 0]


def test_kd_gat_learns_a_flood():
    flood = inject(simulate("clover", 12.0, seed=1), "flooding", spans=[(4, 8)], seed=2)
    net = peer_models.KDGAT()
    net.fit([flood])
    value, rows = net.judge(flood), peer_models.blocks(flood, 50)
    under = flood.attack[rows].any(1)
    assert np.median(value[rows[under, -1]]) > 0.9 > 0.1 > np.median(value[rows[~under, -1]])


def test_raw_trees_see_the_id_and_eight_bytes():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 100, (2000, 8)).astype(np.uint8)
    attack = rng.random(2000) < 0.1
    data[attack, 3] = 200
    frames = log(np.arange(2000) * 1e-3, np.full(2000, 0x123), data, attack)
    assert peer_models.RawTrees.columns(frames)[0].tolist() == [0x123, *data[0].tolist()]
    trees = peer_models.RawTrees()
    trees.fit([frames])
    assert (trees.judge(frames) > 0.5).tolist() == attack.tolist()


# detectors on windows


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["ECOD", "isolation forest", "half-space trees"])
def test_an_outlier_detector_finds_the_window_that_is_out_of_the_ordinary(name):
    graphs = to_graphs([simulate("clover", 30.0, seed=1)])
    detector, x = PEERS[name].made(0), graphs.x.copy()
    detector.fit(graphs)
    x[slice(*graphs.node_ptr[300:302])] = x.max(0)
    value = detector.value(replace(graphs, x=x))
    assert value[300] >= np.quantile(value, 0.99)


def test_the_rule_that_the_package_has_is_the_same():
    graphs = to_graphs([simulate("clover", 20.0, seed=1)])
    detector = PEERS["count"].made(0)
    detector.fit(graphs[graphs.end <= 10])
    expected = baselines.calibrated_count(graphs, 10.0).value
    assert detector.value(graphs) == approx(expected)


# the comparison


def test_a_rule_learns_its_own_vehicle_and_a_net_all_of_them():
    class Two:
        def stretches(self, part, benign):
            return [("a", steady(0.01)), ("b", steady(0.02))]

    rule = Learnt("mean gap", Two(), 0)
    known = [rule.of(vehicle).known[1] for vehicle in ("a", "b", "c")]
    assert known[:2] == approx([0.01, 0.02]) and 0.014 < known[2] < 0.016
    assert rule.of("a") is rule.of("a")


def test_rows_are_ranked_and_rates_pooled(tmp_path):
    every = {"events": 4, "recall": 0.5, "delay_of_all": None, "false_alarms": 3,
             "benign_hours": 0.5}  # fmt: skip
    for name, auroc in (("mean gap", 0.7), ("binning", 0.9)):
        row = {"scenarios": {"t": {"auroc": auroc, "f1": None}}, "all": every, "us": 1.0}
        path = tmp_path / "demo" / f"{name}, trained, 0.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(row))
    rows = summary(tmp_path, "demo")
    assert [row["peer"] for row in rows] == ["binning", "mean gap"]
    assert (rows[0]["false"], rows[0]["hours"], rows[0]["an hour"]) == (3, 0.5, 6)
    assert rows[0]["low"] < 6 < rows[0]["high"] and rows[0]["delay"] is None


def test_a_vehicle_counts_once_however_many_attacks_it_has(tmp_path):
    def attack(found, events=2):
        return {"kind": "masquerade", "severity": "gross", "events": events, "found": found,
                "auroc": 0.8}  # fmt: skip

    (tmp_path / "vehicles").mkdir()
    for name, found in (("a", [2, 2, 2, 2]), ("b", [0]), ("c", [1])):
        one = {"seconds": 1800, "alarms": 1, "attacks": [attack(f) for f in found]}
        (tmp_path / f"vehicles/{name}.json").write_text(json.dumps({"cusum": one}))
    (row,) = over_vehicles(tmp_path)
    assert row["gross"][0] == approx((1 + 0 + 0.5) / 3) and row["subtle"] is None
    assert (row["vehicles"], row["hours"], row["alarms"], row["an hour"]) == (3, 1.5, 3, 2)
