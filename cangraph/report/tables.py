"""Rows of numbers as tables that a reader can take in."""

from collections.abc import Mapping, Sequence
from html import escape
from numbers import Integral, Real

from tabulate import tabulate


class Table:
    """Text cells under column names; notebooks show it as HTML, a console as aligned text."""

    def __init__(self, columns: Sequence[str], cells: Sequence[Sequence[str]]):
        self.columns, self.cells = list(columns), [list(row) for row in cells]
        # a column of figures is set flush right, one of names flush left
        self.numeric = [
            any(row[i].lstrip("+-")[:1].isdigit() for row in self.cells)
            and not any(row[i][:1].isalpha() and row[i] not in _WORDS for row in self.cells)
            for i in range(len(self.columns))
        ]

    def _drawn(self, rows: Sequence[Sequence[str]], **style) -> str:
        sides = ["right" if numeric else "left" for numeric in self.numeric]
        return tabulate(rows, colalign=sides, disable_numparse=True, **style)

    def __repr__(self) -> str:
        # as a row among the others, since tabulate sets headings two spaces wider
        return self._drawn([self.columns, *self.cells], tablefmt="plain")

    def _repr_html_(self) -> str:
        # a browser can wrap a heading at spaces, not at underscores
        headings = [name.replace("_", " ") for name in self.columns]
        return self._drawn(self.cells, headers=headings, tablefmt="html")


class Remarks:
    """Sentences about data, which notebooks show as they are: no markup in them is obeyed. The
    `lead` comes first and in bold.

    >>> Remarks(["bus <1>"])._repr_html_()
    '<ul><li>bus &lt;1&gt;</li></ul>'
    """

    def __init__(self, lines: Sequence[str] = (), lead: str = ""):
        self.lines, self.lead = list(lines), lead

    def __repr__(self) -> str:
        return "\n".join([*filter(None, [self.lead]), *(f"- {line}" for line in self.lines)])

    def _repr_html_(self) -> str:
        lead = f"<p><strong>{escape(self.lead)}</strong></p>" if self.lead else ""
        items = "".join(f"<li>{escape(line)}</li>" for line in self.lines)
        return f"{lead}<ul>{items}</ul>" if items else lead


_WORDS = ("undefined", "absent", "not reported", "no report")


def _text(value, row: Mapping, digits: int) -> str:
    if value is None:
        return "absent" if row.get("captures") == 0 else "undefined"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{value:,}"
    return f"{value:.{digits}f}" if isinstance(value, Real) else str(value)


def show(rows: Sequence[Mapping], columns: Sequence[str] = (), digits: int = 4) -> Table:
    """A table of `rows`: `columns` only (all of the first row if empty), numbers rounded,
    `undefined` for None, `absent` for every figure of a row that rests on no capture.

    >>> show([{"scenario": "t01", "captures": 2, "f1": 0.98765, "auroc": None}])
    scenario  captures      f1  auroc
    t01              2  0.9877  undefined
    """
    columns = list(columns) or list(rows[0] if rows else ())
    return Table(columns, [[_text(row.get(c), row, digits) for c in columns] for row in rows])


def wide(
    rows: Sequence[Mapping],
    down: str,
    across: str,
    value: str,
    digits: int = 4,
    nothing: str = "not reported",
) -> Table:
    """One metric of `rows` as a matrix: `down` the side, `across` the top, in order of appearance;
    `nothing` where no row says anything."""
    tops = list(dict.fromkeys(row[across] for row in rows))
    sides: dict[str, dict[str, str]] = {row[down]: {} for row in rows}
    for row in rows:
        if value in row:
            sides[row[down]][row[across]] = _text(row[value], row, digits)
    known = {side: found for side, found in sides.items() if found}
    cells = [[s, *(found.get(top, nothing) for top in tops)] for s, found in known.items()]
    return Table([down, *tops], cells)
