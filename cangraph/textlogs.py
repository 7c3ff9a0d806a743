"""Text logs → columns: the compiled parser of comma separated and HCRL lines."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np

from cangraph.frames import LATEST, PAYLOAD_LENGTHS, ReadReport

__all__ = ["HCRL", "SPACED", "TABLE", "parse_text"]

# What each line of a file looks like:
#   table   1513920254.785861,4B1,7953E58200000033,0      (can-train-and-test, header line first)
#   hcrl    1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R
#   spaced  Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2
TABLE, HCRL, SPACED = 0, 1, 2


_EXPECTED = {
    1: "too few fields; expected a whole row",
    2: "a timestamp that is no number of seconds; expected digits such as 1513920254.785861",
    3: "an arbitration ID that is not hexadecimal or over 29 bit; expected such as 1A0",
    4: "a payload that is not hexadecimal or of a length CAN lacks; expected 0 to 8 bytes such as "
    "00FF or 00,ff, or a CAN FD length",
    5: "a label that is not known; expected 0 or 1, or R or T",
    6: "a DLC that does not fit the row; expected 0 to 8 and as many bytes",
}
_FIELDS = 20  # of a line to look at; the longest rows have 12, and the rest is padding
_CHUNK = 1 << 20  # bytes that are worth a thread

_DIGIT = np.full(256, -1, np.int64)  # value of a hexadecimal digit
for _i, _character in enumerate("0123456789abcdef"):
    _DIGIT[ord(_character)] = _DIGIT[ord(_character.upper())] = _i
_LENGTH_EXISTS = np.isin(np.arange(65), PAYLOAD_LENGTHS)


def parse_text(
    path, buffer: np.ndarray, body: int, layout: int, order: np.ndarray, skipped: int
) -> tuple[dict[str, np.ndarray], ReadReport]:
    """The columns of `Frames` and the report of the rows in `buffer` (u1) from byte `body` on.

    `order` holds the field number, or -1, of a table's timestamp, ID, payload and label.
    The bytes are cut at newlines into one part for each core; the compiled loop reads the parts
    at once, straight into their place in the columns. `skipped` counts the lines before `body`.
    """
    parts = _parts(buffer, body)
    with ThreadPoolExecutor(len(parts)) as pool:
        lines = list(pool.map(lambda part: _count_lines(buffer, *part), parts))
        first = np.concatenate(([0], np.cumsum(lines)))
        for width in (8, 64):  # columns of the payload: as CAN has it, and once more for CAN FD
            columns = _columns(int(first[-1]), width)
            faults = np.zeros((len(parts), 8, 3), np.int64)  # count, first line, its first byte

            def parse(i, columns=columns, faults=faults):
                mine = [values[first[i] : first[i + 1]] for values in columns.values()]
                return _parse(buffer, *parts[i], layout, order, *mine, faults[i])

            rows = list(pool.map(parse, range(len(parts))))
            if min(rows) >= 0:
                break
    if rows != lines:  # blank and refused lines have left gaps
        kept = [slice(first[i], first[i] + n) for i, n in enumerate(rows)]
        columns = {key: np.concatenate([v[k] for k in kept]) for key, v in columns.items()}
    if width > 8 and columns["dlc"].max(initial=0) <= 8:
        columns["data"] = columns["data"][:, :8]
    messages = []
    for kind in range(1, 7):
        part = int(np.argmax(faults[:, kind, 0] > 0))
        count, line, begin = faults[part, kind].tolist()
        if count:
            came = bytes(buffer[begin : begin + 200]).split(b"\n")[0][:80]
            shown = came.decode("ascii", "replace").strip()
            line += skipped + int(first[part])
            message = f"{path}:{line}: {shown!r} has {_EXPECTED[kind]}; mend or delete the line"
            messages.append((line, message))
    refused = int(faults[:, 1:7, 0].sum())
    return columns, ReadReport(
        rows=sum(rows) + refused,
        padded=int(faults[:, 7, 0].sum()),
        refused=refused,
        first_refused=tuple(message for _, message in sorted(messages)),
    )


def _columns(n: int, width: int) -> dict[str, np.ndarray]:
    columns = {"timestamp": np.zeros(n), "arbitration_id": np.zeros(n, np.uint32)}
    columns |= {"dlc": np.zeros(n, np.uint8), "data": np.zeros((n, width), np.uint8)}
    flags = ("is_extended_id", "is_remote_frame", "attack")
    return columns | {flag: np.zeros(n, np.bool_) for flag in flags}


def _parts(buffer: np.ndarray, body: int) -> list[tuple[int, int]]:
    """Begin and end of one part for each core, each a whole number of lines."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = max(1, min(usable or 1, 8, (len(buffer) - body) // _CHUNK))
    cuts = [body]
    for i in range(1, count):
        cut = max(cuts[-1], body + (len(buffer) - body) * i // count)
        cuts.append(_line_end(buffer, cut))
    cuts.append(len(buffer))
    return [(a, b) for a, b in pairwise(cuts) if a < b] or [(body, body)]


@numba.njit(cache=True, nogil=True)
def _line_end(buffer, i):
    """The byte after the line that holds byte `i`."""
    while i < len(buffer) and buffer[i] != 10:
        i += 1
    return min(i + 1, len(buffer))


@numba.njit(cache=True, nogil=True)
def _count_lines(buffer, begin, end):
    lines = 0
    for i in range(begin, end):
        lines += buffer[i] == 10
    return lines + (end > begin and buffer[end - 1] != 10)


@numba.njit(cache=True, nogil=True)
def _hexadecimal(buffer, begin, end):
    """Value of 1 to 8 hexadecimal digits, or -1."""
    if not 1 <= end - begin <= 8:
        return np.int64(-1)
    value = np.int64(0)
    for i in range(begin, end):
        digit = _DIGIT[buffer[i]]
        if digit < 0:
            return np.int64(-1)
        value = value * 16 + digit
    return value


@numba.njit(cache=True, nogil=True)
def _seconds(buffer, begin, end):
    """Value of decimal digits with at most one point, or -1.

    Up to 2⁵³ the digits are divided once, as one integer, and the result is the nearest float64,
    the same as Python's `float`; beyond, the whole seconds and the rest are rounded apart.
    """
    value, scale, digits, point = np.int64(0), np.int64(1), 0, False
    for i in range(begin, end):
        byte = buffer[i]
        if 48 <= byte <= 57:
            digits += 1
            if digits <= 18:
                value = value * 10 + np.int64(byte - 48)
                if point:
                    scale *= 10
            elif not point:
                return -1.0
        elif byte == 46 and not point:
            point = True
        else:
            return -1.0
    if not digits:
        return -1.0
    if value <= 1 << 53:
        return value / scale
    return value // scale + (value % scale) / scale


@numba.njit(cache=True, nogil=True)
def _split(buffer, i, end, layout, begins, ends):
    """Begin and end of the fields of the line at byte `i`. Returns (fields, the next line)."""
    k, field = 0, i
    while True:
        byte = buffer[i] if i < end else 10
        if byte == 10 or byte == 44 or (byte <= 32 and layout == SPACED):
            if byte != 44 or layout != SPACED:
                left, right = field, i
                while left < right and buffer[left] <= 32:
                    left += 1
                while right > left and buffer[right - 1] <= 32:
                    right -= 1
                if k < _FIELDS and (left < right or layout != SPACED):
                    begins[k], ends[k] = left, right
                    k += 1
                field = i + 1
            if byte == 10:
                return k, i + 1
        i += 1


@numba.njit(cache=True, nogil=True)
def _table_payload(buffer, begin, end, n, dlc, data, remote):
    """Fill row n from hexadecimal digits, or R and a DLC. Returns 0, a fault, or -1: too wide."""
    used = (end - begin) // 2
    if 1 <= end - begin <= 2 and buffer[begin] | 32 == 114:  # R8, candump's remote frame
        asked = np.int64(buffer[end - 1]) - 48 if end - begin == 2 else np.int64(0)
        if not 0 <= asked <= 8:
            return 4
        remote[n], dlc[n] = True, asked
        return 0
    if (end - begin) % 2 or used > 64 or not _LENGTH_EXISTS[used]:
        return 4
    if used > data.shape[1]:
        return -1
    dlc[n] = used
    for j in range(used):
        high, low = _DIGIT[buffer[begin + 2 * j]], _DIGIT[buffer[begin + 2 * j + 1]]
        if high < 0 or low < 0:
            return 4
        data[n, j] = high * 16 + low
    return 0


@numba.njit(cache=True, nogil=True)
def _listed_payload(buffer, begins, ends, k, layout, n, dlc, data, remote):
    """Fill row n from a DLC and as many bytes. Returns (fault, field of the flag, padded)."""
    f_dlc = 6 if layout == SPACED else 2
    if k <= f_dlc:
        return 1, -1, False
    length = _hexadecimal(buffer, begins[f_dlc], ends[f_dlc])
    if not 0 <= length <= 8:
        return 6, -1, False
    rest, tail = k - f_dlc - 1, 0
    if layout == SPACED:
        remote[n] = buffer[begins[4]] == 49  # "100" stands for a remote frame
    elif rest and ends[k - 1] - begins[k - 1] == 1:
        tail = 1  # a flag stands behind the payload
    count = rest - tail
    if count == 0 and length:
        remote[n] = True  # a remote frame asks for `dlc` bytes and carries none
        if not tail and layout == HCRL:
            return 1, -1, False
    elif not length <= count <= 8:
        return 6, -1, False
    dlc[n] = length
    for j in range(count):
        value = _hexadecimal(buffer, begins[f_dlc + 1 + j], ends[f_dlc + 1 + j])
        if not 0 <= value <= 255:
            return 4, -1, False
        if j < length:  # bytes past the DLC pad some HCRL rows to 8; they were never on the bus
            data[n, j] = value
    return 0, k - 1 if tail else -1, count > length


@numba.njit(cache=True, nogil=True)
def _parse(
    buffer, i, end, layout, order, timestamp, arbitration_id, dlc, data, extended, remote, attack,
    faults,
):  # fmt: skip
    """Fill the columns from text, and `faults` by kind. Returns rows, or -1: payloads too wide."""
    n, line = 0, 0
    begins, ends = np.zeros(_FIELDS, np.int64), np.zeros(_FIELDS, np.int64)
    last = max(order[0], order[1], order[2], order[3])
    while i < end:
        line += 1
        start = i
        k, i = _split(buffer, i, end, layout, begins, ends)
        while k and begins[k - 1] == ends[k - 1] and (layout != TABLE or k > last + 1):
            k -= 1  # commas that a spreadsheet padded with
        blank = True
        for field in range(k):
            blank = blank and begins[field] == ends[field]
        if blank:
            continue
        fault, flag, padded = 0, -1, False
        f_time, f_id = (1, 3) if layout == SPACED else (0, 1)
        if layout == TABLE:
            f_time, f_id, flag = order[0], order[1], order[3]
            if k <= last:
                fault = 1
            else:
                f = order[2]
                fault = _table_payload(buffer, begins[f], ends[f], n, dlc, data, remote)
                if fault < 0:
                    return -1
        else:
            fault, flag, padded = _listed_payload(
                buffer, begins, ends, k, layout, n, dlc, data, remote
            )
        if not fault:
            timestamp[n] = _seconds(buffer, begins[f_time], ends[f_time])
            identifier = _hexadecimal(buffer, begins[f_id], ends[f_id])
            if not 0 <= timestamp[n] < LATEST:
                fault = 2
            elif not 0 <= identifier <= 0x1FFFFFFF:
                fault = 3
            else:
                arbitration_id[n] = identifier
                # eight digits stand for 29 bit, as in candump's logs
                extended[n] = identifier > 0x7FF or ends[f_id] - begins[f_id] == 8
        if not fault and flag >= 0:
            mark = buffer[begins[flag]] if ends[flag] - begins[flag] == 1 else 0
            attack[n] = mark == 49 or mark == 84  # 1, T
            if not attack[n] and mark != 48 and mark != 82:  # 0, R
                fault = 5
        if fault:
            if faults[fault, 0] == 0:
                faults[fault, 1], faults[fault, 2] = line, start
            faults[fault, 0] += 1
            dlc[n], remote[n], data[n] = 0, False, 0  # the next row takes this place
        else:
            faults[7, 0] += padded
            n += 1
    return n
