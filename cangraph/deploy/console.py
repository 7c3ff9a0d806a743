"""`cangraph monitor`: an exported detector on a CAN interface, or on a log. It never transmits.
Events are printed as JSON lines, or drawn as a panel on a terminal. Of a log the exit status is a
`detector.Status`; of a bus it is 0."""

import math
import signal
import sys
import time
from argparse import ArgumentError, ArgumentParser, Namespace
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event as Flag
from typing import Any

import can
import numpy as np
from can.cli import add_bus_arguments, create_bus_from_namespace
from can.util import load_config

from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported, Status
from cangraph.deploy.excerpts import Excerpts
from cangraph.deploy.health import Health
from cangraph.deploy.incidents import Incidents
from cangraph.deploy.lines import Lines, UnsaidError
from cangraph.deploy.listener import Listener
from cangraph.deploy.monitor import Buses, Event, Monitor
from cangraph.deploy.state import Source, SpoiltStateError, resume_state, save_state, set_aside
from cangraph.deploy.syslog import Syslog
from cangraph.files import printable
from cangraph.frames import Frames, ReadReport
from cangraph.io.names import Names
from cangraph.io.readers import LogFile

_PIECE = 4096  # frames of a log that are fed at once
_PATIENCE = 0.1  # s that frames are waited for
_SHOWN = 1.0  # s between two looks of `Health`
_LAST = 1.0  # s that the last lines may wait for who reads them
_DRAWN = 4  # times a second that the screen is drawn
_WORDS = {  # what is worth a note on the screen, with the fields of the event
    "resumed": "goes on after {frames:,} frames",
    "anew": "begins anew: {why}; that file is now {aside}",
    "saved": "the state is saved again",
    "unsaved": "the state is not saved: {why}",
    "calibrated": "threshold {at:.3g}, set on {windows} clean windows; false alarms {rate:.2g}",
    "dropped": "{frames:,} frames dropped ({by}): they came faster than they could be judged",
    "errors": "{frames:,} error frames on the bus",
    "bus-off": "the controller is bus-off; look at the wiring and the bit rate",
    "lost": "the interface is gone ({why}); waiting for it",
    "back": "the interface is back",
    "paused": "frames were missed for {seconds:.1f} s; time goes on from the last one",
    "clock": "the clock jumped by {seconds:+.3f} s; time goes on from the last frame",
    "unjudged": "the detector has no number for a window; it is not taken for clean",
    "unreadable": "the rest of the log cannot be read: {why}",
    "holding": "an alarm has held since {since:.0f} s; if it is no attack, give a baseline",
    "suppressed": "{alarms:,} more alarms, which --alarms leaves out",
    "unkept": "an excerpt is not kept: {why}",
    "kept": "excerpts are kept again",
    "unsent": "syslog is not reached: {why}",
    "sent": "syslog is reached again; {events:,} events were not sent",
    "forgot": "{ids:,} rare IDs forgotten: there are more than can be remembered",
    "silent": "no frame for {seconds:.1f} s: unplugged, or the bus sleeps",
    "refused": "{frames:,} rows that are no frames: {why}",
    "repaired": "{reordered:,} steps back in time sorted, {padded:,} payloads cut",
    "stopped": "stopped",
}

_TALE = ("alarm", "update", "holding", "over", "ongoing")  # events of an alarm
_OF_A_BUS = ("statistics", *_TALE)  # which may have no name

Pieces = Iterator[tuple[Frames, list[Event]]]


