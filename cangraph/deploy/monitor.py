"""A detector on traffic as it comes. A log that is replayed has the windows, scores and alarms of
`to_graphs`, `Exported.score` and `raise_alarms`, to the bit, in any pieces."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from operator import itemgetter
from typing import Any

import numpy as np

from cangraph.deploy.detector import Exported
from cangraph.deploy.recent import Heard, Recent, odd_of
from cangraph.evaluation.alarms import AlarmRule, Seen, Turn, Watch, check_threshold
from cangraph.evaluation.calibration import clean_threshold
from cangraph.evaluation.scores import Scores
from cangraph.features.baseline import check_profiles, sound
from cangraph.features.profile import Profiles, profile
from cangraph.features.windows import Sliding
from cangraph.frames import ATTACK_TYPES, Frames

_MOST = 8192  # IDs that are remembered; there are 2048 of 11 bit, and 2²⁹ of 29
_ROUNDING = 1e-6  # s; times of day in float64 are exact to .24 µs
RECENT = 60_000  # frames of a bus that reasons and excerpts are made of
_LONG = 60.0  # s; an alarm that holds for so long may be no attack
_TIMED = 1000  # windows whose time `statistics` summarises
COUNTED = ("frames", "windows", "unjudged", "called", "alarms")

Event = dict[str, Any]


class Monitor:
    """Judges `Frames` as they come. `feed` takes them in order of time and returns events, dicts
    that JSON can hold, each with its `event` and `time`, s since the first frame:

    | event | meaning |
    |---|---|
    | window | a window was judged: its `value`, suspicious from `level` on, whom it blames |
    | alarm | an alarm was raised, or (`again`) one that ended less than `hold` s ago is reopened |
    | over | the alarm ended |
    | ongoing | from `ongoing`: the alarm has not ended |
    | calibrated | the threshold `at` was set on the first `calibrate` s |
    | unjudged | the detector has no number for a window, which is not taken for clean |
    | forgot | more than 8192 IDs came: the `ids` rarest ones were forgotten |

    An alarm names the blamed `id` (hexadecimal) of the suspicious window with the highest value,
    its `blame`, the attack type, and the `delay` in s since the first suspicious window began.

    `rule` is by default that of the detector; `hold` is that of `alarms.Watch`. The first
    `calibrate` seconds are taken for clean traffic: they raise no alarm, and set the threshold to
    their conformal quantile (`clean_threshold`), which a new clean window exceeds with probability
    `rate`, or 1/(n + 1) of n windows where that is more. The threshold of a GAT is only raised,
    and none is taken that no window could reach.

    A detector with a baseline starts with what that knows of the `bus`. The last `recent` frames
    at least are kept, for reasons (`heard`) and excerpts.

    Raises `ValueError` for a stride, rule, threshold or rate out of range.
    """

    def __init__(
        self,
        detector: Exported,
        *,
        rule: AlarmRule | None = None,
        hold: float = 1.0,
        stride: int | None = None,
        calibrate: float = 0.0,
        rate: float = 1e-3,
        bus: str = "",
        recent: int = RECENT,
    ):
        stride = detector.stride if stride is None else stride
        times = 0 <= calibrate < math.inf and 0 <= hold < math.inf
        if stride < 1 or not times or not 0 < rate < 1:
            came = f"monitor: stride {stride}, {calibrate} s to calibrate on, hold {hold}"
            expected = "expected >= 1, two numbers >= 0, and a rate between 0 and 1"
            raise ValueError(f"{came} s, rate {rate}; {expected}; use the defaults")
        self.detector, rule = detector, rule or detector.rule
        if not rule.n and detector.rule.n:
            came = f"monitor: k and n are 0, for evidence, with a {detector.kind}"
            raise ValueError(f"{came}; expected probabilities as values; use 2 of 3 windows")
        check_threshold(detector.kind, rule.at)
        self.watch, self.asked = Watch(*rule, hold), rule.at
        known = detector.baseline.of(bus) if detector.baseline else None
        self.sliding = Sliding(detector.window, stride, known=known)
        self.calibrate, self.rate = calibrate, rate
        self.clean: list[float] | None = [] if calibrate else None  # values, while it calibrates
        self.count = dict.fromkeys(COUNTED, 0)
        self.recent = Recent(recent)
        self.seconds: deque[float] = deque(maxlen=_TIMED)  # that the last windows took
        self.time = 0.0  # s since the first frame, of the last one

    @property
    def wanted(self) -> int:
        """Frames until the next window is whole."""
        held = len(self.sliding.held[0]) if self.sliding.held else 0
        first = -self.sliding.passed % self.sliding.stride
        return max(first + self.sliding.window - held, 1)

    @property
    def last_time(self) -> float:
        """When the last frame came, by the clock of its bus (s)."""
        return self.sliding.origin + self.time

    def feed(self, frames: Frames) -> list[Event]:
        """Take the next frames; returns the events that they cause."""
        began = time.perf_counter()
        part = self.sliding.feed(frames)
        if len(frames):
            self.count["frames"] += len(frames)
            self.time = float(frames.timestamp[-1] - self.sliding.origin)
            self.recent.add(frames, odd_of(self.sliding.features))
        events = self._forget()
        if part is None:
            return events
        windows = len(part["begin"])
        made = (time.perf_counter() - began) / windows
        nodes, edges = (np.cumsum([0, *part[f"{kind}_size"]]) for kind in ("node", "edge"))
        for w in range(windows):
            began = time.perf_counter()
            node, edge = slice(*nodes[w : w + 2]), slice(*edges[w : w + 2])
            judged = self.detector.judge(
                part["x"][node], part["edge_index"][:, edge], part["edge_attr"][edge]
            )
            span = float(part["start"][w]), float(part["end"][w])
            if not judged.whole:
                self.count["unjudged"] += 1
                events.append({"event": "unjudged", "time": span[1], "start": span[0]})
                continue
            worst = int(judged.node.argmax())
            kinds = judged.attack_type[1:]  # the first is benign
            attack = ATTACK_TYPES[1 + int(kinds.argmax())] if kinds.any() else ""
            blamed, blame = int(part["node_id"][node][worst]), float(judged.node[worst])
            seen = Seen(judged.value, *span, blamed, blame, attack)
            events += self._see(seen, int(part["node_count"][node][worst]))
            self.seconds.append(made + time.perf_counter() - began)
        return events

    def _forget(self) -> list[Event]:
        """Bound the memory, which made-up IDs could fill: beyond `_MOST`, only the more frequent
        half of the IDs stays, and those of unfinished windows."""
        sliding, profiles, n = self.sliding, self.sliding.profiles, len(self.sliding.profiles.slots)
        if n <= _MOST:
            return []
        order = np.argsort(-profiles.table["seen"][:n], kind="stable")
        kept = np.union1d(order[: _MOST // 2], sliding.held[4])
        keys = np.array(list(profiles.slots))[kept].tolist()
        profiles.slots = {key: slot for slot, key in enumerate(keys)}
        profiles.table, sliding.last = profiles.table[kept], sliding.last[kept]
        sliding.last["lower"] = np.argsort(
            np.argsort(sliding.last["arbitration_id"], kind="stable")
        )
        sliding.held[4] = np.searchsorted(kept, sliding.held[4])  # `kept` is sorted and holds them
        profiles.heard["known"] = np.searchsorted(kept, profiles.heard["known"])
        return [{"event": "forgot", "time": self.time, "ids": n - len(kept)}]

    def heard(self, until: float = math.inf) -> Heard:
        """The last frames until a time (s since the first frame), and what is odd about them."""
        recent, origin = self.recent, self.sliding.origin
        frames, odd = recent.frames(0, recent.place(origin + until + _ROUNDING))
        last = self.sliding.last
        first = zip(last["arbitration_id"].tolist(), (last["first"] - origin).tolist(), strict=True)
        return Heard(frames, odd, frames.timestamp - origin, dict(first))

    def _see(self, seen: Seen, count: int) -> list[Event]:
        self.count["windows"] += 1
        window = {"start": seen.start, "value": seen.value, "id": f"{seen.blamed:03X}"}
        window |= {"count": count, "attack": seen.attack_type, "level": self.watch.at}
        events: list[Event] = [{"event": "window", "time": seen.end} | window]
        if self.clean is not None:
            if seen.end <= self.calibrate:
                self.clean.append(seen.value)
                return events
            events += self._calibrated(seen.end)
        self.count["called"] += seen.value >= self.watch.at
        turn = self.watch.see(seen)
        events[0]["level"] = self.watch.level
        if turn is not None:
            self.count["alarms"] += turn.what == "raised" and not turn.again
            events.append(_told(turn))
        return events

    def _calibrated(self, now: float) -> list[Event]:
        """Set the threshold from the clean windows; without any it stays."""
        values, self.clean = np.array(self.clean), None
        n, before = len(values), self.watch.at
        if n:
            none = np.zeros(n)
            clean = Scores(values, none.astype(bool), none, none, none, none, captures=())
            least = -np.inf if self.detector.rule.n else before  # of a GAT it never falls
            found = max(clean_threshold(clean, self.rate), least)
            with suppress(ValueError):  # one that no window could reach is not taken
                check_threshold(self.detector.kind, found)
                self.watch.at = found
        promised = (int((values >= self.watch.at).sum()) + 1) / (n + 1)
        at = {"at": self.watch.at, "before": before, "windows": n, "rate": promised}
        return [{"event": "calibrated", "time": now} | at]

    def ongoing(self) -> list[Event]:
        """The alarm that is not over, as it stands after the last window."""
        if not self.watch.on or self.watch.alarm is None:
            return []
        return [_told(self.watch.alarm._replace(end=self.watch.time)) | {"event": "ongoing"}]

    def statistics(self) -> Event:
        """Counters so far, and p50 and p99 in ms of what the last 1000 windows took. The detector
        `fits` the bus unless an alarm has held for a minute, or a window in 100 got no number."""
        took = np.array(self.seconds) * 1e3
        p50, p99 = np.quantile(took, [0.5, 0.99]).round(3).tolist() if len(took) else (None, None)
        facts = {"ids": len(self.sliding.profiles.slots), "p50_ms": p50, "p99_ms": p99}
        on = {"at": self.watch.at, "alarm": self.watch.on, "calibrating": self.clean is not None}
        alarm, blind = self.watch.alarm, 100 * self.count["unjudged"] > self.count["windows"]
        long = self.watch.on and alarm is not None and self.watch.time - alarm.start >= _LONG
        on["fits"] = not (long or blind)
        return {"event": "statistics", "time": self.time} | self.count | facts | on

    def settings(self) -> dict[str, Any]:
        """What a saved state belongs to."""
        facts = {"detector": self.detector.sha256, "stride": self.sliding.stride, "at": self.asked}
        facts |= {name: getattr(self.watch, name) for name in ("k", "n", "hold")}
        return facts | {"calibrate": self.calibrate, "rate": self.rate}

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that is needed to go on later: facts that JSON can hold, and arrays."""
        sliding, profiles = self.sliding, self.sliding.profiles
        facts: dict[str, Any] = {name: getattr(self, name) for name in ("clean", "count", "time")}
        facts |= {"watch": self.watch.state(), "at": self.watch.at}
        facts |= {name: getattr(sliding, name) for name in ("passed", "told", "origin")}
        arrays = {"slots": np.array(list(profiles.slots), np.int64), "profiles": profiles.table}
        arrays |= {"last": sliding.last, "heard": profiles.heard}
        held = sliding.held or _nothing()
        return facts, arrays | {f"held/{k}": column for k, column in enumerate(held)}

    def restore(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Go on from a `state`, on a monitor that has seen no frame. Raises `ValueError` for
        arrays that none can have left: the kernels trust them with places in memory."""
        held = self._held(facts, arrays)
        sliding = Sliding(self.sliding.window, self.sliding.stride)
        slots = {int(key): slot for slot, key in enumerate(arrays["slots"])}
        sliding.profiles = Profiles(slots, arrays["profiles"], arrays["heard"])
        sliding.last = arrays["last"]
        sliding.held = held if facts["count"]["frames"] else []
        for name in ("passed", "told", "origin"):
            setattr(sliding, name, facts[name])
        check_threshold(self.detector.kind, facts["at"])
        self.watch.restore(facts["watch"])
        self.watch.at, self.clean = facts["at"], facts["clean"]
        self.sliding, self.count, self.time = sliding, facts["count"], facts["time"]

    def _held(self, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The columns of the frames that are held, once all arrays are found to be right."""
        slots, told = arrays["slots"], facts["told"]
        check_profiles(slots, arrays["profiles"], arrays["heard"], arrays["last"])
        held = [arrays[f"held/{k}"] for k in range(len(_nothing()))]
        kinds = [(found.dtype, found.shape[1:]) for found in held]
        right = kinds == [(like.dtype, like.shape[1:]) for like in _nothing()]
        right = right and all(map(sound, held)) and {len(held[0])} == {*map(len, held)}
        right = right and held[4].max(initial=-1) < len(slots) and told <= len(held[0])
        if not right or (np.diff(held[0]) < 0).any():
            raise ValueError(f"{len(slots)} IDs and frames that do not fit together")
        return held


def _nothing() -> list[np.ndarray]:
    """The columns that are held between two pieces, without frames."""
    frames = Frames(np.zeros(0), np.zeros(0))
    return [frames.timestamp, frames.arbitration_id, frames.attack_type, *profile(frames)]


class Buses:
    """The buses of one vehicle, by name: a `Monitor` of each, which `make(bus=name)` returns, so
    that each has profiles, windows and alarms of its own. A bus is known by its `names`, or from
    its first frame on.

    Events are those of `Monitor`; of a bus that has a name they say `bus`. Their times are s since
    the first frame of all: by `one_clock`, that of a log, or else, where interfaces have clocks of
    their own, from the last frame of the others on.
    """

    def __init__(
        self, make: Callable[..., Monitor], names: Iterable[str] = (), one_clock: bool = True
    ):
        self.make, self.one_clock = make, one_clock
        self.pattern = make()  # raises where the settings are wrong, before a frame comes
        self.of = {name: make(bus=name) for name in names}
        self.since: dict[str, float] = {}  # s, when the first frame of each bus came
        # what `Incidents` remembers
        self.incidents: dict[str, Any] = {"cases": {}, "number": 0, "untold": 0, "ids": []}
        self.incidents["first"] = 0.0

    @property
    def frames(self) -> int:
        return sum(monitor.count["frames"] for monitor in self.of.values())

    @property
    def now(self) -> float:
        """When the last frame of any bus came."""
        return max((since + self.of[bus].time for bus, since in self.since.items()), default=0.0)

    def wanted(self, bus: str) -> int:
        """Frames until the next window of a bus is whole."""
        return self.of[bus].wanted if bus in self.of else 1

    def time(self, bus: str) -> float:
        """When the last frame of a bus came; of one without a frame, of any."""
        return self.since[bus] + self.of[bus].time if bus in self.since else self.now

    def feed(self, frames: Frames) -> list[Event]:
        """Take the next frames, of any buses; returns the events that they cause."""
        events: list[Event] = []
        if not len(frames):
            return []
        one = len(frames.bus_names) == 1  # `by_bus` costs more than to judge a few frames
        parts = {frames.bus_names[0]: frames} if one else frames.by_bus()
        for bus, part in parts.items():
            if bus not in self.of:
                self.of[bus] = self.make(bus=bus)
            if bus not in self.since:
                self.since[bus] = self._begins(float(part.timestamp[0]))
            events += [self.told(bus, event) for event in self.of[bus].feed(part)]
        return events if len(parts) < 2 else sorted(events, key=itemgetter("time"))

    def _begins(self, timestamp: float) -> float:
        if not (self.since and self.one_clock):
            return self.now
        first = min(self.since, key=self.since.__getitem__)
        return timestamp - self.of[first].sliding.origin

    def told(self, bus: str, event: Event) -> Event:
        """An event of a bus with the time of all, and the name of the bus."""
        since = self.since.get(bus, 0.0)
        late = {k: event[k] + since for k in ("time", "since", "start") if since and k in event}
        return event | late | ({"bus": bus} if bus else {})

    def each(self, what: Callable[[Monitor], Event]) -> list[Event]:
        """The event that `what` makes of the monitor of each bus."""
        return [self.told(bus, what(monitor)) for bus, monitor in self.of.items()]


def _told(turn: Turn) -> Event:
    suspect = turn.suspect
    event = {"event": "alarm" if turn.what == "raised" else "over", "time": turn.end}
    event |= {"since": turn.start, "peak": turn.peak, "delay": turn.delay}
    event |= {"id": f"{suspect.blamed:03X}", "blame": suspect.blame, "attack": suspect.attack_type}
    return event | ({"again": turn.again} if turn.what == "raised" else {})
