"""`cangraph monitor`: an exported detector on a CAN interface, or on a log. It never transmits.
Events are printed as JSON lines, or drawn as a panel on a terminal."""

import json
import signal
import sys
import time
from argparse import ArgumentError, ArgumentParser, Namespace
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event as Flag
from typing import Any

import can
from can.cli import add_bus_arguments, create_bus_from_namespace

from cangraph.deploy.box import boxed
from cangraph.deploy.detector import Exported
from cangraph.deploy.listener import Listener
from cangraph.deploy.monitor import Event, Monitor
from cangraph.evaluation.alarms import AlarmRule
from cangraph.frames import Frames, ReadReport
from cangraph.io.readers import LogFile

_PIECE = 4096  # frames of a log that are fed at once
_DRAWN = 4  # times a second that the screen is drawn
_BARS = " ▁▂▃▄▅▆▇█"
_WORDS = {  # what is worth a note on the screen, with the fields of the event
    "resumed": "goes on after {frames:,} frames",
    "calibrated": "threshold {at:.3g}, set on {windows} clean windows; false alarms {rate:.2g}",
    "dropped": "{frames:,} frames dropped: they came faster than they could be judged",
    "errors": "{frames:,} error frames on the bus",
    "bus-off": "the controller is bus-off; look at the wiring and the bit rate",
    "lost": "the interface is gone ({why}); waiting for it",
    "back": "the interface is back",
    "paused": "frames were missed for {seconds:.1f} s; time goes on from the last one",
    "clock": "the clock jumped by {seconds:+.3f} s; time goes on from the last frame",
    "forgot": "{ids:,} rare IDs forgotten: there are more than can be remembered",
    "silent": "no frame for {seconds:.1f} s: unplugged, or the bus sleeps",
    "refused": "{frames:,} rows that are no frames: {why}",
    "repaired": "{reordered:,} steps back in time sorted, {padded:,} payloads cut",
    "stopped": "stopped",
}

Pieces = Iterator[tuple[Frames, list[Event]]]
Heard = tuple[Pieces, Callable[[], Event]]  # and what else was counted
Say = Callable[[Event], None]


def _parser() -> ArgumentParser:
    about = "Watch a CAN bus with an exported detector, or replay a log. Nothing is ever sent. "
    about += "What is not given of the bus is taken from python-can's configuration files."
    run = ArgumentParser("cangraph monitor", description=about)
    seconds: dict[str, Any] = {"type": float, "metavar": "S"}
    own = "an ONNX file of cangraph; without, the one that cangraph brings"
    run.add_argument("detector", type=Path, nargs="?", help=own)
    run.add_argument("--log", type=Path, help="replay this log, of any format cangraph reads")
    run.add_argument("--realtime", action="store_true", help="replay at the pace of the log")
    run.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    run.add_argument("--windows", action="store_true", help="a JSON line for each window too")
    run.add_argument("--statistics", default=10.0, help="every S s (10)", **seconds)
    run.add_argument("--state", type=Path, help="go on from this file, and keep it up to date")
    run.add_argument("--save-every", default=10.0, help="S s (10)", **seconds)
    run.add_argument("--queue", type=int, default=20_000, metavar="N", help="frames that may wait")
    alarms = run.add_argument_group("alarms")
    alarms.add_argument("--at", type=float, help="threshold, instead of the detector's own")
    clean = "set the threshold on the first S s, which are taken for clean traffic"
    alarms.add_argument("--calibrate", default=0.0, help=clean, **seconds)
    alarms.add_argument("--rate", type=float, default=1e-3, help="of false alarms, to calibrate")
    alarms.add_argument("-k", type=int, help="windows of the last n for an alarm (2)")
    alarms.add_argument("-n", type=int, help="windows that are looked at (3)")
    alarms.add_argument("--hold", default=1.0, help="join alarms within S s", **seconds)
    alarms.add_argument("--stride", type=int, help="frames from one window to the next")
    add_bus_arguments(run)
    return run


