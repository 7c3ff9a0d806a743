"""Imports between packages go one way; light modules stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "cangraph").rglob("*.py"))
# a package imports only from those before it; `figures` and `signals` take arrays, import nothing
LEVELS = (
    {"extras", "files", "figures", "signals"},
    {"params", "frames"},
    {"io", "bus", "features"},
    {"data"},
    {"nn", "evaluation"},
    {"train", "fusion"},
    {"runs", "deploy"},
    {"report"},
    {"__main__", "__init__"},
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
WITHOUT_TORCH = ["params", "frames", "runs", "data.graphs", "data.store", "data.datasets"]
WITHOUT_TORCH += ["data.card", "evaluation.scores", "evaluation.calibration", "evaluation.alarms"]
WITHOUT_TORCH += ["figures.style", "report.summary", "report.compare", "deploy.monitor"]
WITHOUT_TORCH += ["deploy.console", "__main__"]


def imported(source: str) -> set[str]:
    """The packages and modules right below cangraph that a source imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the package in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        parts = (name.split(".") for name in names)
        found |= {part[1] for part in parts if part[0] == "cangraph" and len(part) > 1}
    return found


def package_of(path: Path) -> str:
    inside = path.relative_to(ROOT / "cangraph")
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def test_every_kind_of_import_is_seen():
    source = """
import numpy, cangraph.a
import cangraph.b.x as other
from cangraph.c import x
from cangraph import d
def late():
    from cangraph.e.y import z
import cangraphics
"""
    assert imported(source) == set("abcde")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT / "cangraph")))
def test_imports_go_one_way(path):
    here = package_of(path)
    for other in imported(path.read_text()) - {here}:
        assert LEVEL[other] < LEVEL[here], f"{here} imports {other}"


def test_no_public_name_is_defined_twice():
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert not twice


LIGHT = f"""
import importlib, sys, cangraph
assert not {{"torch", "numba", "polars"}} & {{*sys.modules}}
for name in {WITHOUT_TORCH}:
    importlib.import_module(f"cangraph.{{name}}")
    assert "torch" not in sys.modules, name
"""


def test_light_modules_load_no_torch_and_the_package_itself_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_facade_holds_what_a_notebook_needs():
    import cangraph

    assert len(cangraph.__all__) <= 45
    for name in cangraph.__all__:
        assert getattr(cangraph, name) is not None


@pytest.mark.parametrize("package", sorted((ROOT / "cangraph").rglob("__init__.py")), ids=str)
def test_no_public_name_is_that_of_a_module_beside_it(package):
    """Importing the module would put it in the place of the name, a function perhaps."""
    calls = [
        node for node in ast.walk(ast.parse(package.read_text())) if isinstance(node, ast.Call)
    ]
    given = [k.value for call in calls for k in call.keywords if k.arg == "submod_attrs"]
    names = {
        name for value in given for group in ast.literal_eval(value).values() for name in group
    }
    assert not names & {path.stem for path in package.parent.glob("*.py")}
