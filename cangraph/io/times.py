"""Times of a log → seconds: their unit, and the base of IDs, told from the whole file."""

import re
from datetime import date

import numpy as np

from cangraph.frames import LATEST
from cangraph.io.dialects import UNITS, Dialect
from cangraph.io.rows import FRACTION, HEXADECIMAL, Rows

_CALM = 1000  # median gaps, beyond which a log stands still
_CARRIES = 25_000  # frames a second of one bus: 1 Mbit/s of frames without data, and a little more
_SLOWEST = 0.5  # frames a second
_TYPICAL = 700.0
_MANY = 50  # rows of which the rate says more than that seconds are usual
_LONG = 100.0  # s between frames
_SOME = 4096  # rows that tell whether seconds are likely
_EPOCH = (1e9, 4.1e9)  # s, 2001 to 2099
_STOPS = 3600.0  # s without a frame that are told
_IDS = 16  # decimal IDs of which hexadecimal ones would have had a letter
_BEFORE_UNIX = 25569  # days from 1899-12-30 to 1970


class TimeBase:
    """What is known of the times and IDs of a log, block by block."""

    def __init__(self, dialect: Dialect, head: str, per_second: float | None, base: int | None):
        self.dialect, self.per_second, self.base = dialect, per_second, base
        self.unit_told, self.base_told = per_second is None, False
        flags = re.MULTILINE | re.IGNORECASE
        self.relative = bool(dialect.relative and re.search(dialect.relative, head, flags))
        begins = dialect.start and re.search(dialect.start, head, flags)
        self.start = (float(begins[1]) - _BEFORE_UNIX) * 86400 if begins else 0.0
        self._blocks = re.compile(dialect.block.encode(), flags) if dialect.block else None
        began = self._blocks.search(head.encode("latin-1")) if self._blocks else None
        self._began, self._later = _date(began[1]) if began else None, 0.0
        self._deltas_told = False
        self._carry, self._previous = 0.0, -np.inf  # of times that count anew, in their unit
        self._rows, self._gap, self._span = 0, 0.0, 0.0  # of what was surveyed, in their unit
        self._fraction, self._high, self._ids = False, 0.0, set[int]()
        self._first, self._last, self._frames = np.inf, -np.inf, 0  # of what was read, in s
        self._stop, self._stop_at, self._buses = 0.0, 0.0, 1

    # what is open is told from the file

    def settled(self, found: Rows) -> bool:
        """Whether the first block tells the unit and the base."""
        time = found.columns["timestamp"]
        if self.dialect.deltas and len(time) > 8:
            back = (np.diff(time) < 0).mean()  # of times since 1970 a few may step back
            self.relative = self._deltas_told = bool(back > 0.2 and np.median(time) < _LONG)
        if self.base is None and found.seen & HEXADECIMAL:
            self.base = 16
        if self.per_second is None and found.seen & FRACTION and len(time) >= _MANY:
            some = np.sort(time[:_SOME])
            apart = max(_clipped(some, 0.0)[1], 1e-9)
            if _SLOWEST <= (len(some) - 1) / apart <= _CARRIES and np.median(some) < LATEST:
                self.per_second = 1.0
        return self.per_second is not None and self.base is not None

    def survey(self, found: Rows) -> None:
        """Look at a block before the first is read."""
        time = np.sort(found.columns["timestamp"])
        if not len(time):
            return
        self._gap, apart = _clipped(time, self._gap)
        self._span += apart
        self._rows += len(time)
        self._high = max(self._high, float(np.median(time)))  # one damaged row says nothing
        self._fraction = self._fraction or bool(found.seen & FRACTION)
        if found.seen & HEXADECIMAL:
            self.base = self.base or 16
        if self.base is None:
            self._ids.update(np.unique(found.columns["arbitration_id"]).tolist())

    def decide(self) -> None:
        """Settle what is open by what was surveyed."""
        if self.per_second is None:
            self.per_second = self._likely_unit()
        if self.base is None:
            shown = [f"{i:x}" for i in self._ids]
            few = len(shown) < _IDS  # which all may lack a letter by chance
            self.base_told = all(digits.isdigit() for digits in shown) and (
                not few or (len(shown) > 3 and max(map(int, shown)) <= 0x7FF < max(self._ids))
            )
            self.base = 10 if self.base_told else 16

    def _likely_unit(self) -> float:
        """How many of the likeliest unit make a second."""
        rate = max(self._rows - 1, 0) / self._span if self._span else 0.0  # a unit
        units = {name: per for name, per in UNITS.items() if name != "µs"}
        fits = [per for per in units.values() if _SLOWEST <= rate * per <= _CARRIES]
        epoch = [p for p in units.values() if _EPOCH[0] <= self._high / p <= _EPOCH[1]]
        for per in epoch:
            if not rate or per in fits:
                return per
        few = self._rows < _MANY
        if not fits or (self._fraction and few):
            return 1.0
        usual = 0.02 if self._fraction else _SLOWEST if few else 5.0
        if not rate or usual <= rate <= _CARRIES:
            return 1.0
        return min(fits, key=lambda per: abs(np.log(rate * per / _TYPICAL)))

    # blocks → seconds

    def seconds(self, found: Rows, block) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The columns of `Frames` of a block of text, and the lines of rows too late to be."""
        columns = dict(found.columns)
        line, time = columns.pop("line"), columns["timestamp"]
        if len(time) and (self.relative or self.dialect.wraps):
            time = self._counted_on(time)
        if self._blocks and len(time):
            time = self._in_blocks(time, line, self._blocks.finditer(block), block)
        assert self.per_second
        time = time / self.per_second if self.per_second != 1 else time
        columns["timestamp"] = time + self.start if self.start else time
        if self.base_told:
            _as_decimal(columns)
        late = columns["timestamp"] >= LATEST
        if late.any():
            columns = {key: values[~late] for key, values in columns.items()}
        self._remember(columns["timestamp"], len(found.buses))
        return columns, line[late]

    def _counted_on(self, time: np.ndarray) -> np.ndarray:
        """Times that begin anew, or that count from the row before, as ones that go on."""
        if self.relative:
            time = np.cumsum(time) + self._carry
            self._carry = time[-1]
            return time
        back = np.diff(time, prepend=max(self._previous, time[0])) < -self.dialect.wraps / 2
        self._previous = time[-1]
        time = time + self._carry + np.cumsum(back) * self.dialect.wraps
        self._carry += back.sum() * self.dialect.wraps
        return time

    def _in_blocks(self, time, line, beginnings, block) -> np.ndarray:
        """Times of a log in blocks that each begin anew, as long after the first as their dates
        say, or else after the end of the one before."""
        if (np.diff(time, prepend=self._previous) >= 0).all():
            self._previous = time[-1]
            return time + self._later
        later = np.full(len(time), self._later)
        for begins in beginnings:
            i = int(np.searchsorted(line, bytes(block[: begins.start()]).count(b"\n") + 1))
            last = time[i - 1] if i else self._previous
            if i < len(time) and time[i] < last:
                when = _date(begins[1])
                since = when - self._began if when and self._began else 0.0
                end = last + (later[i - 1] if i else self._later)
                later[i:] = since if since + time[i] >= end else end
        self._previous, self._later = time[-1], later[-1]
        return time + later

    def _remember(self, time: np.ndarray, buses: int) -> None:
        if not len(time):
            return
        self._first = min(self._first, float(time.min()))
        since = self._last if np.isfinite(self._last) else time[0]
        ahead = np.maximum.accumulate(np.r_[since, time])
        widest = int(np.argmax(np.diff(ahead)))
        if (apart := float(ahead[widest + 1] - ahead[widest])) > self._stop:
            self._stop, self._stop_at = apart, float(ahead[widest])
        self._last = float(ahead[-1])
        self._frames, self._buses = self._frames + len(time), max(self._buses, buses)

    def notes(self) -> tuple[str, ...]:
        """What was told from the file, and what is odd about it, in sentences."""
        if not self._frames:
            return ()
        seconds, notes = self._last - self._first, []
        rate = self._frames / seconds if seconds else 0.0
        if self.unit_told:
            unit = next(name for name, per in UNITS.items() if per == self.per_second)
            notes.append(
                f"times read as {'µs' if unit == 'us' else unit}: {self._frames:,} frames in "
                f"{seconds:.4g} s, {rate:,.0f} a second"
            )
        if self.base_told:
            notes.append("IDs read as decimal numbers: none has a letter")
        if self._deltas_told and self.relative:
            notes.append("times read as those since the frame before")
        if self._frames >= 1000 and rate > _CARRIES * self._buses:
            notes.append(
                f"{rate:,.0f} frames a second are more than {self._buses} bus can carry; is the "
                "unit of the times another?"
            )
        if self._stop > _STOPS:
            notes.append(
                f"no frame for {_duration(self._stop)} after {self._stop_at - self._first:,.1f} s; "
                "the clock was set, or the log holds several drives"
            )
        return tuple(notes)


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_GERMAN = {"m\xe4r": "mar", "mai": "may", "okt": "oct", "dez": "dec", "mrz": "mar"}


def _date(text: bytes) -> float | None:
    """Seconds of a date such as `Wed Jan 15 10:30:00.000 am 2026`, in English or German."""
    form = r"(\w{3})\w*\s+(\d+)\s+(\d+):(\d+):([\d.]+)\s*([ap]m)?\s+(\d{4})"
    said = re.search(form, text.decode("latin-1").lower())
    month = _GERMAN.get(said[1], said[1]) if said else ""
    if not said or month not in _MONTHS:
        return None
    hour = int(said[3]) % 12 + 12 * (said[6] == "pm") if said[6] else int(said[3])
    try:
        days = date(int(said[7]), _MONTHS.index(month) + 1, int(said[2])).toordinal()
    except (ValueError, OverflowError):  # no day of that month
        return None
    return days * 86400 + hour * 3600 + int(said[4]) * 60 + float(said[5])


def _duration(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds > 86400 else f"{seconds / 3600:.1f} hours"


def _clipped(time: np.ndarray, gap: float) -> tuple[float, float]:
    """The usual gap of sorted times (or `gap`, if it is known), and the time that they last when
    none is longer than many of it."""
    apart = np.diff(time)
    positive = apart[apart > 0]
    gap = gap or (float(np.median(positive)) if len(positive) else 0.0)
    return gap, float(np.minimum(apart, _CALM * gap).sum())


def _as_decimal(columns: dict[str, np.ndarray]) -> None:
    """IDs of decimal digits that were read as hexadecimal ones."""
    ids, place = np.unique(columns["arbitration_id"], return_inverse=True)
    again = np.array([int(f"{i:x}") for i in ids.tolist()], np.uint32)
    columns["arbitration_id"] = again[place]
    columns["is_extended_id"] = columns["arbitration_id"] > 0x7FF
