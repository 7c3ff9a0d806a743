"""Runs that were never run: the JSON that each stage leaves, with figures that tests choose."""

from cangraph.files import sealed, unsealed
from cangraph.params import load_params
from cangraph.report.summary import MODELS
from cangraph.runs import STAGES

SCENARIOS = ("test_01_known_vehicle_known_attack", "test_02_unknown_vehicle_known_attack")
METRICS = ("auroc", "auprc", "f1", "precision", "recall", "mcc", "fpr")


def resealed(path, change):
    """Write a record anew after a `change` to it, with the hash that goes with it."""
    record = unsealed(path)
    change(record)
    path.write_bytes(sealed(record))


def always(model, capture):
    return 0.9


def put_run(
    home,
    dataset,
    seed=0,
    value=always,
    captures=4,
    stages=STAGES,
    name=None,
    models=MODELS,
    **params,
):
    """Write `runs/<dataset>[/seed_n]` (or `name`) with a figure of each model on each capture,
    `value(model, k)`: an even k is in the first scenario, an odd one in the second."""
    asked = load_params(dataset, seed=seed, **params).model_dump()
    place = home / "runs" / (name or (f"{dataset}/seed_{seed}" if seed else dataset))
    place.mkdir(parents=True, exist_ok=True)
    names = [(SCENARIOS[k % 2], f"capture-{k}") for k in range(captures)]
    known = [
        {"scenario": s, "name": n, "recording": f"{s}/{n}", "sha256": f"{dataset} {n}"}
        for s, n in names
    ]
    rows, scenarios = [], []
    for model in models:
        for half, scenario in enumerate(SCENARIOS):
            values = {k: value(model, k) for k in range(half, captures, 2)}
            row = {"detector": model, "scenario": scenario}
            rows += [
                row | {"capture": names[k][1]} | dict.fromkeys(METRICS, v)
                for k, v in values.items()
            ]
            known_values = values and None not in values.values()
            mean = sum(values.values()) / len(values) if known_values else None
            scenarios.append(row | {"captures": len(values)} | dict.fromkeys(METRICS, mean))
    costs = [
        {"model": m, "parameters": 100 * k, "bytes": 400 * k, "p50_ms": 0.1 * k, "p99_ms": 0.2 * k}
        for k, m in enumerate(("gat_teacher", "vgae_teacher", "gat", "vgae"), 1)
    ]
    facts = {
        "data_prep": {"captures": known},
        "distillation": {"costs": costs},
        "diagnostics": {"scenarios": scenarios, "by_capture": {"window": rows}},
    }
    for stage in stages:
        record = {"stage": stage, "dataset": dataset, "seed": seed, "params": asked}
        record |= {"versions": {"python": "3.11", "torch": "2.13"}, "inputs": {}, "files": {}}
        record["cost"] = {"seconds": 60.0, "cpu_seconds": 30.0, "threads": 1}
        (place / f"{stage}.json").write_bytes(sealed(record | facts.get(stage, {})))
    return place
