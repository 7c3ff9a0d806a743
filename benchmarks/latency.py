"""What the monitor costs: the latency of one window, and the highest frame rate without loss.

    python benchmarks/latency.py                       # everything; about ten minutes
    python benchmarks/latency.py --seconds 10 --rates 4500 10000
    python benchmarks/latency.py --detector runs/hcrl_sa/gat.onnx --log bus.log

Latency is that of one window at batch 1 on one thread, from its 100 frames to its score: profiles,
graph and net. Each kind of runtime is measured in a process of its own. Beside the time on the wall
stands the time of the processor: on a machine that others use, the first is mostly waiting for it.

The rate is measured between two processes: one sends the frames of a simulated car, at a given
rate, over python-can's `udp_multicast` interface on loopback, the other is `cangraph monitor` as
it is. (python-can's `virtual` interface exists within one process only.) Every frame sent must be
counted by the monitor; what is lost on the way, in a socket or in its queue, is loss. The sender
shares the machine's cores with the monitor, so the rate is a lower bound; *us a frame* is what the
monitor takes of the processor, receiving and judging, whatever else runs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import cangraph as cg

RUNTIMES = ("torch eager", "torch.compile", "ONNX Runtime")
MEASURED = ("features", "net", "window", "window_cpu")
BATCHES = 20  # times that the sender looks at the clock, in a tenth of a second


def net(seed: int = 0):
    """A student of the default size, with the scalers of the log: weights do not change costs."""
    import torch

    params = cg.load_params("demo")
    graphs = cg.to_graphs([cg.simulate("aster", 20.0)])
    cg.seed_everything(seed)
    model = cg.GAT(graphs.spec, **params.student.gat)
    model.encoder.node_scale.fit(torch.from_numpy(graphs.x))
    model.encoder.edge_scale.fit(torch.from_numpy(graphs.edge_attr))
    return model.eval(), params


def judges(runtime: str, folder: Path):
    """A function from the arrays of one window to a score."""
    if runtime == "ONNX Runtime":
        detector = cg.Exported(folder / "gat.onnx")
        return lambda part: detector.judge(part["x"], part["edge_index"], part["edge_attr"]).value
    import torch

    from cangraph.deploy.onewindow import OneGAT

    torch.set_num_threads(1)
    one = OneGAT(net()[0]).eval()
    if runtime == "torch.compile":
        one = torch.compile(one, dynamic=True)

    @torch.inference_mode()
    def judge(part):
        arrays = part["x"], part["edge_index"].astype(np.int64), part["edge_attr"]
        return float(one(*map(torch.from_numpy, arrays))[0])

    return judge


def latency(runtime: str, folder: Path, log: Path | None) -> dict:
    """p50 and p99 of a window in ms, of its features, of its net and of both, and of both on the
    processor."""
    from cangraph.features.windows import Sliding

    frames = cg.read_frames(log) if log else cg.simulate("aster", 120.0, seed=1)
    judge, sliding = judges(runtime, folder), Sliding(100, 100)
    took = []
    for begin in range(0, len(frames) - 100, 100):
        piece = frames[begin : begin + 100]
        busy, start = time.thread_time(), time.perf_counter()
        part = sliding.feed(piece)
        made = time.perf_counter()
        judge(part)
        done = time.perf_counter()
        took.append((made - start, done - made, done - start, time.thread_time() - busy))
    cut = np.array(took[len(took) // 5 :]) * 1e3  # behind what is compiled and warms up
    told = {
        name: np.quantile(column, [0.5, 0.99]).round(3).tolist()
        for name, column in zip(MEASURED, cut.T, strict=True)
    }
    return told | {"windows": len(cut)}


def send(rate: int, seconds: float, port: int) -> dict:
    """Frames of a simulated car at a rate, on a multicast bus; how many were sent, and how fast."""
    import can

    frames = cg.simulate("clover", 30.0)
    messages = [
        can.Message(arbitration_id=int(i), data=d[:n], is_extended_id=bool(x), check=False)
        for i, d, n, x in zip(
            frames.arbitration_id, frames.data, frames.dlc, frames.is_extended_id, strict=True
        )
    ]
    sent, began = 0, time.perf_counter()
    with can.Bus(interface="udp_multicast", channel="239.74.163.2", port=port) as bus:
        while (now := time.perf_counter() - began) < seconds:
            due = int(now * rate)
            while sent < due:
                bus.send(messages[sent % len(messages)])
                sent += 1
            time.sleep(0.1 / BATCHES)
    return {"sent": sent, "per_s": round(sent / (time.perf_counter() - began))}


def sustained(rate: int, seconds: float, detector: Path, port: int) -> dict:
    """What the monitor counts of frames at a rate, and the share of a core that it takes."""
    bus = ["-i", "udp_multicast", "-c", "239.74.163.2", "--bus-kwargs", f"port={port}"]
    command = [sys.executable, "-m", "cangraph", "monitor", str(detector), "--json", *bus]
    # into a file: a pipe that nobody reads fills up, and a monitor that cannot speak waits
    with tempfile.TemporaryFile("w+") as out:
        with subprocess.Popen([*command, "--statistics", "0.5"], stdout=out, text=True) as monitor:
            while not os.fstat(out.fileno()).st_size:  # until it listens
                time.sleep(0.1)
            idle = processor(monitor.pid)
            sender = subprocess.run(
                [sys.executable, __file__, "--send", str(rate), str(seconds), str(port)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            time.sleep(2)
            cpu = processor(monitor.pid)
            monitor.send_signal(signal.SIGINT)
        out.seek(0)
        said = [json.loads(line) for line in out]
    told = [event for event in said if event["event"] == "statistics"][-1]
    sent = json.loads(sender.stdout.splitlines()[-1])
    lost = sent["sent"] - told["frames"]
    row = {"asked_per_s": rate, "sent_per_s": sent["per_s"], "sent": sent["sent"], "lost": lost}
    row |= {name: told[name] for name in ("dropped", "windows", "p50_ms", "p99_ms")}
    row["cpu_us_per_frame"] = round(1e6 * (cpu - idle) / max(told["frames"], 1), 1)
    return row | {"seconds": seconds}


def processor(pid: int) -> float:
    """Seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alone(*arguments: str) -> dict:
    """What this file prints in a process of its own, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each rate")
    parser.add_argument("--rates", type=int, nargs="*", default=[4500, 10_000, 15_000, 20_000])
    parser.add_argument("--runtimes", nargs="*", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--detector", type=Path, help="for the rates; a student by default")
    parser.add_argument("--log", type=Path, help="for the latency; a simulated car by default")
    parser.add_argument("--case", nargs=2, metavar=("RUNTIME", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=3, metavar=("RATE", "S", "PORT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        print(json.dumps(send(int(given.send[0]), float(given.send[1]), int(given.send[2]))))
        return
    if given.case:
        print(json.dumps(latency(given.case[0], Path(given.case[1]), given.log)))
        return
    record = {"load": os.getloadavg()[0], "cores": os.cpu_count(), "latency": {}, "rates": []}
    print(f"load {record['load']:.1f} on {record['cores']} cores as this begins")
    with tempfile.TemporaryDirectory() as folder:
        model, params = net()
        cg.to_onnx(model, Path(folder, "gat.onnx"), 0.5, params)
        heads = ("features", "net", "both", "both, processor")
        print(f"\n{'ms a window, p50 / p99':<24}" + "".join(f"{head:>18}" for head in heads))
        for runtime in given.runtimes:
            log = ["--log", str(given.log)] if given.log else []
            row = record["latency"][runtime] = alone("--case", runtime, folder, *log)
            cells = (f"{a:.3f} / {b:.3f}" for a, b in (row[name] for name in MEASURED))
            print(f"{runtime:<24}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
        detector = given.detector or Path(folder, "gat.onnx")
        print(f"\n{given.seconds:g} s at each rate")
        heads = ("frames/s", "sent", "lost", "in the queue", "us a frame")
        print("".join(f"{head:>14}" for head in heads))
        for k, rate in enumerate(given.rates):
            row = sustained(rate, given.seconds, detector, 43200 + k)
            record["rates"].append(row)
            names = ("sent_per_s", "sent", "lost", "dropped", "cpu_us_per_frame")
            print("".join(f"{row[name]:>14,}" for name in names), flush=True)
    kept = [row["sent_per_s"] for row in record["rates"] if row["lost"] == 0]
    record["sustained_per_s"] = max(kept, default=0)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
