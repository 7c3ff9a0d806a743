"""Text logs → columns: which of the `DIALECTS` a log has, and its rows."""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from cangraph.frames import ReadReport
from cangraph.io import rows
from cangraph.io.dialects import BYTE, DIALECTS, NO_TIMES, ROLES, UNITS, Dialect
from cangraph.io.rows import FAULTS, Rows, line_ends, read_rows
from cangraph.io.times import TimeBase
from cangraph.io.unpack import UnpackError

HEAD = 1 << 16  # bytes that tell the dialect
_PREAMBLE = 200  # lines before the header of a table, at most
_FEW = 1 << 12  # of them, those that tell what to try
Columns = dict[str, np.ndarray]
Piece = tuple[Columns, ReadReport, tuple[str, ...]]  # the columns, their report, names of buses

_LATE = "a timestamp after the year 5138; expected seconds"
# what a table needs at least, and what it looks like
_LOOKS = {"timestamp": r"\d+[.,]\d+|\d{6,}", "arbitration_id": r"(0x)?[0-9A-Fa-f]{1,8}",
          "data": r"(0x)?([0-9A-Fa-f]{2}[ -]?){2,}"}  # fmt: skip
_NEEDED = set(_LOOKS)
_CALL = "cangraph.read_frames({path!r}, columns={columns}, time_unit={unit!r}, base={base})"


