"""`cangraph monitor`: an exported detector on a CAN interface, or on a log. It never transmits."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event as Flag
from typing import Any

import can
from can.cli import add_bus_arguments, create_bus_from_namespace

from cangraph.deploy.detector import Exported
from cangraph.deploy.listener import Listener
from cangraph.deploy.monitor import Monitor
from cangraph.extras import named_extra
from cangraph.frames import Frames
from cangraph.io.readers import LogFile

__all__ = ["run_monitor"]

_PIECE = 4096  # frames of a log that are fed at once
_DRAWN = 4  # times a second that the screen is drawn

Pieces = Iterator[tuple[Frames, list[dict[str, Any]]]]


def _parser() -> argparse.ArgumentParser:
    run = argparse.ArgumentParser(
        "cangraph monitor",
        description="Watch a CAN bus with an exported detector, or replay a log. Nothing is ever "
        "sent. What is not given of the bus is taken from python-can's configuration files.",
    )
    run.add_argument("detector", type=Path, help="an ONNX file of cangraph")
    run.add_argument("--log", type=Path, help="replay this log, of any format cangraph reads")
    run.add_argument("--realtime", action="store_true", help="replay at the pace of the log")
    run.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    run.add_argument("--windows", action="store_true", help="a JSON line for each window too")
    run.add_argument("--statistics", type=float, default=10.0, metavar="S", help="every S s (10)")
    run.add_argument("--state", type=Path, help="go on from this file, and keep it up to date")
    run.add_argument("--save-every", type=float, default=10.0, metavar="S", help="S s (10)")
    run.add_argument("--queue", type=int, default=20_000, metavar="N", help="frames that may wait")
    alarms = run.add_argument_group("alarms")
    alarms.add_argument("--at", type=float, help="threshold, instead of the detector's own")
    alarms.add_argument(
        "--calibrate",
        type=float,
        default=0.0,
        metavar="S",
        help="set the threshold on the first S s, which are taken for clean traffic",
    )
    alarms.add_argument("--rate", type=float, default=1e-3, help="of false alarms, to calibrate")
    alarms.add_argument("-k", type=int, help="windows of the last n for an alarm (2)")
    alarms.add_argument("-n", type=int, help="windows that are looked at (3)")
    alarms.add_argument("--hold", type=float, default=1.0, metavar="S", help="join alarms within S")
    alarms.add_argument("--stride", type=int, help="frames from one window to the next")
    add_bus_arguments(run)
    return run


def run_monitor(arguments: Sequence[str]) -> None:
    """Run `cangraph monitor` with these arguments, until the log ends or a signal comes.

    Raises `ValueError` and `OSError` where something is wrong.
    """
    given = _parser().parse_args(arguments)
    detector = Exported(given.detector)
    shown = sys.stdout.isatty() and not given.json
    monitor = Monitor(
        detector,
        at=given.at,
        k=given.k,
        n=given.n,
        hold=given.hold,
        stride=given.stride,
        calibrate=given.calibrate,
        rate=given.rate,
        tell_windows=shown or given.windows,
    )
    source = str(given.log) if given.log else _channel(given)
    beside: dict[str, Any] = {}
    if given.state and given.state.is_file():
        beside = monitor.resume(given.state)
        if given.log and beside.get("source") != source:
            raise ValueError(
                f"{given.state}: saved at {beside.get('source')}; expected {source}; give another "
                "--state, or delete it"
            )
    stop = Flag()
    with ExitStack() as stack:
        say = _screen(stack, given, detector, source) if shown else _lines
        for name in ("SIGINT", "SIGTERM"):
            before = signal.signal(getattr(signal, name), lambda *_: stop.set())
            stack.callback(signal.signal, getattr(signal, name), before)
        if given.log:
            pieces, counters = _replayed(given, monitor, stop), dict
        else:
            listener = Listener(lambda: _bus(given), given.queue)
            stack.callback(listener.stop)
            if beside:
                listener.clock.pause(beside["clock"])
            pieces, counters = _listened(listener, monitor, stop), listener.counters
        if beside:
            say({"event": "resumed", "time": monitor.time, "frames": monitor.count["frames"]})
        _run(given, monitor, source, pieces, counters, say)


def _bus(given: argparse.Namespace) -> can.BusABC:
    try:
        return create_bus_from_namespace(given)
    except argparse.ArgumentError as error:  # hides what the interfaces raise
        why = " ".join(str(error.__cause__).split())[:200]
        raise ConnectionError(
            f"{_channel(given)}: cannot be opened ({why}); expected a CAN interface that is up; "
            "check --interface and --channel, python-can's configuration file, and the cable"
        ) from error


def _channel(given: argparse.Namespace) -> str:
    names = (getattr(given, name, "") for name in ("interface", "channel"))
    return " ".join(filter(None, names)) or "the configured bus"


def _run(given, monitor: Monitor, source: str, pieces: Pieces, counters, say) -> None:
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
        if given.state and now - saved >= given.save_every:
            saved = now
            _save(given.state, monitor, source)
    if given.state:
        _save(given.state, monitor, source)
    for event in [*monitor.ongoing(), monitor.statistics() | counters()]:
        say(event)
    say({"event": "stopped", "time": monitor.time})


def _save(path: Path, monitor: Monitor, source: str) -> None:
    monitor.save(path, source=source, clock=monitor.sliding.origin + monitor.time)


def _replayed(given: argparse.Namespace, monitor: Monitor, stop: Flag) -> Pieces:
    """The frames of a log behind those that the monitor has seen, and what its reader repaired."""
    passed, began = monitor.count["frames"], None
    refused, faults, repaired = 0, [], {"reordered": 0, "padded": 0, "errors": 0}
    for chunk in LogFile(given.log, strict=False).chunks():
        report = chunk.report
        refused, faults = refused + report.refused, faults + list(report.first_refused)
        repaired["reordered"] += report.reordered
        repaired["padded"] += report.padded
        repaired["errors"] += report.error_frames
        for begin in range(0, len(chunk), _PIECE):
            piece = chunk[begin : begin + _PIECE]
            skipped = min(passed, len(piece))
            passed -= skipped
            piece = piece[skipped:]
            if given.realtime and len(piece):
                began = began or time.monotonic() - piece.timestamp[0]
                for frame in range(0, len(piece), monitor.sliding.stride):
                    part = piece[frame : frame + monitor.sliding.stride]
                    stop.wait(max(began + part.timestamp[-1] - time.monotonic(), 0.0))
                    yield part, []
            else:
                yield piece, []
            if stop.is_set():
                return
    notices = [{"event": "refused", "frames": refused, "why": "; ".join(faults)}] * (refused > 0)
    errors = repaired.pop("errors")
    notices += [{"event": "errors", "frames": errors}] * (errors > 0)
    notices += [{"event": "repaired"} | repaired] * any(repaired.values())
    yield Frames(chunk.timestamp[:0], chunk.arbitration_id[:0]), notices


def _listened(listener: Listener, monitor: Monitor, stop: Flag) -> Pieces:
    while not stop.is_set():
        yield listener.take(monitor.wanted)


def _lines(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _screen(stack: ExitStack, given, detector: Exported, source: str) -> Callable[[dict], None]:
    with named_extra("the panel (--json needs none)"):
        from rich.live import Live

        from cangraph.deploy.screen import Screen

    screen = Screen(f"{detector.path.name} ({detector.kind})", source)
    stack.enter_context(Live(screen, refresh_per_second=_DRAWN))
    return screen.tell
