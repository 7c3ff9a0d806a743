"""How fast frames become graphs, beside a plain numpy version of the same features.

    python benchmarks/graphs.py [million frames of the simulated log, default 20]

Reads hcrl_sa where CANGRAPH_DATA has it. The simulated log is one capture, written to the disk
beforehand, and read and hashed from there in chunks. "prepared" is `cangraph.prepare` the first
time, writing included; "mapped" is the same call when the graphs are there, hashing of the captures
included; "looked at" reads every byte of the graphs too; "by key" maps them without the captures,
as the notebooks after data_prep do. All files are in the page cache.

Every case runs in a process of its own. Its memory is the largest resident set, with the captures
of hcrl_sa and their reading, and with the pages of mapped files that were looked at. Times are
the best of three, where the log is long of one. The last line is one JSON object.
"""

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cangraph as cg
from cangraph.data.store import open_graphs
from cangraph.features.profile import profile
from cangraph.features.schema import FRAME_FEATURES
from cangraph.features.windows import windows
from cangraph.files import data_home

RECORD = np.dtype([("timestamp", "f8"), ("arbitration_id", "u4"), ("dlc", "u1"), ("data", "u1", 8)])


SLOT = dict.fromkeys(("last", "base", "clock", "base_ratio", "period", "jitter", "trust"), 0.0)


def of_one_id() -> dict:
    """What `plain_profile` remembers of one ID."""
    zeros = {
        "rate": np.zeros((8, 8), np.float32),
        "values": np.zeros((8, 256), bool),
        "data": np.zeros(8, np.uint8),
        "clock_data": np.zeros(8, np.uint8),
        "moves": np.zeros(8, bool),
        **{name: np.zeros(8) for name in ("changes", "rest", "longest", "step")},
        "turn": np.zeros((8, 4), int),
        "kept": np.zeros((8, 4)),
        "lapsed": np.zeros((8, 4), int),
        "sums": np.zeros(5, int),
        "sums_kept": np.zeros(5),
        "sums_lapsed": np.zeros(5, int),
        "sums_proven": np.zeros(5, bool),
        "usual": np.zeros(5),
    }
    return (
        SLOT
        | zeros
        | {"n": 0, "dlc": 0, "sums_seen": 0, "trend": 0.0, "ahead": 0.0, "heard": b"", "eager": 0.0}
    )


def is_rule(kept: np.ndarray, lapsed: np.ndarray) -> np.ndarray:
    """What is kept reliably is a rule, and remains one for a while when it is broken."""
    return (kept > 0.95) | ((lapsed >= 2) & (kept > 0.9))


def broken(kept: np.ndarray, off: np.ndarray, n: int) -> float:
    """Bits of surprise of the rules that are `off`."""
    return max(-np.log2(1 - kept[off] + max(1 / (n + 1), 1 / 256)), default=0.0)


def learn(p: dict, which: str, at, off: np.ndarray, broke: np.ndarray, weight, again) -> None:
    """Let rules learn whether they were kept: of one that held, a break counts when it is known
    whether the next frame breaks it too."""
    kept, lapsed = p[which + "kept"][at], p[which + "lapsed"][at]
    rule = is_rule(kept, lapsed)
    twice = (lapsed > 0) & (lapsed != 3)
    fade = np.where(~off, 1 / 64, np.where(twice, again, 0))
    judged = np.where(rule & (twice | broke), -fade * kept, weight * (~off - kept))
    p[which + "kept"][at] = kept + judged
    p[which + "lapsed"][at] = broke * np.where(rule & (lapsed == 3), 3, 1 + rule)


def cancels(k: int, delta: np.ndarray) -> bool:
    """Whether differences of bytes leave checksum k as it was in pairs."""
    same = (delta[:, None] == delta).sum(1)
    opposite = (delta[:, None] == -delta % 256).sum(1)
    return not (same % 2).any() if k == 0 else bool((same == opposite).all())


