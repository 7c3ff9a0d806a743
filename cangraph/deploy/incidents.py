"""Alarms for whoever is on call: one for each attack, with its reason and its counts.

In AUTOSAR's words a `Monitor` is a sensor that raises security events, and `Incidents` tells the
qualified ones, behind an aggregation and a rate limit."""

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from cangraph.deploy.excerpts import Excerpts
from cangraph.deploy.monitor import Buses
from cangraph.deploy.reasons import Cause, Event, Spans, Tally, explain
from cangraph.io.names import Names

_JOINED = 60.0  # s within which an alarm of the same ID or cause is the last one again,
_SOON = 5.0  # and any alarm
_SECOND = 1.0  # s after which an alarm is explained again, with what came since
_MINUTE = 60.0  # s that the limit is for, and that a long alarm has held for
_NAMED = 8  # IDs of suppressed alarms that are named
_DATED = 1e8  # s; timestamps above it count from 1970
_CUSTOM = 0x8000  # security events of AUTOSAR's IDS protocol that are left to others begin here


@dataclass
class Case:
    """One incident on a bus, as JSON can hold it; times are s since the first frame of all.

    The first suspicious window was at `begin` (that of the last alarm in it at `rose`), the alarm
    was raised `since`; it is `on`, or ended at `until`, and was `reopened` so often. `turn` is the
    monitor's last event about it, `facts` what `explain` says, `tally` its windows, up to the one
    `counted` last. It is `told`, or suppressed, and `closed` once its end was told, for which the
    bus must be `quiet` for so many s. When it is `due` s old it is to be told of again."""

    number: int
    begin: float
    rose: float
    since: float
    turn: Event
    facts: Event = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    on: bool = True
    until: float = 0.0
    counted: float = -1.0
    reopened: int = 0
    told: bool = False
    closed: bool = False
    quiet: float = 0.0
    due: float = _SECOND
    excerpt: str = ""

    def goes_on_in(self, other: "Case") -> bool:
        """Whether another one, later on the same bus, is this one again."""
        passed, cause = other.since - self.until, self.facts["cause"]
        same = cause == other.facts["cause"] and cause != Cause.UNKNOWN
        same = same or self.facts["id"] == other.facts["id"]
        return passed <= (_JOINED if same else _SOON)

    def count(self, windows: Iterable[Event]) -> None:
        """Count those that belong to it and were not counted yet."""
        for window in windows:
            if window["time"] > self.counted and window["start"] >= self.rose - 1e-9:
                self.tally.add(window)
                self.counted = window["time"]


def _restored(case: dict[str, Any]) -> Case:
    return Case(**case | {"tally": Tally(**case["tally"])})


class _Bus:
    """The last windows of the bus `name`, the times of its last alarms, and its last case."""

    def __init__(self, name: str, case: Case | None = None):
        self.name = name
        self.windows: deque[Event] = deque(maxlen=1000)
        self.spans: deque[tuple[float, float]] = deque(maxlen=1000)
        self.case = case


