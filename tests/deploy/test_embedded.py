"""A detector as one C file: it says what Python says, bears any call, and holds no number of its
own."""

import re
import runpy
import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cangraph.__main__ import main
from cangraph.bus.simulator import simulate
from cangraph.deploy import embedded
from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported
from cangraph.deploy.export import to_onnx
from cangraph.deploy.known_vehicle import with_baseline
from cangraph.deploy.listener import Clock
from cangraph.evaluation.alarms import evidence_constants
from cangraph.features.baseline import Baseline
from cangraph.features.schema import NODE_FEATURES
from cangraph.features.windows import constants
from cangraph.frames import CRC_8, PAYLOAD_LENGTHS, Frames
from cangraph.io.readers import read_frames
from cangraph.params import load_params

ROOT = Path(__file__).parents[2]
BENCHMARK = runpy.run_path(str(ROOT / "benchmarks/embedded.py"))
SANITIZED, WIDE = BENCHMARK["SANITIZED"], BENCHMARK["WIDE"]
TEMPLATE = re.sub(
    r"/\*.*?\*/", "", Path(embedded.__file__).with_name("car.c").read_text(), flags=re.S
)
compiler = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler, cc")


@pytest.fixture(scope="module")
def box():
    return Exported(boxed())


@pytest.fixture(scope="module")
def in_c(box, tmp_path_factory):
    """A detector in C, the one in the box by default, with sanitizers; of each size once."""
    made = {}

    def build(detector=box, **sizes):
        key = (detector, *sizes.items())
        if key not in made:
            folder = tmp_path_factory.mktemp("in_c")
            made[key] = BENCHMARK["InC"](detector, folder, SANITIZED, **sizes)
        return made[key]

    return build


def agrees(found, detector, frames):
    """Features to the bit, values within what the order of a sum may change, the same alarms."""
    expected, alarms = BENCHMARK["in_python"](detector, frames)
    far = BENCHMARK["apart"](found, expected, alarms)
    bounds = dict.fromkeys(("value", "level", "peak"), 1e-5)
    assert {name: value for name, value in far.items() if not value <= bounds.get(name, 0)} == {}
    return alarms


def noise(seed, n=6000, width=8):
    """Frames of IDs that count, rest, jump, change their length, come early, late or in bursts."""
    rng = np.random.default_rng(seed)
    gap = rng.choice([0.0, 2e-4, 1e-3, 1e-3, 1e-3, 5e-3], n)
    gap[rng.random(n) < 1e-3] = rng.choice([0.3, 2.0, 20.0])
    ids = rng.choice([0x7, 0x1A0, 0x1A1, 0x2B0, 0x2B0, 0x2B0, 0x3C0, 0x7FF, 0x18DA10F1], n)
    late = rng.random(n) < np.linspace(0, 0.1, n)
    ids[late] = rng.integers(0, 0x800, n)[late]
    count = np.arange(n)[:, None]
    data = np.where(rng.random((n, width)) < 0.02, rng.integers(0, 256, (n, width)), 0x55)
    data[:, :2], data[:, 2:3] = count % [15, 256], count // 7
    data, odd, crc = data.astype(np.uint8), ids % 2 == 1, np.zeros(n, np.uint8)
    data[odd, 7] = np.bitwise_xor.reduce(data[odd, :7], axis=1)
    for j in range(1, width):
        crc = CRC_8[crc ^ data[:, j]]
    data[ids == 0x2B0, 0] = crc[ids == 0x2B0]
    lengths = [length for length in PAYLOAD_LENGTHS if length <= width]
    dlc = np.where(rng.random(n) < 0.05, rng.choice(lengths, n), lengths[-1 - 1 * (width > 8)])
    data[np.arange(width) >= dlc[:, None]] = 0
    remote = rng.random(n) < 0.01
    return Frames(1.6e9 + np.cumsum(gap), ids, dlc=dlc, data=data, is_remote_frame=remote)


def test_each_constant_is_python_s_and_no_number_stands_in_c():
    names = [name.replace(".", "_").upper() for name in constants()]
    names += [f"EVIDENCE_{name.upper()}" for name in evidence_constants()]
    assert [name for name in names if not re.search(rf"\b{name}\b", TEMPLATE)] == []
    fractions = set(re.findall(r"(?<![\w.])(?:\d+\.\d*f?|\d+e-?\d+)", TEMPLATE))
    # neutral elements, the exponent of a logarithm, the values of a byte, ms in a second
    assert fractions <= {"0.0", "0.0f", "1.0", "1.0f", "2.0", "256.0f", "1e3"}


def test_constants_are_written_as_they_are(box, tmp_path):
    source, header = embedded.to_c(box, tmp_path / "car.c")
    defined = dict(re.findall(r"#define (\w+) (\S+)", source.read_text() + header.read_text()))
    for name, value in constants().items():
        assert float(defined[name.replace(".", "_").upper()]) == value
    assert float(defined["THRESHOLD"]) == box.threshold
    assert int(defined["CANGRAPH_WINDOW"]) == box.window
    assert "@" not in source.read_text() + header.read_text()


