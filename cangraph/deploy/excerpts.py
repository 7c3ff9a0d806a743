"""Excerpts of a log around its alarms, as candump writes it: the evidence beside the JSON."""

import re
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from cangraph.deploy.recent import Recent
from cangraph.io.writers import candump

_PIECE = 8192  # frames of one that are written at once, so that no frame waits for long
_DAY = 86_400.0  # s
_ENDING = ".log"


class Excerpts:
    """Keeps the frames from `before` s before an alarm until its end, a file for each in `folder`,
    of at most `size` bytes; all that were written within a day have at most `daily` bytes. Files
    have names of our own and are never overwritten. What cannot be kept, as on a full disk, is an
    event `unkept`; `kept` says that it can again.

    Raises `OSError` where the folder cannot be made.
    """

    def __init__(
        self, folder: Path, size: int = 4 << 20, daily: int = 100 << 20, before: float = 5.0
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.size, self.daily, self.before = folder, size, daily, before
        self.why = self._told = ""  # what hinders it
        self._open: dict[str, _Excerpt] = {}

    def begin(self, bus: str, recent: Recent, time: float, name: str) -> str:
        """Begin the excerpt of an alarm that began at `time` (s, by the clock of its bus), of the
        frames that are held and those that come; returns the name of its file, empty if there is
        none. Of the given name only letters and digits are kept."""
        if bus in self._open:
            self._write(self._open[bus], to_the_end=True)
            self._finish(bus)
        safe = re.sub(r"[^A-Za-z0-9.]+", "-", name.replace(":", ""))[:80].strip("-.")
        try:
            left = self.daily - sum(
                path.stat().st_size for path in self.folder.iterdir() if _of_today(path)
            )
            if left < self.size:
                limit = self.daily >> 20
                raise OSError(f"the excerpts of a day have {limit} MB, as many as they may have")
            for number in count(1):
                path = self.folder / f"{safe}{f'-{number}' if number > 1 else ''}{_ENDING}"
                with suppress(FileExistsError):
                    file = path.open("xb", buffering=0)
                    break
        except OSError as error:
            self.why = error.strerror or str(error)
            return ""
        self.why = ""
        place = recent.place(time - self.before)
        channel = re.sub(r"\W+", "_", bus, flags=re.ASCII) or "can0"
        self._open[bus] = _Excerpt(file, recent, place, self.size, channel)
        return path.name

    def end(self, bus: str, time: float) -> None:
        """The alarm of a bus ended then: what came later is not kept."""
        if bus in self._open:
            excerpt = self._open[bus]
            excerpt.stop = excerpt.recent.place(time)

    def step(self, now: float, at_last: bool = False) -> list[dict[str, Any]]:
        """Write some of what came, or all of it; what there is to tell of it."""
        for bus, excerpt in [*self._open.items()]:
            self._write(excerpt, to_the_end=at_last)
            if at_last or not excerpt.left or excerpt.place >= excerpt.stop:
                self._finish(bus)
        if self.why == self._told:
            return []
        self._told = self.why
        what = {"event": "unkept", "why": self.why} if self.why else {"event": "kept"}
        return [what | {"time": now}]

    def _write(self, excerpt: "_Excerpt", to_the_end: bool) -> None:
        try:
            while excerpt.write() and to_the_end:
                pass
        except OSError as error:
            self.why, excerpt.left = error.strerror or str(error), 0

    def close(self) -> None:
        for bus in [*self._open]:
            self._finish(bus)

    def _finish(self, bus: str) -> None:
        self._open.pop(bus).file.close()


class _Excerpt:
    """One that is being written: from which `place` on the frames are missing, where to `stop`,
    and how many bytes are `left` for them."""

    def __init__(self, file: Any, recent: Recent, place: int, left: int, channel: str):
        self.file, self.recent, self.place = file, recent, place
        self.left, self.channel, self.stop = left, channel, 1 << 62

    def write(self) -> bool:
        """Write the next frames; whether there may be more."""
        frames, _ = self.recent.frames(self.place, min(self.place + _PIECE, self.stop))
        self.place = max(self.place, self.recent.passed) + len(frames)
        text = candump(frames, self.channel).encode()
        if len(text) > self.left:
            text, self.left = text[: text.rfind(b"\n", 0, self.left) + 1], 0
        whole = self.file.tell()
        if self.file.write(text) < len(text):
            self.file.truncate(whole)
            raise OSError("no space is left for an excerpt")
        self.left = max(self.left - len(text), 0)
        return len(frames) == _PIECE and self.left > 0


def _of_today(path: Path) -> bool:
    return path.suffix == _ENDING and path.stat().st_mtime > time.time() - _DAY
