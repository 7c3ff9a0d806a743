"""How much of the detector in the box is chance: the same training from other seeds.

    CANGRAPH_DATA=… python benchmarks/box_seeds.py [--seeds 5] [--baseline 60] [--folder runs/box]

Each seed is trained by `box.py` and judged by `any_vehicle.py --injected`, once as it is and once
with a baseline of each log's beginning. What a seed left in `folder` is not made again, so that a
run goes on where it ended. Seed 0 is the file that is delivered. The last line is one JSON object:
of each seed, and the mean over seeds with half of its 95 % interval (Student's t), the false alarms
on clean vehicles and on the race car, and the share found of attacks that begin later.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cangraph.evaluation.stats import interval

HERE = Path(__file__).parent


def call(script: str, *given: object) -> None:
    subprocess.run([sys.executable, HERE / script, *map(str, given)], check=True)


def judged(net: Path, out: Path, *given: object) -> dict:
    """What `any_vehicle.py` writes of a net."""
    if not out.is_file():
        call("any_vehicle.py", "--detector", net, "--injected", "--out", out, *given)
    return json.loads(out.read_text())


def figures(record: dict, mark: str) -> dict[str, float]:
    """Of the detector called `mark`, where there are several."""

    def mine(rows: Sequence[dict]) -> list[dict]:
        return [row for row in rows if row.get("detector", mark) == mark]

    found = {}
    for row in mine(record["totals"]):
        if row["group"] in ("clean", "race car"):
            found |= {f"{row['group']}: {key}": row[key] for key in ("alarms", "hours")}
    later = [row for row in mine(record["severities"]) if row["when"] == "later"]
    return found | {f"found, {row['severity']}": row["found"] for row in later}


def over_seeds(rows: Sequence[dict[str, float]]) -> dict[str, list[float | None]]:
    """The mean of each figure, and half of its 95 % interval."""
    table = {name: interval([row[name] for row in rows]) for name in rows[0]}
    return {name: [round(mean, 4), half and round(half, 4)] for name, (mean, half) in table.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--baseline", type=float, default=60.0, help="s of each log's beginning")
    parser.add_argument("--folder", type=Path, default=Path("runs/box"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    zero: list[dict] = []
    known: list[dict] = []
    for seed in range(given.seeds):
        net = given.folder / f"{seed}.onnx"
        if not net.is_file():
            call("box.py", "--seed", seed, "--out", net)
        zero.append(figures(judged(net, given.folder / f"{seed}.json"), "onnx"))
        own = judged(net, given.folder / f"{seed} known.json", "--baseline", given.baseline)
        known.append(figures(own, "onnx+"))
        print(f"seed {seed}: {zero[-1]}\n  with a baseline: {known[-1]}", flush=True)
    record = {
        name: {"mean": over_seeds(rows), "seeds": rows}
        for name, rows in (("zero-shot", zero), ("with a baseline", known))
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
