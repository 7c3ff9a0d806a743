"""The catalog finds captures in either layout, drops copies and knows one drive from another."""

import gzip
import lzma
from dataclasses import replace

import numpy as np
import pytest

from cangraph.bus.simulator import simulate
from cangraph.data.datasets import DATASETS, SCENARIOS, TRAIN, present, read, same_recording
from cangraph.frames import ATTACK_TYPES, Frames
from cangraph.io.readers import read_frames
from cangraph.io.writers import write_frames


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty folder that CANGRAPH_DATA points to."""
    monkeypatch.setenv("CANGRAPH_DATA", str(tmp_path))
    return tmp_path


def table(seed):
    """A log of 20 rows in the layout of can-train-and-test; each seed has its own payloads."""
    rows = ["timestamp,arbitration_id,data_field,attack"]
    rows += [f"{i / 100},{256 + i % 3:X},{seed:02X}{i:02X},{int(i > 15)}" for i in range(20)]
    return "\n".join(rows) + "\n"


def hcrl(seed):
    """The same 20 rows in the original layout."""
    rows = (f"{i / 100},{256 + i % 3:04x},2,{seed:02x},{i:02x},{'RT'[i > 15]}" for i in range(20))
    return "\n".join(rows) + "\n"


def put(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def kinds(frames):
    return [ATTACK_TYPES[code] for code in np.unique(frames.attack_type) if code]


def test_captures_are_found_by_scenario(data):
    put(
        data / "set_02",
        {
            "train_01_attack_free/attack-free-1.csv": table(1),
            "train_02_with_attacks/DoS-1.csv.gz": gzip.compress(table(2).encode()),
            "test_01_known_vehicle_known_attack/rpm-accessory-2.csv": table(3),
            "test_06_masquerade/masquerade-timed-2.csv": table(4),
            "test_06_masquerade/notes.md": "not a capture",
            "somewhere/else.csv": table(5),
        },
    )
    captures = read("set_02")
    assert [(c.scenario, c.name, c.vehicle) for c in captures] == [
        ("train_01_attack_free", "attack-free-1", "1"),
        ("train_02_with_attacks", "DoS-1", "1"),
        ("test_01_known_vehicle_known_attack", "rpm-accessory-2", "2"),
        ("test_06_masquerade", "masquerade-timed-2", "2"),
    ]
    assert [kinds(c) for c in captures[1:]] == [["flooding"], ["spoofing"], ["masquerade"]]
    assert [c.recording for c in captures] == [f"{c.scenario}/{c.name}" for c in captures]
    assert all(len(c) == 20 and c.attack.sum() == 4 for c in captures)


def test_a_file_name_tells_the_attack(data):
    told = {
        "flooding": ["DoS-kia"],
        "fuzzing": ["fuzzing-Spark", "untargeted_payload_fuzzing-3"],
        "malfunction": ["malfunction-sonata"],
        "suppression": ["suppress-2"],
        "masquerade": ["masquerade-untimed-4"],
        "spoofing": ["standstill-1", "speed-accessory-1", "force-neutral-1", "valid_systematic-3"],
        "other": ["mystery-1"],
    }
    expected = {name: [kind] for kind, names in told.items() for name in names}
    put(data / "hcrl_sa" / TRAIN[1], {f"{n}.csv": table(i) for i, n in enumerate(expected)})
    assert {capture.name: kinds(capture) for capture in read("hcrl_sa")} == expected


def test_captures_of_any_format_are_found_in_order(data):
    folder = data / "set_02" / TRAIN[0]
    put(folder, {"d.csv.xz": lzma.compress(table(1).encode()), "a.txt": hcrl(2)})
    aside = ("README", "readme.txt", "LICENSE.md", ".hidden", "notes.txt", "e.db-wal", "paper.pdf")
    put(folder, dict.fromkeys(aside, "not a capture"))
    for i, name in enumerate(("e.blf", "b.log", "c.parquet", "f.asc")):
        write_frames(read_frames(folder / "a.txt")[i:], folder / name)
    assert [c.name for c in read("set_02")] == [*"abcdef"]


ENDING, NAME = "the ending is not known", "no original file has this name; expected no"


@pytest.mark.parametrize(
    ("dataset", "file", "content", "said"),
    [
        ("hcrl", "a.csv", "", "'hcrl' is unknown; expected one of demo, hcrl_ch"),
        ("set_02", f"{TRAIN[0]}/b.csv", table(1) + "x,y,z\n", rf"{TRAIN[0]}/b\.csv:22: 'x,y,z'"),
        ("set_02", f"{TRAIN[0]}/drive.csv.zip", "x", "drive.csv.zip:1: 'x' is of no dialect"),
        ("set_02", f"{TRAIN[0]}/drive.7z", "x", f"drive.7z: {ENDING}"),
        ("set_02", f"{TRAIN[0]}/drive", "x", f"drive: {ENDING}"),
        ("set_02", f"{TRAIN[0]}/drive.CSV.bak", "x", f"drive.CSV.bak: {ENDING}"),
        ("hcrl_ch", "Fuzzy.csv", hcrl(2), f"Fuzzy.csv: {NAME}"),
        ("hcrl_sa", "Fuzzy_dataset_KIA.7z", "packed", "KIA.7z:1: 'packed' is of no dialect"),
    ],
)
def test_what_is_no_capture_is_named_and_not_passed_over(data, dataset, file, content, said):
    put(data, {f"set_02/{TRAIN[0]}/a.csv": table(1), "hcrl_ch/DoS_dataset.csv": hcrl(1)})
    put(data / dataset, {file: content})
    with pytest.raises(ValueError, match=said):
        read(dataset)


def test_a_copy_is_left_out_and_a_drive_under_two_names_is_one_recording(data):
    rows = table(1).splitlines()
    put(
        data / "hcrl_sa",
        {
            f"{TRAIN[0]}/a.csv": table(1),
            f"{TRAIN[1]}/a.csv": table(1),
            f"{TRAIN[1]}/again.csv.gz": gzip.compress(table(1).encode()),
            f"{TRAIN[1]}/other.csv": table(2),
            f"{SCENARIOS[0]}/b.csv": "\n".join(rows[:1] + rows[3:]),
        },
    )
    captures = read("hcrl_sa")
    assert [(c.scenario, c.name, c.recording) for c in captures] == [
        (TRAIN[0], "a", f"{TRAIN[0]}/a"),
        (TRAIN[1], "other", f"{TRAIN[1]}/other"),
        (SCENARIOS[0], "b", f"{TRAIN[0]}/a"),
    ]
    assert captures[0].copies == ("train_02 a", "train_02 again")


def test_original_car_hacking_files_have_roles(data):
    normal = "".join(
        f"Timestamp: {i / 100:.6f}        ID: 0{256 + i % 3:x}    000    DLC: 2    09 {i:02x}\n"
        for i in range(20)
    )
    attacks = ("deep/DoS", "Fuzzy", "gear", "RPM")
    files = {f"{name}_dataset.csv": hcrl(i) for i, name in enumerate(attacks)}
    put(data / "hcrl_ch", files | {"normal_run_data.txt": normal, "readme.txt": "no capture"})
    captures = read("hcrl_ch")
    assert sorted((c.scenario, c.name, len(c)) for c in captures) == [
        (SCENARIOS[0], "DoS_dataset", 5),
        (SCENARIOS[0], "Fuzzy_dataset", 5),
        (SCENARIOS[2], "RPM_dataset", 20),
        (SCENARIOS[2], "gear_dataset", 20),
        (TRAIN[0], "normal_run_data", 20),
        (TRAIN[1], "DoS_dataset", 14),
        (TRAIN[1], "Fuzzy_dataset", 14),
    ]
    times = {(c.scenario, c.name): c.timestamp for c in captures}
    train, test = times[TRAIN[1], "DoS_dataset"], times[SCENARIOS[0], "DoS_dataset"]
    assert (train[0], train[-1], test[0], test[-1]) == (0.0, 0.13, 0.15, 0.19)
    assert {c.vehicle for c in captures} == {"sonata"}
    assert {c.name: kinds(c) for c in captures if c.attack.any()} == {
        "DoS_dataset": ["flooding"],
        "Fuzzy_dataset": ["fuzzing"],
        "RPM_dataset": ["spoofing"],
        "gear_dataset": ["spoofing"],
    }


def test_original_survival_files_have_roles(data):
    names = {
        "FreeDrivingData_20180112_KIA": (TRAIN[0], "kia"),
        "FreeDrivingData_20180112_SONATA": (TRAIN[0], "sonata"),
        "Flooding_dataset_KIA": (TRAIN[1], "kia"),
        "Fuzzy_dataset_SONATA": (TRAIN[1], "sonata"),
        "Flooding_dataset_SONATA": (SCENARIOS[0], "sonata"),
        "Fuzzy_dataset_KIA": (SCENARIOS[0], "kia"),
        "Flooding_dataset_Spark": (SCENARIOS[1], "spark"),
        "Fuzzy_dataset_Spark": (SCENARIOS[1], "spark"),
        "Malfunction_1st_dataset_KIA": (SCENARIOS[2], "kia"),
        "Malfunction_2nd_dataset_SONATA": (SCENARIOS[2], "sonata"),
        "Malfunction153_dataset_KIA": (SCENARIOS[2], "kia"),
        "Malfunction18E_dataset_Spark": (SCENARIOS[3], "spark"),
    }
    files = {f"{name}.txt": hcrl(i) for i, name in enumerate(names)}
    clean = "".join(f"{i / 100},0316,2,05 {i:02x}\n" for i in range(20))  # as their authors write
    files |= {"FreeDrivingData_20180112_KIA.txt": clean}
    files |= {"FreeDrivingData_20171231_Spark.txt": clean.replace("05", "06")}
    put(data / "hcrl_sa/Car", files)
    assert {c.name: (c.scenario, c.vehicle) for c in read("hcrl_sa")} == names


def test_the_published_layout_goes_before_the_original_one(data):
    put(data / "hcrl_ch", {f"{TRAIN[0]}/a.csv": table(1), "DoS_dataset.csv": hcrl(2)})
    assert [c.name for c in read("hcrl_ch")] == ["a"]


@pytest.mark.parametrize("dataset", [name for name in DATASETS if name != "demo"])
def test_a_missing_dataset_names_folder_files_and_publisher(data, dataset):
    with pytest.raises(FileNotFoundError) as caught:
        read(dataset)
    message, known = str(caught.value), DATASETS[dataset]
    assert "\n" not in message
    for named in (str(data / dataset), TRAIN[0], known.publisher, "CANGRAPH_DATA"):
        assert named in message
    assert all(original.pattern in message for original in known.originals)


def test_present_are_those_whose_files_are_there_by_name(data):
    assert present() == ["demo"]
    put(data, {"set_02/test_06_masquerade/a.csv": "x", "hcrl_ch/deep/DoS_dataset.csv": "x"})
    put(data / "set_03", {f"{TRAIN[0]}/README.md": "x", "other/a.csv": "x"})
    put(data, {f"{name}/DoS_dataset.csv": "x" for name in ("hcrl_sa", "hcrl_ch_head")})
    assert present() == ["demo", "hcrl_ch", "set_02"]


def test_the_demo_needs_no_files(data):
    captures = read("demo")
    assert len(captures) == 20
    assert {c.scenario for c in captures} == {*TRAIN, *DATASETS["demo"].scenarios}
    assert len({c.recording for c in captures}) == 20, "all of different drives"
    other = read("demo", seed=1)
    assert not {c.sha256() for c in captures} & {c.sha256() for c in other}


@pytest.fixture(scope="module")
def log():
    return simulate("aster", 15.0, seed=1)


@pytest.fixture(scope="module")
def other():
    return simulate("aster", 15.0, seed=2)


def recordings(*captures):
    return same_recording([c.label(name=str(i)) for i, c in enumerate(captures)])


def altered(log, **labels):
    """The log with one frame in twenty of other bytes."""
    rng = np.random.default_rng(0)
    rows = rng.random(len(log)) < 0.05
    data = log.data.copy()
    data[rows] = rng.integers(0, 256, (rows.sum(), 8))
    return replace(log, data=data, **{name: rows * value for name, value in labels.items()})


@pytest.mark.parametrize(
    "derive",
    [
        lambda log: replace(log, timestamp=log.timestamp * 1.7 + 1e6),
        lambda log: log[5000:12000],
        lambda log: simulate("aster", 15.0, seed=1, attack="spoofing", bursts=1),
        lambda log: altered(log),
        lambda log: altered(log, attack=True, attack_type=7),
    ],
    ids=["other times", "a part", "under attack", "altered", "altered and labelled"],
)
def test_what_derives_from_a_drive_is_the_same_recording(log, derive):
    assert recordings(log, derive(log)) == ["0", "0"]


@pytest.mark.parametrize("share, same", [(0.0, False), (0.2, False), (0.4, True)])
def test_three_runs_in_ten_make_one_recording(log, other, share, same):
    n = min(len(log), len(other))
    copied = np.arange(n) < share * n
    mixed = replace(
        log[:n],
        arbitration_id=np.where(copied, log.arbitration_id[:n], other.arbitration_id[:n]),
        data=np.where(copied[:, None], log.data[:n], other.data[:n]),
    )
    assert recordings(log[:n], mixed) == ["0", "0" if same else "1"]


def test_a_chain_of_parts_is_one_recording(log, other):
    third = len(log) // 3
    left, right = log[: 2 * third], log[third:]
    assert recordings(left, right, log) == ["0"] * 3
    assert recordings(log[:third], log[third:]) == ["0", "1"]
    assert recordings(log[:third], log[third:], log) == ["0"] * 3, "joined by the last"
    assert recordings(left, other, right) == ["0", "1", "0"]


@pytest.mark.parametrize(
    "log",
    [
        Frames(np.arange(5.0), np.arange(5)),  # less than a run
        Frames(np.arange(100.0), np.zeros(100), attack=np.ones(100)),  # injected frames
    ],
)
def test_what_holds_no_run_of_benign_frames_shares_nothing(log):
    assert recordings(log, log) == ["0", "1"]