def judge(p: dict, data: np.ndarray, gap: float, learns: bool, clock: bool) -> tuple:
    """flip_excess and the raw flip_surprise, novel_bytes, stuck, leap and broken_rule."""
    n, dlc, old = p["n"], len(data), p["clock_data" if clock else "data"][: len(data)].copy()
    changed = data != old
    told = changed & ~p["values"][np.arange(dlc), data] & (n > 0 or p["trust"] == 0)
    new, told = changed if n else np.ones(dlc, bool), told if n else np.full(dlc, p["trust"] == 0)
    excess, surprise, stuck, leap, rule = 0.0, 0.0, 1, 1, 0.0
    again = min(gap / 60, max(1 / max(n, 1), 1 / 256))
    b = np.flatnonzero(changed | p["moves"][:dlc]) if n else np.zeros(0, int)
    if len(b):
        f = np.unpackbits((data ^ old)[b, None], axis=1, bitorder="little").astype(np.float32)
        q = p["rate"][b]
        u = q * (1 - q)
        chi, usual = ((f - q) ** 2 / (u + np.float32(0.02))).sum(), (u / (u + 0.02)).sum()
        excess = np.clip((f.sum() - q.sum()) / np.sqrt(1 + u.sum()), -8, 8)
        surprise = max(np.log2((1 + chi) / (1 + usual)), 0)
        if learns:
            q = q + np.float32(max(1 / (n + 1), min(gap / 20, 1 / 64))) * (f - q)
            p["rate"][b] = np.where(q > np.float32(1e-4), q, 0)
            p["moves"][b] = p["rate"][b].any(1)
        part = 2 * np.arange(4)
        now, before = data[b, None].astype(int) >> part, old[b, None].astype(int) >> part
        turn = (now - before) & 3
        around = (before & 15 == 14) & (now & 15 == 0) & (p["turn"][b] == 1) & (part % 4 == 0)
        kept, off = p["kept"][b].copy(), (turn != p["turn"][b]) & ~around
        broke = off & (p["turn"][b] > 0)
        ruled = is_rule(kept, p["lapsed"][b]) & (p["turn"][b] > 0)
        rule = broken(kept, broke & ruled & (p["lapsed"][b] != 3), n)
        # what counts only while the rest rests is a checksum
        excused = rule > 0 and (ruled & ~off).any() and (changed[b] & ~ruled.any(1)).any()
        rule = 0.0 if excused else rule
        if learns:
            learn(p, "", b, off, broke, max(1 / n, 1 / 256), again)
            p["turn"][b] = np.where(off & (p["kept"][b] < 0.5), turn, p["turn"][b])
            if excused:  # until it is kept again
                p["lapsed"][:dlc][p["lapsed"][:dlc] == 2] = 3
        size = (data[b].astype(int) - old[b]) % 256
        size, moved = np.minimum(size, 256 - size), changed[b]
        rest, longest, steps = p["rest"][b] + ~moved, p["longest"][b], p["step"][b]
        judged = p["changes"][b] >= 4
        stuck = max([1, *((1 + rest) / (1 + longest))[judged]])
        leap = max([1, *((1 + size) / (1 + steps))[judged]])
        if learns:
            fade, worn = max(1 - gap / 60, 0.5), 2 ** min(gap / 5, 1)
            longer = np.where(rest > longest, worn * (1 + longest) - 1, longest)
            after = np.maximum(longest * fade, np.minimum(rest, 2 * longest + 1))
            p["longest"][b] = np.where(moved, after, longer)
            after = np.maximum(steps * fade, np.minimum(size, 2 * steps + 1))
            p["step"][b] = np.where(moved, after, steps)
            p["changes"][b] += moved
            p["rest"][b] = np.where(moved, 0, rest)
    if dlc and (n == 0 or changed.any()):
        total, last = int(data.sum(dtype=int)), int(data[-1])
        upper = int(data[-2]) if dlc > 2 else 0
        others = 2 * last - total
        sums = [np.bitwise_xor.reduce(data), total % 256, others % 256]
        sums = np.array([*sums, (others + upper) % 256, (total - upper) % 256])
        step, moved = (data.astype(int) - old) % 256, np.flatnonzero(changed & (n > 0))
        turned = np.where(np.arange(dlc) == dlc - 1, -step % 256, step)
        lower = (np.arange(dlc) != dlc - 2) | (dlc <= 2)  # of a sum of 16 bits
        held = [
            not cancels(k, d[moved])
            for k, d in enumerate(
                ((data ^ old).astype(int), step, turned, turned * lower, step * lower)
            )
        ]
        kept, off, lapsed = p["sums_kept"].copy(), sums != p["sums"], p["sums_lapsed"].copy()
        known = p["sums_seen"] >= 8
        authentic = known and (p["sums_proven"] & (kept > 0.95) & ~off & held).any()
        if authentic and learns:
            p["kept"][dlc - 1] = 0
        elif known and not authentic:
            lost = off & p["sums_proven"] & is_rule(kept, lapsed)
            rule = max(rule, broken(kept, lost, p["sums_seen"]))
        if learns:
            weight = max(1 / (p["sums_seen"] + 1), 1 / 256)
            p["sums_proven"] = p["sums_proven"] | (~off & (lapsed == 0) & held)
            learn(p, "sums_", slice(5), off, off, weight, again)
            anew = off & ((p["sums_kept"] < 0.5) | authentic)
            p["sums"], p["sums_proven"] = np.where(anew, sums, p["sums"]), p["sums_proven"] & ~anew
            p["sums_kept"] = np.where(anew, np.minimum(p["sums_kept"], 0.5), p["sums_kept"])
            p["sums_seen"] += 1
    if learns:
        p["values"][np.flatnonzero(new), data[new]] = True
        p["clock_data"][:dlc], p["data"][:dlc] = old, data
        p["trend"] += (excess - p["trend"]) / 16
    return excess, surprise, told.mean() if dlc else 0.0, np.log2(stuck), np.log2(leap), rule


