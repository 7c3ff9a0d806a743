"""The table of floors in docs/design.md holds: every import points to a lower floor."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {p.stem: p for p in sorted((ROOT / "cangraph").glob("*.py")) if p.stem != "__init__"}
ROW = re.compile(r"^\| (\d+) \| `(\w+)` \|", re.MULTILINE)
FLOORS = {
    module: int(floor) for floor, module in ROW.findall((ROOT / "docs/design.md").read_text())
}
LONGEST = 320  # lines
WITHOUT_TORCH = [
    "params",
    "frames",
    "tables",
    "scores",
    "calibration",
    "alarms",
    "plots",
    "drawings",
    "graphs",
    "prepared",
    "datasets",
    "card",
    "runs",
    "archive",
    "comparison",
    "overviews",
    "summary",
]


def imported(source):
    """The modules of cangraph that a source imports anywhere, in functions too; the facade's
    names stand for themselves."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "cangraph":
                    yield alias.name.partition(".")[2].split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            inside = node.module or ""
            if node.level == 0:
                package, _, inside = inside.partition(".")
                if package != "cangraph":
                    continue
            if inside:
                yield inside.split(".")[0]
            else:
                yield from (alias.name for alias in node.names)


def test_every_kind_of_import_is_seen():
    source = """
import numpy, cangraph.a
import cangraph.b as other
from cangraph.c import x
from cangraph import d
from . import e
from .f import y
def late():
    if True:
        from cangraph.g import z
from torch import nn
import cangraphics
"""
    assert sorted(imported(source)) == list("abcdefg")


def test_the_table_lists_every_module_and_no_other():
    assert sorted(FLOORS) == sorted(FILES)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_to_lower_floors(module):
    for other in set(imported(FILES[module].read_text())):
        assert other in FLOORS, f"{module} imports {other or 'cangraph'}: name a module's file"
        assert FLOORS[other] < FLOORS[module], f"{module} imports {other}"


def test_modules_that_read_no_weights_load_no_torch():
    code = (
        "import importlib, sys\n"
        f"for name in {WITHOUT_TORCH}:\n"
        "    importlib.import_module(f'cangraph.{name}')\n"
        "    if 'torch' in sys.modules:\n"
        "        sys.exit(f'cangraph.{name} loads torch')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_itself_loads_nothing_heavy():
    code = (
        "import sys, cangraph; sys.exit(', '.join({'torch', 'numba', 'polars'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "misc"])
def test_no_file_is_a_drawer_for_the_rest(name):
    assert name not in FILES


@pytest.mark.parametrize("module", FILES)
def test_no_module_is_too_long(module):
    lines = FILES[module].read_text().count("\n")
    assert lines <= LONGEST
