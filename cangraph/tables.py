"""Rows of numbers as tables that a reader can take in."""

from collections.abc import Sequence

import polars as pl

__all__ = ["show"]


def show(rows: Sequence[dict], columns: Sequence[str] = (), digits: int = 4) -> pl.DataFrame:
    """A table of `rows` for display: `columns` only (all if empty), numbers rounded, `undefined`
    for None, and `absent` for every figure of a row that rests on no capture.

    >>> show([{"scenario": "t01", "captures": 2, "f1": 0.98765, "auroc": None}])["f1"].item()
    '0.9877'
    """

    def cell(row: dict, name: str) -> str:
        value = row.get(name)
        if value is None:
            return "absent" if row.get("captures") == 0 else "undefined"
        if isinstance(value, float):
            return f"{value:.{digits}f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    columns = list(columns) or list(rows[0] if rows else ())
    table = pl.DataFrame({c: [cell(row, c) for row in rows] for c in columns})
    pl.Config.set_tbl_rows(-1).set_tbl_hide_dataframe_shape(True).set_tbl_hide_column_data_types(True)
    pl.Config.set_fmt_str_lengths(80).set_tbl_cols(-1)
    return table