@dataclass(frozen=True)
class Asked:
    """What a caller says of a table: the names of its columns by role (or their numbers, from 0,
    if it has no header), the unit of its times, the base of its IDs."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    time_unit: str | None = None
    base: int | None = None

    def __post_init__(self):
        if unknown := set(self.columns) - set(ROLES):
            raise ValueError(f"columns: {unknown} unknown; expected some of {', '.join(ROLES)}")
        if self.columns and not set(self.columns) >= _NEEDED:
            raise ValueError(f"columns: {[*self.columns]}; expected {', '.join(_LOOKS)}")
        if self.time_unit not in (None, *UNITS):
            raise ValueError(f"time_unit: {self.time_unit!r}; expected one of {', '.join(UNITS)}")
        if self.base not in (None, 10, 16):
            raise ValueError(f"base: {self.base!r}; expected 10 or 16")


class _Way(NamedTuple):
    """A way to read a log, and how many of its first rows fit it."""

    dialect: Dialect
    program: tuple[np.ndarray, int]
    body: int = 0  # bytes of the header
    above: int = 0  # lines of the header
    per_second: float | None = None  # None: to be told from the whole file
    base: int | None = 16
    signed: bool = True  # whether the head has the dialect's sign
    fits: int = 0
    misfits: int = 0
    first: str = ""  # the first row that does not fit

    @property
    def share(self) -> float:
        return self.fits / max(1, self.fits + self.misfits)


def read_text(
    path: Path, blocks: Callable[[], Generator[Any, None, None]], strict: bool, asked: Asked
) -> Generator[Piece, None, None]:
    """The columns, the report and the buses of each block of whole lines of a log; `blocks` begins
    anew whenever it is called. `first_refused` names only kinds that no report before it named;
    `notes` come with the last report.

    Raises `ValueError` for a dialect that is not known, and at the end, if not `strict`, for a log
    of which less than 99 rows in 100 are of its dialect.
    """
    with closing(blocks()) as parts:
        first = next(parts, b"")
        head = _head(first)
        way = _recognised(path, head, asked)
        timing = TimeBase(way.dialect, head.decode("latin-1"), way.per_second, way.base)
        named: set[str] = set()
        body, skipped, refused, total = way.body, way.above, 0, 0
        buses: tuple[str, ...] = ()
        chained = chain([first], parts)
        del first  # so that it goes when it is read
        for block in chained:
            found = read_rows(block, body, way.program, buses)
            if total == 0 and not timing.settled(found):
                again = zip(blocks(), chain([way.body], repeat(0)), strict=False)
                with suppress(UnpackError):  # comes again when its place is read
                    for other in (read_rows(*part, way.program) for part in again):
                        timing.survey(other)
                timing.decide()
            columns, late = timing.seconds(found, block)
            messages = _messages(path, block, body, found, late, skipped, named)
            lost = int(found.faults[1 : rows.PADDED, 0].sum()) + len(late)
            padded, errors, others = found.faults[rows.PADDED :, 0].tolist()
            read = len(columns["timestamp"]) + errors + others + lost
            report = ReadReport(
                read, 0, padded, errors, lost, messages, others, "" if total else way.dialect.name
            )
            refused, total = refused + lost, total + read
            skipped, body, buses = skipped + found.lines, 0, found.buses
            del block, found  # before the caller's work begins
            yield columns, report, buses
    if not strict and _misfit(refused, total):
        raise ValueError(
            f"{path}: {refused:,} of {total:,} rows are no {way.dialect.name}, more than 1 in 100; "
            f"expected rows such as {way.dialect.example.strip()!r}; no row of it is read"
        )
    yield {}, ReadReport(notes=timing.notes()), buses


def _head(block, size: int = HEAD) -> bytes:
    """The whole lines in the first bytes of a text."""
    head = bytes(block[:size])
    return head if len(head) == len(block) else head[: head.rfind(b"\n") + 1] or head


def _misfit(refused: int, total: int) -> bool:
    """Whether so many refused rows tell that a log is not what it was taken for."""
    return refused > 1 + total // 100


def _shown(block, body: int, line: int) -> str:
    """A line of a block, counted from the byte `body` on."""
    begin = body
    if line > 1:
        begin = line_ends(np.frombuffer(block, np.uint8), body, len(block))[line - 2] + 1
    return bytes(block[begin : begin + 200]).split(b"\n")[0][:80].decode("ascii", "replace").strip()


def _messages(
    path: Path, block, body: int, found: Rows, late: np.ndarray, skipped: int, named: set[str]
) -> tuple[str, ...]:
    """One message for each kind of refusal that was not `named` before, at its first line."""
    first = dict(zip(FAULTS.values(), found.faults[1 : rows.PADDED].tolist(), strict=True))
    first[_LATE] = [len(late), *late[:1].tolist()]
    new = sorted((at[1], fault) for fault, at in first.items() if at[0] and fault not in named)
    named.update(fault for _, fault in new)
    return tuple(
        f"{path}:{line + skipped}: {_shown(block, body, line)!r} has {fault}; "
        "mend or delete the line"
        for line, fault in new
    )


# ---- which dialect


@lru_cache(maxsize=64)
def _program(frames: tuple, errors: tuple, others: tuple, separator: str):
    kinds = ((frames, rows.FRAME), (errors, rows.ERROR_FRAME), (others, rows.OTHER))
    return rows.compiled([(p, kind) for patterns, kind in kinds for p in patterns], separator)


def _recognised(path: Path, head: bytes, asked: Asked) -> _Way:
    """The way that fits most of the first rows. Raises `ValueError` if it fits too few."""
    text = head.decode("latin-1")
    header = _header(text, asked)
    if asked.columns and not header:
        first = text.split("\n")[0][:200].strip()
        raise ValueError(f"{path}:1: {first!r} has not the columns {asked.columns}; name others")
    tables = [*_tables(text, header, asked)]
    ways = tables or [*_row_ways(text, asked)]  # what has the header of a table is one
    begin = _head(head, (header.body if header else 0) + _FEW)
    ways = [_tried(way, begin) for way in ways]
    if len(begin) < len(head):  # those that fit the first rows best, by more rows
        most = max((way.share for way in ways if way.signed), default=0.0)
        ways = [_tried(way, head) if way.share >= most - 0.2 else way for way in ways]
    # one row in a hundred may be damaged, which does not make it one of a dialect that allows more
    signed = (way for way in ways if way.signed)
    best = max(signed, key=lambda way: min(way.share, 0.99), default=None)
    if best and best.fits == best.misfits == 0 and header:  # a header and no rows
        return best
    if best is None or best.fits == 0 or _misfit(best.misfits, best.fits + best.misfits):
        _refuse(path, text, header, ways, best)
    elif best.dialect.lacks:
        raise ValueError(f"{path}: this is {best.dialect.name}: {best.dialect.lacks}")
    elif asked.base and not tables:
        raise ValueError(
            f"{path}: base {asked.base} came for {best.dialect.name}, which is no table and has a "
            "base of its own; leave it out"
        )
    return best


def _row_ways(text: str, asked: Asked) -> Iterator[_Way]:
    for dialect in DIALECTS:
        if dialect.header:
            continue
        frames = dialect.frames(text) if callable(dialect.frames) else dialect.frames
        program = _program(frames, dialect.errors, dialect.others, dialect.separator)
        signed = re.search(dialect.sign, text, re.MULTILINE | re.IGNORECASE) is not None
        unit = UNITS[asked.time_unit] if asked.time_unit else dialect.per_second
        yield _Way(dialect, program, per_second=unit, signed=signed)


def _tried(way: _Way, head: bytes) -> _Way:
    """The way with how many of the rows in the head fit it."""
    found = read_rows(head, way.body, way.program)
    if way.dialect.preamble and len(line := found.columns["line"]):
        lines = head.split(b"\n", int(line[0]) - 1)
        above = len(lines) - 1
        way = way._replace(body=len(head) - len(lines[-1]), above=above)
        found = read_rows(head, way.body, way.program)
    misfits = found.faults[1 : rows.PADDED].tolist()
    fits = len(found.columns["line"]) + int(found.faults[rows.ERRORS, 0])
    kinds = [(row[1], f) for row, f in zip(misfits, FAULTS.values(), strict=True) if row[0]]
    at, fault = min(kinds, default=(0, ""))
    first = fault and f"{at + way.above}: {_shown(head, way.body, at)!r} has {fault}"
    return way._replace(fits=fits, misfits=sum(n for n, _ in misfits), first=first)


# ---- tables


class _Header(NamedTuple):
    names: list[str]
    separator: str
    begin: int  # bytes before it
    body: int  # bytes up to the rows
    above: int  # lines up to the rows


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("\xb5", "u").replace("\xc2", ""))


def _has_role(name: str) -> bool:
    return any(re.fullmatch(pattern, _plain(name)) for pattern in (*ROLES.values(), BYTE))


def _header(text: str, asked: Asked, least: int = 2) -> _Header | None:
    """The first line that names columns, `least` of them as columns are called, or None."""
    at = 0
    numbers = [c for v in asked.columns.values() for c in (v if isinstance(v, list) else [v])]
    for above, line in enumerate(text.split("\n")[:_PREAMBLE]):
        for separator in ",;\t|":
            names = [name.strip(' \t\r"') for name in line.split(separator)]
            while names and not names[-1]:
                names.pop()
            if len(names) < 2:
                continue
            if numbers and all(isinstance(number, int) for number in numbers):
                return _Header([str(i) for i in range(len(names))], separator, at, at, above)
            given = numbers and {str(n) for n in numbers} <= set(names)
            words = not any(name[:1] in "0123456789(#." for name in names if name)
            if given or (words and sum(map(_has_role, names)) >= least):
                return _Header(names, separator, at, at + len(line) + 1, above + 1)
        at += len(line) + 1
    return None


def _roles(names: list[str], asked: Asked) -> dict[str, list[int]]:
    """The columns of each role, by their names or as the caller says."""
    if asked.columns:
        given = {r: v if isinstance(v, list) else [v] for r, v in asked.columns.items()}
        return {role: [names.index(str(c)) for c in columns] for role, columns in given.items()}
    plain, found = [_plain(name) for name in names], {}
    for role, pattern in ROLES.items():
        if named := [i for i, name in enumerate(plain) if re.fullmatch(pattern, name)]:
            found[role] = named[:1]
    if listed := [i for i, p in enumerate(plain) if re.fullmatch(BYTE, p)]:
        found.setdefault("data", listed)
    return found


def _tables(text: str, header: _Header | None, asked: Asked) -> Iterator[_Way]:
    """The ways to read a table with this header: numbers in base 16 or 10."""
    if header is None:
        return
    joined = ",".join(map(_plain, header.names))
    declared = [d for d in DIALECTS if d.header and re.fullmatch(d.header, joined)]
    name = f"table of {', '.join(header.names[:8])}"
    dialect = Dialect(name, header.separator.join(header.names), per_second=None)
    dialect = declared[0] if declared and not asked.columns else dialect
    found = _roles(header.names, asked)
    if dialect.lacks:
        yield _Way(dialect, _program(("{rest}",), (), (), "\0"), header.body, header.above)
    if dialect.lacks or not set(found) >= _NEEDED:
        return
    when, who = (header.names[found[role][0]] for role in ("timestamp", "arbitration_id"))
    unit = re.fullmatch(ROLES["timestamp"], _plain(when))
    named = UNITS.get("s" if unit[2] and unit[2][0] == "s" else unit[2]) if unit else None
    per = UNITS[asked.time_unit] if asked.time_unit else dialect.per_second or named
    base = asked.base or (10 if _plain(who).endswith("dec") else None)
    several = len(found["data"]) > 1
    likely = _BASES_OF[: 2 if declared else None] if several else (("", ""), ("", "10"))
    for listed, ids in likely:
        if base and base != (10 if ids else 16):
            continue
        fields = {"arbitration_id": f"{{id:{ids}}}"} | dialect.fields
        if header.separator != ",":
            fields["timestamp"] = "{time:comma}"
        if several:
            fields["data"] = f"{{columns{len(found['data'])}:{listed}}}"
        mine = 10 if ":10" in fields["arbitration_id"] else base
        pattern = _pattern(found, fields, len(header.names))
        program = _program((pattern,), (), (), header.separator)
        # a header with rows above it is one of the rows that do not fit
        above = read_rows(text[: header.begin].encode("latin-1"), 0, program).columns["line"]
        place = (0, 0) if len(above) else (header.body, header.above)
        yield _Way(dialect, program, *place, per, mine)


# what the bytes of a table and its IDs may be written in, the likelier first
_BASES_OF = (("hex", ""), ("10", "10"), ("hex", "10"), ("10", ""), ("loose", ""), ("loose", "10"))
_FIELDS = {
    "timestamp": "{time}", "data": "{data:spaced}", "dlc": "{dlc:any}", "attack": "{label}",
    "bus": "{bus}", "is_extended_id": "{flag:extended}", "is_remote_frame": "{flag:remote}",
    "is_error_frame": "{flag:error}"
}  # fmt: skip


def _pattern(found: dict[str, list[int]], fields: dict[str, str], columns: int) -> str:
    """The pattern of a table's rows. What is behind the last column of use is any."""
    at = {places[0]: (_FIELDS | fields)[role] for role, places in found.items()}
    inner = {place for places in found.values() for place in places[1:]}
    written = [at.get(i, "{field}") for i in range(columns) if i not in inner]
    last = max(i for i, field in enumerate(written) if field != "{field}")
    more = "<|{rest}>" if last < len(written) - 1 else ""
    return "|".join(written[: last + 1]) + more


