"""The C file of `cangraph export --c`: its sizes, what a frame costs, and whether it says what
Python says.

    python benchmarks/embedded.py                  # hcrl_sa in CANGRAPH_DATA; about four minutes
    python benchmarks/embedded.py --fuzz 3 --captures 2 --detector runs/demo/gat.onnx

Compared are the features of every frame, node and edge, the value, blamed ID and attack of every
window, and all alarms with those of `Monitor`, on the test captures. They are judged with room for
2048 IDs, as many as fuzzing sends; beside it stands what the default of 128 finds. The fuzzer calls
it with any frame in any order of times, with sanitizers. Times are those of the processor, as other
programs share the machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import cangraph as cg
from cangraph.deploy.embedded import to_c
from cangraph.deploy.known_vehicle import with_baseline
from cangraph.features.baseline import Baseline
from cangraph.features.profile import profile
from cangraph.features.schema import EDGE_FEATURES, FRAME_FEATURES, NODE_FEATURES
from cangraph.features.windows import windows
from cangraph.frames import ATTACK_TYPES

DRIVER = Path(__file__).with_suffix(".c")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined,float-cast-overflow")
SANITIZED += ("-fno-sanitize-recover=all",)
WIDE = {"IDS": 2048, "BYTES": 16384}  # room for all IDs of 11 bit
EVENTS = ("taken", "refused", "crowded", "judged", "alarm", "over")  # enum cangraph_event
NUMBERS = ("value", "start", "end", "blame", "level", "since", "until", "delay", "peak")
WORDS = ("event", "blamed", "attack", "suspect", "looks_like", "again", "crowded")
SAID = np.dtype([(name, np.float64) for name in NUMBERS] + [(name, np.uint32) for name in WORDS])


class Said(NamedTuple):
    """What a detector in C says: `features` of each frame, f4 (n, 14), those of the nodes `x` and
    edges `edge_attr`, their `edge_index`, and a record `SAID` of each window."""

    features: np.ndarray
    x: np.ndarray
    edge_index: np.ndarray
    edge_attr: np.ndarray
    windows: np.ndarray


class InC:
    """A detector in C with its driver, compiled in a folder. Raises `CalledProcessError` where the
    compiler refuses it, and says what that said."""

    def __init__(self, detector: cg.Exported, folder: Path, flags: Sequence[str] = (), **sizes):
        self.source, self.folder = to_c(detector, folder / "car.c")[0], folder
        self.width = sizes.get("WIDTH", 8)
        defined = [f"-DCANGRAPH_{name}={value}" for name, value in sizes.items()]
        self.command = ["cc", *STRICT, *flags, *defined]
        self.driver = folder / "driver"
        car = [f'-DCAR="{self.source}"', str(DRIVER), "-o", str(self.driver), "-lm"]
        self._run([*self.command, *car])

    def _run(self, command: list[str], frames: cg.Frames | None = None) -> str:
        given = None if frames is None else self._records(frames)
        done = subprocess.run(command, input=given, capture_output=True)
        if done.returncode:
            sys.stderr.write(done.stderr.decode())
        done.check_returncode()
        return done.stdout.decode()

    def _records(self, frames: cg.Frames) -> bytes:
        fields = [("time", "f8"), ("id", "u4"), ("extended", "u1"), ("bytes", "u1")]
        records = np.zeros(
            len(frames), np.dtype([*fields, ("data", "u1", (self.width,))], align=True)
        )
        records["time"], records["id"] = frames.timestamp, frames.arbitration_id
        records["extended"], records["bytes"] = frames.is_extended_id, frames.bytes_used
        width = min(self.width, frames.data.shape[1])
        records["data"][:, :width] = frames.data[:, :width]
        return records.tobytes()

    def judge(self, frames: cg.Frames) -> Said:
        features, found = self.folder / "features", self.folder / "windows"
        self._run([str(self.driver), "judge", str(features), str(found)], frames)
        content, at = found.read_bytes(), 0
        parts: list[list[np.ndarray]] = [[], [], [], []]
        while at < len(content):
            nodes, edges = np.frombuffer(content, np.uint32, 2, at).tolist()
            at += 8
            shapes = [(nodes, len(NODE_FEATURES)), (edges, 2), (edges, len(EDGE_FEATURES)), (1,)]
            dtypes = [np.float32, np.uint16, np.float32, SAID]
            for part, dtype, shape in zip(parts, dtypes, shapes, strict=True):
                array = np.frombuffer(content, dtype, int(np.prod(shape)), at).reshape(shape)
                part.append(array)
                at += array.nbytes
        x, edge_index, edge_attr, said = (np.concatenate(part) for part in parts)
        told = np.fromfile(features, np.float32).reshape(-1, len(FRAME_FEATURES))
        return Said(told, x, edge_index.T, edge_attr, said)

    def time(self, frames: cg.Frames) -> list[float]:
        """µs a frame without and with the windows, and µs a window: the best of three runs."""
        runs = [self._run([str(self.driver), "time"], frames).split() for _ in range(3)]
        return [min(float(run[k]) for run in runs) / 1e3 for k in range(3)]

    def fuzz(self, seconds: float, seed: int = 0) -> int:
        """How many calls it bore."""
        return int(self._run([str(self.driver), "fuzz", str(seconds), str(seed)]))

    def sizes(self) -> dict[str, int]:
        """Bytes of code and constants, of the state of a bus, and of the deepest stack."""
        made = self.folder / "car.o"
        self._run([*self.command, "-fstack-usage", "-c", str(self.source), "-o", str(made)])
        told = self._run(["size", str(made)]).splitlines()[1]
        text, data, bss = (int(word) for word in told.split()[:3])
        probe = self.folder / "probe.c"
        probe.write_text(
            '#include "car.h"\n#include <stdio.h>\n'
            'int main(void) { return printf("%zu", sizeof(struct cangraph)) < 0; }\n'
        )
        self._run([*self.command, str(probe), "-o", str(self.folder / "probe")])
        state = int(self._run([str(self.folder / "probe")]))
        usage = [line.split("\t") for line in made.with_suffix(".su").read_text().splitlines()]
        # nothing recurs: the sum of all functions is more than any of their chains
        stack = sum(int(size) for _, size, _ in usage)
        return {"code_and_constants": text + data, "variables": bss, "state": state, "stack": stack}


def in_python(detector: cg.Exported, frames: cg.Frames) -> tuple[Said, list[dict]]:
    """What Python says of the same frames, and the alarms of its monitor. With a baseline it tells
    of no frame by itself."""
    known = detector.baseline.of("") if detector.baseline else None
    told = profile(frames[:0] if known else frames).features
    parts = list(windows([frames], detector.window, detector.stride, known=known))
    x, attr = (np.concatenate([part[name] for part in parts]) for name in ("x", "edge_attr"))
    index = np.concatenate([part["edge_index"] for part in parts], 1)
    events = cg.Monitor(detector).feed(frames)
    seen = [event for event in events if event["event"] == "window"]
    said = np.zeros(len(seen), SAID)
    for row, event in zip(said, seen, strict=True):
        row["value"], row["level"] = event["value"], event["level"]
        row["start"], row["end"], row["blamed"] = (
            event["start"],
            event["time"],
            int(event["id"], 16),
        )
        row["attack"] = ATTACK_TYPES.index(event["attack"])
    alarms = [
        event | {"id": int(event["id"], 16)}
        for event in events
        if event["event"] in ("alarm", "over")
    ]
    return Said(told, x, index, attr, said), alarms


def alarms_of(said: Said) -> list[dict]:
    """The alarms that C raised, as `Monitor` says them."""
    found = []
    for window in said.windows[said.windows["event"] >= EVENTS.index("alarm")]:
        event = {
            "event": EVENTS[window["event"]],
            "time": window["until"],
            "since": window["since"],
        }
        event |= {"peak": window["peak"], "delay": window["delay"], "id": int(window["suspect"])}
        event |= {"attack": ATTACK_TYPES[window["looks_like"]]}
        again = {"again": bool(window["again"])} if event["event"] == "alarm" else {}
        found.append(event | again)
    return found


def apart(found: Said, expected: Said, alarms: list[dict]) -> dict[str, float]:
    """How far C is from Python at most, by what it says; of what is no number how often it differs.
    Values are compared with `peak`, everything else of an alarm exactly."""
    found = found._replace(features=found.features[: len(expected.features)])
    far = {
        name: float(np.abs(getattr(found, name) - getattr(expected, name)).max(initial=0.0))
        for name in ("features", "x", "edge_attr")
    }
    far["edges"] = int((found.edge_index != expected.edge_index).sum())
    for name in ("value", "level", "start", "end"):
        far[name] = float(np.abs(found.windows[name] - expected.windows[name]).max(initial=0.0))
    for name in ("blamed", "attack"):
        far[name] = int((found.windows[name] != expected.windows[name]).sum())
    mine, kept = alarms_of(found), ("event", "time", "since", "delay", "id", "attack", "again")
    pairs = list(zip(mine, alarms, strict=False))
    far["peak"] = max((abs(a["peak"] - b["peak"]) for a, b in pairs), default=0.0)
    differ = sum(any(a.get(name) != b.get(name) for name in kept) for a, b in pairs)
    far["alarms"] = differ + abs(len(mine) - len(alarms))
    return far


def worst(rows: list[dict[str, float]]) -> dict[str, float]:
    """The largest of each."""
    return {name: max(row[name] for row in rows) for name in rows[0]}


def compared(detector: cg.Exported, folder: Path, captures: list[cg.Frames]) -> dict:
    """All windows of these captures: C with room for all IDs beside Python, and what the default
    size calls and Python does not."""
    wide, usual = InC(detector, folder, ["-O2"], **WIDE), []
    rows, n_windows, n_alarms = [], 0, 0
    for frames in captures:
        expected, alarms = in_python(detector, frames)
        rows.append(apart(wide.judge(frames), expected, alarms))
        n_windows, n_alarms = n_windows + len(expected.windows), n_alarms + len(alarms)
        print(f"{frames.info.label}: {len(frames):,} frames, apart at most {rows[-1]}", flush=True)
    narrow = InC(detector, folder, ["-O2"])
    for frames in captures:
        value = narrow.judge(frames).windows["value"]
        expected = in_python(detector, frames)[0].windows["value"]
        parts = np.add.reduceat(frames.attack, np.arange(0, len(frames), detector.stride))
        attacked, at = parts[: len(value)] > 0, detector.threshold
        usual.append(
            {
                "capture": frames.info.label,
                "attack_windows": int(attacked.sum()),
                "found": [int((v[attacked] >= at).sum()) for v in (expected, value)],
                "false": [int((v[~attacked] >= at).sum()) for v in (expected, value)],
            }
        )
        print(f"with 128 IDs: {usual[-1]}", flush=True)
    return {"windows": n_windows, "alarm_events": n_alarms, "apart": worst(rows), "128_ids": usual}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", type=Path, default=cg.deploy.boxed())
    parser.add_argument("--dataset", default="hcrl_sa")
    parser.add_argument("--captures", type=int, help="the first ones only; 0: no comparison")
    parser.add_argument("--fuzz", type=float, default=60.0, help="s; 0: none")
    given = parser.parse_args()
    detector, found = cg.Exported(given.detector), {}
    captures = cg.read(given.dataset)
    tests = [c for c in captures if c.scenario.startswith("test")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for flag in ("-Os", "-O2", "-O3"):
            made = InC(detector, folder, [flag])
            quick, whole, window = (round(us, 3) for us in made.time(tests[0]))
            cost = {"us_a_frame": quick, "us_a_frame_with_windows": whole, "us_a_window": window}
            found[flag] = made.sizes() | cost
            print(f"{flag}: {found[flag]}", flush=True)
        clean = next(c for c in captures if not c.attack.any())
        known = with_baseline(detector, Baseline.learn([clean]), folder / "car.onnx")
        found["baseline"] = {"of": str(clean)} | InC(known, folder, ["-Os"]).sizes()
        print(f"with a baseline: {found['baseline']}", flush=True)
        found["fuzz"] = {}
        for sizes in ({}, {"IDS": 20, "BYTES": 30}) if given.fuzz else ():
            calls = InC(detector, folder, SANITIZED, **sizes).fuzz(given.fuzz / 2)
            found["fuzz"][str(sizes or "defaults")] = calls
            print(f"fuzz {sizes}: {calls:,} calls", flush=True)
        if given.captures != 0:
            found |= compared(detector, folder, tests[: given.captures])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
