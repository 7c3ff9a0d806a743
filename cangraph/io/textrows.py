"""A line of a text log → a row of columns: the compiled parser."""

import numba
import numpy as np

from cangraph.frames import LATEST, PAYLOAD_LENGTHS

__all__ = [
    "CANDUMP", "ERROR_FRAMES", "FAULTS", "HCRL", "PADDED", "SPACED", "TABLE", "count_lines",
    "line_end", "parse_rows",
]  # fmt: skip

# What each line of a file looks like:
#   table    1513920254.785861,4B1,7953E58200000033,0      (can-train-and-test, header line first)
#   hcrl     1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R      (or blanks between the bytes)
#   spaced   Timestamp: 1479121434.850202       ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2
#   candump  (1436509052.249713) vcan0 044#2A366C2BBA R       (R4: remote frame, ##1: CAN FD, flags)
TABLE, HCRL, SPACED, CANDUMP = 0, 1, 2, 3

FAULTS = {
    1: "too few fields; expected a whole row",
    2: "a timestamp that is no number of seconds; expected digits such as 1513920254.785861",
    3: "an arbitration ID that is not hexadecimal or over 29 bit; expected such as 1A0",
    4: "a payload that is not hexadecimal or of a length CAN lacks; expected 0 to 8 bytes such as "
    "00FF or 00,ff, or a CAN FD length",
    5: "a label that is not known; expected 0 or 1, or R or T",
    6: "a DLC that does not fit the row; expected 0 to 8 and as many bytes",
    7: "no label although other rows have one, or one although they have none; expected one form",
    8: "too many fields; expected no more than a row has",
}
PADDED, ERROR_FRAMES = 9, 10  # counted beside the faults
_ERROR_FLAG = 0x20000000  # bit of a candump ID, from linux/can.h
_FIELDS = 20  # of a line to look at; the longest rows have 12, and the rest is padding

_DIGIT = np.full(256, -1, np.int64)  # value of a hexadecimal digit
for _i, _character in enumerate("0123456789abcdef"):
    _DIGIT[ord(_character)] = _DIGIT[ord(_character.upper())] = _i
_LENGTH_EXISTS = np.isin(np.arange(65), PAYLOAD_LENGTHS)


@numba.njit(cache=True, nogil=True)
def line_end(buffer, i):
    """The byte after the line that holds byte `i`."""
    while i < len(buffer) and buffer[i] != 10:
        i += 1
    return min(i + 1, len(buffer))


@numba.njit(cache=True, nogil=True)
def count_lines(buffer, begin, end):
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
def _store(begins, ends, k, left, right):
    """Note a field behind `k` others; what the last place cannot take stands for it."""
    if k < _FIELDS:
        begins[k], ends[k] = left, right
        return k + 1
    if left < right:
        begins[k - 1], ends[k - 1] = left, right
    return k


@numba.njit(cache=True, nogil=True)
def _split(buffer, i, end, layout, begins, ends):
    """Begin and end of the fields of the line at byte `i`. Returns (fields, the next line)."""
    k, field, spaced = 0, i, layout >= SPACED
    while True:
        byte = buffer[i] if i < end else 10
        if byte == 10 or byte == 44 or (byte <= 32 and spaced):
            if byte != 44 or not spaced:
                left, right = field, i
                while left < right and buffer[left] <= 32:
                    left += 1
                while right > left and buffer[right - 1] <= 32:
                    right -= 1
                if layout == HCRL and k >= 3:  # blanks between the bytes in Survival's clean files
                    for j in range(left, right):
                        if buffer[j] <= 32:
                            if left < j:
                                k = _store(begins, ends, k, left, j)
                            left = j + 1
                if left < right or not spaced:
                    k = _store(begins, ends, k, left, right)
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
def _candump_payload(buffer, begins, ends, k, n, dlc, data, remote):
    """Fill row n from `ID#payload`, and leave the bare time and ID in their fields. Returns as
    `_table_payload` does."""
    if k < 3:
        return 1
    if k > 4 or (k == 4 and (ends[3] - begins[3] > 1 or buffer[begins[3]] | 32 not in (114, 116))):
        return 8  # but R, received, and T, sent
    if buffer[begins[0]] != 40 or buffer[ends[0] - 1] != 41:
        return 2
    begins[0], ends[0] = begins[0] + 1, ends[0] - 1
    begin, end = begins[2], ends[2]
    while begin < end and buffer[begin] != 35:
        begin += 1
    if begin == end:
        return 1
    ends[2] = begin
    if begin - begins[2] != 3 and begin - begins[2] != 8:
        return 3
    begin += 1
    wide = begin < end and buffer[begin] == 35
    if wide:  # CAN FD: a digit of flags before the payload
        if begin + 1 == end or _DIGIT[buffer[begin + 1]] < 0:
            return 4
        begin += 2
    fault = _table_payload(buffer, begin, end, n, dlc, data, remote)
    if not fault and (remote[n] if wide else dlc[n] > 8):
        return 4
    return fault


