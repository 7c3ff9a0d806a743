"""Text logs → columns: which of the `LAYOUTS` a file has, and its rows, by a compiled parser.

A new layout takes a row in `LAYOUTS`, a line in `_layout` that recognises it, and a branch in
`_parse_rows` that finds its payload.
"""

import mmap
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np

from cangraph.frames import COLUMNS, LATEST, PAYLOAD_LENGTHS, ReadReport
from cangraph.io.unpack import MARK, refuse_carriage_returns


class Layout(NamedTuple):
    """A layout of text logs, and a row of it."""

    name: str
    row: str


TABLE, HCRL, LABELLED, SPACED, CANDUMP = range(5)
LAYOUTS = {
    # known by a first line that names its columns, in any order and perhaps without `attack`; the
    # payload R8 is a remote frame of DLC 8
    TABLE: Layout("can-train-and-test", "1513920254.785861,4B1,7953E58200000033,0"),
    # a number before the first of two commas or more; the bytes stand between blanks or commas
    HCRL: Layout("HCRL without labels", "1478198376.389427,0316,8,05 21 68 09 21 21 00 6f"),
    # a label, R or T, or 0 or 1, behind the bytes of one of the first rows: then all have one
    LABELLED: Layout("HCRL", "1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R"),
    # the word Timestamp: at its beginning
    SPACED: Layout(
        "HCRL, attack free",
        "Timestamp: 1479121434.850202        ID: 0350    000    DLC: 8    05 28 84 66 6d 00 00 a2",
    ),
    # the file's ending .log; #R4 is a remote frame of DLC 4, ##1 a CAN FD frame with its flags
    CANDUMP: Layout("candump", "(1436509052.249713) vcan0 044#2A366C2BBA R"),
}
_HEADER = ("timestamp", "arbitration_id", "data_field", "attack")
_FILLED = [name for name in COLUMNS if name != "attack_type"]

_FEW, _TIME, _ID, _PAYLOAD, _LABEL, _DLC, _MIXED, _MANY = range(1, 9)
_FAULTS = {
    _FEW: "too few fields; expected a whole row",
    _TIME: "a timestamp that is no number of seconds; expected digits such as 1513920254.785861",
    _ID: "an arbitration ID that is not hexadecimal or over 29 bit; expected such as 1A0",
    _PAYLOAD: "a payload that is not hexadecimal or of no CAN length; expected such as 00FF",
    _LABEL: "a label that is not known; expected 0 or 1, or R or T",
    _DLC: "a DLC that does not fit the row; expected 0 to 8 and as many bytes",
    _MIXED: "no label although others have one, or one although they have none; expected one form",
    _MANY: "too many fields; expected no more than a row has",
}
_PADDED, _ERROR_FRAMES = 9, 10  # counted beside the faults
_TOO_WIDE = -1  # a payload of CAN FD, for which `data` lacks the columns
_HEAD = 4096  # bytes that tell the layout
_CHUNK = 1 << 20  # bytes that are worth a thread


_Columns = dict[str, np.ndarray]


def read_text(
    path: Path, blocks: Iterable[bytes | mmap.mmap], suffix: str, strict: bool
) -> Iterator[tuple[_Columns, ReadReport]]:
    """The columns of `Frames` and the report of each block of whole lines of a log, whose first
    rows tell the layout. `first_refused` names only kinds that no report before it named.

    Raises `ValueError` for a layout that is not known.
    """
    named: set[int] = set()
    skipped = body = 0  # lines before the block, bytes of its header
    for i, block in enumerate(blocks):
        if i == 0:
            layout, order, body, skipped = _layout_of(path, block, suffix, strict)
        buffer = np.frombuffer(block, np.uint8)
        rows, faults, lines = _parse(buffer, _parts(block, body), layout, order)
        messages = []
        new = [kind for kind in _FAULTS if faults[kind, 0] and kind not in named]
        for kind in sorted(new, key=lambda kind: faults[kind, 1]):
            _, line, begin = faults[kind].tolist()
            shown = bytes(block[begin : begin + 200]).split(b"\n")[0][:80]
            where = f"{path}:{line + skipped}: {shown.decode('ascii', 'replace').strip()!r}"
            messages.append(f"{where} has {_FAULTS[kind]}; mend or delete the line")
        named.update(new)
        refused = int(faults[[*_FAULTS], 0].sum())
        padded, errors = (int(faults[kind, 0]) for kind in (_PADDED, _ERROR_FRAMES))
        skipped, body = skipped + lines, 0
        del block, buffer  # before the caller's work begins
        total = len(rows["timestamp"]) + errors + refused
        yield rows, ReadReport(total, 0, padded, errors, refused, tuple(messages))