def run_monitor(arguments: Sequence[str]) -> None:
    """Run `cangraph monitor` until the log ends or a signal comes. Raises `ValueError` and
    `OSError` where something is wrong."""
    given = _parser().parse_args(arguments)
    detector = Exported(given.detector or boxed())
    shown = sys.stdout.isatty() and not given.json
    settings = {n: getattr(given, n) for n in ("hold", "stride", "calibrate", "rate")}
    monitor = Monitor(detector, rule=_rule(given, detector.rule), **settings)
    source = str(given.log) if given.log else _channel(given)
    beside: dict[str, Any] = {}
    if given.state and given.state.is_file():
        beside = monitor.resume(given.state)
        if given.log and beside.get("source") != source:
            came = f"{given.state}: saved at {beside.get('source')}"
            raise ValueError(f"{came}; expected {source}; give another --state, or delete it")
    stop = Flag()
    with ExitStack() as stack:
        say: Say = partial(_line, windows=given.windows)
        if shown:
            say = _screen(stack, f"{detector.path.name} ({detector.kind})", source)
        for name in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, name, signal.signal(name, lambda *_: stop.set()))
        if given.log:
            heard: Heard = (_replayed(given, monitor, stop), dict)
        else:
            listener = Listener(lambda: _bus(given), given.queue)
            stack.callback(listener.stop)
            if beside:
                listener.clock.pause(beside["clock"])
            heard = _listened(listener, monitor, stop), listener.counters
        if beside:
            say({"event": "resumed", "time": monitor.time, "frames": monitor.count["frames"]})
        _run(given, monitor, source, heard, say)


def _rule(given: Namespace, own: AlarmRule) -> AlarmRule:
    """The detector's own rule, but for what is given; k or n alone is meant of 2 of 3."""
    asked = {n: getattr(given, n) for n in AlarmRule._fields if getattr(given, n) is not None}
    return (AlarmRule(own.at) if asked.keys() & {"k", "n"} else own)._replace(**asked)


def _bus(given: Namespace) -> can.BusABC:
    try:
        return create_bus_from_namespace(given)
    except ArgumentError as error:  # hides what the interfaces raise
        why = " ".join(str(error.__cause__).split())[:200]
        raise ConnectionError(
            f"{_channel(given)}: cannot be opened ({why}); expected a CAN interface that is up; "
            "check --interface and --channel, python-can's configuration file, and the cable"
        ) from error


def _channel(given: Namespace) -> str:
    names = (getattr(given, name, "") for name in ("interface", "channel"))
    return " ".join(filter(None, names)) or "the configured bus"


def _run(given: Namespace, monitor: Monitor, source: str, heard: Heard, say: Say) -> None:
    def save() -> None:
        if given.state:
            clock = monitor.sliding.origin + monitor.time
            monitor.save(given.state, source=source, clock=clock)

    pieces, counters = heard
    told = saved = time.monotonic()
    for frames, notices in pieces:
        for notice in notices:
            say(notice | {"time": monitor.time})
        for event in monitor.feed(frames):
            say(event)
        now = time.monotonic()
        if now - told >= given.statistics:
            told = now
            say(monitor.statistics() | counters())
        if now - saved >= given.save_every:
            saved = now
            save()
    save()
    ends = {"event": "stopped", "time": monitor.time}
    for event in [*monitor.ongoing(), monitor.statistics() | counters(), ends]:
        say(event)


def _replayed(given: Namespace, monitor: Monitor, stop: Flag) -> Pieces:
    """The frames of a log that the monitor has not seen, and what its reader repaired."""
    passed, began = monitor.count["frames"], None
    reports = []
    for chunk in LogFile(given.log, strict=False).chunks():
        reports.append(chunk.report)
        if chunk.bus.any():  # one profile of two buses would halve every period
            raise ValueError(
                f"{given.log}: it holds the buses {', '.join(chunk.bus_names)}; expected one; part "
                "it by bus, or let `cangraph scan` judge each"
            )
        skipped = min(passed, len(chunk))
        passed -= skipped
        size = monitor.sliding.stride if given.realtime else _PIECE
        for piece in chunk[skipped:].chunks(size):
            if given.realtime and len(piece):
                began = began or time.monotonic() - piece.timestamp[0]
                stop.wait(max(began + piece.timestamp[-1] - time.monotonic(), 0.0))
            yield piece, []
            if stop.is_set():
                return
    yield chunk[:0], _repaired(reports)


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


