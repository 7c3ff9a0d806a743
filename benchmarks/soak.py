"""A long watch of two buses while everything goes wrong: is every frame judged, or counted?

    python benchmarks/soak.py                # ten minutes at 15,000 frames/s on both buses together
    python benchmarks/soak.py --seconds 60

`cangraph monitor` watches two buses of `loopback.py`, which says in what they are like SocketCAN's.
Meanwhile it is killed twice (SIGKILL) and ended once (SIGTERM), each time started again with its
state; it is halted for four seconds (SIGSTOP), so that the kernel must drop frames; one bus goes
away and comes back; the clock jumps ahead by an hour and back by two. Of each bus the frames sent
are compared with those judged, dropped (by the queue, by the kernel) and refused. Frames that come
while nobody listens are not sent, but counted as `unheard`. What is in the memory of a process that
is killed is gone with it: `killed`, which must be less than what comes in half a second and what
`waited` in its queue, as its last statistics say.
`lost` is all that is left, and must be 0.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import loopback

import cangraph as cg

BUSES = ("43301", "43302")
COUNTS = ("frames", "dropped_queue", "dropped_kernel", "refused")
TICK = 5e-3  # s


class Soak:
    """Two buses, what is sent on them, and the monitor that is listening."""

    def __init__(self, folder: Path, rate: float):
        self.folder, self.rate, self.lives = folder, rate / len(BUSES), 0
        self.datagrams = loopback.datagrams(cg.simulate("clover", 30.0))
        self.sockets = {bus: loopback.sender(bus) for bus in BUSES}
        self.due = dict.fromkeys(BUSES, 0.0)
        self.total = {bus: Counter() for bus in BUSES}
        self.life = {bus: Counter() for bus in BUSES}  # what was sent to this monitor
        self.events: Counter = Counter()
        self.quiet: set[str] = set()
        self.clock = folder / "clock"
        self.clock.write_text("0")
        self.begin()

    def begin(self) -> None:
        """Start a monitor, which goes on from the state."""
        self.lives += 1
        self.out = self.folder / f"events-{self.lives}"
        buses = [word for bus in BUSES for word in ("-c", bus)]
        command = [
            sys.executable,
            loopback.__file__,
            "monitor",
            "--json",
            "-i",
            "socketcan",
            *buses,
        ]
        command += ["--state", str(self.folder / "state.npz"), "--save-every", "1"]
        command += ["--statistics", "0.05", "--output", str(self.out)]
        places = {"CANGRAPH_DOWN": str(self.folder), "CANGRAPH_CLOCK": str(self.clock)}
        self.monitor = subprocess.Popen(command, env=os.environ | places)
        self.heard: set[str] = set()

    def send(self, seconds: float) -> None:
        """Frames for so long, at the rate, on each bus."""
        last = time.perf_counter()
        until = last + seconds
        while (now := time.perf_counter()) < until:
            for bus in BUSES:
                self.due[bus] += (now - last) * self.rate * (bus not in self.quiet)
                many, self.due[bus] = int(self.due[bus]), self.due[bus] % 1
                if bus not in self.heard and loopback.listening(bus):
                    self.heard.add(bus)
                if bus not in self.heard:
                    self.total[bus]["unheard"] += many
                    continue
                place, sent = self.sockets[bus], self.life[bus]["sent"]
                for k in range(sent, sent + many):
                    place.send(self.datagrams[k % len(self.datagrams)])
                self.life[bus]["sent"] += many
            last = now
            time.sleep(TICK)

    def end(self, how: signal.Signals) -> None:
        """End the monitor, once it listens, and account for what was sent to it."""
        while self.heard != {*BUSES}:
            self.send(0.5)
        self.monitor.send_signal(how)
        self.monitor.wait()
        lines = self.out.read_bytes().rpartition(b"\n")[0].split(b"\n")
        events = [json.loads(line) for line in lines]
        self.events.update(event["event"] for event in events)
        for bus in BUSES:
            mine = [event for event in events if event.get("bus") == bus]
            before = next((e["frames"] for e in mine if e["event"] == "resumed"), 0)
            told = next(e for e in reversed(mine) if e["event"] == "statistics")
            counted = Counter({name: told[name] for name in COUNTS}) - Counter(frames=before)
            rest = self.life[bus]["sent"] - counted.total()
            self.total[bus].update(counted + self.life[bus])
            self.total[bus]["killed" if how == signal.SIGKILL else "lost"] += rest
            self.total[bus]["waited"] += told["behind"] * (how == signal.SIGKILL)
            self.life[bus] = Counter()

    def calm(self) -> None:
        """Nothing is sent for a second."""
        self.quiet |= {*BUSES}
        self.send(1.0)
        self.quiet.clear()

    def kill(self) -> None:
        self.end(signal.SIGKILL)
        self.begin()

    def restart(self) -> None:
        self.calm()
        self.end(signal.SIGTERM)
        self.begin()

    def halt(self) -> None:
        self.monitor.send_signal(signal.SIGSTOP)
        self.send(4.0)
        self.monitor.send_signal(signal.SIGCONT)

    def unplug(self) -> None:
        """The second bus is silent, and then its interface is gone for three seconds."""
        self.quiet.add(BUSES[1])
        self.send(0.5)
        (self.folder / BUSES[1]).touch()
        self.send(3.0)
        self.heard.discard(BUSES[1])
        (self.folder / BUSES[1]).unlink()
        self.quiet.clear()

    def ahead(self) -> None:
        self.clock.write_text("3600")

    def back(self) -> None:
        self.clock.write_text("-3600")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=15_000.0, help="frames/s of both buses")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), given.rate)
        steps = [soak.kill, soak.unplug, soak.ahead, soak.halt, soak.restart, soak.back, soak.kill]
        for step in steps:
            soak.send(given.seconds / (len(steps) + 1))
            print(f"{step.__name__}", flush=True)
            step()
        soak.send(given.seconds / (len(steps) + 1))
        soak.calm()
        soak.end(signal.SIGTERM)
    for bus, total in soak.total.items():
        print(f"{bus}: " + ", ".join(f"{n:,} {name}" for name, n in total.items()))
    record = {"seconds": given.seconds, "rate": given.rate, "monitors": soak.lives}
    record |= {"events": soak.events, "buses": soak.total}
    record["all_counted"] = all(
        total["lost"] == 0 and 0 <= total["killed"] < total["waited"] + 2 * 0.5 * soak.rate
        for total in soak.total.values()
    )
    print(json.dumps(record))


if __name__ == "__main__":
    main()