def _parser() -> ArgumentParser:
    about = "Watch a CAN bus with an exported detector, or replay a log. Nothing is ever sent. "
    about += "What is not given of the bus is taken from python-can's configuration files. "
    about += "Exit status with --log: 0 nothing found, 1 an alarm, 2 not readable, 3 not judged."
    run = ArgumentParser("cangraph monitor", description=about, conflict_handler="resolve")
    seconds: dict[str, Any] = {"type": _seconds, "metavar": "S"}
    own = "an ONNX file of cangraph (without: the bundled one)"
    run.add_argument("detector", type=Path, nargs="?", help=own)
    run.add_argument("--log", type=Path, help="replay this log, of any format cangraph reads")
    run.add_argument("--realtime", action="store_true", help="replay at the pace of the log")
    run.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    run.add_argument("--windows", action="store_true", help="a JSON line for each window too")
    rotated = "append JSON lines to this file, which SIGHUP opens anew, as logrotate needs it"
    run.add_argument("-o", "--output", type=Path, help=rotated)
    served = "serve metrics here; without a host, to this machine alone"
    run.add_argument("--prometheus", type=_address, metavar="[HOST]:PORT", help=served)
    run.add_argument("--statistics", default=10.0, help="every S s (10)", **seconds)
    run.add_argument("--state", type=Path, help="go on from this file, and keep it up to date")
    run.add_argument("--save-every", default=10.0, help="S s (10)", **seconds)
    run.add_argument(
        "--queue", type=_number, default=20_000, metavar="N", help="frames that may wait"
    )
    alarms = run.add_argument_group("alarms")
    alarms.add_argument("--at", type=float, help="threshold, instead of the detector's own")
    clean = "set the threshold on the first S s, which are taken for clean traffic"
    alarms.add_argument("--calibrate", default=0.0, help=clean, **seconds)
    alarms.add_argument("--rate", type=float, default=1e-3, help="of false alarms, to calibrate")
    many = "tell of N a minute at most (10); more are counted"
    alarms.add_argument("--alarms", type=_number, default=10, metavar="N", help=many)
    kept = "keep the frames around each alarm in this folder, candump's way"
    alarms.add_argument("--excerpts", type=Path, metavar="DIR", help=kept)
    alarms.add_argument("--dbc", type=Path, help="names of messages and signals (needs cantools)")
    sent = "send alarms to syslog, too: a socket (/dev/log), or HOST:PORT by UDP"
    alarms.add_argument("--syslog", nargs="?", const="/dev/log", metavar="ADDRESS", help=sent)
    add_bus_arguments(run)
    several = "of the interface; give it again for another bus of the vehicle"
    named: dict[str, Any] = {"dest": "channels", "metavar": "CHANNEL", "default": []}
    run.add_argument("-c", "--channel", action="append", help=several, **named)
    return run


def _seconds(word: str) -> float:
    if not 0 <= float(word) < math.inf:
        raise ValueError(word)
    return float(word)


def _number(word: str) -> int:
    if int(word) < 1:
        raise ValueError(word)
    return int(word)


def _address(word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    if not 0 <= int(port) < 1 << 16:
        raise ValueError(word)
    return host.strip("[]") or "127.0.0.1", int(port)


def run_monitor(arguments: Sequence[str]) -> int:
    """Run `cangraph monitor` until the log ends or a signal comes; returns its exit status. Raises
    `ValueError` and `OSError` where something is wrong, `BrokenPipeError` when nobody reads what it
    says any more; the state is saved then too."""
    given = _parser().parse_args(arguments)
    if sys.stdout is None and not given.output:
        raise ValueError("standard output is closed; expected a place for events; open it")
    detector = Exported(given.detector or boxed())
    rule = detector.rule if given.at is None else detector.rule._replace(at=given.at)
    make = partial(Monitor, detector, rule=rule, calibrate=given.calibrate, rate=given.rate)
    channels, source = _watched(given)
    buses = Buses(make, channels, one_clock=bool(given.log))
    resumed = _resumed(given, buses, source)
    stop = Flag()
    with ExitStack() as stack:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(name) != signal.SIG_IGN:  # as under nohup
                stack.callback(signal.signal, name, signal.signal(name, lambda *_: stop.set()))
        title = f"{detector.path.name} ({detector.kind}) on {source.name}"
        out = _said(stack, given, Screen(title, channels), stop)
        health = Health(*given.prometheus) if given.prometheus else None
        if health:
            stack.callback(health.close)
        listeners = {} if given.log else _listeners(stack, given, buses)
        names = Names(given.dbc) if given.dbc else None
        excerpts = Excerpts(given.excerpts) if given.excerpts else None
        if excerpts:
            stack.callback(excerpts.close)
        syslog = Syslog(given.syslog) if given.syslog else None
        if syslog:
            stack.callback(syslog.close)
        incidents = Incidents(buses, given.alarms, names, excerpts, live=not given.log)
        pieces = _replayed(given, buses, stop) if given.log else _listened(listeners, buses, stop)
        run = _Run(given, incidents, source, out, stop, listeners, syslog, health)
        return run.through(pieces, resumed)


def _said(stack: ExitStack, given: Namespace, screen: "Screen", stop: Flag) -> "Lines | Screen":
    """Where events go: a file, a panel on a terminal, or standard output."""
    wait = stop.is_set if given.log else None
    if given.output:
        out = Lines(given.output.open("a"), wait, given.windows)
        stack.callback(lambda: out.stream.close())

        def rotate(*_: Any) -> None:
            out.rotated = given.output

        stack.callback(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, rotate))
        return out
    if sys.stdout.isatty() and not given.json:
        screen.show(stack)
        return screen
    return Lines(sys.stdout, wait, given.windows)


