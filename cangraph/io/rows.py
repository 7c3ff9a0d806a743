"""Patterns of rows, and the compiled matcher that reads a text log by them.

A pattern is a row with fields in braces: `({time}) {bus} {id:candump}#{data}< {dir}>`. A blank
stands for one or more, `~` for any number, `|` for the separator of a table with the blanks and
quotes around it, `<...>` for what may be missing; other characters stand for themselves in either
case. `FIELDS` lists them. A row is matched from left to right without a second try but for
what may be missing, so reading takes the time of looking at each byte once.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

import numba
import numpy as np

from cangraph.frames import BUSES, COLUMNS, PAYLOAD_LENGTHS

# What a row is.
FRAME, ERROR_FRAME, OTHER = range(3)

# What is wrong with a row that no pattern fits: the field at which the best one ended.
FAULTS = {
    "few": "too few fields; expected a whole row",
    "time": "a timestamp that is no number from 0 on, or negative; expected such as 1.25",
    "id": "an arbitration ID that is not one of 11 or 29 bit; expected such as 1A0",
    "payload": "a payload that is not whole bytes or of no CAN length; expected such as 00FF",
    "digits": "a payload with an odd number of digits; expected two for each byte",
    "label": "a label that is not known, or none; expected 0 or 1, R or T, normal or attack",
    "dlc": "a DLC that does not fit the row; expected 0 to 8, or a length of CAN FD",
    "many": "too many fields, or other ones; expected no more than a row has",
    "text": "something else than expected",
    "bus": "a bus that is not known; expected one of at most 16",
}
_FEW, _TIME, _ID, _PAYLOAD, _DIGITS, _LABEL, _DLC, _MANY, _TEXT, _BUS = range(1, 11)
# counted beside the faults: frames with bytes behind the DLC, error frames, rows without a frame
PADDED, ERRORS, OTHERS = range(11, 14)

# What a whole block was seen to have (bits of `Rows.seen`).
FRACTION, HEXADECIMAL = 1, 2  # a time that is no integer; an ID with a letter, 0x or 0 in front

_NAME = 24  # bytes of the name of a bus
_CHUNK = 1 << 20  # bytes that are worth a thread


class Rows(NamedTuple):
    """What a block of text holds: the columns of `Frames`, and `line`, the number of each row in
    the block; count and first line of each of `FAULTS` and what is counted beside; number of
    lines; what was `seen`; names of the buses by code."""

    columns: dict[str, np.ndarray]
    faults: np.ndarray
    lines: int
    seen: int
    buses: tuple[str, ...]


# ---- pattern → program

# What a step of a program reads.
(_LITERAL, _SPAN, _SEPARATOR, _END, _SET, _FLAG, _TIMES, _IDS, _DLCS, _LABELS, _BUSES, _DATA, _LIST,
 _COLUMNS, _BASE64, _REFUSE, _OPTION, _CLOSE, _ACCEPT) = range(19)  # fmt: skip

# Registers of a row.
(_R_ID, _R_EXTENDED, _R_DLC, _R_COUNT, _R_REMOTE, _R_ERROR, _R_LABEL, _R_BUS, _R_BUS_END, _R_PADDED,
 _R_SEEN, _REGISTERS) = range(12)  # fmt: skip

# Bases of numbers: hexadecimal, of two digits or without zeros in front (loose); decimal without
# and with them. A row of either kind that is damaged must not be read as one of the other.
_HEX, _LOOSE, _DECIMAL, _PADDED_DECIMAL = range(4)
_BASES = {"": _HEX, "hex": _HEX, "loose": _LOOSE, "10": _DECIMAL, "010": _PADDED_DECIMAL}
# How an ID says that it has 29 bits: by eight digits or its size, by its size, by five digits, by
# an x behind it, or as candump, with three digits or eight, of which a bit tells an error frame.
_BY_DIGITS, _BY_SIZE, _OVER_FOUR, _BY_X, _AS_CANDUMP, _THREE, _EIGHT = range(0, 70, 10)
_WIDTHS = {"": _BY_DIGITS, "size": _BY_SIZE, "over4": _OVER_FOUR, "x": _BY_X,
           "candump": _AS_CANDUMP, "3": _THREE, "8": _EIGHT}  # fmt: skip
# What a list of bytes has: as many as the DLC says; any number; also more, which are cut off; or
# none, if it is of a remote frame.
_EXACT, _ALL, _CUT, _OR_REMOTE = range(0, 40, 10)
_LISTS = {"": _EXACT, "all": _ALL, "cut": _CUT, "remote": _OR_REMOTE}
# Sets of characters that a span is of, by bit.
_BLANK, _WORD, _DIGITS10, _DIGITS16, _LETTER, _WAY, _NOT_SEPARATOR, _ANY = (
    1 << i for i in range(8)
)


def _span(characters: int, least: int = 1, most: int = 1 << 20) -> int:
    return characters | least << 8 | most << 16


_REST = _span(_ANY, 0)
FIELDS = {
    "time": {"": 0, "comma": 1, "hex": 2},  # hex: four digits
    "id": {width + base: _WIDTHS[width] + _BASES[base] for width in _WIDTHS for base in _BASES},
    "dlc": {"": 0, "hex": 1, "any": 2, "one": 3, "code": 4},  # any: up to 64; code: 9 is 12 bytes
    # digits without gaps, or R4, a remote frame; wide: up to 64 bytes; spaced: also with blanks
    "data": {"": 0, "wide": 1, "spaced": 2, "counted": 3},
    "list": {kind + base: _LISTS[kind] + _BASES[base] for kind in _LISTS for base in _BASES},
    "base64": {"": 0},
    "label": {"": 0, "digit": 1},
    "bus": {"": 0, "digits": 1},
    "flag": {"extended": _R_EXTENDED, "remote": _R_REMOTE, "error": _R_ERROR},  # a column of them
    "set": {
        "extended": _R_EXTENDED * 2 + 1,
        "standard": _R_EXTENDED * 2,
        "remote": _R_REMOTE * 2 + 1,
    },
    "refuse": {"": 0},  # a row that begins so fits no pattern below
    "dir": {"": _span(_WAY, 1, 2)},  # R, T, Rx, Tx
    "word": {"": _span(_WORD)},
    "name": {"": _span(_WORD, 2)},
    "n": {"": _span(_DIGITS10), "2": _span(_DIGITS10, 2)},  # digits, at least so many
    "nibble": {"": _span(_DIGITS16, 1, 1)},
    "letters": {"": _span(_LETTER)},
    "field": {"": _span(_NOT_SEPARATOR, 0)},  # of a table, whatever it is
    "rest": {"": _REST},
}
_STEPS = {
    "time": _TIMES, "id": _IDS, "dlc": _DLCS, "data": _DATA, "list": _LIST, "label": _LABELS,
    "base64": _BASE64, "bus": _BUSES, "flag": _FLAG, "set": _SET, "refuse": _REFUSE
}  # fmt: skip
_SIGNS = {
    " ": (_SPAN, _span(_BLANK), 0), "~": (_SPAN, _span(_BLANK, 0), 0), "|": (_SEPARATOR, 0, 0),
    ">": (_CLOSE, 0, 0)
}  # fmt: skip


def compiled(patterns: Sequence[tuple[str, int]], separator: str = "\0") -> tuple[np.ndarray, int]:
    """The program of patterns, each with what a row is that fits it; and the `separator`. A step is
    (what it reads, how, where to go on without an option)."""
    steps: list[tuple[int, int, int]] = []
    for pattern, outcome in patterns:
        begins = [len(steps)]  # of the pattern, then of the option that is open
        steps.append((_OPTION, 0, 0))
        for field, how, sign in re.findall(r"\{(\w+)(?::(\w*))?\}|(.)", pattern):
            if field.startswith("columns"):
                steps.append((_COLUMNS, int(field[7:]) * 10 + _BASES[how], 0))
            elif field:
                steps.append((_STEPS.get(field, _SPAN), FIELDS[field][how], 0))
            elif sign == "<":
                begins.append(len(steps))
                steps.append((_OPTION, 0, 0))
            else:
                steps.append(_SIGNS.get(sign, (_LITERAL, ord(sign.lower()), 0)))
            if sign == ">":
                steps[begins.pop()] = (_OPTION, 0, len(steps))
        steps += [(_END, 0, 0), (_ACCEPT, outcome, 0)]
        steps[begins[0]] = (_OPTION, 1, len(steps))
    return np.array(steps, np.int64), ord(separator)


# ---- text → columns


def read_rows(
    block, body: int, program: tuple[np.ndarray, int], buses: tuple[str, ...] = ()
) -> Rows:
    """The rows of a block of whole lines from the byte `body` on. `buses` are known by name."""
    buffer, parts = np.frombuffer(block, np.uint8), _parts(block, body)
    with ThreadPoolExecutor(len(parts)) as pool:  # which starts a thread when it has work
        run = pool.map if len(parts) > 1 else map
        found = [*run(lambda part: _read_part(buffer, part, program, buses), parts)]
    above = np.cumsum([0, *(part.lines for part in found)]).tolist()
    known = tuple(dict.fromkeys(name for part in found for name in part.buses))
    faults = np.zeros((OTHERS + 1, 2), np.int64)
    for part, lines in [*zip(found, above, strict=False)][::-1]:  # the first of a kind stays
        part.columns["line"] += lines
        codes = np.array([known.index(name) for name in part.buses] or [0], np.uint8)
        part.columns["bus"][:] = codes[part.columns["bus"]]  # one code a name in all parts
        some = part.faults[:, 0] > 0
        faults[some, 1] = part.faults[some, 1] + lines
        faults[:, 0] += part.faults[:, 0]
    columns = joined([part.columns for part in found])
    seen = int(np.bitwise_or.reduce([part.seen for part in found]))
    return Rows(columns, faults, above[-1], seen, known)


def joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Columns one behind the other, with payloads as wide as the widest frame needs."""
    wide = max(part["dlc"].max(initial=0) for part in parts) > 8
    columns = {key: [part[key] for part in parts] for key in parts[0]}
    columns["data"] = [_as_wide(data, 64 if wide else 8) for data in columns["data"]]
    return {key: np.concatenate(c) if len(c) > 1 else c[0] for key, c in columns.items()}


