"""The README's code runs and prints what the README says."""

import doctest
import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


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
    root = Path(__file__).parents[1]
    for path in re.findall(r"(?:docs|notebooks|benchmarks|params)/[\w.]+\.\w+", README):
        assert (root / path).is_file(), path
    makefile = (root / "Makefile").read_text()
    for target in re.findall(r"`?make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.M), target