def _watched(given: Namespace) -> tuple[list[str], Source]:
    """The buses that are known before a frame comes, and what a state is bound to."""
    if given.log and given.channels:
        came = f"--log {given.log} and --channel {given.channels[0]}"
        raise ValueError(f"{came}; expected one of them; all buses of a log are judged")
    if given.log:
        return [], Source.of(given.log) if given.state else Source(str(given.log))
    interface = getattr(given, "interface", None)
    try:
        known = load_config(config={"interface": interface} if interface else None)
        interface, channel = known["interface"], known.get("channel")
        given.channels = given.channels or ([] if channel is None else [str(channel)])
    except Exception:  # of any kind, as in a file that is no configuration: told when it is opened
        pass
    channels = given.channels
    if twice := {name for name in channels if channels.count(name) > 1}:
        came = f"the channel {', '.join(twice)} is given twice"
        raise ValueError(f"{came}; expected each bus once; name another one")
    name = f"{interface or ''} {', '.join(channels)}".strip()
    served = [name for name in channels if name and "," not in name]  # by one listener each
    return served, Source(name or "the configured bus")


def _resumed(given: Namespace, buses: Buses, source: Source) -> list[Event]:
    """Go on from the state, where there is one; what there is to tell of it."""
    if not given.state:
        return []
    try:
        unsaid = resume_state(given.state, buses, source)
    except FileNotFoundError:
        return []
    except SpoiltStateError as error:
        anew: Event = {"event": "anew", "time": 0.0, "why": str(error)}
        try:
            return [anew | {"aside": str(set_aside(given.state))}]
        except OSError as hindrance:  # the file stays as it is: nothing is saved
            given.state = None
            why = f"the old state cannot be set aside: {hindrance}"
            return [anew | {"aside": ""}, {"event": "unsaved", "time": 0.0, "why": why}]
    resumed: Event = {"event": "resumed"}
    return unsaid + buses.each(lambda m: resumed | {"time": m.time, "frames": m.count["frames"]})


def _bus(given: Namespace, channel: str | None) -> can.BusABC:
    one = {} if channel is None else {"channel": channel}
    try:
        return create_bus_from_namespace(given, **one)
    except ArgumentError as error:  # hides what the interfaces raise
        why = " ".join(str(error.__cause__).split())[:200]
        where = " ".join(filter(None, [getattr(given, "interface", ""), channel]))
        raise ConnectionError(
            f"{where or 'the configured bus'}: cannot be opened ({why}); expected a CAN interface "
            "that is up; check --interface and --channel, python-can's configuration file, and the "
            "cable"
        ) from error


def _listeners(stack: ExitStack, given: Namespace, buses: Buses) -> dict[str, Listener]:
    """What listens to each bus. Raises `ConnectionError` where none can be opened."""
    found, ready = {}, Flag()
    for channel in given.channels or [None]:
        name = channel or ""
        found[name] = Listener(
            partial(_bus, given, channel),
            given.queue,
            name=name,
            ready=ready,
            bit_rate=getattr(given, "bitrate", None),
        )
        stack.callback(found[name].stop)
        served = [name] if name in buses.of else [bus for bus in buses.of if bus not in found]
        last = [buses.of[bus].last_time for bus in served if bus in buses.since]
        if last:
            found[name].clock.pause(max(last))
    lost = [listener.lost for listener in found.values()]
    if all(lost):
        raise ConnectionError(lost[0])
    return found


