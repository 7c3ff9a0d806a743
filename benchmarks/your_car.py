"""notebooks/your_car.ipynb on logs of every kind: how long it takes, and what it finds.

    python benchmarks/your_car.py            # simulated cars, and hcrl_sa's where it is

Each clean log is written as candump .log, Vector .asc and .blf, and goes through the notebook as a
user's would: to an ONNX file, and to an alarm of the monitor on an attack that is synthesised into
the part that was held back. The goal is 5 minutes on two cores.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cangraph as cg
from cangraph.files import data_home

GOAL = 300  # s


def logs(folder: Path, endings: list[str]) -> dict[str, Path]:
    """Clean logs by what they are: a simulated car, and real ones where they are."""
    captures = {"simulated": cg.simulate("aster", 90.0, seed=5)}
    for path in sorted((data_home() / "hcrl_sa" / "train_01_attack_free").glob("*.csv*"))[:1]:
        captures["hcrl_sa"] = cg.read_frames(path)
    found = {}
    for number, ending in enumerate(endings):
        name = list(captures)[-1 if number % 2 == 0 else 0]  # real and simulated ones in turn
        found[f"{name} {ending}"] = folder / f"{name}_{ending[1:]}{ending}"
        cg.write_frames(captures[name], found[f"{name} {ending}"])
    return found


def through(log: Path, home: Path) -> dict:
    """What the notebook makes of a log."""
    out, began = home / f"{log.stem}.ipynb", time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    papermill = [sys.executable, "-m", "papermill", "--no-progress-bar"]
    notebook = Path(__file__).parents[1] / "notebooks/your_car.ipynb"
    command = [*papermill, str(notebook), str(out), "-p", "capture", str(log)]
    environment = os.environ | {"CANGRAPH_HOME": str(home)}
    subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cells = json.loads(out.read_text())["cells"]
    said = "".join(
        "".join(output.get("text", ()))
        for cell in cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream"
    )
    lines = [line for line in said.splitlines() if "raise an alarm" in line or "called" in line]
    model = next(home.glob(f"runs/your_car/{log.stem}.onnx"))
    return {
        "seconds": round(took),
        "cpu_seconds": round(cpu),
        "frames": sum(len(chunk) for chunk in cg.io.LogFile(log).chunks()),
        "onnx_bytes": model.stat().st_size,
        "said": lines + said.splitlines()[-1:],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endings", nargs="*", default=[".log", ".asc", ".blf"])
    given = parser.parse_args()
    record = {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    print(f"load {record['load']:.1f} on {record['cores']} cores as this begins")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "params").symlink_to(Path(__file__).parents[1] / "params")
        for name, log in logs(home, given.endings).items():
            row = record[name] = through(log, home)
            print(
                f"{name:<16}{row['frames']:>10,} frames {row['seconds']:>5} s on the wall "
                f"(goal {GOAL}), {row['cpu_seconds']} s of processor"
            )
            print("".join(f"    {line}\n" for line in row["said"]), end="", flush=True)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