def _layout_of(
    path: Path, block: bytes | mmap.mmap, suffix: str, strict: bool
) -> tuple[int, np.ndarray, int, int]:
    """Layout of a log; field, or -1, of each of a table's `_HEADER`; first byte behind the header;
    lines before that."""
    head = bytes(block[:_HEAD])
    head = head[: head.rfind(b"\n") + 1] or head  # whole lines
    refuse_carriage_returns(path, head)
    body = len(head) - len(head.removeprefix(MARK).lstrip(b" \t\r\n"))
    above = head.count(b"\n", 0, body)
    order = np.full(4, -1, np.int64)
    if suffix == ".log":
        return CANDUMP, order, body, above
    firsts = [line.decode("ascii", "replace") for line in head[body:].split(b"\n")]
    layout = _layout(firsts[0])
    if layout is None and not strict:  # the first line may be the broken one
        layouts = [_layout(line) for line in firsts[1:10]]
        layout = next((known for known in layouts if known not in (None, TABLE)), None)
    if layout is None:
        raise ValueError(
            f"{path}:{above + 1}: the columns {firsts[0].strip().strip(',')[:80]!r} are not known; "
            f"expected {','.join(_HEADER)}, or rows such as {LAYOUTS[LABELLED].row}; rename them"
        )
    if layout == HCRL and any(_has_label(line) for line in firsts):
        layout = LABELLED
    if layout == TABLE:
        names = _names(firsts[0])
        order[:] = [names.index(column) if column in names else -1 for column in _HEADER]
        body, above = block.find(b"\n", body) + 1 or len(block), above + 1
    return layout, order, body, above


def _names(line: str) -> list[str]:
    return [name.strip().lower() for name in line.rstrip(", \t\r\n").split(",")]


def _layout(first: str) -> int | None:
    """The layout of a file by its first line, or None."""
    names = _names(first)
    if {*_HEADER[:3]} <= {*names} <= {*_HEADER} and len(names) == len({*names}):
        return TABLE
    if first.startswith("Timestamp:"):
        return SPACED
    if len(names) >= 3 and names[0].replace(".", "", 1).isdigit():
        return HCRL
    return None


def _has_label(line: str) -> bool:
    """Whether an HCRL row ends in a label: R or T, or 0 or 1 behind all bytes of its DLC."""
    fields = re.split(r"[,\s]+", line.strip(", \t\r\n"))
    if len(fields) < 4:
        return False
    behind = fields[2].isdigit() and len(fields) - 4 >= int(fields[2])
    return fields[-1] in ("R", "T") or (fields[-1] in ("0", "1") and behind)


def _parts(block: bytes | mmap.mmap, body: int) -> list[tuple[int, int]]:
    """Begin and end of one part for each core, each a whole number of lines."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = max(1, min(usable or 1, 8, (len(block) - body) // _CHUNK))
    cuts = [body]
    for i in range(1, count):
        cut = max(cuts[-1], body + (len(block) - body) * i // count)
        cuts.append(block.find(b"\n", cut) + 1 or len(block))
    cuts.append(len(block))
    return [(a, b) for a, b in pairwise(cuts) if a < b] or [(body, body)]


def _parse(
    buffer: np.ndarray, parts: list[tuple[int, int]], layout: int, order: np.ndarray
) -> tuple[_Columns, np.ndarray, int]:
    """The rows in these parts of `buffer` (u1), each read by a thread into its place; count, first
    line and that line's first byte of each fault; number of lines."""
    with ThreadPoolExecutor(len(parts)) as pool:
        lines = list(pool.map(lambda part: _count_lines(buffer, *part), parts))
        first = np.concatenate(([0], np.cumsum(lines)))
        n = int(first[-1])
        for width in (8, 64):  # columns of the payload: as CAN has it, and once more for CAN FD
            shapes: dict = {name: (n, width) if name == "data" else n for name in _FILLED}
            rows = {name: np.zeros(shape, COLUMNS[name]) for name, shape in shapes.items()}
            faults = np.zeros((len(parts), _ERROR_FRAMES + 1, 3), np.int64)

            def parse(i, rows=rows, faults=faults):
                mine = tuple(column[first[i] : first[i + 1]] for column in rows.values())
                return _parse_rows(buffer, parts[i], layout, order, mine, faults[i])

            counts = list(pool.map(parse, range(len(parts))))
            if min(counts) >= 0:
                break
    if counts != lines:  # blank and refused lines have left gaps
        kept = [slice(first[i], first[i] + kept) for i, kept in enumerate(counts)]
        rows = {key: np.concatenate([column[k] for k in kept]) for key, column in rows.items()}
    if width > 8 and rows["dlc"].max(initial=0) <= 8:
        rows["data"] = rows["data"][:, :8]
    found = np.zeros(faults.shape[1:], np.int64)
    for kind in range(len(found)):
        part = int(np.argmax(faults[:, kind, 0] > 0))
        found[kind] = faults[part, kind] + (0, first[part], 0)
        found[kind, 0] = faults[:, kind, 0].sum()
    return rows, found, n


