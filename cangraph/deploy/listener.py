"""Frames from a bus as they come, through any interface of python-can. It listens only."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import numpy as np

from cangraph.bus.arbitration import BIT_RATE, frame_duration
from cangraph.deploy.wire import Messages, Wire, reader_of
from cangraph.frames import Frames

_SLACK = 1e-3  # s that a frame may come before the last one: the tick of the profiles
_LEAP = 1.0  # s that a clock may run ahead of this machine's between two looks
_QUIET = 2.0  # s without a frame that are worth a word
_BUS_OFF = 0x40  # CAN_ERR_BUSOFF of linux/can/error.h, in the ID of an error frame
_PIECE = 1024  # frames whose times are read at once

_NONE = Frames(np.zeros(0), np.zeros(0))

Notice = dict[str, Any]


class Clock:
    """Times of frames that never go back. A step back of less than 1 ms is levelled and counted in
    `reordered`. After a larger one, a leap of a second or more ahead of this machine's clock, or a
    pause, time goes on from the `last` frame (s), so that no ID seems silent or early.

    >>> clock = Clock()
    >>> times, notices = clock.read(np.array([10.0, 10.1, 3.0, 3.1]), now=0.0)
    >>> times.round(6).tolist(), notices[0]["event"], notices[0]["seconds"]
    ([10.0, 10.1, 10.1, 10.2], 'clock', -7.1)
    """

    def __init__(self) -> None:
        self.last, self.offset, self.reordered = -np.inf, 0.0, 0
        self.now: float | None = None  # this machine's clock at the last frames
        self.paused = False

    def pause(self, last: float | None = None) -> None:
        """Frames were missed: the next one follows the last one (at `last`, after a restart)."""
        self.paused = True
        self.last = self.last if last is None else last

    def read(self, raw: np.ndarray, now: float) -> tuple[np.ndarray, list[Notice]]:
        """The times in s, f8 (n,), of frames with the times `raw` of the bus, taken `now` by this
        machine's clock; and a notice of each jump."""
        times = np.zeros(len(raw))
        notices: list[Notice] = []
        most = _LEAP + (np.inf if self.now is None else now - self.now)
        if len(raw):
            self.now = now
            self.last = self.last if np.isfinite(self.last) else raw[0] + self.offset
        begin = 0
        while begin < len(raw):
            came = raw[begin : begin + _PIECE] + self.offset
            latest = np.maximum.accumulate(np.concatenate([[self.last], came]))
            step = came - latest[:-1]
            odd = (step < -_SLACK) | (step > most)
            odd[0] |= self.paused
            usual = int(odd.argmax()) if odd.any() else len(came)
            times[begin : begin + usual] = latest[1 : usual + 1]
            self.reordered += int((step[:usual] < 0).sum())
            self.last, begin = float(latest[usual]), begin + usual
            if usual < len(came):  # it goes on from the last frame
                self.offset -= float(step[usual])
                what = "paused" if self.paused else "clock"
                notices.append({"event": what, "seconds": round(float(step[usual]), 6)})
                self.paused = False
                self.last = max(float(raw[begin]) + self.offset, self.last)
                times[begin], begin = self.last, begin + 1
        return times, notices


