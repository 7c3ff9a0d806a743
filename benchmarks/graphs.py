"""How fast frames become graphs, beside a plain numpy version of the same features.

    python benchmarks/graphs.py [million frames of the simulated log, default 20]

Reads hcrl_sa where CANGRAPH_DATA has it. The simulated log is one capture that comes in chunks.
The last line is one JSON object of frames per second and MB of peak memory.
"""

import json
import resource
import sys
import time

import numpy as np

import cangraph as cg
from cangraph.features import FRAME_FEATURES
from cangraph.windows import windows


def plain_profile(frames) -> np.ndarray:
    """The features of `profiles.profile` frame by frame in numpy: the definition, not the speed."""
    memory, out = {}, np.zeros((len(frames), len(FRAME_FEATURES)), np.float32)
    began = frames.timestamp[0]
    for i in range(len(frames)):
        time_, key, dlc = frames.timestamp[i], int(frames.arbitration_id[i]), frames.bytes_used[i]
        data = frames.data[i, :dlc]
        new = {"n": 0, "last": 0.0, "period": 0.0, "jitter": 0.0, "trust": 0.0, "first": time_}
        p = memory.setdefault(
            key,
            new
            | {
                "dlc": 0,
                "data": np.zeros(8, np.uint8),
                "rate": np.zeros(64, np.float32),
                "values": np.zeros((8, 256), bool),
            },
        )
        if p["n"] == 0 and time_ - began <= 5:
            p["trust"] = 1.0
        n, gap = p["n"], max(time_ - p["last"], 0.0)
        tick = np.log2(np.floor(gap * 1e3 + 5e-4) + 1)
        ratio = np.clip(tick - p["period"], -6, 6) if n >= 2 else 0.0
        f = np.unpackbits(data ^ p["data"][:dlc], bitorder="little").astype(np.float32)
        q = p["rate"][: 8 * dlc]
        u = q * (1 - q)
        novel = ~p["values"][np.arange(dlc), data] & (n > 0 or p["trust"] == 0)
        if n:
            out[i, 3] = np.clip((f.sum() - q.sum()) / np.sqrt(1 + u.sum()), -8, 8)
            chi, usual = ((f - q) ** 2 / (u + 0.02)).sum(), (u / (u + 0.02)).sum()
            out[i, 4] = np.clip(np.log2((1 + chi) / (1 + usual)), -6, 6)
            out[i, 6] = dlc != p["dlc"]
        out[i, 5] = novel.mean() if dlc else 0
        out[i, [0, 1, 2, 7]] = (
            ratio,
            p["jitter"],
            1 - p["trust"],
            p["trust"] / 2 ** p["period"] * (n >= 2),
        )
        if n == 1:
            p["period"] = tick
        elif n:
            w = max(min(1, gap / 20), 1 / n if n <= 8 else 0)
            p["period"] += w * np.clip(ratio, -0.5, 0.5)
            p["jitter"] += w * (min(abs(ratio), 1) - p["jitter"])
            early = p["first"] - began <= 5
            earned = max(1 / 16, min(1, gap / 5)) if early else min(1 / 16, gap / 60)
            p["trust"] += (1 - p["trust"]) * earned if abs(ratio) < 0.5 else -p["trust"] / 8
        if ratio > -1 or n <= 8:
            if n:
                q += np.float32(max(1 / (n + 1), 1 / 64)) * (f - q)
                q[q <= 1e-4] = 0
            p["values"][np.arange(dlc), data] = True
            p["data"][:dlc], p["dlc"] = data, dlc
        p["last"], p["n"] = time_, n + 1
    return out


def rate(frames: int, work) -> float:
    """Frames a second of the best of three runs."""
    took = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return round(frames / min(took))


def chunks(million: float):
    """One long log of the demo bus, in pieces of ten minutes."""
    sent, start, seed = 0, 0.0, 0
    while sent < million * 1e6:
        piece = cg.simulate("aster", 600.0, seed=seed, start=start)
        sent, start, seed = sent + len(piece), start + 600.0, seed + 1
        yield piece


def main(million: float) -> dict:
    figures = {}
    small = cg.simulate("aster", 10.0)
    made = np.abs(plain_profile(small) - cg.profile(small)[0]).max()
    assert made < 1e-3, f"the plain version differs by {made}"
    figures["plain numpy, profile alone"] = rate(len(small), lambda: plain_profile(small))
    try:
        captures = cg.read("hcrl_sa")
    except FileNotFoundError as error:
        print(error)
    else:
        total = sum(len(c) for c in captures)
        for stride in (100, 50):
            figures[f"hcrl_sa, stride {stride}"] = rate(
                total, lambda stride=stride: cg.to_graphs(captures, 100, stride)
            )
    spent = [0.0]  # s that the simulation took, which is not the pipeline's

    def timed():
        pieces = chunks(million)
        while True:
            began = time.perf_counter()
            piece = next(pieces, None)
            spent[0] += time.perf_counter() - began
            if piece is None:
                return
            yield piece

    began = time.perf_counter()
    sent = 100 * sum(len(part["begin"]) for part in windows(timed(), 100, 100))
    figures["one log in chunks, one thread"] = round(
        sent / (time.perf_counter() - began - spent[0])
    )
    figures["frames of that log"] = sent
    figures["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return figures


if __name__ == "__main__":
    made = main(float(sys.argv[1]) if len(sys.argv) > 1 else 20)
    for name, value in made.items():
        print(f"{name:<48}{value:>12,}")
    print(json.dumps(made))
