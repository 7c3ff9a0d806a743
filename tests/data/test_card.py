"""Every entry of the data card on captures made by hand, and what it finds in real ones."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cangraph.data.card import data_card
from cangraph.data.datasets import _distinct, read
from cangraph.data.graphs import to_graphs
from cangraph.frames import AttackSpan, Frames

CLEAN, ATTACKS, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"


def capture(name, scenario=TEST, *, attacks=0, payload=0, gaps=1e-3, n=100, recording=""):
    """`n` frames of two IDs; the first `attacks` are attacks; `payload` is their first byte."""
    data = np.zeros((n, 8), np.uint8)
    data[:, 0] = payload
    return Frames(
        np.cumsum(np.broadcast_to(gaps, n)),
        np.arange(n) % 2 + 0x100,
        data=data,
        attack=np.arange(n) < attacks,
        name=name,
        scenario=scenario,
        vehicle=name.split("-")[-1],
        recording=recording or f"{scenario}/{name}",
    )


def card_of(*captures, window=10):
    card = data_card(captures, to_graphs(captures, window, window))
    json.dumps(card, allow_nan=False)
    return card


def short(share, n=101):
    """Gaps in s, of which (without the first, which is none) `share` are short."""
    return np.where(np.arange(n) <= round(share * (n - 1)), 10e-6, 1e-3)


def warned(card, words):
    return [warning for warning in card["warnings"] if words in warning]


def test_a_row_says_what_a_capture_holds():
    row = card_of(capture("a-1", CLEAN), capture("b-2", attacks=12, n=105))["captures"][1]
    assert row == {
        "seconds": pytest.approx(0.104),
        "capture": "test_01 b-2",
        "scenario": TEST,
        "name": "b-2",
        "vehicle": "2",
        "recording": f"{TEST}/b-2",
        "frames": 105,
        "arbitration_ids": 2,
        "attack_frames": 12,
        "attack_frame_share": 12 / 105,
        "windows": 10,
        "attack_windows": 2,
        "attack_window_share": 0.2,
        "reordered": 0,
        "short_gaps": 0.0,
        "repeated_frames": 105,
        "duplicates": 1.0,
        "copies": [],
    }


def test_graphs_of_other_captures_are_refused():
    with pytest.raises(
        ValueError, match="data_card: 1 captures came, which are not the 1 of the windows"
    ):
        data_card([capture("a", CLEAN)], to_graphs([capture("b")], 10, 10))


def test_backward_timestamps_are_counted():
    back = Frames.in_order(
        np.where(np.arange(100) % 50 == 49, 0.0, np.arange(100.0)),
        arbitration_id=np.arange(100) % 2,
        name="b",
        scenario=TEST,
    )
    card = card_of(capture("a", CLEAN), back)
    assert [row["reordered"] for row in card["captures"]] == [0, 2]
    assert warned(card, "Timestamps step backwards 2 times in 1 capture, most in test_01 b (2)")


def test_copies_are_named_by_the_capture_that_was_kept():
    first = capture("a", CLEAN)
    other = capture("b", payload=1)
    kept = _distinct([first, other, first.label(scenario=ATTACKS), first.label(name="c")])
    assert [c.copies for c in kept] == [("train_02 a", "train_01 c"), ()]
    assert kept[0][:50].copies == kept[0].copies
    card = card_of(*kept)
    assert card["captures"][0]["copies"] == ["train_02 a", "train_01 c"]
    assert warned(card, "train_01 a (again as train_02 a, train_01 c)")


def test_captures_of_one_recording_are_named():
    card = card_of(
        capture("a", CLEAN, recording="r"), capture("b"), capture("c", recording="r", attacks=1)
    )
    assert card["shared_recordings"] == [["train_01 a", "test_01 c"]]
    assert warned(card, "2 captures derive from only 1 recording: train_01 a = test_01 c.")


def test_duplicates_count_test_frames_with_a_training_message():
    test, other = capture("b", payload=[1] * 40 + [0] * 60), capture("c", payload=7, n=300)
    card = card_of(capture("a", CLEAN), test, other)
    assert [row["duplicates"] for row in card["captures"]] == [None, 0.6, 0.0]
    assert card["duplicates"] == {"frames": 60, "of": 400, "share": 0.15}
    (warning,) = warned(card, "15.0% of the 400 test frames repeat")
    assert "most in test_01 b (60.0%)" in warning


WIDE = np.zeros((100, 12), np.uint8)
WIDE[:50, 11] = 1


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ({"arbitration_id": np.arange(100) % 2 + 0x110}, 0.0),
        ({"dlc": np.full(100, 4)}, 0.0),  # shorter than the padded one
        ({"data": WIDE}, 0.5),  # all bytes of a long payload count
    ],
)
def test_id_length_and_every_byte_make_a_duplicate(other, share):
    card = card_of(capture("a", CLEAN), replace(capture("b"), **other))
    assert card["duplicates"]["share"] == share
    assert bool(warned(card, "repeat")) == (share > 0)


@pytest.mark.parametrize("scenario", [CLEAN, TEST])
def test_without_both_sides_duplicates_are_undefined(scenario):
    card = card_of(capture("a", scenario), capture("b", scenario))
    assert card["duplicates"]["share"] is None
    assert [row["duplicates"] for row in card["captures"]] == [None, None]


@pytest.mark.parametrize(
    ("attacked", "clean", "auroc"),
    [
        ([0.6, 0.7], [0.0, 0.1], 1.0),
        ([0.0, 0.0], [0.0], 0.5),
        ([0.6, 0.6, 0.7, 0.7, 0.0], [0.1, 0.0], (4 * 2 + 0.5) / 10),
        ([0.6], [], None),
        ([], [0.6], None),
    ],
)
def test_shares_of_short_gaps_that_give_attacked_captures_away_leak(attacked, clean, auroc):
    kinds = [(share, 5) for share in attacked] + [(share, 0) for share in clean]
    card = card_of(
        *(capture(f"c{i}", attacks=n, gaps=short(s), n=101) for i, (s, n) in enumerate(kinds))
    )
    canary = card["leak_canary"]
    assert canary["auroc"] == (auroc and pytest.approx(auroc))
    leaks = auroc == 1.0
    assert canary["leaks"] == leaks == bool(warned(card, "cangraph quantises gaps to 1 ms"))


def test_attack_scenarios_without_labels_are_named():
    card = card_of(capture("a", CLEAN), capture("b", "test_05_suppress"), capture("c", attacks=1))
    (warning,) = warned(card, "no window under attack")
    assert "test_05 b" in warning and "test_01 c" not in warning


def test_a_suppressed_message_is_a_label_though_no_frame_carries_it():
    span = AttackSpan(0.02, 0.05, "suppression", 0x100)
    suppressed = replace(capture("b", "test_05_suppress"), attack_spans=(span,))
    assert not warned(card_of(capture("a", CLEAN), suppressed), "no window under attack")


def test_sound_captures_raise_no_warning():
    sound = capture("a", CLEAN), capture("b", ATTACKS, attacks=3), capture("c", attacks=3)
    test = replace(sound[2], arbitration_id=sound[2].arbitration_id + 9)
    assert card_of(*sound[:2], test)["warnings"] == []


@pytest.fixture
def real_card(request, real_data, monkeypatch):
    """The card of the real dataset that a test is parametrised with."""
    if not (real_data / request.param).is_dir():
        pytest.skip(f"needs CANGRAPH_DATA with {request.param}")
    monkeypatch.setenv("CANGRAPH_DATA", str(real_data))
    return card_of(*read(request.param), window=100)


@pytest.mark.parametrize("real_card", ["set_04"], indirect=True)
def test_set_04_gives_itself_away(real_card):
    card = real_card
    for row in card["captures"]:
        injected = row["attack_frames"] and row["name"] != "masquerade-timed-4"
        assert row["short_gaps"] > 0.5 if injected else row["short_gaps"] < 0.15, row["capture"]
    assert card["leak_canary"]["leaks"]
    assert {row["name"]: row["copies"] for row in card["captures"] if row["copies"]} == {
        name: [f"train_02 {name}"] for name in ("accessory-3", "accessory-4", "attack-free-4")
    }
    assert warned(card, "no window under attack: test_05 suppress-1, test_05 suppress-2")
    assert card["shared_recordings"] == [
        ["train_01 attack-free-4", "test_06 masquerade-untimed-4"],
        ["test_02 rpm-accessory-1", "test_02 speed-accessory-1"],
        ["test_02 rpm-accessory-2", "test_02 speed-accessory-2"],
        ["test_05 suppress-2", "test_06 masquerade-timed-4"],
    ]
    assert (sum(row["reordered"] for row in card["captures"]), len(card["warnings"])) == (297, 6)


@pytest.mark.parametrize("real_card", ["hcrl_sa"], indirect=True)
def test_hcrl_sa_has_eleven_drives_and_clean_timestamps(real_card):
    card = real_card
    for name, total in {"frames": 1_598_906, "attack_frames": 183_314}.items():
        assert sum(row[name] for row in card["captures"]) == total
    assert len(card["captures"]) == 11
    assert not card["leak_canary"]["leaks"]
    assert max(row["short_gaps"] for row in card["captures"]) < 1e-4
    assert sum(row["reordered"] for row in card["captures"]) == 0
    assert sum(len(row["copies"]) for row in card["captures"]) == 2
    assert card["shared_recordings"] == []
    assert card["duplicates"]["share"] == pytest.approx(0.382, abs=0.001)
    assert len(card["warnings"]) == 2
