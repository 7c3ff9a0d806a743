"""The notebooks are the product: their form, and what papermill makes of them."""

import ast
import json
import subprocess
import sysconfig
from pathlib import Path

import nbformat
import pytest
from reported import put_run

from cangraph.io.writers import write_frames
from cangraph.params import Params, assignments
from cangraph.runs import STAGES

ROOT = Path(__file__).parents[1]
PAPERMILL = Path(sysconfig.get_path("scripts")) / "papermill"
PATHS = sorted(ROOT.glob("notebooks/*.ipynb"))
OWN = {"capture", "attack_capture"}  # of your_car, beside the parameters of a run


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_exactly_these_notebooks():
    assert {path.stem for path in PATHS} == {*STAGES, "tune", "your_car", "runs", "scan"}


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook):
    """The values of the parameters cell, which comes first and has types and comments."""
    first = code(notebook)[0]
    assert first.metadata.tags == ["parameters"]
    assert first.source.startswith("# parameters\n")
    for line in first.source.splitlines()[1:]:
        assert ":" in line.split("=")[0], "--help-notebook needs the type"
        assert "  # " in line, "--help-notebook needs the comment"
    return assignments(first.source)


def test_parameters_come_first_and_are_known(notebook):
    values = parameters(notebook)
    if "dataset" in values:
        assert set(values) <= set(Params.model_fields) | OWN
        assert values["dataset"] in ("demo", "your_car")
    elif "capture" in values:  # scan judges a simulated log with the detector in the box
        assert values == {"capture": "", "detector": "", "dbc": ""}
    else:  # runs compares nothing unless two are named
        assert values == {"before": "", "after": "", "metric": "auprc"}


def test_cells_are_short_and_stripped_and_define_nothing(notebook):
    for cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None
        lines = [line for line in cell.source.splitlines() if line.strip()]
        most = 8 if lines[0].startswith(("import ", "from ")) else 6
        assert 1 <= len(lines) <= most, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)


def test_one_title_and_a_sentence_before_most_cells(notebook):
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = [line for source in text for line in source.splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    # two code cells may follow one sentence, three may not
    kinds = "".join(cell.cell_type[0] for cell in notebook.cells)
    assert "ccc" not in kinds


@pytest.mark.parametrize(
    ("where", "given", "said"),
    [
        ("notebooks", ("datset", "hcrl_sa"), "'datset' is not a parameter; did you mean 'dataset'"),
        (".", ("seed", "many"), "seed = 'many' (notebook); expected a valid integer"),
    ],
)
def test_a_bad_parameter_stops_the_notebook_and_names_the_right_one(where, given, said, tmp_path):
    source = (ROOT / "notebooks/data_prep.ipynb").relative_to(ROOT / where)
    command = [PAPERMILL, source, tmp_path / "out.ipynb", "--no-progress-bar", "-p", *given]
    done = subprocess.run(command, cwd=ROOT / where, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and said in done.stderr
    failed = json.loads((tmp_path / "out.ipynb").read_text())
    assert any(cell.get("outputs") for cell in failed["cells"])


def executed(name, home, *given):
    """The text of every output of a notebook that papermill ran, in a home of its own."""
    out = home / f"{name}.ipynb"
    command = [PAPERMILL, ROOT / f"notebooks/{name}.ipynb", out, "--no-progress-bar", *given]
    subprocess.run(command, cwd=home, check=True, capture_output=True)
    cells = nbformat.read(out, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    assert any("image/png" in one for one in data) == (name != "runs")
    said = [output.get("text", "") for output in outputs]
    said += [one.get(f"text/{kind}", "") for one in data for kind in ("html", "markdown")]
    return "\n".join(said)


def test_no_runs_at_all_say_what_makes_one(home):
    text = executed("runs", home)
    assert "No run is finished: `make demo` makes one of the demo" in text
    assert "data, but no run" in text and "0 runs" in text
    assert json.loads((home / "runs/summary.json").read_text())["took"] == []


def test_all_runs_are_on_the_page_and_two_of_them_compared(home):
    for dataset, seed in (("demo", 0), ("hcrl_sa", 0), ("hcrl_sa", 1)):
        put_run(home, dataset, seed, lambda m, k, s=seed: 0.95 - 0.008 * k - 0.01 * s, 8)
    put_run(
        home, "hcrl_sa", 0, lambda m, k: 0.9 - 0.01 * k, 8, name="before", fit={"batch_size": 2}
    )
    put_run(home, "set_01", stages=["data_prep"])
    given = ["-p", "before", "before", "-p", "after", "hcrl_sa", "-p", "metric", "f1"]
    text = executed("runs", home, *given)
    assert "2 of 7 datasets, 3 finished runs." in text
    assert "stops before teacher" in text and "make run DATASET=set_01" in text
    assert "fit.batch_size" in text and "From before to hcrl_sa" in text
    facts = json.loads((home / "runs/compare.json").read_text())
    assert (facts["before"], facts["metric"], len(facts["changes"])) == ("before", "f1", 1)
    assert not (home / "runs/summary.json").exists()


@pytest.mark.acceptance
@pytest.mark.parametrize("backend", [None, "Agg", "QtAgg"])
def test_a_scan_shows_the_alarm_of_a_log_and_writes_its_page(
    home, detector_file, drive, monkeypatch, backend
):
    if backend:
        monkeypatch.setenv("MPLBACKEND", backend)  # changes nothing
    write_frames(drive, home / "<b>bus.log")
    given = ["-p", "capture", str(home / "<b>bus.log"), "-p", "detector", str(detector_file)]
    text = executed("scan", home, *given)
    assert f"{len(drive):,} frames read, 0 rows refused" in text
    assert "&lt;b&gt;bus.log" in (home / "runs/scan.html").read_text()
