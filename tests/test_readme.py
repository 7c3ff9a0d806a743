"""The README's code runs and prints what the README says."""

import copy
import doctest
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def blocks():
    return re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("block", blocks())
def test_the_code_runs_and_prints_what_it_says(block):
    test = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
    assert test.examples
    report = []
    flags = doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(Near(), optionflags=flags).run(test, out=report.append)
    assert not report, "".join(report)


def test_files_and_commands_that_it_names_exist():
    for path in re.findall(r"(?:docs|notebooks|benchmarks|params)/[\w.]+\.\w+", README):
        assert (ROOT / path).is_file(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.M), target


# figures


@pytest.fixture(scope="module")
def script():
    """benchmarks/readme_results.py, which writes the figures."""
    path = ROOT / "benchmarks/readme_results.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stored():
    """The JSON that the figures come from, to change at will."""
    names = ("runs", "detection")
    return [json.loads((ROOT / f"docs/{name}.json").read_text()) for name in names]


@pytest.mark.parametrize("name", ["README.md", "docs/design.md"])
def test_every_figure_is_what_the_json_says(script, stored, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    now = script.written(name, text, *stored)
    assert now == text, f"{name} has drifted from docs/*.json: run benchmarks/readme_results.py"


def test_a_figure_that_changes_in_a_table_or_sentence_is_written(script, stored):
    runs, measured = copy.deepcopy(stored)
    key = "GAT student | test_02_unknown_vehicle_known_attack"
    runs["demo"]["figures"][key]["f1"] = [0.1234, 0.0567, 2]
    scenario = "test_02_unknown_vehicle_known_attack"
    measured[f"set_04 boosted trees, both | {scenario}"]["auroc"][0] = 0.4321
    now = script.written("README.md", README, runs, measured)
    assert "0.1234 ± 0.0567" in now and "0.1234" not in README
    assert re.search(r"unknown\s+car: AUROC\s+\.432 and", now)
    # and typing another figure into the page is undone
    typed = README.replace(" / 0.", " / 0.0", 3)
    assert typed != README
    assert script.written("README.md", typed, *stored) == README


def test_a_sentence_that_is_gone_or_a_marker_that_is_there_twice_is_named(script, stored):
    with pytest.raises(ValueError, match=r"but for masquerade .* stands there 0 times"):
        script.written("README.md", README.replace("but for masquerade", "however"), *stored)
    with pytest.raises(ValueError, match="<!-- results --> and"):
        script.written("README.md", README + script.OPEN, *stored)


def test_absent_undefined_and_missing_intervals_are_said(script):
    assert script.cell({"captures": 0}) == "absent"
    assert script.cell({"captures": 3}) == "undefined"
    assert script.cell({"captures": 3, "auroc": [0.5, None, 1]}) == "0.5000 / –"
    assert script.figure([0.98765, 0.01234, 5]) == "0.988 ± 0.012"


def test_measured_figures_in_prose_name_the_script_that_prints_them(script):
    """Shares such as .98 and factors such as 1.4 times, in paragraphs and points outside the tables
    and code, stand beside a script of benchmarks/, or are written by one."""
    text = re.sub(rf"{script.OPEN}.*{script.CLOSE}", "", README, flags=re.S)
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    measured = re.compile(r"(?<![\w.`])\.\d+|\d+(\.\d+)? (to \d+ )?times")
    sentences = [words.split("{}")[0].split() for words in script.PROSE["README.md"]]
    for block in re.split(r"\n\n|\n(?=- )", text):
        written = any(" ".join(words) in " ".join(block.split()) for words in sentences)
        if measured.search(block) and not written:
            assert re.search(r"`benchmarks/\w+\.py`", block), block