def _listened(listener: Listener, monitor: Monitor, stop: Flag) -> Pieces:
    while not stop.is_set():
        yield listener.take(monitor.wanted)


def _line(event: Event, windows: bool) -> None:
    if windows or event["event"] != "window":
        print(json.dumps(event), flush=True)


def _screen(stack: ExitStack, detector: str, source: str) -> Say:
    from rich.live import Live

    screen = Screen(detector, source)
    stack.enter_context(Live(screen, refresh_per_second=_DRAWN))
    return screen.tell


class Screen:
    """A panel that rich can draw: `tell` it every event of a monitor."""

    def __init__(self, detector: str, source: str):
        self.title = f"{detector} on {source}"
        self.values: deque[float] = deque(maxlen=60)
        self.alarms: deque[Event] = deque(maxlen=8)
        self.notes: deque[str] = deque(maxlen=4)
        self.facts: Event = {}
        self.time, self.quiet_since, self.on = 0.0, 0.0, False

    def tell(self, event: Event) -> None:
        self.time = event["time"]
        match event["event"]:
            case "window":
                self.values.append(event["value"])
            case "alarm" | "over" | "ongoing":
                self.on = event["event"] != "over"
                self.quiet_since = event["time"]
                if self.alarms and self.alarms[-1]["since"] == event["since"]:
                    self.alarms.pop()
                self.alarms.append(event)
            case "statistics":
                self.facts = event
        if text := _WORDS.get(event["event"], "").format(**event):
            self.notes.append(f"{timedelta(seconds=round(event['time']))}  {text}")

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        parts: list = [Text(*self._headline()), Text(self._bars(), "dim"), Text(self._counters())]
        if self.alarms:
            parts += [Text(), self._fill(Table(box=None, padding=(0, 2, 0, 0), header_style="dim"))]
        if self.notes:
            parts += [Text(), *(Text(note, "dim") for note in self.notes)]
        return Panel(Group(*parts), title=self.title, title_align="left", padding=(1, 2))

    def _headline(self) -> tuple[str, str]:
        if self.on:
            alarm = self.alarms[-1]
            what = f" {alarm['attack']}" if alarm["attack"] else ""
            return f"ALARM{what}, ID {alarm['id']}", "bold red"
        if self.facts.get("calibrating"):
            return "learning what is normal here", "yellow"
        return f"quiet for {timedelta(seconds=round(self.time - self.quiet_since))}", "green"

    def _bars(self) -> str:
        """The last scores, full at twice the threshold."""
        at = self.facts.get("at") or 1.0
        levels = [min(max(value / (2 * at), 0.0), 1.0) for value in self.values]
        return "".join(_BARS[round(level * (len(_BARS) - 1))] for level in levels)

    def _counters(self) -> str:
        f = self.facts
        if not f:
            return "waiting for frames"
        parts = [f"{f[name]:,} {name}" for name in ("frames", "windows", "ids", "alarms")]
        parts += [f"{f[name]:,} {name}" for name in ("dropped", "error_frames") if f.get(name)]
        if f["p50_ms"] is not None:
            parts.append(f"{f['p50_ms']:.2f} ms a window, 99 % under {f['p99_ms']:.2f} ms")
        return "   ".join(parts).replace("ids", "IDs").replace("_", " ")

    def _fill(self, table: Any) -> Any:
        for name in ("alarm at", "lasted", "ID", "attack", "peak", "delay"):
            numeric = name in ("lasted", "peak", "delay")
            table.add_column(name, justify="right" if numeric else "left")
        for alarm in reversed(self.alarms):
            over = alarm["event"] == "over"
            lasted = f"{alarm['time'] - alarm['since']:.1f} s" if over else "now"
            since, kind = str(timedelta(seconds=round(alarm["since"]))), alarm["attack"]
            row = [since, lasted, alarm["id"], kind or "not known", f"{alarm['peak']:.3g}"]
            table.add_row(*row, f"{alarm['delay']:.2f} s", style="" if over else "red")
        return table
