"""Every entry of the data card on captures made by hand, and what it finds in real ones."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cangraph.data.card import data_card, shared_between
from cangraph.data.datasets import _distinct, read
from cangraph.data.graphs import to_graphs
from cangraph.frames import Frames

ROOT = Path(__file__).parents[2]
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


# rows and totals


def test_a_row_says_what_a_capture_holds():
    card = card_of(capture("a-1", CLEAN), capture("b-2", attacks=12, n=105))
    row = card["captures"][1]
    assert row["seconds"] == pytest.approx(0.104)
    expected = {
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
    assert {name: row[name] for name in expected} == expected
    assert set(row) == {*expected, "seconds"}


def test_totals_sum_the_rows_and_count_what_is_distinct():
    one, two = capture("a-1", CLEAN), capture("b-1", attacks=12)
    other = replace(two, arbitration_id=two.arbitration_id + 1, name="c-2")
    totals = card_of(one, two, other)["totals"]
    assert (totals["captures"], totals["frames"], totals["windows"]) == (3, 300, 30)
    assert totals["vehicles"] == ["1"]
    assert totals["arbitration_ids"] == 3
    assert totals["attack_frame_share"] == 24 / 300
    assert totals["attack_window_share"] == 4 / 30
    assert totals["seconds"] == pytest.approx(3 * 0.099)


def test_graphs_of_other_captures_are_refused():
    one, two = capture("a", CLEAN), capture("b")
    with pytest.raises(ValueError, match="1 captures and graphs of 1 came that are not the same"):
        data_card([one], to_graphs([two], 10, 10))


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


# copies and recordings


def test_copies_are_named_by_the_capture_that_was_kept():
    first = capture("a", CLEAN)
    other = capture("b", payload=1)
    kept = _distinct([first, other, first.label(scenario=ATTACKS), first.label(name="c")])
    assert [c.copies for c in kept] == [("train_02 a", "train_01 c"), ()]
    assert kept[0][:50].copies == kept[0].copies
    card = card_of(*kept)
    assert card["captures"][0]["copies"] == ["train_02 a", "train_01 c"]
    assert card["totals"]["copies"] == 2
    assert warned(
        card,
        "2 captures left out, equal to others frame by frame: "
        "train_01 a (again as train_02 a, train_01 c).",
    )


def test_captures_of_one_recording_are_named():
    card = card_of(
        capture("a", CLEAN, recording="r"), capture("b"), capture("c", recording="r", attacks=1)
    )
    assert card["shared_recordings"] == [["train_01 a", "test_01 c"]]
    assert warned(card, "2 captures derive from only 1 recording: train_01 a = test_01 c.")


def test_datasets_share_recordings_by_content_not_by_name(drive, clean):
    later = replace(drive[2000:], timestamp=drive.timestamp[2000:] + 99)
    one = [drive.label(name="a"), clean.label(name="b")]
    two = [clean[:100].label(name="other"), later.label(name="b")]
    assert shared_between({"one": one[:1], "two": two[1:]}) == [["one a", "two b"]]
    assert shared_between({"one": one[:1], "two": [clean.label(name="a")]}) == []
    assert shared_between({"one": [one[0], later.label(name="c")]}) == []
    three = shared_between({"one": one, "two": two[1:], "three": [drive.label(name="d")]})
    assert three == [["one a", "two b", "three d"]]


# duplicates


def test_duplicates_count_test_frames_with_a_training_message():
    train, test = capture("a", CLEAN), capture("b", payload=[1] * 40 + [0] * 60)
    other = capture("c", payload=7, n=300)
    card = card_of(train, test, other)
    assert [row["duplicates"] for row in card["captures"]] == [None, 0.6, 0.0]
    assert card["duplicates"] == {"frames": 60, "of": 400, "share": 0.15}
    assert warned(card, "15.0% of the 400 test frames repeat the ID and payload of a training")
    assert warned(card, "most in test_01 b (60.0%)")


def test_the_same_payload_under_another_id_is_no_duplicate():
    train = capture("a", CLEAN)
    test = replace(capture("b"), arbitration_id=train.arbitration_id + 0x10)
    card = card_of(train, test)
    assert card["duplicates"]["share"] == 0.0
    assert not warned(card, "repeat")


def test_a_shorter_payload_is_no_duplicate_of_a_padded_one():
    train, test = capture("a", CLEAN), capture("b")
    card = card_of(train, replace(test, dlc=np.full(100, 4)))
    assert card["duplicates"]["share"] == 0.0


def test_all_bytes_of_a_long_payload_count():
    train = capture("a", CLEAN)
    wide = np.zeros((100, 12), np.uint8)
    wide[:50, 11] = 1
    card = card_of(train, replace(capture("b"), data=wide))
    assert card["duplicates"]["share"] == 0.5


@pytest.mark.parametrize("scenario", [CLEAN, TEST])
def test_without_both_sides_duplicates_are_undefined(scenario):
    card = card_of(capture("a", scenario), capture("b", scenario))
    assert card["duplicates"]["share"] is None
    assert [row["duplicates"] for row in card["captures"]] == [None, None]


# leak canary


def canary_of(attacked, clean):
    """The card's leak canary for captures with these shares of short gaps."""
    kinds = [(share, 5) for share in attacked] + [(share, 0) for share in clean]
    captures = [
        capture(f"c{i}", attacks=n, gaps=short(share), n=101) for i, (share, n) in enumerate(kinds)
    ]
    card = card_of(*captures)
    assert bool(warned(card, "cangraph quantises gaps to 1 ms")) == card["leak_canary"]["leaks"]
    return card["leak_canary"]


