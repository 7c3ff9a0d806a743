"""Labels that stand beside a log, in ROAD's file of intervals."""

import json

import pytest

from cangraph.io.readers import read_frames

ROWS = "".join(f"({10 + i / 10:.6f}) can0 {'6E0' if i % 2 else '1A0'}#0{i}FF\n" for i in range(8))


@pytest.fixture
def label(tmp_path):
    """Reads a log beside intervals that say this of it."""

    def of(said, **how):
        (tmp_path / "attack_1.log").write_text(ROWS)
        intervals = tmp_path / "capture_metadata.json"
        intervals.write_text(said if isinstance(said, str) else json.dumps(said))
        return read_frames(tmp_path / "attack_1.log", labels=intervals, **how)

    return of


def said(interval=(0.25, 0.61), number="0x6e0", data="XXFF"):
    return {"injection_interval": interval, "injection_id": number, "injection_data_str": data}


@pytest.mark.parametrize(
    ("said", "attack"),
    [
        (said(), [3, 5]),
        (said(number="XXX"), [3, 4, 5, 6]),
        (said(data="05FF"), [5]),
        (said(data="XXFE"), []),
        (said(data="XX" * 9), []),
        (said(interval=None), []),
        ({"description": "no attack"}, []),
    ],
)
def test_frames_in_the_interval_that_are_as_it_says_are_the_attack(label, said, attack):
    frames = label({"attack_1": said}, attack_type="fuzzing")
    assert frames.attack.nonzero()[0].tolist() == attack
    assert set(frames.attack_type[frames.attack].tolist()) <= {2}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"attack_1": 5}', json.dumps({"attack_1": said(number="0xZ")}),
     json.dumps({"attack_1": said(data="F")}), json.dumps({"attack_1": said(interval=[1])})],
)  # fmt: skip
def test_a_file_that_says_no_interval_of_the_log_is_refused(label, content):
    with pytest.raises(ValueError, match=r"capture_metadata.json: no interval .*'attack_1'"):
        label(content)