# ---- compiled: a line → a row

_ERROR_FLAG = 0x20000000  # bit of a candump ID, from linux/can.h
_FIELDS = 20  # of a line to look at; the longest rows have 12, and the rest is padding
_DIGIT = np.full(256, -1, np.int64)  # value of a hexadecimal digit
for _i, _character in enumerate("0123456789abcdef"):
    _DIGIT[ord(_character)] = _DIGIT[ord(_character.upper())] = _i
_LABELS = np.full(256, -1, np.int64)
_LABELS[[ord("0"), ord("R")]], _LABELS[[ord("1"), ord("T")]] = 0, 1
_LENGTH_EXISTS = np.isin(np.arange(65), PAYLOAD_LENGTHS)


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
    """Value of decimal digits with at most one point, or -1. Up to 2⁵³ as one integer it is the
    nearest float64, as Python's `float`; beyond, the whole seconds and the rest are rounded apart.
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
    k, field, spaced = 0, i, layout >= SPACED
    alone = True  # no blank has ended a field since the last comma
    while True:
        byte = buffer[i] if i < end else 10
        comma = byte == 10 or (byte == 44 and not spaced)
        # blanks may stand between the bytes of an HCRL row
        if comma or (byte <= 32 and (spaced or (layout != TABLE and k >= 3))):
            left, right = field, i
            while left < right and buffer[left] <= 32:
                left += 1
            while right > left and buffer[right - 1] <= 32:
                right -= 1
            if k < _FIELDS and (left < right or (comma and alone and not spaced)):
                begins[k], ends[k] = left, right
                k += 1
            elif left < right:  # too many fields: noticed, as the last one takes the last place
                begins[k - 1], ends[k - 1] = left, right
            alone = comma or (alone and left == right)
            field = i + 1
            if byte == 10:
                return k, i + 1
        i += 1


@numba.njit(cache=True, nogil=True)
def _packed_payload(buffer, begin, end, data, n):
    """Fill data[n] from hexadecimal digits; R8 is a remote frame. Returns (0, a fault or
    `_TOO_WIDE`; DLC; remote frame)."""
    used = (end - begin) // 2
    if 1 <= end - begin <= 2 and buffer[begin] | 32 == 114:  # R
        asked = np.int64(buffer[end - 1]) - 48 if end - begin == 2 else np.int64(0)
        return 0 if 0 <= asked <= 8 else _PAYLOAD, asked, True
    if (end - begin) % 2 or used > 64 or not _LENGTH_EXISTS[used]:
        return _PAYLOAD, used, False
    if used > data.shape[1]:
        return _TOO_WIDE, used, False
    for j in range(used):
        high, low = _DIGIT[buffer[begin + 2 * j]], _DIGIT[buffer[begin + 2 * j + 1]]
        if high < 0 or low < 0:
            return _PAYLOAD, used, False
        data[n, j] = high * 16 + low
    return 0, used, False


@numba.njit(cache=True, nogil=True)
def _candump_payload(buffer, begins, ends, k, data, n):
    """Fill data[n] from `ID#payload`, leave the bare time and ID in their fields, and return as
    `_packed_payload` does."""
    if k < 3:
        return _FEW, 0, False
    if k > 4 or (k == 4 and (ends[3] - begins[3] > 1 or buffer[begins[3]] | 32 not in (114, 116))):
        return _MANY, 0, False  # but R, received, and T, sent
    if buffer[begins[0]] != 40 or buffer[ends[0] - 1] != 41:
        return _TIME, 0, False
    begins[0], ends[0] = begins[0] + 1, ends[0] - 1
    begin, end = begins[2], ends[2]
    while begin < end and buffer[begin] != 35:
        begin += 1
    if begin == end:
        return _FEW, 0, False
    ends[2] = begin
    if begin - begins[2] != 3 and begin - begins[2] != 8:
        return _ID, 0, False
    begin += 1
    wide = begin < end and buffer[begin] == 35
    if wide:  # CAN FD: a digit of flags before the payload
        if begin + 1 == end or _DIGIT[buffer[begin + 1]] < 0:
            return _PAYLOAD, 0, False
        begin += 2
    fault, dlc, remote = _packed_payload(buffer, begin, end, data, n)
    if not fault and (remote if wide else dlc > 8):
        fault = _PAYLOAD
    return fault, dlc, remote


@numba.njit(cache=True, nogil=True)
def _listed_payload(buffer, begins, ends, k, layout, data, n):
    """Fill data[n] from a DLC and as many bytes. Returns (0 or a fault; DLC; remote frame; field
    of the label or -1; whether bytes behind the DLC were left out)."""
    f_dlc = 6 if layout == SPACED else 2
    if k <= f_dlc:
        return _FEW, 0, False, -1, False
    dlc, fields = _hexadecimal(buffer, begins[f_dlc], ends[f_dlc]), k - f_dlc - 1
    short = fields > 0 and ends[k - 1] - begins[k - 1] == 1  # two digits are a byte
    flag = k - 1 if layout == LABELLED and short else -1
    count, fault = fields - (flag >= 0), 0
    if not 0 <= dlc <= 8:
        fault = _DLC
    elif fields == 0 and dlc and layout != SPACED:
        fault = _FEW
    elif layout == HCRL and short and count > dlc:
        fault = _MIXED
    elif count and not dlc <= count <= 8:
        fault = _DLC
    elif layout == LABELLED and flag < 0:
        fault = _MIXED
    # a remote frame asks for `dlc` bytes and carries none
    remote = (count == 0 and dlc > 0) or (layout == SPACED and buffer[begins[4]] == 49)  # "100"
    if fault:
        return fault, dlc, remote, flag, False
    for j in range(count):
        value = _hexadecimal(buffer, begins[f_dlc + 1 + j], ends[f_dlc + 1 + j])
        if not 0 <= value <= 255:
            return _PAYLOAD, dlc, remote, flag, False
        if j < dlc:  # bytes past the DLC pad some HCRL rows to 8; they were never on the bus
            data[n, j] = value
    return 0, dlc, remote, flag, count > dlc


@numba.njit(cache=True, nogil=True)
def _parse_rows(buffer, part, layout, order, rows, faults):
    """Fill the columns from text, and `faults` by kind. Returns rows, or `_TOO_WIDE`."""
    n, line, (i, end) = 0, 0, part
    begins, ends = np.zeros(_FIELDS, np.int64), np.zeros(_FIELDS, np.int64)
    timestamp, arbitration_id, dlc, data, extended, remote, attack = rows
    candump = layout == CANDUMP
    f_time, f_id = (1, 3) if layout == SPACED else (0, 2 if candump else 1)
    last = max(order[0], order[1], order[2], order[3])
    if layout == TABLE:
        f_time, f_id = order[0], order[1]
    while i < end:
        line, start = line + 1, i
        k, i = _split(buffer, i, end, layout, begins, ends)
        written = k
        while written and begins[written - 1] == ends[written - 1]:
            written -= 1
        if not written:  # a blank line
            continue
        k = max(written, min(k, last + 1))  # without the commas that a spreadsheet padded with
        flag, padded, error = order[3], False, False
        if layout == TABLE:
            fault = _FEW if k <= last else _MANY
            if k == last + 1:
                begin, stop = begins[order[2]], ends[order[2]]
                fault, dlc[n], remote[n] = _packed_payload(buffer, begin, stop, data, n)
        elif candump:
            fault, dlc[n], remote[n] = _candump_payload(buffer, begins, ends, k, data, n)
        else:
            fault, dlc[n], remote[n], flag, padded = _listed_payload(
                buffer, begins, ends, k, layout, data, n
            )
        if fault == _TOO_WIDE:
            return _TOO_WIDE
        if not fault:
            timestamp[n] = _seconds(buffer, begins[f_time], ends[f_time])
            identifier = _hexadecimal(buffer, begins[f_id], ends[f_id])
            digits = ends[f_id] - begins[f_id]
            error = candump and identifier > 0 and identifier & _ERROR_FLAG > 0
            highest = 0x7FF if candump and digits == 3 else 0x1FFFFFFF
            if not 0 <= timestamp[n] < LATEST:
                fault = _TIME
            elif not (error or 0 <= identifier <= highest):
                fault = _ID
            arbitration_id[n] = identifier
            extended[n] = identifier > 0x7FF or digits == 8
        if not fault and flag >= 0:
            label = _LABELS[buffer[begins[flag]]] if ends[flag] - begins[flag] == 1 else -1
            attack[n] = label == 1
            if label < 0:
                fault = _LABEL
        if fault or error:
            kind = fault if fault else _ERROR_FRAMES
            if faults[kind, 0] == 0:
                faults[kind, 1], faults[kind, 2] = line, start
            faults[kind, 0] += 1
            data[n] = 0  # the next row takes this place
        else:
            faults[_PADDED, 0] += padded
            n += 1
    return n
