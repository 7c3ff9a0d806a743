"""Tables say in words what a number cannot: undefined, absent, not reported."""

import pytest

from cangraph.report.tables import Table, show, wide

ROWS = [
    {"scenario": "t01", "captures": 2, "f1": 0.98765, "auroc": None},
    {"scenario": "t02", "captures": 0, "f1": None, "auroc": None},
    {"scenario": "t03", "captures": 12345, "f1": 1.0, "auroc": 0.5},
]


def column(table, name):
    return [row[table.columns.index(name)] for row in table.cells]


def test_integers_are_grouped_and_floats_rounded_and_truths_said():
    table = show([row | {"done": row["f1"] == 1} for row in ROWS], digits=1)
    assert column(table, "done") == ["no", "no", "yes"]
    assert column(table, "captures") == ["2", "0", "12,345"]
    assert column(table, "f1") == ["1.0", "absent", "1.0"]


def test_columns_choose_and_order_and_one_that_no_row_has_is_undefined():
    table = show(ROWS, ["auroc", "mcc", "scenario"])
    assert table.columns == ["auroc", "mcc", "scenario"]
    assert table.cells[2] == ["0.5000", "undefined", "t03"]


def test_no_rows_make_an_empty_table():
    assert show([]).cells == []


def test_wide_crosses_in_order_of_appearance_and_leaves_out_a_side_that_reports_nothing():
    rows = [
        {"by": "VGAE", "in": "t02", "f1": 0.5},
        {"by": "VGAE", "in": "t01", "f1": None},
        {"by": "GAT", "in": "t01", "f1": 1.0},
        {"by": "old", "in": "t01", "auroc": 0.7},
        {"by": "none", "in": "t03", "f1": None, "captures": 0},
    ]
    table = wide(rows, "by", "in", "f1", digits=2)
    assert table.columns == ["by", "t02", "t01", "t03"]
    assert table.cells == [
        ["VGAE", "0.50", "undefined", "not reported"],
        ["GAT", "not reported", "1.00", "not reported"],
        ["none", "not reported", "not reported", "absent"],
    ]
    assert wide(rows, "by", "in", "f1", nothing="").cells[1] == ["GAT", "", "1.0000", ""]


def test_none_is_undefined_or_absent_and_figures_are_flush_right():
    assert column(show([{"f1": None}]), "f1") == ["undefined"], "nothing says how many captures"
    assert repr(show(ROWS)).splitlines() == [
        "scenario  captures      f1      auroc",
        "t01              2  0.9877  undefined",
        "t02              0  absent     absent",
        "t03         12,345  1.0000     0.5000",
    ]


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (["undefined"], False),
        (["-0.5", "absent"], True),
        (["0.91 ± 0.02", "no report"], True),
        (["1A0", "GAT"], False),
    ],
)
def test_a_column_is_flush_right_when_it_holds_figures_and_no_names(cells, numeric):
    assert Table(["f1"], [[cell] for cell in cells]).numeric == [numeric]


def test_html_has_every_cell_once_and_escapes_it():
    html = show([{"name": "<b>&", "mean_f1": 0.5}])._repr_html_()
    assert html.count("&lt;b&gt;&amp;") == html.count("0.5000") == 1 and "<b>" not in html
    assert "mean f1" in html, "a heading that can wrap"
    assert html.count("text-align: right") == 2, "the figure and its heading"
