"""Text logs → columns: which layout a file has, and its rows, block by block."""

import mmap
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from cangraph.frames import ReadReport
from cangraph.io.textrows import (
    CANDUMP,
    ERROR_FRAMES,
    FAULTS,
    HCRL,
    PADDED,
    SPACED,
    TABLE,
    count_lines,
    line_end,
    parse_rows,
)  # fmt: skip
from cangraph.io.unpack import MARK, refuse_carriage_returns

__all__ = ["read_text"]

_COLUMNS = ("timestamp", "arbitration_id", "data_field", "attack")
_HEAD = 4096  # bytes that tell the layout
_CHUNK = 1 << 20  # bytes that are worth a thread


def read_text(
    path: Path, blocks: Iterable[bytes | mmap.mmap], suffix: str, strict: bool
) -> Iterator[tuple[dict[str, np.ndarray], ReadReport]]:
    """The columns of `Frames` and the report of each block of whole lines of a log.

    `first_refused` of a report names only kinds that none before it named; lines count from the
    beginning of the log. The first block's first rows tell the layout.

    Raises `ValueError` for a layout that is not known.
    """
    named: set[int] = set()
    skipped = 0  # lines before the block
    for i, block in enumerate(blocks):
        body = 0
        if i == 0:
            layout, order, body, skipped = _layout_of(path, block, suffix, strict)
        buffer = np.frombuffer(block, np.uint8)
        columns, faults, lines = _parse(buffer, body, layout, order)
        messages = []
        for kind in {*FAULTS} - named:
            count, line, begin = faults[kind].tolist()
            if count:
                shown = bytes(buffer[begin : begin + 200]).split(b"\n")[0][:80]
                shown = shown.decode("ascii", "replace").strip()
                line += skipped
                messages.append(
                    (line, f"{path}:{line}: {shown!r} has {FAULTS[kind]}; mend or delete the line")
                )
                named.add(kind)
        refused = int(faults[[*FAULTS], 0].sum())
        errors = int(faults[ERROR_FRAMES, 0])
        skipped += lines
        del block, buffer  # before the caller's work begins
        yield (
            columns,
            ReadReport(
                rows=len(columns["timestamp"]) + errors + refused,
                padded=int(faults[PADDED, 0]),
                error_frames=errors,
                refused=refused,
                first_refused=tuple(message for _, message in sorted(messages)),
            ),
        )


def _layout_of(
    path: Path, block: bytes | mmap.mmap, suffix: str, strict: bool
) -> tuple[int, np.ndarray, int, int]:
    """(layout, order of the fields, first byte behind the header, lines before it) of a log.

    `order` holds the field number, or -1, of a table's timestamp, ID, payload and label; of HCRL
    rows its last tells whether they have labels.
    """
    head = bytes(block[:_HEAD])
    head = head[: head.rfind(b"\n") + 1] or head  # whole lines
    body = len(MARK) if head.startswith(MARK) else 0
    refuse_carriage_returns(path, head)
    blank = len(head) - body - len(head[body:].lstrip(b" \t\r\n"))
    above = head.count(b"\n", 0, body + blank)
    body += blank
    none = np.full(4, -1, np.int64)
    if suffix == ".log":
        return CANDUMP, none, body, above
    firsts = [line.decode("ascii", "replace") for line in head[body:].split(b"\n")]
    layout = _layout(firsts[0])
    if layout is None and not strict:  # the first line may be the broken one
        layouts = [_layout(line) for line in firsts[1:10]]
        layout = next((known for known in layouts if known and known[0] != TABLE), None)
    if layout is None:
        raise ValueError(
            f"{path}:{above + 1}: the columns {firsts[0].strip().strip(',')[:80]!r} are not known; "
            f"expected {','.join(_COLUMNS)} or HCRL rows such as 1478198376.389427,0316,8,05,…,R; "
            "rename them"
        )
    kind, order = layout
    if kind == HCRL and any(_has_label(line) for line in firsts):
        order = np.array([-1, -1, -1, 0], np.int64)
    if kind == TABLE:
        newline = block.find(b"\n", body)
        body, above = len(block) if newline < 0 else newline + 1, above + 1
    return kind, order, body, above


def _layout(first: str) -> tuple[int, np.ndarray] | None:
    """(layout, field number of each of `_COLUMNS` or -1) from a file's first line; None for a line
    that no layout has."""
    names = [name.strip().lower() for name in first.rstrip(", \t\r\n").split(",")]
    known = set(names) <= set(_COLUMNS) and len(names) == len(set(names))
    if known and set(_COLUMNS[:3]) <= set(names):
        order = [names.index(column) if column in names else -1 for column in _COLUMNS]
        return TABLE, np.array(order, np.int64)
    none = np.full(4, -1, np.int64)
    if first.startswith("Timestamp:"):
        return SPACED, none
    if len(names) >= 3 and names[0].replace(".", "", 1).isdigit():
        return HCRL, none
    return None


def _has_label(line: str) -> bool:
    """Whether an HCRL row ends in a label: R or T, or 0 or 1 behind all bytes of its DLC.

    >>> [_has_label(f"1.5,0316,1,{rest}") for rest in ("07,R,,", "07,1", "07", "1")]
    [True, True, False, False]
    """
    fields = line.rstrip(", \t\r\n").replace(" ", ",").split(",")
    fields = [*fields[:3], *filter(None, (field.strip() for field in fields[3:]))]
    if len(fields) < 4:
        return False
    digit = fields[2].strip()
    behind = digit.isdigit() and len(fields) - 4 >= int(digit)
    return fields[-1] in ("R", "T") or (fields[-1] in ("0", "1") and behind)


def _parse(
    buffer: np.ndarray, body: int, layout: int, order: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    """The columns of the rows in `buffer` (u1) from byte `body` on, the count, first line and its
    first byte of each fault, and how many lines there are.

    The bytes are cut at newlines into one part for each core; the compiled loop reads the parts
    at once, straight into their place in the columns.
    """
    parts = _parts(buffer, body)
    with ThreadPoolExecutor(len(parts)) as pool:
        lines = list(pool.map(lambda part: count_lines(buffer, *part), parts))
        first = np.concatenate(([0], np.cumsum(lines)))
        for width in (8, 64):  # columns of the payload: as CAN has it, and once more for CAN FD
            columns = _columns(int(first[-1]), width)
            faults = np.zeros((len(parts), ERROR_FRAMES + 1, 3), np.int64)

            def parse(i, columns=columns, faults=faults):
                mine = [values[first[i] : first[i + 1]] for values in columns.values()]
                return parse_rows(buffer, *parts[i], layout, order, *mine, faults[i])

            rows = list(pool.map(parse, range(len(parts))))
            if min(rows) >= 0:
                break
    if rows != lines:  # blank and refused lines have left gaps
        kept = [slice(first[i], first[i] + n) for i, n in enumerate(rows)]
        columns = {key: np.concatenate([v[k] for k in kept]) for key, v in columns.items()}
    if width > 8 and columns["dlc"].max(initial=0) <= 8:
        columns["data"] = columns["data"][:, :8]
    found = np.zeros(faults.shape[1:], np.int64)
    for kind in range(len(found)):
        part = int(np.argmax(faults[:, kind, 0] > 0))
        found[kind] = faults[part, kind] + (0, first[part], 0)
        found[kind, 0] = faults[:, kind, 0].sum()
    return columns, found, int(first[-1])


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
        cuts.append(line_end(buffer, cut))
    cuts.append(len(buffer))
    return [(a, b) for a, b in pairwise(cuts) if a < b] or [(body, body)]