# ---- refusals


def _refuse(
    path: Path, text: str, header: _Header | None, ways: list[_Way], best: _Way | None
) -> NoReturn:
    """Raise the `ValueError` that tells the nearest dialects, or how to name a table's columns."""
    if header and not any(way.body == header.body and way.above == header.above for way in ways):
        _refuse_table(path, header, _guessed(text, header))
    near = sorted((way for way in ways if way.fits), key=lambda way: -way.share)
    words = None if header or near else _header(text, Asked(), 0)
    if words and set(found := _guessed(text, words)) >= _NEEDED:
        _refuse_table(path, words, found)
    shares = {way.dialect.name: f"{way.fits} of {way.fits + way.misfits} rows" for way in near[:3]}
    told = " or ".join(f"{name} ({share})" for name, share in shares.items())
    lines = text.split("\n")
    number = next((i for i, line in enumerate(lines) if line.strip()), 0)
    shown = ascii(lines[number][:80].strip())
    where = f"{number + 1}: {shown} is of no dialect that is known"
    way = near[0] if near else best if header else None
    where = way.first if way and way.first else where
    if told:
        nearest = f"; the nearest are {told}, too few to read any"
    else:
        nearest = f"; not one row is {way.dialect.name}" if way else "; expected a CAN log"
    table = way.dialect.name.startswith("table of") if way else re.search("[,;\t|]", lines[number])
    call = _CALL.format(path=path.name, columns="{…}", unit="s", base=16)
    example = f"; expected rows such as {way.dialect.example.strip()!r}" if way else ""
    remedy = f"; say what its columns are: {call}" if table else "; record or export it again"
    raise ValueError(f"{path}:{where}{nearest}{example}{remedy}")


