"""Frames from a bus as they come, through any interface of python-can. It listens only: of a bus
nothing is called but `recv`, `state` and `shutdown`."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from threading import Event, Thread
from typing import Any

import numpy as np

from cangraph.frames import Frames
from cangraph.io.pythoncan import columns_of, fault_of

_SLACK = 1e-3  # s that a frame may come before the last one: the tick of the profiles
_LEAP = 1.0  # s that a clock may run ahead of this machine's between two looks
_QUIET = 2.0  # s without a frame that are worth a word
_BUS_OFF = 0x40  # CAN_ERR_BUSOFF of linux/can/error.h, in the ID of an error frame
_WAIT = 0.2  # s that a look at the bus takes when nothing comes

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
        elapsed = np.inf if self.now is None else now - self.now
        if len(raw):
            self.now = now
        for i, came in enumerate(raw.tolist()):
            step = came + self.offset - self.last if np.isfinite(self.last) else 0.0
            if self.paused or step < -_SLACK or step > elapsed + _LEAP:
                self.offset -= step
                what = "paused" if self.paused else "clock"
                notices.append({"event": what, "seconds": round(step, 6)})
                self.paused = False
            elif step < 0:
                self.reordered += 1
            times[i] = self.last = max(came + self.offset, self.last)
        return times, notices


class Listener:
    """A thread that takes frames off a bus into a queue of at most `limit`, and opens the bus again
    when it goes away. Frames that find the queue full are dropped and counted. `open_bus` returns a
    bus of python-can; while it raises, `lost` says why.

    The bus is known by its `name`; an interface that serves several channels at once ("0,1", or ""
    for all) names the bus of each frame itself. Listeners that share `ready` are waited for at
    once."""

    def __init__(
        self,
        open_bus: Callable[[], Any],
        limit: int = 20_000,
        retry: float = 1.0,
        name: str = "",
        ready: Event | None = None,
    ):
        self._open, self._limit, self._retry = open_bus, limit, retry
        self.name, self.clock = name, Clock()
        self.dropped = self.error_frames = self.refused = 0
        self.lost = ""
        self._queue: deque = deque()
        self._notices: deque[Notice] = deque()
        self._ready, self._stopped = ready or Event(), Event()
        self._wanted = 1
        self._heard, self._told = time.monotonic(), (0, 0)  # dropped and error frames told of
        self._silent = self._off = False
        self._thread = Thread(target=self._listen, args=(self._opened(),), daemon=True)
        self._thread.start()

    def counters(self) -> Notice:
        """What was counted so far; `behind`: frames that wait in the queue."""
        counted = {n: getattr(self, n) for n in ("dropped", "error_frames", "refused")}
        counted |= {"behind": len(self._queue), "reordered": self.clock.reordered}
        return counted | {"lost": bool(self.lost)}

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _opened(self) -> Any:
        try:
            return self._open()
        except Exception as error:  # OSError, CanError, and what drivers raise beside
            self._lose(error)
            return None

    def _lose(self, error: Exception) -> None:
        if not self.lost:  # it is told once
            self.lost = " ".join(str(error).split()) or type(error).__name__
            self._notices.append({"event": "lost", "why": self.lost[:120]})
            self._ready.set()

    def _listen(self, bus) -> None:
        while True:
            if bus is not None:
                try:
                    self._receive(bus)
                except Exception as error:  # as in `_opened`
                    self._lose(error)
                    self._queue.append(None)  # where frames are missing
                with suppress(Exception):  # it is gone
                    bus.shutdown()
                bus = None
            while bus is None and not self._stopped.wait(self._retry):
                bus = self._opened()
            if bus is None:
                return
            self.lost = ""
            self._notices.append({"event": "back"})

    def _receive(self, bus) -> None:
        receive, queue, limit = bus.recv, self._queue, self._limit
        while not self._stopped.is_set():
            message = receive(_WAIT)
            if message is None or message.is_error_frame:
                self._look_at(bus, message)
            elif len(queue) >= limit:
                self.dropped += 1
            else:
                queue.append(message)
                if len(queue) >= self._wanted:
                    self._ready.set()

    def _look_at(self, bus, message) -> None:
        off = getattr(bus.state, "name", "") == "ERROR"
        if message is not None:
            self.error_frames += 1
            off |= bool(message.arbitration_id & _BUS_OFF)
        if off and not self._off:
            self._notices.append({"event": "bus-off"})
        if off or message is None:  # errors go on after it; a quiet look says that it is over
            self._off = off

    def take(self, wanted: int = 1, patience: float = 0.1) -> tuple[Frames, list[Notice]]:
        """The frames that came, as soon as they are `wanted` many or `patience` s have passed, and
        what happened to the `bus`: `lost` and `back` (the interface), `bus-off`, `errors`,
        `dropped`, `refused`, `clock`, `paused` and `silent`."""
        self._wanted = wanted
        if len(self._queue) < wanted:
            self._ready.wait(patience)
        self._ready.clear()
        notices = [self._notices.popleft() for _ in range(len(self._notices))]
        now = time.monotonic()
        came = [self._queue.popleft() for _ in range(len(self._queue))]
        faults = [None if message is None else fault_of(message) for message in came]
        if wrong := [fault for fault in faults if fault]:
            self.refused += len(wrong)
            notices.append({"event": "refused", "frames": len(wrong), "why": wrong[0]})
            came = [m for m, fault in zip(came, faults, strict=True) if not fault]
        messages = [message for message in came if message is not None]
        columns: dict[str, Any] = columns_of(messages)
        del columns["attack"]
        columns["bus_names"], columns["bus"] = self._buses(messages)
        times = [np.zeros(0)]
        for missing, part in groupby(came, key=lambda message: message is None):
            if missing:
                self.clock.pause()
                continue
            part_times, jumps = self.clock.read(np.array([m.timestamp for m in part]), now)
            times.append(part_times)
            notices += jumps
        columns["timestamp"] = np.concatenate(times)
        notices += self._counted()
        if messages:
            self._heard, self._silent = now, False
        elif now - self._heard > _QUIET and not self._silent:
            self._silent = True
            notices.append({"event": "silent", "seconds": round(now - self._heard, 1)})
        named = {"bus": self.name} if self.name else {}
        return Frames(**columns), [notice | named for notice in notices]

    def _buses(self, messages: list) -> tuple[tuple[str, ...], np.ndarray]:
        """The names of the buses that the messages came from, and the index of each."""
        if self.name and "," not in self.name:
            return (self.name,), np.zeros(len(messages), np.uint8)
        names = ["" if m.channel is None else str(m.channel) for m in messages]
        known = sorted(set(names)) or [""]
        return tuple(known), np.array([known.index(name) for name in names], np.uint8)

    def _counted(self) -> list[Notice]:
        (dropped, errors), self._told = self._told, (self.dropped, self.error_frames)
        rows = (("dropped", self.dropped - dropped), ("errors", self.error_frames - errors))
        return [{"event": what, "frames": n} for what, n in rows if n]