def wait(p: dict, data: bytes, ratio: float, learns: bool, clock: bool) -> None:
    """What came ahead of time is heard again in the next frame on time, or it is not."""
    same = data == p["heard"] and not clock and p["rate"][: len(data)].sum() < 1.25
    if p["ahead"] > 0 and (learns or not same):
        heard = p["ahead"] if same else 0.0
        p["eager"] += (0.25 if same else 0.75) * (heard - p["eager"])
        p["ahead"] = 0.0
    if not learns:
        news = data != p["clock_data"][: len(data)].tobytes()
        p["ahead"], p["heard"] = max(p["ahead"], -ratio) if news else 0.0, data


def plain_profile(frames) -> np.ndarray:
    """The features of `features.profile` frame by frame in numpy: the definition, not the speed."""
    memory, out = {}, np.zeros((len(frames), len(FRAME_FEATURES)), np.float32)
    began = frames.timestamp[0]
    grains, level = np.array([0.1, 0.5, 0.05, 0.5, 0.5]), np.array([1, 3, 1, 3, 3])
    for i in range(len(frames)):
        time_, key, dlc = frames.timestamp[i], int(frames.arbitration_id[i]), frames.bytes_used[i]
        p = memory.setdefault(key, of_one_id())
        n, young = p["n"], p["n"] <= 8
        since, gap = (np.floor((time_ - p[at]) * 1e3 + 5e-4) / 1e3 for at in ("last", "base"))
        tick = np.log2(gap * 1e3 + 1)
        ratio = np.clip(tick - p["period"], -6, 6) if n >= 2 else 0.0
        if n == 0:
            p["first"], p["trust"] = time_, float(time_ - began <= 5)
        elif n == 1 and p["first"] - began > max(1, 8 * gap):
            p["trust"] = 0.0
        slack = min(0.25, 6 / 2 ** p["period"])
        early, clock = -min(slack + 2 * p["jitter"], 1), False
        if ratio <= early and not young and p["base_ratio"] < -min(0.1, slack):
            over = np.floor((time_ - p["clock"]) * 1e3 + 5e-4) / 1e3
            away = np.log2(over * 1e3 + 1) - p["period"]
            if clock := bool(2 * abs(away) < -p["base_ratio"]):
                out[i, 3], ratio, gap = -ratio, away, over
        late = False
        if ratio <= early and not young and p["base_ratio"] > 0.1:
            two = np.log2(np.floor((time_ - p["clock"]) * 1e3 + 5e-4) + 1)
            late = two - p["period"] - 1 > -min(0.1, slack)
        learns = bool(ratio > early or young or late)
        if not young and (p["ahead"] > 0 or not learns):
            wait(p, frames.data[i, :dlc].tobytes(), ratio, learns, clock)
        excess, surprise, novel, stuck, leap, rule = judge(
            p, frames.data[i, :dlc], gap, learns, clock
        )
        told = ratio if learns else min(ratio + p["eager"], 0)
        raw, grain = (
            np.array([abs(told), surprise, novel, leap, rule]),
            grains * (1 + 8 / max(n, 1)),
        )
        over = np.clip(np.log2((grain + raw) / (grain + p["usual"])), 0, 6)
        out[i, [0, 2, 4, 5, 7]] = told, p["jitter"], 1 - p["trust"], excess, p["trend"]
        out[i, [1, 6, 9, 10, 12]] = over
        out[i, 8] = min(stuck, 6)
        out[i, 11] = n > 0 and dlc != p["dlc"]
        out[i, 13] = p["trust"] / 2 ** p["period"] * (n >= 2)
        if n:
            w = 2 ** p["period"] / 20e3 if learns else min(2 ** p["period"] / 20e3, since / 20)
            w = max(min(w, 1), 1 / n if young else 0)
            taught = slice(5 if learns else 1)  # an early frame teaches its gap alone
            p["usual"][taught] += (w * (np.minimum(raw, level) - p["usual"]))[taught]
            w = max(min(since / 20, 1), 1 / n if young else 0)
            p["period"] = p["period"] + w * np.clip(ratio, -0.5, 0.5) if n > 1 else tick
            if n > 1:
                most = 1 if learns else -early  # what comes early makes no room for more of it
                p["jitter"] += w * (min(abs(ratio), most) - p["jitter"])
                if abs(ratio) < 0.5:
                    p["trust"] += (1 - p["trust"]) * min(1 / 16, since / 60)
                elif p["trust"] < 1:
                    p["trust"] -= p["trust"] / 8
        if learns:
            p["dlc"], p["clock"] = dlc, p["clock"] if clock else p["base"]
            p["base"], p["base_ratio"] = time_, ratio
        p["last"], p["n"] = time_, n + 1
    return out