@dataclass
class _Run:
    """A watch: what comes is judged, said and kept. Saving and saying may fail: it goes on."""

    given: Namespace
    incidents: Incidents
    source: Source
    out: "Lines | Screen"
    stop: Flag
    listeners: dict[str, Listener]
    syslog: Syslog | None
    health: Health | None
    unsaved: str = ""  # why the state is not saved
    refused: int = 0  # rows of a log

    @property
    def buses(self) -> Buses:
        return self.incidents.buses

    def through(self, pieces: Pieces, first: Sequence[Event]) -> int:
        """Run until the pieces end; returns the exit status. `first` is said before."""
        given, shown = self.given, -math.inf
        told = saved = time.monotonic()
        try:
            self.say(first)
            for frames, notices in pieces:
                self.say([n | {"time": self.buses.time(n.get("bus", ""))} for n in notices])
                self.refused += sum(n["frames"] for n in notices if n["event"] == "refused")
                if any(n["event"] == "unreadable" for n in notices):
                    self.refused = sys.maxsize
                self.say(self.incidents.take(self.buses.feed(frames)))
                now = time.monotonic()
                if self.health and now - shown >= _SHOWN:
                    shown, self.health.facts = now, self.statistics()
                if now - told >= given.statistics:
                    told = now
                    self.say(self.statistics())
                if now - saved >= given.save_every:
                    saved = now
                    self.save()
            self.save()
            status = self.status() if given.log else Status.NOTHING
            ends = {"event": "stopped", "time": self.buses.now, "status": status.value}
            ends |= {"unsaved": self.unsaved} if self.unsaved else {}
            self.say([*self.incidents.ending(), *self.statistics(), ends])
            self.out.flush(_LAST)
        except (BrokenPipeError, UnsaidError):
            self.save()
            raise
        if not self.out.waiting:
            return status
        self.save()
        where = given.output or "standard output"
        raise UnsaidError(f"{where}: {len(self.out.waiting):,} events were not taken")

    def say(self, events: Iterable[Event]) -> None:
        for event in events:  # all of them wait before one is written: a save knows them all
            self.out.say(event)
            if self.syslog:
                for notice in self.syslog.say(event):
                    self.out.say(notice | {"time": event["time"]})
        self.out.flush()

    def statistics(self) -> list[Event]:
        told = self.buses.each(Monitor.statistics)
        counted = {name: listener.counters() for name, listener in self.listeners.items()}
        other = next((counted[name] for name in counted if name not in self.buses.of), {})
        return [event | counted.get(event.get("bus", ""), other) for event in told]

    def status(self) -> Status:
        """That of a log."""
        monitors = [*self.buses.of.values()]
        alarms, unjudged = (sum(m.count[name] for m in monitors) for name in ("alarms", "unjudged"))
        # while a monitor calibrates, it judges nothing; of a log that was left, the rest is unknown
        left = self.stop.is_set()
        judged = [0 if left or m.clean is not None else m.count["windows"] for m in monitors]
        frames, least = self.buses.frames, min(judged, default=0)
        return Status.of(alarms, self.refused, frames, least, unjudged)

    def save(self) -> None:
        """Keep the state, with what nobody took yet, if it can be kept."""
        if not self.given.state:
            return
        before, self.unsaved = self.unsaved, ""
        self.buses.incidents = self.incidents.state()
        try:
            save_state(self.given.state, self.buses, self.source, self.out.waiting)
        except (OSError, ValueError) as error:
            self.unsaved = getattr(error, "strerror", "") or str(error)
        if self.unsaved != before:
            event = {"event": "unsaved" if self.unsaved else "saved", "time": self.buses.now}
            self.out.say(event | ({"why": self.unsaved} if self.unsaved else {}))


def _replayed(given: Namespace, buses: Buses, stop: Flag) -> Pieces:
    """The frames of a log that were not judged yet, what its reader repaired, and why the rest
    cannot be read. Raises `ValueError` and `OSError` where nothing can."""
    passed, began, size = buses.frames, None, _PIECE
    if given.realtime:
        size = buses.pattern.sliding.stride
    reports: list[ReadReport] = []
    fault = ""
    chunks = LogFile(given.log, strict=False).chunks()
    while not fault:
        try:
            chunk = next(chunks, None)
        except (ValueError, OSError) as error:
            if not reports:
                raise
            chunk, fault = None, str(error)
        if chunk is None:
            break
        reports.append(chunk.report)
        skipped = min(passed, len(chunk))
        passed -= skipped
        for piece in chunk[skipped:].chunks(size):
            if given.realtime and len(piece):
                began = began or time.monotonic() - piece.timestamp[0]
                stop.wait(max(began + piece.timestamp[-1] - time.monotonic(), 0.0))
            yield piece, []
            if stop.is_set():
                return
    last: list[Event] = [{"event": "unreadable", "why": fault}] if fault else []
    yield Frames(np.zeros(0), np.zeros(0)), _repaired(reports) + last


def _repaired(reports: Sequence[ReadReport]) -> list[Event]:
    names = ("refused", "error_frames", "reordered", "padded")
    refused, errors, reordered, padded = (sum(getattr(r, n) for r in reports) for n in names)
    why = "; ".join(fault for report in reports for fault in report.first_refused)
    events = [
        (refused, {"event": "refused", "frames": refused, "why": why}),
        (errors, {"event": "errors", "frames": errors}),
        (reordered or padded, {"event": "repaired", "reordered": reordered, "padded": padded}),
    ]
    return [event for happened, event in events if happened]


