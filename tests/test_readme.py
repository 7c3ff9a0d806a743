"""The README's code runs and prints what it says; figures are those of docs/*.json; links lead
somewhere."""

import copy
import doctest
import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import cangraph as cg

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


class Near(doctest.OutputChecker):
    """Compares text as written and numbers with a tolerance: another CPU rounds otherwise."""

    number = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.])")

    def check_output(self, want, got, flags):
        wanted, gotten = self.number.findall(want), self.number.findall(got)
        near = all(abs(float(a) - float(b)) <= 0.05 for a, b in zip(wanted, gotten, strict=False))
        if "..." not in want and len(wanted) != len(gotten):
            return False
        want, got = (self.number.sub("#", text) for text in (want, got))
        return near and super().check_output(want, got, flags | doctest.ELLIPSIS)


def test_the_code_runs_and_prints_what_it_says():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    test = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
    assert test.examples
    report = []
    flags = doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(Near(), optionflags=flags).run(test, out=report.append)
    assert not report, "".join(report)


def test_the_scan_that_it_shows_is_what_the_command_says():
    log = cg.simulate("borage", 30.0, attack="spoofing", seed=3, bursts=2)
    said = cg.report.told(cg.report.scan(log, cg.Exported(cg.deploy.boxed()))).split("\n")
    (block,) = re.findall(r"^    spoofing-borage .*?\n\n", README, re.M | re.S)
    for line in block.rstrip().split("\n"):
        assert any(told.startswith(line[4:].rstrip(" …")) for told in said), line


def test_the_first_page_stays_one_page():
    assert len(README.splitlines()) <= 160


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_files_and_commands_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", text):
        assert link.startswith("https://") or (page.parent / link).exists(), link
    named = re.findall(r"\b(?:docs|notebooks|benchmarks|params|profiles|tests)/[\w/.]+\w", text)
    named += re.findall(r"`(cangraph/[\w/.]+)`", text)
    for path in named:
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)|^    make (\w+)", text, re.M):
        assert re.search(rf"^{''.join(target)}:", makefile, re.M), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_package_that_a_page_uses_exist(page):
    """`evaluation.scores` or `evaluation.scores.by_scenario` in backticks, `cg.fit` anywhere."""
    text = page.read_text(encoding="utf-8")
    packages = {path.parent.name for path in (ROOT / "cangraph").glob("*/__init__.py")}
    named = re.findall(r"\bcg\.([\w.]*\w)", text)
    for path in re.findall(r"`([a-z]\w*(?:\.\w+)+)`", text):
        if path.split(".")[0] in packages and not path.endswith((".onnx", ".ipynb", ".json")):
            named.append(path)
    for path in named:
        assert pkgutil.resolve_name(f"cangraph.{path}") is not None


def test_the_map_of_modules_is_that_of_the_tree():
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:`(\w+)`|\(top\)) \| (.*) \|$", text, re.M)
    mapped = {(package, name) for package, names in rows for name in re.findall(r"`(\w+)`", names)}
    paths = [path.relative_to(ROOT / "cangraph") for path in (ROOT / "cangraph").rglob("*.py")]
    there = {(path.parent.name, path.stem) for path in paths if not path.stem.startswith("__")}
    assert mapped == there


# figures


@pytest.fixture(scope="module")
def script():
    """benchmarks/readme_results.py, which writes the figures."""
    path = ROOT / "benchmarks/readme_results.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITTEN = ["README.md", "docs/results.md", "docs/method.md", "docs/design.md"]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_figure_is_what_the_json_says(script, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    now = script.written(name, text, script.read_stored())
    assert now == text, f"{name} has drifted from docs/*.json: run benchmarks/readme_results.py"


def test_a_figure_that_changes_is_written_into_table_and_sentence(script):
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    changed = copy.deepcopy(script.read_stored())
    test_02 = "test_02_unknown_vehicle_known_attack"
    changed["runs"]["demo"]["figures"][f"GAT student | {test_02}"]["f1"] = [0.1234, 0.0567, 2]
    changed["detection"][f"set_04 boosted trees, both | {test_02}"]["auroc"][0] = 0.4321
    changed["box"]["clean"]["alarms"] = 7654
    now = script.written("docs/results.md", page, changed)
    assert "0.1234 ± 0.0567" in now and "0.1234" not in page
    assert re.search(r"unknown\s+car:\s+\.432\s+and", now)
    first = script.written("README.md", README, changed)
    assert "| 0.432 / " in first and re.search(r"7654\s+false alarms", first)
    # and typing another figure into a page is undone
    typed = README.replace("| 0.9", "| 0.8", 3)
    assert typed != README
    assert script.written("README.md", typed, script.read_stored()) == README


def test_a_sentence_that_is_gone_or_a_marker_that_is_there_twice_is_named(script):
    stored = script.read_stored()
    with pytest.raises(ValueError, match=r"false alarms in .* stands there 0 times"):
        script.written("README.md", README.replace("false alarms in", "alarms in"), stored)
    with pytest.raises(ValueError, match="<!-- results --> and"):
        script.written("README.md", README + script.OPEN, stored)
