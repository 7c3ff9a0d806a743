"""Events as JSON lines on a stream that may be full, or that nobody may read."""

import json
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from cangraph.files import printable

_PIECE = 4096  # bytes (PIPE_BUF): a pipe that is ready takes as many without a wait
_MOST = 10_000  # events that wait for who reads them
_BLINK = 0.2  # s


class UnsaidError(OSError):
    """Events cannot be written, and there is no watch to go on with meanwhile."""

    status = 4  # of the command


class Lines:
    """Writes events to a `stream`, one a line. What it does not take yet waits, in order, in
    `waiting`.

    With `stop`, as for a log, the reader is waited for until that says so, and a stream that fails
    raises `UnsaidError`. Without, as on a bus, the watch goes on: up to 10,000 events wait, then
    `window` and `statistics` are left out, and the oldest, which an event `unsaid` tells; what
    fails, as a disk that is full, is said on standard error and tried again.

    Raises `BrokenPipeError` once nobody can read what is said.
    """

    def __init__(
        self, stream: TextIO, stop: Callable[[], bool] | None = None, windows: bool = True
    ):
        self.waiting: deque[dict[str, Any]] = deque()
        self.rotated: Path | None = None  # where to go on: the file of this name is another now
        self._stop, self._windows = stop, windows
        self._rest = b""  # of the first that waits, behind what was written of it
        self._why = ""
        self._write_to(stream)

    def _write_to(self, stream: TextIO) -> None:
        self.stream = stream
        self._name = "standard output" if stream is sys.stdout else stream.name
        try:
            self._file = stream.fileno()
        except OSError:  # a stream in memory has none
            self._file = -1

    def _go_on(self, path: Path) -> None:
        """Leave a file for a new one; while none can be opened, it is written on."""
        try:
            stream, before = path.open("a"), self.stream
        except OSError as error:
            self._complain(f"{error.strerror}; it is not opened anew")
            return
        self._write_to(stream)
        before.close()
        self.rotated = None

    def say(self, event: dict[str, Any]) -> None:
        """Let an event wait for the next `flush`, but a single window only if it is wanted."""
        if event["event"] == "window" and not self._windows:
            return
        self.waiting.append(event)
        if len(self.waiting) > _MOST and not self._stop:
            self._shorten()

    def _shorten(self) -> None:
        first, *others = self.waiting  # of the first a part may be written
        kept = [e for e in others if e["event"] not in ("window", "statistics", "unsaid")]
        kept = kept[-_MOST // 2 :]
        left = len(others) - len(kept)
        left += sum(e["events"] - 1 for e in others if e["event"] == "unsaid")
        told = {"event": "unsaid", "time": others[-1]["time"], "events": left}
        self.waiting = deque([first, told, *kept])

    def flush(self, patience: float = 0.0) -> None:
        """Write what is taken, or will be within so many s."""
        if self.rotated and not self._rest:
            self._go_on(self.rotated)
        until = time.monotonic() + patience
        while self.waiting:
            waits = time.monotonic() < until or (self._stop is not None and not self._stop())
            try:
                taken = self._write(waits)
            except BrokenPipeError:
                raise
            except OSError as error:
                if self._stop:
                    raise UnsaidError(f"{self._name}: {error}") from error
                self._complain(str(error))
                return
            if not (taken or waits):
                return
        self._why = self._why if self.rotated else ""

    def _complain(self, why: str) -> None:
        if why != self._why and sys.stderr:
            with suppress(OSError):  # where else could it be said?
                said = f"{self._name}: {why}; events wait, the watch goes on"
                print(printable(said), file=sys.stderr)
        self._why = why

    def _write(self, waits: bool) -> bool:
        """Write a piece, as soon as it is taken if one waits; whether any of it was."""
        text = json.dumps(self.waiting[0], allow_nan=False).replace("\x7f", "\\u007f")
        line, taken = self._rest or f"{text}\n".encode(), 0
        if self._file < 0:
            taken = len(line) if self.stream.write(line.decode()) else 0
        elif select.select([], [self._file], [], _BLINK if waits else 0.0)[1]:
            with suppress(BlockingIOError):
                taken = os.write(self._file, line[:_PIECE])
        self._rest = line[taken:]
        if not self._rest:
            self.waiting.popleft()
        return taken > 0
