"""What drawing training windows costs: time by the length of a clean capture, memory by epoch.

    python benchmarks/synthesis.py [--seconds 600 1200 2400] [--frames 4000000] [--epochs 12]

First `attacked` on simulated drives of some lengths: µs of the processor a frame, which should not
grow. Then `Synthesis` draws epoch after epoch from one clean capture of so many frames: seconds of
a draw, and what the process holds after it (resident, MB), which should not grow beyond the second
epoch. The last line is one JSON object.
"""

import argparse
import json
import time

import numpy as np
import psutil

import cangraph as cg
from cangraph.data.synthesis import Synthesis, attacked

FRAMES_A_SECOND = 1390  # of the simulated vehicle


def clean_of(seconds: float) -> cg.Frames:
    """A drive without attack."""
    drive = cg.simulate("aster", seconds, seed=1)
    return drive.label(scenario="train_01_attack_free", recording="clean")


def frame_costs(lengths: list[float]) -> dict[float, float]:
    """µs of the processor that `attacked` takes for each frame of a drive of these lengths, s."""
    attacked(clean_of(20.0), np.random.default_rng(0), 0.5)  # compiles
    found = {}
    for seconds in lengths:
        clean = clean_of(seconds)
        began = time.process_time()
        attacked(clean, np.random.default_rng(0), 0.5)
        found[seconds] = round((time.process_time() - began) / len(clean) * 1e6, 2)
        print(
            f"{seconds:>8.0f} s{len(clean):>12,} frames{found[seconds]:>8.2f} µs a frame",
            flush=True,
        )
    return found


def epoch_costs(frames: int, epochs: int) -> list[dict]:
    """Seconds and resident MB of every draw, of a clean capture of about so many frames."""
    clean = clean_of(frames / FRAMES_A_SECOND)
    params = cg.load_params("demo", fit={"train_on": "clean"}, synthesis={"fleet": 0})
    known = cg.split(
        cg.to_graphs([clean_of(30.0).label(scenario="train_02", recording="a")]), params.split
    )
    material, rows = Synthesis(known, [clean], params), []
    for epoch in range(epochs):
        began = time.perf_counter()
        windows = len(material.draw(epoch, epoch / max(epochs - 1, 1)))
        took = time.perf_counter() - began
        row = {"epoch": epoch + 1, "windows": windows, "seconds": round(took, 1)}
        rows.append(row | {"mb": round(psutil.Process().memory_info().rss / 1e6)})
        print(
            row["epoch"], f"{windows:,} windows{took:>8.1f} s{rows[-1]['mb']:>10,} MB", flush=True
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", nargs="*", type=float, default=[600.0, 1200.0, 2400.0])
    parser.add_argument("--frames", type=int, default=4_000_000, help="0: no draws")
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    record: dict = {"us_a_frame": frame_costs(given.seconds)}
    if given.frames:
        record["draws"] = epoch_costs(given.frames, given.epochs)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