class Incidents:
    """Tells the events of `buses` as incidents; what is about no alarm passes as it is.

    An alarm within 5 s of the last one on its bus, or within a minute where it has the same ID or
    cause, is that one again: it is counted, and told only if the end was told. Each time the bus
    must be quiet for twice as long, up to a minute, until an end is told. So an attack that comes
    and goes for an hour is one incident of few events: `alarm`; `update` when more is known a
    second later; `holding` after 1, 2, 4, … minutes; `over`; at the end of the watch `ongoing`.

    At most `limit` alarms a minute are told. The others are counted, by the event `suppressed` a
    minute later, and are told as well if they last until the limit allows it.

    `names` are those of a DBC; `excerpts` keep the frames around an alarm. Times of day are, on a
    `live` bus, those of this machine, or else those of the log's frames, if these have any.
    """

    def __init__(
        self,
        buses: Buses,
        limit: int = 10,
        names: Names | None = None,
        excerpts: Excerpts | None = None,
        live: bool = False,
    ):
        self.buses, self.limit, self.names, self.live = buses, limit, names, live
        self.excerpts = excerpts
        self._told: deque[float] = deque()  # when alarms were told, in the last minute
        state = buses.incidents
        self._of = {bus: _Bus(bus, _restored(case)) for bus, case in state["cases"].items()}
        self.number, self.untold = state["number"], state["untold"]
        self._ids, self._first = [*state["ids"]], state["first"]

    def state(self) -> dict[str, Any]:
        """What is to be remembered, as JSON can hold it: `Buses.incidents` of the next start."""
        cases = {bus: asdict(one.case) for bus, one in self._of.items() if one.case}
        untold = {"untold": self.untold, "ids": self._ids, "first": self._first}
        return {"cases": cases, "number": self.number} | untold

    def take(self, events: Iterable[Event]) -> list[Event]:
        """What is to be told of the events that a piece of traffic caused."""
        said: list[Event] = []
        for event in events:
            bus = event.get("bus", "")
            one = self._of.setdefault(bus, _Bus(bus))
            match event["event"]:
                case "window":
                    one.windows.append(event)
                    said += [event, *self._window(one, event["time"])]
                    said += self._suppressed(event["time"])
                case "alarm":
                    said += self._raised(one, event)
                case "over" if one.case:
                    said += self._ended(one, one.case, event)
                case _:
                    said.append(event)
        if self.excerpts:
            said += self.excerpts.step(self.buses.now)
        return said

    def ending(self) -> list[Event]:
        """What is to be told at the end of the watch."""
        said = []
        for one in self._of.values():
            if (case := one.case) and case.told and not case.closed:
                said.append(self._tell(one, case, "ongoing" if case.on else "over"))
        if self.excerpts:
            said += self.excerpts.step(self.buses.now, at_last=True)
        return said + self._suppressed(self.buses.now, at_last=True)

    def _window(self, one: _Bus, now: float) -> list[Event]:
        case = one.case
        if case is None or case.closed:
            return []
        if not case.on:
            return self._close(one, case) if now - case.until >= case.quiet else []
        case.count([one.windows[-1]])
        if now - case.since < case.due:
            return []
        if not case.told:
            return self._first_word(one, case, first=False)
        long = case.due >= _MINUTE
        case.due = 2 * case.due if long else _MINUTE
        before = case.facts["cause"], case.facts["sure"]
        event = self._tell(one, case, "holding" if long else "update")
        return [event] if long or before != (event["cause"], event["sure"]) else []

    def _raised(self, one: _Bus, event: Event) -> list[Event]:
        last = one.case
        if event["again"] and last:
            return self._reopened(one, last, event)
        began = max(event["since"] - event["delay"], one.spans[-1][1] if one.spans else 0.0)
        case = Case(self.number + 1, began, began, event["since"], event)
        case.count(one.windows)
        self._explain(one, case)
        if last and last.goes_on_in(case):
            last.rose = began
            return self._reopened(one, last, event)
        said = self._close(one, last) if last and not last.closed else []
        self.number, one.case = case.number, case
        return said + self._first_word(one, case)

    def _reopened(self, one: _Bus, case: Case, event: Event) -> list[Event]:
        case.turn = event | {"peak": max(event["peak"], case.turn["peak"])}
        case.on, case.reopened = True, case.reopened + 1
        case.quiet = min(max(2 * case.quiet, _SECOND), _MINUTE)
        case.count(one.windows)
        closed, case.closed = case.closed, False
        return self._first_word(one, case) if closed or not case.told else []

    def _ended(self, one: _Bus, case: Case, event: Event) -> list[Event]:
        case.turn = event | {"peak": max(event["peak"], case.turn["peak"])}
        case.on, case.until = False, event["time"]
        one.spans.append((case.rose, case.until))
        return [] if case.quiet else self._close(one, case)

    def _close(self, one: _Bus, case: Case) -> list[Event]:
        case.closed = True
        if not case.told:
            return []
        if self.excerpts:
            self.excerpts.end(one.name, self._clock(one.name, case.until))
        return [self._tell(one, case, "over")]

    def _first_word(self, one: _Bus, case: Case, first: bool = True) -> list[Event]:
        """Tell an alarm if the limit allows it, or else count it, the `first` time."""
        now = one.windows[-1]["time"]
        while self._told and now - self._told[0] >= _MINUTE:
            self._told.popleft()
        if len(self._told) >= self.limit:
            if first:
                self._first = self._first if self.untold else now
                self.untold += 1
                self._ids = [*self._ids, case.facts["id"]][:_NAMED]
            return []
        self._told.append(now)
        again, case.told = case.told, True
        if self.excerpts:
            bus, recent = one.name, self.buses.of[one.name].recent
            stamp = self._of_day(bus, case.since) or f"{case.since:010.3f}s"
            name = f"{stamp}-{bus}-{case.facts['id']}"
            case.excerpt = self.excerpts.begin(bus, recent, self._clock(bus, case.begin), name)
        return [self._tell(one, case, "alarm") | {"again": again}]

    def _suppressed(self, now: float, at_last: bool = False) -> list[Event]:
        """How many alarms the limit suppressed, once a minute."""
        if not self.untold or (now - self._first < _MINUTE and not at_last):
            return []
        event = {"event": "suppressed", "time": now, "alarms": self.untold, "ids": self._ids}
        self.untold, self._ids = 0, []
        return [event]

    def _explain(self, one: _Bus, case: Case) -> None:
        """Say what a case is about, while the frames from before it are still held."""
        monitor, since = self.buses.of[one.name], self.buses.since.get(one.name, 0.0)
        end = case.counted if case.on else case.until
        heard = monitor.heard(end - since)
        if not len(heard.time) or (case.facts and heard.time[0] + since > case.begin):
            return
        spans = [*one.spans, *([(case.rose, end)] if case.on else [])]
        times = Spans(*(np.sort(np.array(spans).reshape(-1, 2) - since, axis=0).T))
        span = case.begin - since, end - since
        windows = monitor.count["windows"]
        facts = explain(heard, case.turn, case.tally, span, times, windows)
        number, frame = int(facts["id"], 16), facts["frame"]
        for moment in (*facts["reasons"], *filter(None, [frame])):
            moment["time"] = round(moment["time"] + since, 6)
        facts["name"] = self.names.message(number) if self.names else ""
        if self.names and frame:
            frame["signals"] = self.names.changed(number, frame["before"], frame["after"])
        case.facts = facts

    def _tell(self, one: _Bus, case: Case, what: str) -> Event:
        """The event of a case; docs/alarm.schema.json says what its fields mean."""
        self._explain(one, case)
        bus, tally, turn = one.name, case.tally, case.turn
        now = one.windows[-1]["time"] if one.windows else case.counted
        event: Event = {"event": what, "time": now, "alarm": case.number, "since": case.since}
        event |= {"until": None if case.on else case.until, "reopened": case.reopened}
        event |= {"windows": tally.windows, "called": tally.called, "frames": tally.frames}
        event |= {"peak": turn["peak"], "delay": turn["delay"]}
        event |= {k: v for k, v in case.facts.items() if k not in ("kind", "most")}
        event |= {"attack": case.facts["kind"], "excerpt": case.excerpt}
        frame = case.facts["frame"] or {"after": ""}
        number = int(event["id"], 16)
        kind = [*Cause].index(Cause(event["cause"]))
        about: Event = {"id": _CUSTOM + kind, "count": tally.called}
        about["name"] = f"CANGRAPH_{event['cause'].upper().replace(' ', '_')}"
        about |= {"first": self._of_day(bus, case.begin), "last": self._of_day(bus, case.counted)}
        about["context"] = f"{number:08X} {frame['after']}".strip()
        return event | {"security_event": about} | ({"bus": bus} if bus else {})

    def _clock(self, bus: str, time: float) -> float:
        """A time by the clock of its bus (s)."""
        return self.buses.of[bus].sliding.origin + time - self.buses.since.get(bus, 0.0)

    def _of_day(self, bus: str, time: float) -> str | None:
        """A time in UTC (ISO 8601), if the time of day is known."""
        seconds = self._clock(bus, time)
        if self.live:
            seconds = datetime.now(UTC).timestamp() - self.buses.now + time
        if not self.live and seconds < _DATED:
            return None
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
