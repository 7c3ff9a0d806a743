"""A detector on traffic as it comes. A log that is replayed has the windows, scores and alarms of
`to_graphs`, `Exported.score` and `raise_alarms`, to the bit, in any pieces."""

import io
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from cangraph.deploy.detector import Exported
from cangraph.evaluation.alarms import AlarmRule, Seen, Turn, Watch
from cangraph.evaluation.calibration import clean_threshold
from cangraph.evaluation.scores import Scores
from cangraph.features.kernel import HEARD
from cangraph.features.profile import Profiles
from cangraph.features.windows import Sliding
from cangraph.files import put
from cangraph.frames import ATTACK_TYPES, Frames

_MOST = 8192  # IDs that are remembered; there are 2048 of 11 bit, and 2²⁹ of 29
_TIMED = 1000  # windows whose time `statistics` summarises
_COUNTED = ("frames", "windows", "called", "alarms")

Event = dict[str, Any]


class Monitor:
    """Judges `Frames` as they come. `feed` takes them in order of time and returns events, dicts
    that JSON can hold, each with its `event` and `time`, s since the first frame:

    | event | meaning |
    |---|---|
    | window | a window was judged: its `value`, the ID it blames, the likely attack |
    | alarm | an alarm was raised, or (`again`) one that ended less than `hold` s ago is reopened |
    | over | the alarm ended |
    | ongoing | from `ongoing`: the alarm has not ended |
    | calibrated | the threshold `at` was set on the first `calibrate` s |
    | forgot | more than 8192 IDs came: the `ids` rarest ones were forgotten |

    An alarm names the blamed `id` (hexadecimal) of the suspicious window with the highest value,
    its `blame`, the attack type, and the `delay` in s since the first suspicious window began.

    `rule` is by default that of the detector; `hold` is that of `alarms.Watch`. The first
    `calibrate` seconds are taken for clean traffic: they raise no alarm, and set the threshold to
    their conformal quantile (`clean_threshold`), which a new clean window exceeds with probability
    `rate`, or 1/(n + 1) of n windows where that is more. The threshold of a GAT is only raised.

    Raises `ValueError` for a stride, rule or rate out of range.
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
    ):
        stride = detector.stride if stride is None else stride
        if stride < 1 or calibrate < 0 or not 0 < rate < 1:
            came = f"monitor: stride {stride}, {calibrate} s to calibrate on, rate {rate}"
            raise ValueError(f"{came}; expected >= 1, >= 0 and between 0 and 1; use the defaults")
        self.detector, rule = detector, rule or detector.rule
        if not rule.n and detector.rule.n:
            came = f"monitor: k and n are 0, for evidence, with a {detector.kind}"
            raise ValueError(f"{came}; expected probabilities as values; use 2 of 3 windows")
        self.watch = Watch(*rule, hold)
        self.sliding = Sliding(detector.window, stride)
        self.calibrate, self.rate = calibrate, rate
        self.clean: list[float] | None = [] if calibrate else None  # values, while it calibrates
        self.count = dict.fromkeys(_COUNTED, 0)
        self.seconds: deque[float] = deque(maxlen=_TIMED)  # that the last windows took
        self.time = 0.0  # s since the first frame, of the last one

    @property
    def wanted(self) -> int:
        """Frames until the next window is whole."""
        held = len(self.sliding.held[0]) if self.sliding.held else 0
        first = -self.sliding.passed % self.sliding.stride
        return max(first + self.sliding.window - held, 1)

    def feed(self, frames: Frames) -> list[Event]:
        """Take the next frames; returns the events that they cause."""
        began = time.perf_counter()
        part = self.sliding.feed(frames)
        if len(frames):
            self.count["frames"] += len(frames)
            self.time = float(frames.timestamp[-1] - self.sliding.origin)
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
            worst = int(judged.node.argmax())
            kinds = judged.attack_type[1:]  # the first is benign
            attack = ATTACK_TYPES[1 + int(kinds.argmax())] if kinds.any() else ""
            span = float(part["start"][w]), float(part["end"][w])
            blamed, blame = int(part["node_id"][node][worst]), float(judged.node[worst])
            events += self._see(Seen(judged.value, *span, blamed, blame, attack))
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
        return [{"event": "forgot", "time": self.time, "ids": n - len(kept)}]

    def _see(self, seen: Seen) -> list[Event]:
        self.count["windows"] += 1
        window = {"start": seen.start, "value": seen.value, "id": f"{seen.blamed:X}"}
        window["attack"] = seen.attack_type
        events: list[Event] = [{"event": "window", "time": seen.end} | window]
        if self.clean is not None:
            if seen.end <= self.calibrate:
                self.clean.append(seen.value)
                return events
            events += self._calibrated(seen.end)
        self.count["called"] += seen.value >= self.watch.at
        turn = self.watch.see(seen)
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
            self.watch.at = max(clean_threshold(clean, self.rate), least)
        promised = (int((values >= self.watch.at).sum()) + 1) / (n + 1)
        at = {"at": self.watch.at, "before": before, "windows": n, "rate": promised}
        return [{"event": "calibrated", "time": now} | at]

    def ongoing(self) -> list[Event]:
        """The alarm that is not over, as it stands after the last window."""
        if not self.watch.on or self.watch.alarm is None:
            return []
        return [_told(self.watch.alarm._replace(end=self.watch.time)) | {"event": "ongoing"}]

    def statistics(self) -> Event:
        """Counters so far, and p50 and p99 in ms of what the last 1000 windows took."""
        took = np.array(self.seconds) * 1e3
        p50, p99 = np.quantile(took, [0.5, 0.99]).round(3).tolist() if len(took) else (None, None)
        facts = {"ids": len(self.sliding.profiles.slots), "p50_ms": p50, "p99_ms": p99}
        on = {"at": self.watch.at, "alarm": self.watch.on, "calibrating": self.clean is not None}
        return {"event": "statistics", "time": self.time} | self.count | facts | on

    def _settings(self) -> dict[str, Any]:
        """What a saved state belongs to."""
        facts = {"detector": self.detector.sha256, "stride": self.sliding.stride}
        facts |= {name: getattr(self.watch, name) for name in ("k", "n", "hold")}
        return facts | {"calibrate": self.calibrate, "rate": self.rate}

    def save(self, path: Path, **beside: Any) -> None:
        """Write the state, and facts `beside` it, to a file: whole or not at all."""
        sliding, profiles = self.sliding, self.sliding.profiles
        state: dict[str, Any] = {"settings": self._settings(), "beside": beside}
        state |= {"watch": self.watch.state(), "at": self.watch.at}
        state |= {name: getattr(self, name) for name in ("clean", "count", "time")}
        state["sliding"] = [sliding.passed, sliding.told, sliding.origin]
        arrays: dict[str, Any] = {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)}
        arrays["slots"] = np.array(list(profiles.slots), np.int64)
        arrays |= {f"held/{k}": column for k, column in enumerate(sliding.held)}
        arrays |= {"profiles": profiles.table, "last": sliding.last}
        arrays |= {"heard": profiles.heard}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        put(path, buffer.getvalue())

    def resume(self, path: Path) -> dict[str, Any]:
        """Go on from a file that `save` wrote; returns the facts saved beside. Raises `ValueError`
        for a file that is damaged, or of another detector or other settings."""
        remedy = "delete it to begin anew"
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            state = json.loads(arrays["state"].tobytes())
            saved, here = state["settings"], self._settings()
            odd = [name for name in here if saved.get(name) != here[name]]
            if not odd:
                self._restore(state, arrays)
        except Exception as error:  # zip, json, numpy: whatever reading raises
            why = f"{type(error).__name__}: {str(error)[:80]}"
            came = f"{path}: no state of a monitor ({why})"
            raise ValueError(f"{came}; expected what one saved; {remedy}") from error
        if odd:
            came = f"{path}: saved with another {' and '.join(odd)}"
            raise ValueError(f"{came}; expected the same as now; start it as it was, or {remedy}")
        return state["beside"]

    def _restore(self, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        sliding = Sliding(self.sliding.window, self.sliding.stride)
        slots = {int(key): slot for slot, key in enumerate(arrays["slots"])}
        sliding.profiles = Profiles(slots, heard=arrays["heard"].astype(HEARD))
        sliding.profiles.make_room(arrays["profiles"]["data"].shape[1])
        sliding.profiles.table = arrays["profiles"].astype(sliding.profiles.table.dtype)
        sliding.last = arrays["last"].astype(sliding.last.dtype)
        columns = sum(name.startswith("held/") for name in arrays)
        sliding.held = [arrays[f"held/{k}"] for k in range(columns)]
        sliding.passed, sliding.told, sliding.origin = state["sliding"]
        self.watch.restore(state["watch"])
        self.watch.at, self.clean = state["at"], state["clean"]
        self.sliding, self.count, self.time = sliding, state["count"], state["time"]


def _told(turn: Turn) -> Event:
    suspect = turn.suspect
    event = {"event": "alarm" if turn.what == "raised" else "over", "time": turn.end}
    event |= {"since": turn.start, "peak": turn.peak, "delay": turn.delay}
    event |= {"id": f"{suspect.blamed:X}", "blame": suspect.blame, "attack": suspect.attack_type}
    return event | ({"again": turn.again} if turn.what == "raised" else {})
