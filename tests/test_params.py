"""Parameters come in layers, say where they came from, and refuse what is no parameter."""

from pathlib import Path
from types import SimpleNamespace

import IPython
import pytest
import yaml
from pydantic import ValidationError

from cangraph.params import assignments, load_params, params_here

FOLDER = Path(__file__).parents[1] / "params"
BASE = yaml.safe_load((FOLDER / "base.yaml").read_text())
DATASETS = sorted(p.stem for p in FOLDER.glob("*.yaml") if p.stem not in ("base", "protocol"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A params/ folder of our own: base.yaml as shipped, and an overlay to write."""
    monkeypatch.setenv("CANGRAPH_HOME", str(tmp_path))
    (tmp_path / "params").mkdir()
    (tmp_path / "params/base.yaml").write_text((FOLDER / "base.yaml").read_text())
    (tmp_path / "params/mine.yaml").write_text("# nothing yet\n")
    return tmp_path / "params"


def source(params, name):
    """Where the printed record says that a parameter came from."""
    lines = [line for line in repr(params).splitlines() if line.split(" ")[0] == name]
    assert len(lines) == 1, name
    return lines[0].split(" # ")[1]


def refused(**values):
    with pytest.raises(ValueError) as caught:
        load_params(**values)
    return str(caught.value)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_shipped_dataset_loads(dataset):
    assert load_params(dataset).dataset == dataset


def test_base_yaml_holds_every_parameter(folder):
    assert load_params("mine").model_dump() == BASE | {"dataset": "mine"}
    for name in BASE:
        rest = {key: value for key, value in BASE.items() if key != name}
        (folder / "base.yaml").write_text(yaml.safe_dump(rest))
        if name != "dataset":
            assert f"params: {name}" in refused(dataset="mine")


def test_the_notebook_overlays_the_dataset_which_overlays_the_base(folder):
    (folder / "mine.yaml").write_text("window: 50\nstride: 25\nfit: {batch_size: 4}\n")
    params = load_params("mine", stride=10, teacher={"gat": {"hidden": 16}})
    changed = {"dataset": "mine", "window": 50, "stride": 10}
    changed["fit"] = BASE["fit"] | {"batch_size": 4}
    changed["teacher"] = BASE["teacher"] | {"gat": BASE["teacher"]["gat"] | {"hidden": 16}}
    assert params.model_dump() == BASE | changed
    said = {"seed": "params/base.yaml", "teacher.gat.heads": "params/base.yaml"}
    said |= {"window": "params/mine.yaml", "fit.batch_size": "params/mine.yaml"}
    said |= {"stride": "notebook", "teacher.gat.hidden": "notebook"}
    assert {name: source(params, name) for name in said} == said


def test_a_record_is_frozen_and_a_group_unpacks_into_a_call():
    params = load_params()
    for group, name in ((params, "seed"), (params.fit, "clip")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(group, name, 3)
    assert dict(**params.split) == params.split.model_dump()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"sed": 7}, "'sed' is not a parameter; did you mean 'seed'?"),
        ({"teacher": {"epoch": 3}}, "'teacher.epoch' is not a parameter; did you mean 'epochs'?"),
        ({"student": {"gat": {"heds": 3}}}, "'student.gat.heds' is not a parameter; did you mean"),
        ({"split": {"zzz": 1}}, "'split.zzz' is not a parameter; expected some of blocks, val"),
        ({"dataset": "hcrl_sb"}, "dataset = 'hcrl_sb' is unknown; expected one of demo, "),
        ({"dataset": "base"}, "dataset = 'base' is unknown; expected one of demo, "),
    ],
)
def test_a_name_that_does_not_exist_is_put_right(values, message):
    assert refused(**values).startswith(f"params: {message}")
    assert refused(dataset="hcrl_sb").endswith("; did you mean 'hcrl_sa'?")


@pytest.mark.parametrize(
    "values, where, expected",
    [
        ({"seed": "3"}, "seed = '3' (notebook)", "a valid integer; leave out the quotes"),
        ({"seed": True}, "seed = True (notebook)", "a valid integer"),
        ({"seed": 1.5}, "seed = 1.5 (notebook)", "a valid integer"),
        ({"seed": -1}, "seed = -1 (notebook)", "greater than or equal to 0"),
        ({"seed": 2**32}, "seed = 4294967296 (notebook)", "less than 4294967296"),
        ({"seed": None}, "seed = None (notebook)", "a valid integer"),
        ({"window": 1}, "window = 1 (notebook)", "greater than or equal to 2"),
        ({"split": {"gap": -0.1}}, "split.gap = -0.1 (notebook)", "greater than or equal to 0"),
        ({"fusion": {"actions": 1}}, "fusion.actions = 1", "greater than or equal to 2"),
        ({"split": {"val": "true"}}, "split.val = 'true' (notebook)", "a valid number"),
        ({"split": {"val": 1.0}}, "split.val = 1.0 (notebook)", "less than 1"),
        ({"fit": {"clip": 0}}, "fit.clip = 0 (notebook)", "greater than 0"),
        ({"fit": {"weight_decay": True}}, "fit.weight_decay = True", "a valid number"),
        ({"fit": 3}, "fit = 3 (notebook)", "a valid dictionary"),
    ],
)
def test_an_ill_typed_value_is_shown_with_its_source(values, where, expected):
    message = refused(**values)
    assert message.startswith(f"params: {where}")
    assert f"; expected {expected}" in message


def test_a_float_that_yaml_reads_as_text_gets_the_hint(folder):
    (folder / "mine.yaml").write_text("dataset: mine\nteacher: {learning_rate: 1e-3}\n")
    assert refused(dataset="mine") == (
        "params: teacher.learning_rate = '1e-3' (params/mine.yaml); expected a valid number; "
        "YAML reads 1e-3 as text, write 0.001"
    )


def test_every_fault_has_a_line():
    message = refused(sed=1, stride=0, teacher={"epochs": "3"})
    said = ("params: 'sed' ", "params: stride = 0 ", "params: teacher.epochs = '3' ")
    lines = zip(sorted(message.splitlines()), said, strict=True)
    assert all(line.startswith(start) for line, start in lines)


@pytest.mark.parametrize("dataset", ["../data/set_04", "/tmp/x", "set_04.yaml", "", "set 04", None])
def test_a_dataset_that_is_no_name_is_refused(dataset):
    assert f"params: dataset = {dataset!r} is unknown;" in refused(dataset=dataset)


def test_what_a_home_lacks_is_taken_from_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("CANGRAPH_HOME", str(tmp_path))
    assert load_params("demo").model_dump() == load_params().model_dump()
    (tmp_path / "params").mkdir()
    (tmp_path / "params/demo.yaml").write_text("stride: 7\n")
    params = load_params("demo")
    assert (params.stride, params.window) == (7, BASE["window"])
    assert source(params, "stride") == "params/demo.yaml"


@pytest.fixture
def notebook(monkeypatch):
    """Runs `params_here()` in a notebook whose cells were these."""

    def of(*cells, own=()):
        shell = SimpleNamespace(user_ns={"In": ["", *cells]})
        monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
        return params_here(*own)

    return of


def test_params_here_reads_the_parameters_cell(notebook):
    params = notebook("# parameters\nseed = 3\nteacher = {'epochs': 2}", "seed = 99")
    assert (params.seed, params.teacher.epochs, params.dataset) == (3, 2, "demo")
    assert source(params, "seed") == "notebook"
    assert notebook("import cangraph").model_dump() == load_params().model_dump()


def test_the_injected_cell_overrides_the_first(notebook):
    params = notebook(
        "# parameters\ndataset = 'demo'  # which\nseed = 3\nstride = 50",
        "import cangraph",
        '# Parameters\ndataset = "hcrl_sa"\nseed = 4\n',
    )
    assert (params.dataset, params.seed, params.stride) == ("hcrl_sa", 4, 50)


def test_other_names_and_code_in_the_parameters_cell_are_refused(notebook):
    with pytest.raises(ValueError, match="'sed' is not a parameter; did you mean 'seed'"):
        notebook("# parameters\nseed = 3", "# Parameters\nsed = 4\n")
    with pytest.raises(ValueError, match=r"'import os' in the parameters cell; expected name ="):
        notebook("# parameters\nimport os\nseed = 3")


def test_params_here_outside_a_notebook_says_what_to_call(monkeypatch):
    monkeypatch.setattr(IPython, "get_ipython", lambda: None)
    with pytest.raises(RuntimeError, match=r"outside a notebook; call load_params\(dataset"):
        params_here()


def test_a_notebook_may_have_parameters_of_its_own(notebook):
    cell = "# parameters\ncapture = 'my.log'\nseed = 3"
    assert notebook(cell, own=["capture"]).seed == 3
    with pytest.raises(ValueError, match="'capture' is not a parameter"):
        notebook(cell)


def test_assignments_are_literals():
    cell = "# parameters\nname: str = 'a'  # what\nn = -3\nf = 1e-3\nt = (1, 2)\nd = {'x': [None]}"
    assert assignments(cell) == {"name": "a", "n": -3, "f": 1e-3, "t": (1, 2), "d": {"x": [None]}}
    assert assignments("# parameters") == {}
    assert assignments("seed = 1\nseed = 2") == {"seed": 2}


CODE = ["seed = other", "seed = __import__('os').getpid()", "seed = f'{1}'", "print('hello')"]
CODE += ["seed, stride = 1, 2", "fit['clip'] = 3", "params.seed = 3", "def s(): pass", "seed: int"]


@pytest.mark.parametrize("code", CODE)
def test_assignments_refuse_code(code):
    with pytest.raises(ValueError, match=r"expected name = value; move other"):
        assignments(code)
