"""What a monitor says, for the eye: a calm panel that changes only where something happened."""

from collections import deque
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

__all__ = ["Screen", "words"]

_BARS = " ▁▂▃▄▅▆▇█"
_SHOWN = 8  # alarms
_NOTES = 4

_WORDS = {  # what is worth a note, with the fields of the event
    "resumed": "goes on after {frames:,} frames",
    "calibrated": "threshold {at:.3g}, set on {windows} clean windows; it lets a new one pass "
    "with {rate:.2g} at most",
    "dropped": "{frames:,} frames dropped: they came faster than they could be judged",
    "errors": "{frames:,} error frames on the bus",
    "bus-off": "the controller is bus-off; look at the wiring and the bit rate",
    "lost": "the interface is gone ({why}); waiting for it",
    "back": "the interface is back",
    "paused": "frames were missed for {seconds:.1f} s; time goes on from the last one",
    "clock": "the clock jumped by {seconds:+.3f} s; time goes on from the last frame",
    "forgot": "{ids:,} IDs forgotten that came seldom: there are more than can be remembered",
    "silent": "no frame for {seconds:.1f} s: unplugged, or the bus sleeps",
    "refused": "{frames:,} rows that are no frames: {why}",
    "repaired": "{reordered:,} steps back in time sorted, {padded:,} payloads cut",
    "stopped": "stopped",
}


def words(event: dict[str, Any]) -> str:
    """An event in words; "" for one that needs none.

    >>> words({"event": "dropped", "frames": 1200})
    '1,200 frames dropped: they came faster than they could be judged'
    """
    return _WORDS.get(event["event"], "").format(**event)


def _clock(seconds: float) -> str:
    """
    >>> _clock(3725.04)
    '1:02:05.0'
    """
    minutes, seconds = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}"


class Screen:
    """The state of a monitor as something that rich can draw: `tell` it every event."""

    def __init__(self, detector: str, source: str, width: int = 60):
        self.title = f"{detector} on {source}"
        self.values: deque[float] = deque(maxlen=width)
        self.alarms: deque[dict] = deque(maxlen=_SHOWN)
        self.notes: deque[str] = deque(maxlen=_NOTES)
        self.facts: dict[str, Any] = {}
        self.time, self.quiet_since, self.on = 0.0, 0.0, False

    def tell(self, event: dict[str, Any]) -> None:
        """Take up an event."""
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
        if text := words(event):
            self.notes.append(f"{_clock(event['time'])}  {text}")

    def __rich__(self) -> Panel:
        parts = [self._headline(), Text(self._bars(), style="dim"), self._counters()]
        if self.alarms:
            parts += [Text(), self._table()]
        if self.notes:
            parts += [Text(), *(Text(note, style="dim") for note in self.notes)]
        return Panel(Group(*parts), title=self.title, title_align="left", padding=(1, 2))

    def _headline(self) -> Text:
        if self.on:
            alarm = self.alarms[-1]
            what = f" {alarm['attack']}" if alarm["attack"] else ""
            return Text(f"ALARM{what}, ID {alarm['id']}", style="bold red")
        if self.facts.get("calibrating"):
            return Text("learning what is normal here", style="yellow")
        return Text(f"quiet for {_clock(self.time - self.quiet_since)}", style="green")

    def _bars(self) -> str:
        """The last scores, drawn against the threshold: full at twice of it."""
        at = self.facts.get("at") or 1.0
        levels = [min(max(value / (2 * at), 0.0), 1.0) for value in self.values]
        return "".join(_BARS[round(level * (len(_BARS) - 1))] for level in levels)

    def _counters(self) -> Text:
        f = self.facts
        if not f:
            return Text("waiting for frames", style="dim")
        parts = [f"{f[name]:,} {name}" for name in ("frames", "windows", "ids", "alarms")]
        parts += [f"{f[name]:,} {name}" for name in ("dropped", "error_frames") if f.get(name)]
        if f["p50_ms"] is not None:
            parts.append(f"{f['p50_ms']:.2f} ms a window, 99 % under {f['p99_ms']:.2f} ms")
        return Text("   ".join(parts).replace("ids", "IDs").replace("_", " "))

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("alarm at", "lasted", "ID", "attack", "peak", "delay"):
            numeric = name in ("lasted", "peak", "delay")
            table.add_column(name, justify="right" if numeric else "left")
        for alarm in reversed(self.alarms):
            over = alarm["event"] == "over"
            row = [_clock(alarm["since"]), "now", alarm["id"], alarm["attack"] or "not known"]
            if over:
                row[1] = f"{alarm['time'] - alarm['since']:.1f} s"
            row += [f"{alarm['peak']:.3g}", f"{alarm['delay']:.2f} s"]
            table.add_row(*row, style="" if over else "red")
        return table
