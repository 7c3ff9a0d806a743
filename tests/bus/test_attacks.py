import numpy as np
import pytest

from cangraph.bus.arbitration import frame_duration
from cangraph.bus.attacks import ATTACKS, PAYLOADS, inject
from cangraph.bus.simulator import simulate
from cangraph.data.graphs import to_graphs
from cangraph.frames import Frames, attack_code
from cangraph.io.readers import read_frames

SPANS = [(4.0, 6.0), (8.5, 10.0)]
ADDING = [a for a in ATTACKS if a not in ("suppression", "masquerade")]
COLUMNS = ("arbitration_id", "dlc", "data", "is_extended_id", "is_remote_frame")


@pytest.fixture(scope="module")
def log():
    return simulate("clover", 13.0, seed=8, start=100.0)


def since(frames):
    return frames.timestamp - frames.timestamp[0]


def inside(times, slack=0.0):
    return np.any([(times >= a) & (times <= b + slack) for a, b in SPANS], axis=0)


def content(frames):
    return [tuple(row) for row in np.column_stack([frames.arbitration_id, frames.data]).tolist()]


@pytest.mark.parametrize("attack", ATTACKS)
def test_labels_are_those_of_the_attack(log, attack):
    after = inject(log, attack, spans=SPANS, seed=1)
    assert (after.attack_type == attack_code(attack) * after.attack).all()
    assert after.attack.any() != (attack == "suppression")
    assert bool(after.attack_spans) == (attack == "suppression")
    times = since(after)[after.attack]
    assert inside(times, slack=0.02).all()
    for a, b in SPANS:
        silent = any(a <= span.start <= span.end < b for span in after.attack_spans)
        assert ((times >= a) & (times < b)).any() or silent
    assert not log.attack.any()


@pytest.mark.parametrize("attack", ADDING)
@pytest.mark.parametrize("severity", [1.0, 0.3])
def test_every_genuine_frame_is_still_there(log, attack, severity):
    after = inject(log, attack, spans=SPANS, seed=2, severity=severity)
    left = after[~after.attack]
    assert sorted(content(left)) == sorted(content(log))
    for arbitration_id in np.unique(log.arbitration_id):
        before, now = (f[f.arbitration_id == arbitration_id] for f in (log, left))
        assert all((getattr(now, c) == getattr(before, c)).all() for c in COLUMNS)
        late = now.timestamp - before.timestamp
        assert (late > -1e-7).all() and late.max() < 0.05
        # an added frame delays what is inside its span, or queues behind it
        assert (late[~inside(since(log)[log.arbitration_id == arbitration_id], 0.05)] == 0).all()


@pytest.mark.parametrize("attack", ADDING)
def test_added_frames_share_the_bus(log, attack):
    after = inject(log, attack, spans=SPANS, seed=3)
    gaps = np.diff(after.timestamp)
    assert (gaps >= frame_duration(after.dlc[1:]) * 1e-9 - 1e-9).all()
    assert (np.round(after.timestamp, 6) == after.timestamp).all(), "the log has whole µs"
    late = np.setdiff1d(after.timestamp[~after.attack], log.timestamp)
    assert attack != "flooding" or 0.2 < len(late) / inside(since(log)).sum() < 1


def test_suppressed_frames_are_missing_and_nothing_else(log):
    after = inject(log, "suppression", spans=SPANS, seed=4)
    kept = np.isin(log.timestamp, after.timestamp)
    assert after.sha256() != log[kept].sha256(), "the spans are labels too"
    assert after.label(attack_spans=()).sha256() == log[kept].sha256()
    gone = np.zeros(len(log), bool)
    for start, end, _, victim in after.attack_spans:
        own = (log.arbitration_id == victim) & (since(log) >= start) & (since(log) <= end)
        assert own.sum() >= 5
        gone |= own
    assert (gone == ~kept).all()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_masquerade_changes_payloads_of_one_id_and_no_time(log, payload):
    after = inject(log, "masquerade", spans=SPANS, seed=5, payload=payload)
    for column in {"timestamp", *COLUMNS} - {"data"}:
        assert (getattr(after, column) == getattr(log, column)).all()
    changed = (after.data != log.data).any(1)
    assert not changed[~after.attack].any() and changed[after.attack].mean() > 0.5
    for a, b in SPANS:
        within = (since(log) >= a) & (since(log) < b)
        (victim,) = set(log.arbitration_id[after.attack & within])
        assert (after.attack[within] == (log.arbitration_id[within] == victim)).all()
        old, new = (f.data[within & after.attack].astype(int) for f in (log, after))
        if payload == "frozen":
            assert (new == new[0]).all() and (new[0] == old[0]).all()
        elif payload == "fixed":
            assert (new == new[0]).all(), "at severity 1 every byte that moves is fixed"
            assert (victim, *new[0]) in set(content(log)), "at what it was at some time"
            assert (new != old).any(0).sum() > 1
        elif payload == "replayed":
            earlier = set(content(log[(since(log) < a) & (log.arbitration_id == victim)]))
            assert len(np.unique(new, axis=0)) > 1
            assert earlier & set(content(after[within & after.attack])), "whole payloads"
        else:
            offset = (new - old) % 256
            (byte,) = np.flatnonzero(offset.any(0))
            assert offset[-1, byte] == 128
            steps = np.diff(offset[:, byte])
            assert (steps == 0).all() if payload == "shifted" else (steps >= 0).all()