def _guessed(text: str, header: _Header) -> dict[str, list[int]]:
    """The columns of each role by their names, or, where none is named so, by what the first row
    looks like."""
    found = _roles(header.names, Asked())
    row = next((line for line in text[header.body :].split("\n") if line.strip()), "")
    cells = [cell.strip(' \t\r"') for cell in row.split(header.separator)[: len(header.names)]]
    for role in [role for role in _LOOKS if role not in found]:
        free = (i for i in range(len(cells)) if [i] not in found.values())
        if like := [i for i in free if re.fullmatch(_LOOKS[role], cells[i])]:
            found[role] = like[:1]
    return found


def _refuse_table(path: Path, header: _Header, found: dict[str, list[int]]) -> NoReturn:
    named = _roles(header.names, Asked())
    if {"arbitration_id", "data"} <= set(named) and "timestamp" not in found:
        raise ValueError(f"{path}: a table of {', '.join(header.names[:12])}: {NO_TIMES}")
    names = {r: [header.names[i] for i in found[r]] if r in found else ["?"] for r in _LOOKS}
    columns = {role: name[0] if len(name) == 1 else name for role, name in names.items()}
    raise ValueError(
        f"{path}:{header.above}: the columns {', '.join(header.names[:20])} are not known; "
        f"expected names such as timestamp, arbitration_id, data; say what they are: "
        f"{_CALL.format(path=path.name, columns=columns, unit='s', base=16)}"
    )