def test_gaps_that_give_the_captures_away_leak():
    canary = canary_of([0.6, 0.7], [0.0, 0.1])
    assert canary["leaks"]
    assert (canary["auroc"], canary["right"], canary["of"]) == (1.0, 4, 4)
    assert canary["cut"] == pytest.approx(0.35)
    assert canary["verdict"] == (
        "Gaps under 50 µs tell of 4 of 4 captures whether they hold an attack (AUROC 1.00)"
    )


def test_gaps_that_are_alike_do_not_leak():
    canary = canary_of([0.0, 0.0], [0.0])
    assert not canary["leaks"]
    assert (canary["auroc"], canary["cut"], canary["right"]) == (0.5, 0.0, 2)
    assert canary["verdict"].startswith("Gaps under 50 µs do not tell which captures hold")


def test_one_capture_on_the_wrong_side_is_counted():
    canary = canary_of([0.6, 0.6, 0.7, 0.7, 0.0], [0.1, 0.0])
    assert canary["right"] == 6
    assert canary["auroc"] == pytest.approx((4 * 2 + 0.5) / 10)


@pytest.mark.parametrize("attacked, clean", [([0.6], []), ([], [0.6])])
def test_with_one_class_the_canary_is_undefined(attacked, clean):
    canary = canary_of(attacked, clean)
    assert canary["auroc"] is None
    assert not canary["leaks"]
    assert canary["verdict"].startswith("Undefined:")


# labels


def test_attack_scenarios_without_labels_are_named():
    card = card_of(capture("a", CLEAN), capture("b", "test_05_suppress"), capture("c", attacks=1))
    assert card["unlabelled"] == ["test_05 b"]
    assert warned(card, "1 capture outside the attack-free scenario has no frame labelled attack")


def test_sound_captures_raise_no_warning():
    sound = capture("a", CLEAN), capture("b", ATTACKS, attacks=3), capture("c", attacks=3)
    test = replace(sound[2], arbitration_id=sound[2].arbitration_id + 9)
    assert card_of(*sound[:2], test)["warnings"] == []


# real captures


def real_card(real_data, monkeypatch, dataset):
    if not (real_data / dataset).is_dir():
        pytest.skip(f"needs CANGRAPH_DATA with {dataset}")
    monkeypatch.setenv("CANGRAPH_DATA", str(real_data))
    return card_of(*read(dataset), window=100)


def test_set_04_gives_itself_away(real_data, monkeypatch):
    card = real_card(real_data, monkeypatch, "set_04")
    for row in card["captures"]:
        injected = row["attack_frames"] and row["name"] != "masquerade-timed-4"
        assert row["short_gaps"] > 0.5 if injected else row["short_gaps"] < 0.15, row["capture"]
    canary = card["leak_canary"]
    assert (canary["leaks"], canary["right"], canary["of"]) == (True, 23, 24)
    assert {row["name"]: row["copies"] for row in card["captures"] if row["copies"]} == {
        name: [f"train_02 {name}"] for name in ("accessory-3", "accessory-4", "attack-free-4")
    }
    assert card["unlabelled"] == ["test_05 suppress-1", "test_05 suppress-2"]
    assert card["shared_recordings"] == [
        ["train_01 attack-free-4", "test_06 masquerade-untimed-4"],
        ["test_02 rpm-accessory-1", "test_02 speed-accessory-1"],
        ["test_02 rpm-accessory-2", "test_02 speed-accessory-2"],
        ["test_05 suppress-2", "test_06 masquerade-timed-4"],
    ]
    assert (card["totals"]["reordered"], len(card["warnings"])) == (297, 6)


def test_hcrl_sa_has_clean_timestamps(real_data, monkeypatch):
    card = real_card(real_data, monkeypatch, "hcrl_sa")
    assert not card["leak_canary"]["leaks"]
    assert max(row["short_gaps"] for row in card["captures"]) < 1e-4
    assert card["totals"]["reordered"] == 0
    assert card["shared_recordings"] == card["unlabelled"] == []
    assert card["totals"]["copies"] == 2
    assert card["duplicates"]["share"] == pytest.approx(0.382, abs=0.001)
    assert len(card["warnings"]) == 2


def test_the_script_ends_in_one_json_object():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/data_card.py", "demo", "demo"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    printed = json.loads(done.stdout.splitlines()[-1])
    assert list(printed["cards"]) == ["demo"]
    assert printed["shared_between"] == []
