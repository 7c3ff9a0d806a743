"""Test captures through the monitor: the windows, scores and alarms of the notebooks?

    python benchmarks/replay.py hcrl_sa            # after `make run DATASET=hcrl_sa`

Every test capture of a dataset is replayed from its file through the monitor, with the student of
the run as an ONNX file, and compared with the path of the notebooks: `cangraph.read`, `to_graphs`,
the same file, `raise_alarms`. Beside it, how far the file is from the net in torch, and the AUROC.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import cangraph as cg


def replayed(detector, capture) -> tuple[list, list]:
    """(start, end, value) of each window, and (start, end, peak) of each alarm, on a bus."""
    monitor = cg.Monitor(detector)
    windows, alarms = [], {}
    events = [event for piece in capture.chunks(997) for event in monitor.feed(piece)]
    for event in events + monitor.ongoing():
        if event["event"] == "window":
            windows.append((event["start"], event["time"], event["value"]))
        elif event["event"] in ("over", "ongoing"):  # of those that go on, the last word counts
            alarms[event["since"]] = event["time"], event["peak"]
    return windows, [(since, *rest) for since, rest in alarms.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?", default="demo")
    params = cg.load_params(parser.parse_args().dataset)
    gat = cg.runs.load_models("distillation", params)["gat"]
    captures = [c for c in cg.read(params.dataset) if c.scenario.startswith("test")]
    record = {"captures": {}, "windows": 0, "alarms": 0, "unequal": 0, "from_torch": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        whole = cg.to_onnx(gat.model, Path(folder, "gat.onnx"), 0.5, params)
    heads = ("windows", "alarms", "unequal", "from torch", "AUROC")
    print(f"{'capture':<34}" + "".join(f"{head:>13}" for head in heads))
    for capture in captures:
        graphs = cg.to_graphs([capture], params.window, params.stride)
        scores = whole.score(graphs)
        expected = list(
            zip(scores.start.tolist(), scores.end.tolist(), scores.value.tolist(), strict=True)
        )
        raised = [(a.start, a.end, a.peak) for a in cg.evaluation.raise_alarms(scores, *whole.rule)]
        windows, alarms = replayed(whole, capture)
        unequal = sum(a != b for a, b in zip(windows, expected, strict=True))
        unequal += len(set(alarms) ^ set(raised))
        apart = float(np.abs(scores.value - gat.score(graphs).value).max())
        row = {"windows": len(windows), "alarms": len(alarms), "unequal": unequal}
        row |= {"from_torch": apart, "auroc": cg.evaluation.metrics(scores, 0.5)["auroc"]}
        record["captures"][capture.info.label] = row
        for name in ("windows", "alarms", "unequal"):
            record[name] += row[name]
        record["from_torch"] = max(record["from_torch"], apart)
        cells = [f"{row[n]:,}" for n in ("windows", "alarms", "unequal")]
        cells += [f"{apart:.1e}", "-" if row["auroc"] is None else f"{row['auroc']:.4f}"]
        print(f"{capture.info.label:<34}" + "".join(f"{cell:>13}" for cell in cells), flush=True)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
