"""The notebooks are the product: their form, and what papermill makes of them."""

import ast
import json
import subprocess
import sysconfig
from pathlib import Path

import nbformat
import pytest

from cangraph.notebook import _assignments
from cangraph.params import Params
from cangraph.runs import STAGES

ROOT = Path(__file__).parents[1]
PAPERMILL = Path(sysconfig.get_path("scripts")) / "papermill"
PATHS = [ROOT / "notebooks" / f"{name}.ipynb" for name in (*STAGES, "tune", "your_car")]
OWN = {"capture", "attack_capture"}  # of your_car, beside the parameters of a run


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_exactly_these_notebooks():
    assert sorted(ROOT.glob("notebooks/*.ipynb")) == sorted(PATHS)


def test_parameters_come_first_and_are_known(notebook):
    first = code(notebook)[0]
    assert first.metadata.tags == ["parameters"]
    assert first.source.startswith("# parameters\n")
    values = _assignments(first.source)
    assert set(values) <= set(Params.model_fields) | OWN
    assert values["dataset"] in ("demo", "your_car")
    for line in first.source.splitlines()[1:]:
        assert ":" in line.split("=")[0], "--help-notebook needs the type"
        assert "  # " in line, "--help-notebook needs the comment"


def test_cells_are_short_and_define_nothing(notebook):
    for cell in code(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert 1 <= len(lines) <= 6, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)


def test_one_title_and_a_sentence_before_most_cells(notebook):
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = [line for source in text for line in source.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    # two code cells may follow one sentence, three may not
    kinds = "".join(cell.cell_type[0] for cell in notebook.cells)
    assert "ccc" not in kinds


def test_no_output_is_stored(notebook):
    for cell in code(notebook):
        assert not cell.outputs
        assert cell.execution_count is None


@pytest.mark.parametrize("given", [("datset", "hcrl_sa"), ("seed", "many")], ids=lambda g: g[0])
@pytest.mark.parametrize("where", ["notebooks", "."])
def test_a_bad_parameter_stops_the_notebook_and_names_the_right_one(given, where, tmp_path):
    source = Path("data_prep.ipynb" if where == "notebooks" else "notebooks/data_prep.ipynb")
    name, value = given
    done = subprocess.run(
        [PAPERMILL, source, tmp_path / "out.ipynb", "--no-progress-bar", "-p", name, value],
        cwd=ROOT / where,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    expected = {
        "datset": "'datset' is not a parameter; did you mean 'dataset'?",
        "seed": "seed = 'many' (notebook); expected a valid integer",
    }
    assert expected[name] in done.stderr
    failed = json.loads((tmp_path / "out.ipynb").read_text())
    assert any(cell.get("outputs") for cell in failed["cells"])