def _listened(listeners: dict[str, Listener], buses: Buses, stop: Flag) -> Pieces:
    while not stop.is_set():
        for number, (name, listener) in enumerate(listeners.items()):  # the first waits for all
            yield listener.take(buses.wanted(name), 0.0 if number else _PATIENCE)


class Shown:
    """What a screen shows of one bus."""

    def __init__(self) -> None:
        self.facts: Event = {}
        self.alarm: Event = {}  # that is not over
        self.time, self.quiet_since = 0.0, 0.0

    def say(self, event: Event) -> None:
        self.time = event["time"]
        if event["event"] == "statistics":
            self.facts = event
        if event["event"] in _TALE:
            self.alarm = {} if event["event"] == "over" else event
            self.quiet_since = event["time"]

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is the matter, why, and what was counted: each a text and its style."""
        if self.alarm:
            yield f"ALARM  {_said_of(self.alarm)}", "bold red"
            yield self.alarm["why"], ""
            if frame := self.alarm["frame"]:
                after = enumerate(frame["after"].split())
                marked = [f"[{byte}]" if k in frame["changed"] else byte for k, byte in after]
                yield f"{frame['before'] or 'no frame'} → {' '.join(marked)}", ""
        elif self.facts.get("lost"):
            yield "the interface is gone", "bold yellow"
        elif self.facts.get("calibrating"):
            yield "learning what is normal here", "yellow"
        else:
            yield f"quiet for {_clock(self.time - self.quiet_since)}", "green"
        f = self.facts
        always = ("frames", "windows", "ids", "alarms") if f else ()
        sometimes = [name for name in ("dropped", "error_frames") if f.get(name)]
        parts = [f"{f[name]:,} {name}" for name in (*always, *sometimes)]
        parts += [f"{f['p50_ms']:.2f} ms a window"] if f.get("p50_ms") is not None else []
        counted = "   ".join(parts).replace("ids", "IDs").replace("_", " ")
        yield counted or "waiting for frames", "dim"


class Screen:
    """A panel of the monitors of `buses`: `say` it every event; once `show`n it is on the terminal,
    and drawn again by `flush`."""

    waiting = ()

    def __init__(self, title: str, buses: Iterable[str] = ()):
        self.title = printable(title)
        self.buses = {name: Shown() for name in map(printable, buses)}
        self.notes: deque[str] = deque(maxlen=10)
        self._live: Any = None
        self._drawn = 0.0

    def show(self, stack: ExitStack) -> None:
        """Be on the terminal until the `stack` ends."""
        from rich.live import Live

        self._live = Live(self, auto_refresh=False)
        self._live.start()
        stack.callback(self._on_the_terminal, self._live.stop)

    def flush(self, patience: float = 0.0) -> None:
        if time.monotonic() - self._drawn > 1 / _DRAWN:
            self._drawn = time.monotonic()
            self._on_the_terminal(self._live.refresh)

    @staticmethod
    def _on_the_terminal(draw: Callable[[], None]) -> None:
        with suppress(OSError):  # it was closed: SIGHUP comes
            draw()

    def say(self, event: Event) -> None:
        # names of files and buses come from data; no text of an event reaches rich but as `Text`
        event = {k: printable(v) if isinstance(v, str) else v for k, v in event.items()}
        kind, bus = event["event"], event.get("bus", "")
        if bus or kind in _OF_A_BUS:
            self.buses.setdefault(bus, Shown()).say(event)
        text = _WORDS.get(kind, "").format(**event)
        if kind == "over":
            lasted = event["until"] - event["since"]
            text = f"alarm of {lasted:.1f} s: {_said_of(event)}; {event['why'].partition(': ')[2]}"
        if text:
            of = f"{bus}: " if len(self.buses) > 1 and bus else ""
            self.notes.append(f"{_clock(event['time'])}  {of}{text}")

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        parts: list = []
        for name, shown in (self.buses or {"": Shown()}).items():
            of = f"{name}: " if len(self.buses) > 1 else ""
            for text, style in shown.lines():
                parts.append(Text(of + text, style))
                of = ""
        parts += [Text(), *(Text(note, "dim") for note in self.notes)] if self.notes else []
        return Panel(Group(*parts), title=Text(self.title), title_align="left", padding=(1, 2))


def _said_of(alarm: Event) -> str:
    """The cause of an alarm, whose it is and how sure that is."""
    more = f" and {alarm['many'] - 1:,} more IDs" if alarm["many"] > 1 else ""
    who = " ".join(filter(None, [f"0x{alarm['id']}", alarm["name"]]))
    return f"{alarm['cause']}, {who}{more}, {alarm['sure']}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
