"""What the monitor costs: the latency of one window, the highest frame rate without loss, memory.

    python benchmarks/latency.py                       # latency and rates; about 14 minutes
    python benchmarks/latency.py --seconds 10 --rates 5000 30000 --runtimes
    python benchmarks/latency.py --detector runs/hcrl_sa/gat.onnx --log bus.log
    python benchmarks/latency.py --memory              # after 2 and after 20 million frames

Latency is that of one window at batch 1 on one thread, from its 100 frames to its score: profiles,
graph and net. Each kind of runtime is measured in a process of its own. Beside the time on the wall
stands the time of the processor: on a machine that others use, the first is mostly waiting for it.

The rate is measured between two processes: one sends the frames of a simulated car, at a given
rate, the other is `cangraph monitor` as it is. They are sent *by message*, over python-can's
`udp_multicast` interface on loopback (its `virtual` interface exists within one process only), and
*by batch*, over `loopback.py`, which stands in for SocketCAN and says in what it is like it. Every
frame sent must be judged by the monitor; what is lost on the way, in a socket or in its queue, is
loss, and *counted* is what the monitor says of it. The sender shares the machine's cores with the
monitor, so the rate is a lower bound; *us a frame* is what the monitor takes of the processor,
receiving and judging, whatever else runs.

Memory is that of the monitor while a second process sends 100,000 frames a second, of which it may
have to drop some.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import can
import loopback
import numpy as np

import cangraph as cg
from cangraph.deploy import boxed

RUNTIMES = ("torch eager", "torch.compile", "ONNX Runtime")
MEASURED = ("features", "net", "window", "window_cpu")
BY = ("message", "batch")
GROUP = "239.74.163.2"
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


def send(by: str, rate: int, seconds: float, channel: str) -> dict:
    """Frames of a simulated car at a rate, to who listens; how many were sent, and how fast."""
    frames = cg.simulate("clover", 30.0)
    if by == "batch":
        bus, messages = loopback.sender(channel), loopback.datagrams(frames)
    else:
        bus = can.Bus(interface="udp_multicast", channel=GROUP, port=int(channel))
        columns = (frames.arbitration_id, frames.data, frames.dlc, frames.is_extended_id)
        messages = [
            can.Message(arbitration_id=i, data=d[:n], is_extended_id=x, check=False)
            for i, d, n, x in zip(*(column.tolist() for column in columns), strict=True)
        ]
    sent, began, give = 0, time.perf_counter(), bus.send
    with bus:
        while (now := time.perf_counter() - began) < seconds:
            due = int(now * rate)
            while sent < due:
                give(messages[sent % len(messages)])
                sent += 1
            time.sleep(0.1 / BATCHES)
    return {"sent": sent, "per_s": round(sent / (time.perf_counter() - began))}


@contextmanager
def monitoring(by: str, detector: Path, channel: str) -> Iterator[tuple]:
    """A monitor that listens, and the file that it writes to: a pipe that nobody reads fills up."""
    if by == "batch":
        command, bus = [loopback.__file__], ["-i", "socketcan", "-c", channel]
    else:
        command, bus = ["-m", "cangraph"], ["-i", "udp_multicast", "-c", GROUP]
        bus += ["--bus-kwargs", f"port={channel}"]
    command += ["monitor", str(detector), "--json", "--statistics", "0.5", *bus]
    with tempfile.NamedTemporaryFile() as out:
        monitor = subprocess.Popen([sys.executable, *command], stdout=out)
        try:
            while not os.fstat(out.fileno()).st_size:  # until it listens
                if monitor.poll() is not None:
                    raise RuntimeError(f"the monitor ended with {monitor.returncode}")
                time.sleep(0.1)
            yield monitor, Path(out.name)
        finally:
            monitor.terminate()
            monitor.wait()


def said(out: Path) -> dict:
    """The last statistics that a monitor wrote whole."""
    with out.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - (1 << 20), 0))
        lines = file.read().rpartition(b"\n")[0].split(b"\n")[1:]
    told = (json.loads(line) for line in reversed(lines) if b'"statistics"' in line)
    return next(told, {})


def sustained(by: str, rate: int, seconds: float, detector: Path, channel: str) -> dict:
    """What the monitor judges of frames at a rate, and what it takes of the processor."""
    with monitoring(by, detector, channel) as (monitor, out):
        idle = processor(monitor.pid)
        sent = alone("--send", by, str(rate), str(seconds), channel)
        time.sleep(2)
        cpu, told = processor(monitor.pid), said(out)
    row = {"by": by, "asked_per_s": rate, "sent_per_s": sent["per_s"], "sent": sent["sent"]}
    row |= {"lost": sent["sent"] - told["frames"], "counted": told["dropped"]}
    row |= {name: told[name] for name in ("windows", "p50_ms", "p99_ms")}
    row["cpu_us_per_frame"] = round(1e6 * (cpu - idle) / max(told["frames"], 1), 1)
    return row | {"seconds": seconds}


def memory(detector: Path, millions: Sequence[int], channel: str = "43290") -> dict:
    """MiB of the monitor after so many judged frames, sent faster than it may take them."""
    found = {}
    with monitoring("batch", detector, channel) as (monitor, out):
        began = time.perf_counter()
        command = [sys.executable, __file__, "--send", "batch", "100000", "3600", channel]
        sender = subprocess.Popen(command)
        try:
            for many in millions:
                while (told := said(out)).get("frames", 0) < many * 1_000_000:
                    time.sleep(0.5)
                status = Path(f"/proc/{monitor.pid}/status").read_text()
                found[f"{many} million"] = int(status.split("VmRSS:")[1].split()[0]) / 1024
                print(f"{found[f'{many} million']:.1f} MiB after {told['frames']:,}", flush=True)
            took = time.perf_counter() - began
        finally:
            sender.kill()
            sender.wait()
    first, *_, last = found.values()
    found |= {"growth": round(last / first - 1, 4), "frames": told["frames"]}
    return found | {"dropped": told["dropped"], "per_s": round(told["frames"] / took)}


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


def latencies(runtimes: Sequence[str], log: Path | None) -> dict:
    """`latency` of each runtime, in a process of its own."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model, params = net()
        cg.to_onnx(model, Path(folder, "gat.onnx"), 0.5, params)
        heads = ("features", "net", "both", "both, processor")
        print(f"\n{'ms a window, p50 / p99':<24}" + "".join(f"{head:>18}" for head in heads))
        for runtime in runtimes:
            words = ["--log", str(log)] if log else []
            row = found[runtime] = alone("--case", runtime, folder, *words)
            cells = (f"{a:.3f} / {b:.3f}" for a, b in (row[name] for name in MEASURED))
            print(f"{runtime:<24}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each rate")
    rates = [5000, 10_000, 15_000, 20_000, 30_000]
    parser.add_argument("--rates", type=int, nargs="*", default=rates)
    parser.add_argument("--by", nargs="*", choices=BY, default=BY, help="how frames are taken")
    parser.add_argument("--memory", action="store_true", help="only the memory")
    parser.add_argument("--runtimes", nargs="*", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--detector", type=Path, default=boxed(), help="for the rates, memory")
    parser.add_argument("--log", type=Path, help="for the latency; a simulated car by default")
    parser.add_argument("--case", nargs=2, metavar=("RUNTIME", "FOLDER"), help=argparse.SUPPRESS)
    send_help = {"metavar": ("BY", "RATE", "S", "CHANNEL"), "help": argparse.SUPPRESS}
    parser.add_argument("--send", nargs=4, **send_help)
    given = parser.parse_args()
    if given.send:
        by, rate, seconds, channel = given.send
        print(json.dumps(send(by, int(rate), float(seconds), channel)))
        return
    if given.memory:
        print(json.dumps({"memory": memory(given.detector, (2, 20))}))
        return
    if given.case:
        print(json.dumps(latency(given.case[0], Path(given.case[1]), given.log)))
        return
    record = {"load": os.getloadavg()[0], "cores": os.cpu_count(), "latency": {}, "rates": []}
    print(f"load {record['load']:.1f} on {record['cores']} cores as this begins", flush=True)
    if given.runtimes:
        record["latency"] = latencies(given.runtimes, given.log)
    print(f"\n{given.seconds:g} s at each rate")
    heads = ("frames/s", "sent", "lost", "counted", "us a frame")
    print(f"{'by':<10}" + "".join(f"{head:>14}" for head in heads))
    for by in given.by:
        for rate in given.rates:
            channel = str(43200 + len(record["rates"]))
            row = sustained(by, rate, given.seconds, given.detector, channel)
            record["rates"].append(row)
            names = ("sent_per_s", "sent", "lost", "counted", "cpu_us_per_frame")
            print(f"{by:<10}" + "".join(f"{row[name]:>14,}" for name in names), flush=True)
        kept = [row["sent_per_s"] for row in record["rates"] if (row["by"], row["lost"]) == (by, 0)]
        record[f"sustained_by_{by}"] = max(kept, default=0)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