@pytest.mark.parametrize("severity, bytes_fixed", [(1.0, 8), (0.5, 4), (0.01, 1)])
def test_severity_says_how_many_of_the_moving_bytes_are_fixed(severity, bytes_fixed):
    n = 400
    data = np.random.default_rng(0).integers(0, 256, (n, 8), np.uint8)
    busy = Frames(np.arange(n) * 0.02, np.full(n, 0x1A0), data=data)
    how = {"payload": "fixed", "severity": severity, "seed": 1}
    after = inject(busy, "masquerade", spans=[(4.0, 6.0)], **how)
    new = after.data[after.attack]
    fixed = (new == new[0]).all(0)
    assert fixed.sum() == bytes_fixed
    assert (new[:, ~fixed] == data[after.attack][:, ~fixed]).all()
    assert (data[:, fixed] == new[0, fixed]).all(1).any(), "as at some time"


def of_three(shares):
    """IDs 1, 2, 3, … every 20 ms, whose data changes in these shares of the frames."""
    n, rng = 500, np.random.default_rng(3)
    time = (np.arange(n) * 0.02 + np.arange(len(shares))[:, None] * 0.004).ravel()
    data = np.zeros((len(time), 8), np.uint8)
    data[:, 0] = np.concatenate([np.cumsum(rng.random(n) < share) for share in shares]) % 256
    ids = np.repeat(1 + np.arange(len(shares)), n)
    return Frames.in_order(time, arbitration_id=ids, data=data)


@pytest.mark.parametrize(
    ("attack", "shares", "expected"),
    [
        *((a, [0.0, 0.03, 0.5, 1.0], {3, 4}) for a in ("masquerade", "spoofing", "malfunction")),
        ("spoofing", [0.0, 0.0, 0.0], {1, 2, 3}),  # where no data changes, any regular ID
    ],
)
def test_the_victim_is_an_id_whose_data_changes(attack, shares, expected):
    victims = set()
    for seed in range(12):
        after = inject(of_three(shares), attack, spans=[(4.0, 6.0)], seed=seed)
        victims |= set(after.arbitration_id[after.attack].tolist())
    assert victims == expected, "more than one frame in ten differs from the one before"


def test_changing_data_counts_more_than_a_regular_period():
    calm = of_three([0.0, 1.0])
    late = np.random.default_rng(5).random(len(calm)) < 0.3
    uneven = calm[~late | (calm.arbitration_id == 1)]
    after = inject(uneven, "masquerade", spans=[(4.0, 6.0)], seed=0)
    assert set(after.arbitration_id[after.attack]) == {2}


def test_spoofed_payloads_differ_from_the_present_one(log):
    for seed in range(6):
        after = inject(log, "spoofing", spans=SPANS[:1], seed=seed)
        (sent,) = set(content(after[after.attack]))
        assert sent != next(row for row in content(log[since(log) >= 4.0]) if row[0] == sent[0])


def test_replayed_frames_come_from_earlier(log):
    after = inject(log, "replay", spans=SPANS[:1], seed=6)
    assert set(content(after[after.attack])) <= set(content(log[since(log) < 4.0]))
    assert len(np.unique(after.arbitration_id[after.attack])) > 10


