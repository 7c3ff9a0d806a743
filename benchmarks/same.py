"""Whether a change left every result as it was: hashes of what cangraph computes.

    make demo && python benchmarks/same.py > before.txt      # change something, and again
    make clean demo && python benchmarks/same.py > after.txt && diff before.txt after.txt

Hashed are the features of every capture (the demo's, and hcrl_sa's and set_04's in CANGRAPH_DATA);
the weights and scores in runs/demo; its diagnostics.json without versions, hashes of inputs and
what is measured in seconds; and what `cangraph monitor` says of three logs with runs/demo/gat.onnx.
The last line is one JSON object.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.numpy import load_file

import cangraph as cg
from cangraph.files import data_home, home

DATASETS = ("demo", "hcrl_sa", "set_04")
LOGS = (
    "hcrl_sa/test_01_known_vehicle_known_attack/DoS-sonata.csv",
    "hcrl_sa/test_02_unknown_vehicle_known_attack/fuzzing-Spark.csv",
    "set_04/train_01_attack_free/accessory-4.csv.zst",
)
TIMED = {"cost", "costs", "versions", "inputs", "sha256", "p50_ms", "p99_ms"}  # vary


def of_arrays(arrays: dict) -> str:
    """The hash of named arrays, independent of their order."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def of_record(value) -> str:
    """The hash of a JSON value without `TIMED`."""

    def kept(value):
        if isinstance(value, dict):
            return {k: kept(v) for k, v in value.items() if k not in TIMED}
        return [kept(v) for v in value] if isinstance(value, list) else value

    return hashlib.sha256(json.dumps(kept(value), sort_keys=True).encode()).hexdigest()[:16]


def features(dataset: str) -> dict[str, str]:
    """The hash of the graphs of each capture."""
    found = {}
    for capture in cg.read(dataset):
        graphs = cg.to_graphs([capture], window=100, stride=100)
        name = f"features {dataset}/{capture.info.scenario}/{capture.info.name}"
        found[name] = of_arrays({n: getattr(graphs, n) for n in ("x", "edge_index", "edge_attr")})
    return found


def weights(run: Path) -> dict[str, str]:
    """The hash of the weights of every model and of all scores of a run."""
    found = {}
    for stage in ("teacher", "distillation"):
        for name, model in torch.load(run / f"{stage}.ckpt", weights_only=True).items():
            found[f"weights {name}"] = of_arrays(
                {k: w.numpy() for k, w in model["weights"].items()}
            )
    for stage in ("teacher", "distillation", "fusion"):
        found[f"scores {stage}"] = of_arrays(load_file(run / f"{stage}.safetensors"))
    return found


def report(run: Path) -> dict[str, str]:
    """The hash of each part of diagnostics.json."""
    record = json.loads((run / "diagnostics.json").read_text())
    return {f"report {k}": of_record(v) for k, v in record.items() if k not in TIMED}


def monitored(run: Path) -> dict[str, str]:
    """The hash of what the monitor says of each log."""
    found = {}
    for log in filter(Path.is_file, (data_home() / log for log in LOGS)):
        command = [Path(sys.executable).with_name("cangraph"), "monitor", run / "gat.onnx"]
        done = subprocess.run(
            [*command, "--log", log, "--json", "--windows", "--statistics", "1e9"],
            capture_output=True,
            text=True,
        )
        assert done.returncode in (0, 1, 3), done.stderr  # 1: an alarm, 3: too short
        found[f"monitor {log.stem}"] = of_record(
            [json.loads(row) for row in done.stdout.splitlines()]
        )
    return found


def main() -> None:
    run = home() / "runs/demo"
    found = {}
    for dataset in DATASETS:
        if dataset == "demo" or (data_home() / dataset).is_dir():
            found |= features(dataset)
    found |= weights(run) | report(run) | monitored(run)
    for name, value in found.items():
        print(value, name)
    print(json.dumps({"hashes": len(found), "all": of_record(found)}))


if __name__ == "__main__":
    main()