def _as_wide(data: np.ndarray, width: int) -> np.ndarray:
    more = width - data.shape[1]
    return np.pad(data, ((0, 0), (0, more))) if more > 0 else data[:, :width]


def _read_part(buffer: np.ndarray, part: tuple[int, int], program, buses) -> Rows:
    ends = line_ends(buffer, *part)
    for width in (8, 64):  # columns of the payload: as CAN has it, and once more for CAN FD
        shapes: dict = dict.fromkeys(COLUMNS, len(ends)) | {"data": (len(ends), width)}
        del shapes["attack_type"]
        rows = {name: np.zeros(shape, COLUMNS[name]) for name, shape in shapes.items()}
        rows["line"] = np.zeros(len(ends), np.int32)
        faults, seen = np.zeros((OTHERS + 1, 2), np.int64), np.zeros(1, np.int64)
        names = np.zeros((BUSES, _NAME), np.uint8)
        for code, name in enumerate(buses):
            names[code, : len(name)] = np.frombuffer(name.encode("latin-1"), np.uint8)
        out = tuple(rows.values()), faults, seen, names
        count = _parse(buffer, part[0], ends, program, out)
        if count != _TOO_WIDE:
            break
    shown = [bytes(name).rstrip(b"\0").decode("latin-1") for name in names]
    while shown and not shown[-1]:
        shown.pop()
    columns = {name: column[:count] for name, column in rows.items()}
    return Rows(columns, faults, len(ends), int(seen[0]), tuple(shown))