@compiler
def test_it_calls_nothing_but_what_it_says(box, tmp_path):
    source, header = embedded.to_c(box, tmp_path / "car.c")
    said = re.search(r"Of libc it calls (.*?)\.", header.read_text(), re.S)
    made = tmp_path / "car.o"
    subprocess.run(["cc", "-std=c99", "-Os", "-c", str(source), "-o", str(made)], check=True)
    listed = subprocess.run(["nm", "-u", str(made)], capture_output=True, text=True, check=True)
    called = set(listed.stdout.split()) - {"U", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_"}
    assert called <= set(re.findall(r"\w+", said[1]))


@compiler
@pytest.mark.parametrize("attack", ["spoofing", "suppression", "fuzzing"])
def test_it_says_what_python_says_of_a_simulated_bus(attack, box, in_c):
    frames = simulate("borage", 16.0, attack=attack, seed=3, bursts=2)
    assert agrees(in_c(box, **WIDE, WIDTH=8).judge(frames), box, frames)


@compiler
def test_a_detector_of_another_size_does_so_too(nets, in_c, drive, tmp_path):
    net = deepcopy(nets["gat"].model)
    dice = torch.Generator().manual_seed(0)
    for weight in net.parameters():  # as trained: of equal ones the exporter keeps one name
        torch.nn.init.normal_(weight, std=0.3, generator=dice)
    path = tmp_path / "gat.onnx"
    detector = to_onnx(net, path, 0.5, load_params("demo", window=60, stride=70), [drive.info])
    agrees(in_c(detector).judge(drive), detector, drive)


@compiler
@pytest.mark.parametrize("width", [8, 64])
def test_it_says_what_python_says_of_any_frames(width, box, in_c):
    judge = in_c(box, **WIDE, WIDTH=width).judge
    for seed in range(3):
        frames = noise(seed, width=width)
        agrees(judge(frames), box, frames)


@compiler
def test_it_says_what_python_says_of_real_captures(real_data, box, in_c):
    judge = in_c(box, **WIDE, WIDTH=8).judge
    found = 0
    for path in sorted(real_data.glob("hcrl_sa/test_*/*.csv")):
        frames = read_frames(path)
        first = int(frames.attack.argmax())
        frames = frames[max(first - 6000, 0) : first + 4000]
        found += len(agrees(judge(frames), box, frames))
    assert found


@compiler
@pytest.mark.parametrize("width", [8, 64])
def test_a_baseline_is_part_of_it(width, box, in_c, tmp_path):
    """The profiles of one part of noise, whose bytes move and rest, judge the other."""
    frames = noise(5, n=12_000)
    baseline = Baseline.learn([frames[:6000]])
    detector = with_baseline(box, baseline, tmp_path / "car.onnx")
    found = in_c(detector, **WIDE, WIDTH=width).judge(frames[6000:])
    agrees(found, detector, frames[6000:])
    foreign = [feature.name for feature in NODE_FEATURES].index("foreign")
    assert 0 < found.x[:, foreign].mean() < 1


@compiler
def test_a_clock_that_is_set_back_goes_on_as_in_the_monitor(box, in_c):
    frames = noise(7)
    raw = frames.timestamp.copy()
    raw[2000:] -= 5000.0
    raw[4000:4010] -= 3e-4
    times, notices = Clock().read(raw, now=0.0)
    assert len(notices) == 1
    mended = Frames(
        times,
        **{
            name: getattr(frames, name)
            for name in ("arbitration_id", "dlc", "data", "is_remote_frame")
        },
    )
    driver = in_c(box, **WIDE, WIDTH=8)
    object.__setattr__(frames, "timestamp", raw)
    agrees(driver.judge(frames), box, mended)


@compiler
def test_more_ids_than_fit_make_place_for_each_other_but_not_for_those_that_are_known(in_c):
    fuzzed = simulate("aster", 16.0, attack="fuzzing", seed=1, bursts=2)
    usual = in_c(IDS=64).judge(fuzzed)
    assert usual.windows["crowded"].any()
    found = usual.windows["event"] == BENCHMARK["EVENTS"].index("alarm")
    assert found.any() and usual.windows["value"].max() > 0.99


@compiler
@pytest.mark.parametrize("sizes", [{}, {"IDS": 20, "BYTES": 30}, {**WIDE, "WIDTH": 64}])
def test_any_call_in_any_order_is_borne(sizes, in_c):
    assert in_c(**sizes).fuzz(0.5) > 1000


def test_what_c_cannot_hold_is_refused_by_name(box, tmp_path, drive, monkeypatch):
    two = replace(drive, bus=np.arange(len(drive)) % 2, bus_names=("can0", "can1"))
    known = with_baseline(box, Baseline.learn([two]), tmp_path / "car.onnx")
    with pytest.raises(ValueError, match="can0, can1"):
        embedded.to_c(known, tmp_path / "car.c")
    for name, value, said in (("kind", "VGAE", "VGAE"), ("stride", 50, "50 apart")):
        with monkeypatch.context() as patch:
            patch.setattr(box, name, value)
            with pytest.raises(ValueError, match=said):
                embedded.to_c(box, tmp_path / "car.c")
    with pytest.raises(ValueError, match="no name of a C file"):
        embedded.to_c(box, tmp_path / 'ca"r.c')
    assert {path.name for path in tmp_path.iterdir()} == {"car.onnx"}


def test_the_command_writes_both_files(tmp_path, capsys):
    assert main(["export", "--c", str(tmp_path / "car.c")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"car.c", "car.h"}
    assert str(tmp_path / "car.h") in capsys.readouterr().out
    assert main(["export", "--c", str(tmp_path / "car.txt")]) == 1