@numba.njit(cache=True, nogil=True)
def _listed_payload(buffer, begins, ends, k, layout, labelled, n, dlc, data, remote):
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
    else:
        short = rest > 0 and ends[k - 1] - begins[k - 1] == 1  # two digits are a byte
        if rest == 0 and length:
            return 1, -1, False
        if labelled:
            tail = short  # a flag stands behind the payload
        elif short and rest > length:
            return 7, -1, False
    count = rest - tail
    if count == 0 and length:
        remote[n] = True  # a remote frame asks for `dlc` bytes and carries none
    elif not length <= count <= 8:
        return 6, -1, False
    if labelled and not tail:
        return 7, -1, False
    dlc[n] = length
    for j in range(count):
        value = _hexadecimal(buffer, begins[f_dlc + 1 + j], ends[f_dlc + 1 + j])
        if not 0 <= value <= 255:
            return 4, -1, False
        if j < length:  # bytes past the DLC pad some HCRL rows to 8; they were never on the bus
            data[n, j] = value
    return 0, k - 1 if tail else -1, count > length


@numba.njit(cache=True, nogil=True)
def parse_rows(
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
        fault, flag, padded, error = 0, -1, False, False
        f_time, f_id = (1, 3) if layout == SPACED else (0, 2 if layout == CANDUMP else 1)
        if layout == TABLE:
            f_time, f_id, flag = order[0], order[1], order[3]
            if k != last + 1:
                fault = 1 if k <= last else 8
            else:
                f = order[2]
                fault = _table_payload(buffer, begins[f], ends[f], n, dlc, data, remote)
        elif layout == CANDUMP:
            fault = _candump_payload(buffer, begins, ends, k, n, dlc, data, remote)
        else:
            fault, flag, padded = _listed_payload(
                buffer, begins, ends, k, layout, order[3] >= 0, n, dlc, data, remote
            )
        if fault < 0:
            return -1
        if not fault:
            timestamp[n] = _seconds(buffer, begins[f_time], ends[f_time])
            identifier = _hexadecimal(buffer, begins[f_id], ends[f_id])
            digits = ends[f_id] - begins[f_id]
            narrow = layout == CANDUMP and digits == 3
            error = layout == CANDUMP and identifier > 0 and identifier & _ERROR_FLAG > 0
            if not 0 <= timestamp[n] < LATEST:
                fault = 2
            elif not (error or 0 <= identifier <= (0x7FF if narrow else 0x1FFFFFFF)):
                fault = 3
            else:
                arbitration_id[n] = identifier
                # eight digits stand for 29 bit, as in candump's logs
                extended[n] = identifier > 0x7FF or digits == 8
        if not fault and flag >= 0:
            mark = buffer[begins[flag]] if ends[flag] - begins[flag] == 1 else 0
            attack[n] = mark == 49 or mark == 84  # 1, T
            if not attack[n] and mark != 48 and mark != 82:  # 0, R
                fault = 5
        if fault or error:
            counted = fault if fault else ERROR_FRAMES
            if faults[counted, 0] == 0:
                faults[counted, 1], faults[counted, 2] = line, start
            faults[counted, 0] += 1
            dlc[n], remote[n], data[n] = 0, False, 0  # the next row takes this place
        else:
            faults[PADDED, 0] += padded
            n += 1
    return n