def line_ends(buffer: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Where the lines between two places end, each at its newline or at the end."""
    found = [np.flatnonzero(buffer[at : min(at + _CHUNK, end)] == 10) + at
             for at in range(begin, end, _CHUNK)]  # fmt: skip
    if end > begin and buffer[end - 1] != 10:
        found.append(np.array([end]))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _parts(block, body: int) -> list[tuple[int, int]]:
    """Begin and end of one part for each core, each a whole number of lines."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = max(1, min(usable or 1, 8, (len(block) - body) // _CHUNK))
    cuts = [body]
    for i in range(1, count):
        cut = max(cuts[-1], body + (len(block) - body) * i // count)
        cuts.append(block.find(b"\n", cut) + 1 or len(block))
    cuts.append(len(block))
    return [(a, b) for a, b in pairwise(cuts) if a < b] or [(body, body)]


# ---- compiled: a line → a row

_DIGIT = np.full(256, -1, np.int64)  # value of a hexadecimal digit
for _i, _character in enumerate("0123456789abcdef"):
    _DIGIT[ord(_character)] = _DIGIT[ord(_character.upper())] = _i
_SIX = np.full(256, -1, np.int64)  # value of a digit of base 64
for _i, _character in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):
    _SIX[ord(_character)] = _i
_LENGTH_EXISTS = np.isin(np.arange(66), PAYLOAD_LENGTHS)
_LENGTH_OF_CODE = np.array(PAYLOAD_LENGTHS)
_ERROR_FLAG = 0x20000000  # bit of a candump ID, from linux/can.h
_OWNER = np.full(_ACCEPT, _TEXT)  # the fault of what is wrong behind a step
_OWNER[[_TIMES, _IDS, _DLCS]], _OWNER[_DATA : _BASE64 + 1] = (_TIME, _ID, _DLC), _PAYLOAD
_TOO_WIDE = -1  # a payload of CAN FD, for which `data` lacks the columns


def _known(no: str, yes: str) -> tuple[np.ndarray, int]:
    """A row of bytes for each word, and how many of them say no."""
    known = no.split() + yes.split()
    words = np.array([[*word.encode().ljust(16, b"\0")] for word in known], np.uint8)
    return words, len(no.split())


_LABELLED, _ATTACKED = _known(
    "0 r n normal benign false no none regular free attack_free attack-free",
    "1 t a attack true yes attacked abnormal anomaly injected malicious dos ddos fuzzy fuzzing "
    "flooding spoofing replay malfunction suppression masquerade impersonation gear rpm speed",
)
_FLAGGED, _YES = _known("0 f false n no s std standard", "1 t true y yes x xtd ext extended")
_SETS = np.full(256, _ANY | _NOT_SEPARATOR, np.int64)  # the sets that a character is of
for _set, _characters in (
    (_BLANK, bytes(range(33))), (_WORD, bytes(sorted({*range(33, 256)} - {34}))),
    (_DIGITS10, b"0123456789"), (_DIGITS16, b"0123456789abcdefABCDEF"), (_WAY, b"rRtTxX"),
    (_LETTER, bytes(i for i in range(128) if chr(i).isalpha()))
):  # fmt: skip
    _SETS[list(_characters)] |= _set


@numba.njit(cache=True, nogil=True)
def _lower(byte):
    return byte | 32 if 65 <= byte <= 90 else byte


@numba.njit(cache=True, nogil=True)
def _blanks_and_quotes(buffer, i, stop):
    """The first byte from `i` on that is no blank, control character or quote."""
    while i < stop and (buffer[i] <= 32 or buffer[i] == 34):
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def _word(buffer, i, stop, separator):
    """Behind the characters from `i` on that are no blank, quote or separator."""
    while i < stop and buffer[i] > 32 and buffer[i] != separator and buffer[i] != 34:
        i += 1
    return i


@numba.njit(cache=True, nogil=True)
def _digits(buffer, i, stop):
    """Value of decimal digits from `i` on, or -1; where they end."""
    value, begin = np.int64(0), i
    while i < stop and 48 <= buffer[i] <= 57 and i - begin < 18:
        value = value * 10 + np.int64(buffer[i] - 48)
        i += 1
    return (value if i > begin else np.int64(-1)), i


@numba.njit(cache=True, nogil=True)
def _integer(buffer, i, stop, base):
    """Value of up to 8 hexadecimal or 10 decimal digits, 0x before them or not, or -1; where they
    end; how many; whether they are surely hexadecimal."""
    sure = False
    zero_x = i + 2 < stop and buffer[i] == 48 and buffer[i + 1] | 32 == 120
    if zero_x and _DIGIT[buffer[i + 2]] >= 0:
        i, base, sure = i + 2, _HEX, True
    begin, value, highest = i, np.int64(0), np.int64(0)
    radix, most = (10, 10) if base >= _DECIMAL else (16, 8)
    while i < stop and i - begin <= most and _DIGIT[buffer[i]] >= 0:
        digit = _DIGIT[buffer[i]]
        highest, value = max(highest, digit), value * radix + digit
        i += 1
    digits, padded = i - begin, i - begin > 1 and buffer[begin] == 48
    fits = 1 <= digits <= most and highest < radix and not (padded and base == _DECIMAL)
    sure = sure or (radix == 16 and (highest > 9 or padded))
    return (value if fits else np.int64(-1)), i, digits, sure


@numba.njit(cache=True, nogil=True)
def _power(value, exponent):
    """value · 10^exponent, rounded once where both are exact."""
    scale = np.float64(1)
    for _ in range(min(abs(exponent), 400)):
        scale *= 10.0
    return value * scale if exponent > 0 else value / scale


@numba.njit(cache=True, nogil=True)
def _days(year, month, day):
    """Days since 1970-01-01 of a Gregorian date, or -1 (Hinnant, days_from_civil)."""
    if not (1970 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= 31):
        return np.int64(-1)
    year -= month <= 2
    era, of_era = year // 400, year % 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@numba.njit(cache=True, nogil=True)
def _clock(buffer, i, stop, hour):
    """Seconds of `:minute:second` with a fraction behind a point, comma or colon, or -1; where
    they end."""
    total = hour * 60
    for _ in range(2):
        if i >= stop or buffer[i] != 58:
            return -1.0, i
        value, end = _digits(buffer, i + 1, stop)
        if not 0 <= value < 61 or end - i > 3:
            return -1.0, i
        total, i = (total + value) * (60 if _ == 0 else 1), end
    if i + 1 < stop and (buffer[i] == 46 or buffer[i] == 58 or buffer[i] == 44):
        fraction, end = _digits(buffer, i + 1, stop)
        if fraction >= 0:
            return total + _power(np.float64(fraction), -(end - i - 1)), end
    return np.float64(total), i


@numba.njit(cache=True, nogil=True)
def _time(buffer, i, stop, comma):
    """A time and where it ends: a number, hours:minutes:seconds, or a date with them, in seconds;
    -1 for what is none. Also returns whether it is no integer. A number of up to 2⁵³ without its
    point is the nearest float64, as Python's `float`; beyond, the whole and the rest are rounded
    apart."""
    begin, value, scale = i, np.int64(0), np.int64(1)
    while i < stop and 48 <= buffer[i] <= 57:
        if value > 922337203685477579:  # the next digit would be one too many
            return -1.0, begin, False
        value = value * 10 + np.int64(buffer[i] - 48)
        i += 1
    digits, places = i - begin, 0
    point = i < stop and (buffer[i] == 46 or (comma and buffer[i] == 44))
    if point:
        i += 1
        while i < stop and 48 <= buffer[i] <= 57:
            if digits + places < 18:
                value = value * 10 + np.int64(buffer[i] - 48)
                scale *= 10
                places += 1
            i += 1
    if digits + places == 0:
        return -1.0, begin, False
    byte = buffer[i] if i < stop else 0
    if byte == 58 and not point:
        seconds, i = _clock(buffer, i, stop, value)
        return (seconds, i, True) if value < 100 else (-1.0, begin, True)
    if byte == 45 and not point and digits == 4:  # a date
        month, i = _digits(buffer, i + 1, stop)
        day, end = _digits(buffer, i + 1, stop) if i < stop and buffer[i] == 45 else (-1, i)
        days = _days(value, month, day)
        if days < 0 or end >= stop or not (buffer[end] == 32 or buffer[end] | 32 == 116):
            return -1.0, begin, True
        hour, i = _digits(buffer, end + 1, stop)
        seconds, i = _clock(buffer, i, stop, hour) if 0 <= hour < 24 else (-1.0, i)
        if i < stop and buffer[i] | 32 == 122:  # Z
            i += 1
        elif i + 5 < stop and (buffer[i] == 43 or buffer[i] == 45) and buffer[i + 3] == 58:
            hours, minutes = _digits(buffer, i + 1, stop)[0], _digits(buffer, i + 4, stop)[0]
            east = (hours * 60 + minutes) * (60 if buffer[i] == 43 else -60)
            seconds, i = seconds - east if min(hours, minutes) >= 0 else -1e9, i + 6
        total = days * 86400 + seconds
        return (total, i, True) if total >= 0 and hour >= 0 else (-1.0, begin, True)
    if byte | 32 == 101 and i + 1 < stop:  # an exponent
        sign = -1 if buffer[i + 1] == 45 else 1
        exponent, end = _digits(buffer, i + 1 + (buffer[i + 1] == 45 or buffer[i + 1] == 43), stop)
        if not 0 <= exponent < 300:
            return -1.0, begin, True
        return _power(np.float64(value), sign * exponent - places), end, True
    if value <= 1 << 53:
        return value / scale, i, point
    return value // scale + (value % scale) / scale, i, point


@numba.njit(cache=True, nogil=True)
def _payload(buffer, i, stop, how, row, data, n):
    """Fill data[n] from hexadecimal digits, or R4, a remote frame. Returns where they end, or
    minus the fault."""
    wide, spaced, counted = how == 1 or how == 2, how == 2, how == 3
    if i < stop and buffer[i] | 32 == 114 and (how == 0 or spaced):  # R
        row[_R_REMOTE], row[_R_DLC], i = 1, max(row[_R_DLC], 0), i + 1
        if i < stop and 48 <= buffer[i] <= 57:
            row[_R_DLC], i = np.int64(buffer[i]) - 48, i + 1
        return i if row[_R_DLC] <= 8 else -_PAYLOAD
    if i + 1 < stop and buffer[i] == 48 and buffer[i + 1] | 32 == 120:
        i += 2
    count, most = 0, 64 if wide else 8
    if counted:
        most = 0 if row[_R_REMOTE] else row[_R_DLC]
    while i < stop and not (counted and count == most):
        high = _DIGIT[buffer[i]]
        if high < 0:
            if not (spaced and buffer[i] <= 32):
                break
            i += 1
            continue
        if i + 1 >= stop or _DIGIT[buffer[i + 1]] < 0:
            return -_DIGITS
        if count == most:
            return -_PAYLOAD
        if count < data.shape[1]:
            data[n, count] = high * 16 + _DIGIT[buffer[i + 1]]
        count, i = count + 1, i + 2
    if counted and count < most:
        return -_PAYLOAD
    row[_R_COUNT] = count
    return i


@numba.njit(cache=True, nogil=True)
def _listed(buffer, i, stop, separator, most, base, row, data, n):
    """Fill data[n] from up to `most` bytes between blanks or separators. Returns where the last
    one ends."""
    count = 0
    while count < most:
        at = _blanks_and_quotes(buffer, i, stop)
        if at < stop and buffer[at] == separator:
            at = _blanks_and_quotes(buffer, at + 1, stop)
        high = _DIGIT[buffer[at]] if base == _HEX and at + 1 < stop else -1
        low = _DIGIT[buffer[at + 1]] if high >= 0 else -1
        value, end, digits, sure = high * 16 + low, at + 2, 2, False
        if low < 0:  # not the two digits that most logs have
            value, end, digits, sure = _integer(buffer, at, stop, base)
        fits = not sure if base >= _DECIMAL else digits == 2  # no 0x among decimal bytes
        if base == _LOOSE:
            fits = digits == (1 if value < 16 else 2)
        if not (fits and 0 <= value <= 255):
            break
        if end < stop and buffer[end] > 32 and buffer[end] != separator and buffer[end] != 34:
            break
        if count < data.shape[1]:
            data[n, count] = value
        count, i = count + 1, end
    row[_R_COUNT] = count
    return i


@numba.njit(cache=True, nogil=True)
def _columns(buffer, i, stop, separator, columns, base, row, data, n):
    """Fill data[n] from a table's columns of one byte each, of which the last ones may be empty or
    missing. Returns where they end, or minus a fault."""
    i = _blanks_and_quotes(buffer, i, stop)
    if i == stop or buffer[i] != separator:
        i = _listed(buffer, i, stop, separator, columns, base, row, data, n)
    for _ in range(columns - max(row[_R_COUNT], 1)):
        i = _blanks_and_quotes(buffer, i, stop)
        if i < stop and buffer[i] != separator:
            return -_PAYLOAD
        i += i < stop
    return i


@numba.njit(cache=True, nogil=True)
def _base64(buffer, i, stop, row, data, n):
    """Fill data[n] from digits of base 64. Returns where they end, or minus a fault."""
    bits, held, count, begin = np.int64(0), 0, 0, i
    while i < stop and _SIX[buffer[i]] >= 0:
        bits, held, i = (bits << 6 | _SIX[buffer[i]]) & 0xFFFF, held + 6, i + 1
        if held >= 8:
            held -= 8
            if count < data.shape[1]:
                data[n, count] = bits >> held & 255
            count += 1
    while i < stop and buffer[i] == 61:  # =
        i += 1
    row[_R_COUNT] = count
    whole = (i - begin) % 4 == 0 and held < 6 and bits & ((1 << held) - 1) == 0
    return i if whole and count <= 64 else -_PAYLOAD


@numba.njit(cache=True, nogil=True)
def _index(buffer, i, end, words, lower):
    """The row of `words` that holds what is written, or minus the first empty row, minus one."""
    for k in range(len(words)):
        if words[k, 0] == 0:
            return -k - 1
        j = 0
        while j < min(end - i, words.shape[1]) and words[k, j] == (
            _lower(buffer[i + j]) if lower else buffer[i + j]
        ):
            j += 1
        if j == end - i and (j == words.shape[1] or words[k, j] == 0):
            return k
    return -len(words) - 1


@numba.njit(cache=True, nogil=True)
def _identifier(buffer, i, stop, how, row):
    """Read an ID into its registers. Returns where it ends, or minus a fault."""
    kind, base = how // 10 * 10, how % 10
    if kind >= _THREE:
        end = min(i + (3 if kind == _THREE else 8), stop)
        value, end, digits, sure = _integer(buffer, i, end, base)
        if digits != (3 if kind == _THREE else 8):
            return -_ID
    else:
        value, end, digits, sure = _integer(buffer, i, stop, base)
    extended = value > 0x7FF or (kind != _BY_SIZE and base <= _LOOSE and digits == 8)
    if kind == _OVER_FOUR:
        extended = extended or digits > 4
    elif kind == _BY_X:
        extended = end < stop and buffer[end] | 32 == 120
        end += extended
    elif kind == _AS_CANDUMP:
        extended = digits == 8
        if digits != 3 and digits != 8:
            return -_ID
        row[_R_ERROR] = value >= 0 and value & _ERROR_FLAG > 0
    row[_R_ID], row[_R_EXTENDED] = value, extended
    if value < 0 or (value > (0x1FFFFFFF if extended else 0x7FF) and not row[_R_ERROR]):
        return -_ID
    if sure:
        row[_R_SEEN] |= HEXADECIMAL
    return end


@numba.njit(cache=True, nogil=True)
def _whole(row, data, n):
    """Whether the registers are a frame: 0, or the fault, or `_TOO_WIDE`."""
    count, dlc = row[_R_COUNT], row[_R_DLC]
    if row[_R_ID] > 0x7FF and not row[_R_EXTENDED] and not row[_R_ERROR]:
        return _ID
    if row[_R_REMOTE]:
        row[_R_DLC] = min(max(dlc, 0), 8)  # a raw DLC goes to 15
        return 0 if count == 0 and dlc <= 15 else _DLC
    if dlc >= 0 and count != dlc:
        coded = 8 < dlc <= 15 and (count == 8 or count == _LENGTH_OF_CODE[dlc])
        if not coded:
            return _DLC
    if not _LENGTH_EXISTS[min(count, 65)]:
        return _PAYLOAD
    row[_R_DLC] = count
    return _TOO_WIDE if count > data.shape[1] else 0


@numba.njit(cache=True, nogil=True, inline="always")
def _sign(buffer, i, stop, kind, how, separator):
    """Pass signs and spans. Returns where they end, or minus a fault."""
    if kind == _SEPARATOR:
        i = _blanks_and_quotes(buffer, i, stop)
        if i == stop or buffer[i] != separator:
            return -_TEXT
        return _blanks_and_quotes(buffer, i + 1, stop)
    if kind == _END:
        while i < stop and ((buffer[i] <= 34 and buffer[i] != 33) or buffer[i] == separator):
            i += 1
        return -_MANY if i < stop else i
    if how == _REST:
        return stop
    characters, least, most = how & 255, how >> 8 & 255, how >> 16
    begin, apart = i, separator if characters & (_WORD | _NOT_SEPARATOR) else -1
    if characters == _NOT_SEPARATOR and i < stop and buffer[i - 1] == 34 and buffer[i] != separator:
        while i < stop and buffer[i] != 34:  # a field in quotes
            i += 1
    while i < stop and i - begin < most and _SETS[buffer[i]] & characters and buffer[i] != apart:
        i += 1
    if characters == _WAY and i > begin and (i - begin > 1) != (buffer[i - 1] | 32 == 120):
        return -_MANY  # X, RT
    return i if i - begin >= least else -_PAYLOAD if characters == _DIGITS16 else -_TEXT


@numba.njit(cache=True, nogil=True, inline="always")
def _value(buffer, i, stop, kind, how, separator, row, clock):
    """Read a time into `clock`, or an ID, a DLC, a label, a bus or a flag into its registers.
    Returns where they end, or minus a fault."""
    if kind == _TIMES and how < 2:
        clock[0], end, fraction = _time(buffer, i, stop, how)
        if fraction:
            row[_R_SEEN] |= FRACTION
        return end if clock[0] >= 0 else -_TIME
    if kind == _TIMES:
        value, end, digits, _ = _integer(buffer, i, min(i + 4, stop), _LOOSE)
        clock[0] = value
        return end if digits == 4 else -_TIME
    if kind == _IDS:
        return _identifier(buffer, i, stop, how, row)
    if kind == _DLCS:
        end = min(stop, i + 1) if how == 3 else stop
        value, end, _, _ = _integer(buffer, i, end, _HEX if how == 1 else _PADDED_DECIMAL)
        if how == 4:
            value = _LENGTH_OF_CODE[value] if 0 <= value < 16 else -1
        elif how != 2 and 8 < value < 16:
            value = 8  # a raw DLC of a classic frame, which has 8 bytes
        if not 0 <= value <= (64 if how == 4 or how == 2 else 8):
            return -_DLC
        row[_R_DLC] = value
        return end
    if kind == _BUSES and (how or separator):  # digits, or a table's field
        end = i
        while end < stop and (
            48 <= buffer[end] <= 57 if how else buffer[end] != separator and buffer[end] != 34
        ):
            end += 1
        while end > i and buffer[end - 1] <= 32:
            end -= 1
    else:
        end = _word(buffer, i, stop, separator)
    if kind == _BUSES:
        row[_R_BUS], row[_R_BUS_END] = i, end
        return end if i < end <= i + _NAME else -_BUS
    if kind == _FLAG:
        word = _index(buffer, i, end, _FLAGGED, True) if end > i else 0
        row[how] = word >= _YES
        return end if word >= 0 else -_TEXT
    label = _index(buffer, i, end, _LABELLED, True)
    row[_R_LABEL] = label >= _ATTACKED
    return -_LABEL if label < 0 or (how and not 48 <= buffer[i] <= 49) else end


@numba.njit(cache=True, nogil=True, inline="always")
def _bytes(buffer, i, stop, kind, how, separator, row, data, n):
    """Fill data[n]. Returns where the bytes end, or minus a fault."""
    if kind == _DATA:
        return _payload(buffer, i, stop, how, row, data, n)
    if kind == _BASE64:
        return _base64(buffer, i, stop, row, data, n)
    base, mode = how % 10, how // 10 * 10
    if kind == _COLUMNS:
        end, mode = _columns(buffer, i, stop, separator, how // 10, base, row, data, n), _CUT
    else:
        most = 65 if mode != _EXACT else 0 if row[_R_REMOTE] else row[_R_DLC]
        end = _listed(buffer, i, stop, separator, most, base, row, data, n)
    count, dlc = row[_R_COUNT], row[_R_DLC]
    if end < 0 or dlc < 0 or count == dlc or row[_R_REMOTE]:
        return end
    if mode >= _CUT and dlc < count <= 8:
        row[_R_COUNT], row[_R_PADDED] = dlc, 1
        data[n, dlc:count] = 0  # they were never on the bus
    elif mode == _OR_REMOTE and count == 0:
        row[_R_REMOTE] = 1
    elif mode == _EXACT and _blanks_and_quotes(buffer, end, stop) < stop:
        return -_PAYLOAD
    elif kind == _LIST:
        return -_DLC
    return end


@numba.njit(cache=True, nogil=True)
def _match(buffer, begin, stop, steps, separator, row, clock, data, n):
    """Match the line from `begin` to `stop` with one pattern after the other. Returns what it is,
    and 0, a fault, or `_TOO_WIDE`."""
    i, pc, again, fault, furthest, last = begin, 0, 0, _TEXT, -1, _TIMES
    option, saved, skipped = False, 0, 0  # what may be missing: whether it is read, from where
    while True:
        kind, how, jump = steps[pc, 0], steps[pc, 1], steps[pc, 2]
        pc, wrong, at = pc + 1, 0, i
        if kind == _LITERAL:
            i = i + 1 if i < stop and _lower(buffer[i]) == how else -_TEXT
        elif kind <= _END:
            i = _sign(buffer, i, stop, kind, how, separator)
        elif kind == _SET:
            row[how // 2] = how % 2
        elif kind <= _BUSES:
            last = kind
            i = _value(buffer, i, stop, kind, how, separator, row, clock)
        elif kind <= _BASE64:
            last = kind
            i = _bytes(buffer, i, stop, kind, how, separator, row, data, n)
        elif kind == _OPTION and how:  # a pattern begins
            i, again, option, last = begin, jump, False, _TIMES
            row[:] = 0
            row[_R_DLC] = -1
        elif kind == _OPTION:
            option, saved, skipped = True, i, jump
        elif kind == _CLOSE:
            option = False
        elif kind == _REFUSE:
            return OTHER, fault
        elif how != FRAME:
            return how, 0
        else:
            wrong = _whole(row, data, n)
            if wrong <= 0:
                return ERROR_FRAME if row[_R_ERROR] else FRAME, wrong
        if i >= 0 and not wrong:
            continue
        wrong = wrong or -i
        if at > furthest and not option:
            furthest = at
            ended = _blanks_and_quotes(buffer, at, stop) >= stop and kind != _ACCEPT
            # what is behind a field belongs to it
            fault = _FEW if ended and wrong != _DLC else _OWNER[last] if wrong == _TEXT else wrong
        if option:
            i, pc, option = saved, skipped, False
        elif again < len(steps):
            data[n], pc = 0, again
        else:
            return OTHER, fault


@numba.njit(cache=True, nogil=True)
def _parse(buffer, start, ends, program, out):
    """Fill the columns from text, and `faults` by kind. Returns rows, or `_TOO_WIDE`."""
    (steps, separator), (rows, faults, seen, names) = program, out
    n, line, row, clock = 0, 0, np.zeros(_REGISTERS, np.int64), np.zeros(1)
    timestamp, arbitration_id, dlc, data, extended, remote, attack, bus, at_line = rows
    for stop in ends:
        line, begin, start = line + 1, start, stop + 1
        while stop > begin and buffer[stop - 1] <= 32:
            stop -= 1
        if _sign(buffer, begin, stop, _END, 0, separator) >= 0:  # a blank line
            continue
        while begin < stop and (buffer[begin] <= 32 or (separator and buffer[begin] == 34)):
            begin += 1
        outcome, fault = _match(buffer, begin, stop, steps, separator, row, clock, data, n)
        if fault == _TOO_WIDE:
            return _TOO_WIDE
        code = 0
        if outcome == FRAME and not fault and row[_R_BUS_END]:
            code = _index(buffer, row[_R_BUS], row[_R_BUS_END], names, False)
            if -len(names) <= code < 0:  # a new one
                code = -code - 1
                for j in range(row[_R_BUS_END] - row[_R_BUS]):
                    names[code, j] = buffer[row[_R_BUS] + j]
            fault = _BUS if code < 0 else 0
        if fault or outcome != FRAME:
            kind = fault if fault else ERRORS if outcome == ERROR_FRAME else OTHERS
            if faults[kind, 0] == 0:
                faults[kind, 1] = line
            faults[kind, 0] += 1
            data[n] = 0  # the next row takes this place
            continue
        timestamp[n], arbitration_id[n], dlc[n] = clock[0], row[_R_ID], row[_R_DLC]
        extended[n], remote[n] = row[_R_EXTENDED], row[_R_REMOTE]
        attack[n], bus[n], at_line[n] = row[_R_LABEL], code, line
        faults[PADDED, 0] += row[_R_PADDED]
        seen[0] |= row[_R_SEEN]
        n += 1
    return n