class Listener:
    """A thread that takes frames off a bus into a queue of at most `limit`, and opens the bus again
    when it goes away. What finds the queue full is dropped and counted, as is what the kernel
    dropped before. `open_bus` returns a bus of python-can; while it raises, `lost` says why.

    The frames are of the bus `name`, unless the interface serves several. Listeners that share
    `ready` are waited for at once. `bit_rate`: in bit/s, of the bus, for `busy`."""

    def __init__(
        self,
        open_bus: Callable[[], Any],
        limit: int = 20_000,
        retry: float = 1.0,
        name: str = "",
        ready: Event | None = None,
        bit_rate: int | None = None,
    ):
        self._open, self._limit, self._retry = open_bus, limit, retry
        self.name, self.clock = name, Clock()
        self._pace = 1e-9 * BIT_RATE / (bit_rate or BIT_RATE)
        self.dropped = dict.fromkeys(("queue", "kernel"), 0)
        self.error_frames, self.refused, self.busy = 0, 0, 0.0
        self.lost = ""
        self._queue: deque = deque()  # (what makes columns of it, block of frames), None: a gap
        self._came = self._taken = 0  # frames of the queue
        self._notices: deque[Notice] = deque()
        self._ready, self._stopped = ready or Event(), Event()
        self._wanted = 1
        self._heard, self._told = time.monotonic(), {**self.dropped, "errors": 0}
        self._silent = self._off = False
        self._thread = Thread(target=self._listen, args=(self._opened(),), daemon=True)
        self._thread.start()

    @property
    def behind(self) -> int:
        """Frames that wait in the queue."""
        return self._came - self._taken

    def counters(self) -> Notice:
        """What was counted so far. `busy`: s that the frames took on the bus."""
        counted = {n: getattr(self, n) for n in ("error_frames", "refused", "behind")}
        counted |= {"dropped": sum(self.dropped.values()), "reordered": self.clock.reordered}
        counted["busy"] = round(self.busy, 6)
        counted |= {f"dropped_{by}": n for by, n in self.dropped.items()}
        return counted | {"lost": bool(self.lost)}

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _opened(self) -> Wire | Messages | None:
        try:
            return reader_of(self._open(), self.name)
        except Exception as error:  # OSError, CanError, and what drivers raise beside
            self._lose(error)
            return None

    def _lose(self, error: Exception) -> None:
        if not self.lost:  # it is told once
            self.lost = " ".join(str(error).split()) or type(error).__name__
            self._notices.append({"event": "lost", "why": self.lost[:120]})
            self._ready.set()

    def _listen(self, reader: Wire | Messages | None) -> None:
        while True:
            if reader is not None:
                try:
                    self._receive(reader)
                except Exception as error:  # as in `_opened`
                    self._lose(error)
                    self._queue.append(None)  # where frames are missing
                with suppress(Exception):  # it is gone
                    self.dropped["kernel"] += reader.overrun()
                with suppress(Exception):
                    reader.close()
                reader = None
            while reader is None and not self._stopped.wait(self._retry):
                reader = self._opened()
            if reader is None:
                return
            self.lost = ""
            self._notices.append({"event": "back"})

    def _receive(self, reader: Wire | Messages) -> None:
        while not self._stopped.is_set():
            block, errors = reader.read()
            if errors or not len(block):
                self._look_at(reader, errors)
            self.dropped["kernel"] += reader.overrun()
            room = max(self._limit - self.behind, 0)
            if len(block) > room:  # the newest go: what is judged is in order
                self.dropped["queue"] += len(block) - room
                block = block[:room]
            if len(block):
                self._queue.append((reader.columns, block))
                self._came += len(block)
            if self.behind >= self._wanted:
                self._ready.set()

    def _look_at(self, reader: Wire | Messages, errors: list[int]) -> None:
        self.error_frames += len(errors)
        off = reader.off or any(error & _BUS_OFF for error in errors)
        if off and not self._off:
            self._notices.append({"event": "bus-off"})
        if off or not errors:  # errors go on after it; a quiet look says that it is over
            self._off = off

    def take(self, wanted: int = 1, patience: float = 0.1) -> tuple[Frames, list[Notice]]:
        """The frames that came, as soon as they are `wanted` many or `patience` s have passed, up
        to a gap; and what happened to the `bus`: `lost` and `back` (the interface), `bus-off`,
        `errors`, `dropped`, `refused`, `clock`, `paused` and `silent`."""
        self._wanted = wanted
        if self.behind < wanted:
            self._ready.wait(patience)
        self._ready.clear()
        notices = [self._notices.popleft() for _ in range(len(self._notices))]
        now, frames = time.monotonic(), _NONE
        if found := self._blocks():
            columns, wrong, why = found[0][0]([block for _, block in found])
            if wrong:
                self.refused += wrong
                notices.append({"event": "refused", "frames": wrong, "why": why})
            columns["timestamp"], jumps = self.clock.read(columns["timestamp"], now)
            notices += jumps
            frames = Frames(**columns)
            lasted = frame_duration(frames.bytes_used, frames.is_extended_id).sum()
            self.busy += float(lasted) * self._pace
        notices += self._counted()
        if len(frames):
            self._heard, self._silent = now, False
        elif now - self._heard > _QUIET and not self._silent:
            self._silent = True
            notices.append({"event": "silent", "seconds": round(now - self._heard, 1)})
        named = {"bus": self.name} if self.name else {}
        return frames, [notice | named for notice in notices]

    def _blocks(self) -> list[tuple[Callable, Any]]:
        """What waits in the queue, up to a gap."""
        while self._queue and self._queue[0] is None:
            self._queue.popleft()
            self.clock.pause()
        found = []
        while self._queue and self._queue[0] is not None:
            found.append(self._queue.popleft())
        self._taken += sum(len(block) for _, block in found)
        return found

    def _counted(self) -> list[Notice]:
        """What was dropped, and the error frames, since they were told of last."""
        before, self._told = self._told, {**self.dropped, "errors": self.error_frames}
        new = {what: n - before[what] for what, n in self._told.items()}
        rows: list[Notice] = [{"event": "errors", "frames": new.pop("errors")}]
        rows += [{"event": "dropped", "frames": n, "by": by} for by, n in new.items()]
        return [row for row in rows if row["frames"]]