def test_fuzzing_speaks_the_format_of_the_bus():
    truck = Frames(np.arange(2000) * 1e-3 + 2e-6, 0x18FEF100 + np.arange(2000) % 7)
    after = inject(truck, "fuzzing", spans=[(0.5, 1.5)])
    assert after.is_extended_id.all() and (after.arbitration_id[after.attack] > 0x7FF).mean() > 0.9


@pytest.mark.parametrize("attack", ATTACKS)
def test_severity_is_monotone(log, attack):
    posed = attack == "masquerade"
    how = {"spans": SPANS[:1], "seed": 7, "payload": "replayed" if posed else ""}
    made = [inject(log, attack, severity=s, **how) for s in (0.01, 0.2, 0.4, 0.6, 0.8, 1.0)]
    sizes = [abs(len(after) - len(log)) for after in made]
    if posed:
        sizes = [np.bitwise_count(after.data ^ log.data).sum() for after in made]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2
    if attack in ("flooding", "fuzzing", "spoofing", "malfunction"):
        assert sizes[0] == 1


@pytest.mark.parametrize("attack", ATTACKS)
def test_same_seed_same_attack(log, attack):
    a, b, c = (inject(log, attack, spans=SPANS, seed=seed).sha256() for seed in (1, 1, 2))
    assert a == b != c


def test_attacks_can_follow_one_another(log):
    after = inject(log, "suppression", spans=[(2.0, 3.0)], seed=1)
    for attack, span in (("spoofing", SPANS[0]), ("masquerade", SPANS[1])):
        after = inject(after, attack, spans=[span], seed=1)
    assert set(after.attack_type) == {attack_code(a) for a in ("benign", "spoofing", "masquerade")}
    assert after.attack_spans and len(to_graphs([after]).label)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_artefact_in_a_real_log(real_data, attack):
    log = read_frames(real_data / "hcrl_sa/train_01_attack_free/attack-free-kia.csv")[:60_000]
    after = inject(log, attack, spans=SPANS, seed=1)
    quick, before = ((np.diff(f.timestamp) < 50e-6).mean() for f in (after, log))  # fit no frame
    assert quick <= before * len(log) / len(after) + 1e-9
    assert quick == pytest.approx(before, abs=1e-4)
    if attack in ADDING:
        assert sorted(content(after[~after.attack])) == sorted(content(log))
        # half of this bus is taken: a flood fills the rest, and the queue outlives it
        elsewhere = log.timestamp[~inside(since(log), 0.1)]
        assert np.isin(elsewhere, after.timestamp[~after.attack]).all()
        shortest = min(np.diff(log.timestamp).min(), 100e-6)
        assert np.diff(after.timestamp).min() >= shortest - 1e-9
    assert after.attack.any() or after.attack_spans


@pytest.mark.parametrize(
    ("attack", "how", "message"),
    [
        ("dos", {}, "attack: 'dos' is unknown; expected one of flooding, fuzzing"),
        ("fuzzing", {"severity": 0}, "severity 0; expected 0 < severity <= 1"),
        ("fuzzing", {"severity": 1.1}, "severity 1.1"),
        ("fuzzing", {"spans": []}, r"spans \[\]; expected .* within the log's 13.0 s; count in s"),
        ("fuzzing", {"spans": [(2, 1)]}, r"spans \[\(2.0, 1.0\)\]"),
        ("fuzzing", {"spans": [(14, 15)]}, "spans"),
        ("fuzzing", {"spans": [(-1, 5)]}, "spans"),
        ("fuzzing", {"spans": [(1, float("nan"))]}, "spans"),
        ("fuzzing", {"payload": "frozen"}, "payload 'frozen' for fuzzing; expected one of frozen"),
        ("masquerade", {"payload": "iced"}, "payload 'iced' for masquerade"),
        ("spoofing", {"spans": [(4, 4.000001)]}, "no data from 4 to 4 s; expected frames"),
        ("replay", {"spans": [(0, 1)]}, "no genuine frame before 0 s to replay"),
        ("masquerade", {"spans": [(0, 1)], "payload": "replayed"}, "sends nothing before 0 s"),
    ],
)
def test_bad_input_is_refused_with_advice(log, attack, how, message):
    with pytest.raises(ValueError, match=message):
        inject(log, attack, **({"spans": SPANS} | how))
    with pytest.raises(ValueError, match=r"within the log's 0\.0 s|severity|payload|unknown"):
        inject(log[:0], attack, **({"spans": SPANS} | how))