@dataclass
class Log:
    """A log of `RECORD`s on disk that is read in chunks."""

    path: Path
    name: str = "log"
    scenario: str = ""
    vehicle: str = ""
    recording: str = ""

    def __len__(self) -> int:
        return self.path.stat().st_size // RECORD.itemsize

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def chunks(self, size: int = 1 << 18) -> Iterator[cg.Frames]:
        with self.path.open("rb") as file:
            while len(rows := np.fromfile(file, RECORD, size)):
                yield cg.Frames(**{name: rows[name] for name in RECORD.names}, name=self.name)


def generate(path: Path, million: float) -> None:
    """One long log of the demo bus, in pieces of ten minutes."""
    sent, start, seed = 0, 0.0, 0
    with path.open("wb") as file:
        while sent < million * 1e6:
            piece = cg.simulate("aster", 600.0, seed=seed, start=start)
            rows = np.empty(len(piece), RECORD)
            for name in RECORD.names:
                rows[name] = getattr(piece, name)
            rows.tofile(file)
            sent, start, seed = sent + len(piece), start + 600.0, seed + 1


def rate(frames: int, work: Callable[[], object], times: int = 3) -> int:
    """Frames a second of the best of some runs."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return round(frames / min(took))


def plain() -> int:
    small = cg.simulate("aster", 10.0)
    made = np.abs(plain_profile(small) - profile(small)[0]).max()
    assert made < 1e-3, f"the plain version differs by {made}"
    return rate(len(small), lambda: plain_profile(small))


def look_at(graphs: cg.Graphs) -> None:
    for name in graphs.names():
        array = getattr(graphs, name)
        array.view(f"u{array.itemsize}").max()


def measured(what: str, case: str, folder: Path) -> int:
    """Frames a second of a case, of hcrl_sa or of the log in `folder`."""
    if what == "numpy":
        return plain()
    captures = [Log(folder / "log")] if what == "log" else cg.read("hcrl_sa")
    total, kept = sum(len(c) for c in captures), folder / f"{what} graphs"
    cg.to_graphs([cg.simulate("aster", 1.0)])  # loads the compiled kernels

    def anew():
        shutil.rmtree(kept, ignore_errors=True)
        cg.prepare(captures, folder=kept)

    def one_thread():
        for capture in captures:
            for _ in windows(capture.chunks(), 100, 100):
                pass

    work = {
        "in memory, stride 100": lambda: cg.to_graphs(captures),
        "in memory, stride 50": lambda: cg.to_graphs(captures, 100, 50),
        "not kept, one thread": one_thread,
        "prepared": anew,
        "mapped": lambda: cg.prepare(captures, folder=kept),
        "mapped and looked at": lambda: look_at(cg.prepare(captures, folder=kept)),
        "by key": lambda: open_graphs(kept, next(kept.iterdir()).name),
        "by key and looked at": lambda: look_at(open_graphs(kept, next(kept.iterdir()).name)),
    }[case]
    long = what == "log" and case in ("not kept, one thread", "prepared")
    return rate(total, work, 1 if long else 3)


KEPT = ("prepared", "mapped", "mapped and looked at", "by key", "by key and looked at")
CASES = {
    "numpy": ("plain, profile alone",),
    "hcrl_sa": ("in memory, stride 100", "in memory, stride 50", *KEPT),
    "log": ("not kept, one thread", *KEPT),
}


def alone(*arguments: str) -> dict:
    """What this file prints in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("million", type=float, nargs="?", default=20)
    parser.add_argument("--case", nargs=3, metavar=("DATA", "CASE", "FOLDER"))
    given = parser.parse_args()
    if given.case:
        what, case, folder = given.case
        if case == "generate":
            generate(Path(folder, "log"), given.million)
            made = {"frames": len(Log(Path(folder, "log")))}
        else:
            made = {"frames_per_s": measured(what, case, Path(folder))}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MB; Linux counts KiB
        print(json.dumps(made | {"peak_MB": peak}))
        return
    cases = dict(CASES)
    if not (data_home() / "hcrl_sa").is_dir():
        print("hcrl_sa is left out: it is not in", data_home())
        del cases["hcrl_sa"]
    record = {}
    with tempfile.TemporaryDirectory() as folder:
        record["log"] = alone(str(given.million), "--case", "log", "generate", folder)
        print(f"log: {record['log']['frames']:,} frames")
        for what, names in cases.items():
            for case in names:
                made = record[f"{what}, {case}"] = alone("--case", what, case, folder)
                line = f"{what + ', ' + case:<40}{made['frames_per_s']:>16,} frames/s"
                print(f"{line}{made['peak_MB']:>8,} MB", flush=True)
    print(json.dumps(record))


if __name__ == "__main__":
    main()
