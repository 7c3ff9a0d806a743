"""A notebook's parameters cell is read, and nothing in it is passed over."""

from types import SimpleNamespace

import IPython
import pytest

from cangraph.notebook import _assignments, params_here, values_here
from cangraph.params import load_params


@pytest.fixture
def notebook(monkeypatch):
    """Runs `params_here()` in a notebook whose cells were these."""

    def of(*cells, read=params_here):
        shell = SimpleNamespace(user_ns={"In": ["", *cells]})
        monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
        return read()

    return of


def test_params_here_reads_the_parameters_cell(notebook):
    params = notebook("# parameters\nseed = 3\nteacher = {'epochs': 2}", "seed = 99")
    assert (params.seed, params.teacher.epochs, params.dataset) == (3, 2, "demo")
    (row,) = [line for line in str(params).splitlines() if line.startswith("seed ")]
    assert row.endswith("# notebook")


def test_the_injected_cell_overrides_the_first(notebook):
    params = notebook(
        "# parameters\ndataset = 'demo'  # which\nseed = 3\nstride = 50",
        "import cangraph",
        '# Parameters\ndataset = "hcrl_sa"\nseed = 4\n',
    )
    assert (params.dataset, params.seed, params.stride) == ("hcrl_sa", 4, 50)


def test_a_notebook_without_parameters_has_the_defaults(notebook):
    assert notebook("import cangraph").model_dump() == load_params().model_dump()


def test_a_misspelt_injected_name_is_refused(notebook):
    with pytest.raises(ValueError, match="'sed' is not a parameter; did you mean 'seed'"):
        notebook("# parameters\nseed = 3", "# Parameters\nsed = 4\n")


def test_code_in_the_parameters_cell_is_refused(notebook):
    with pytest.raises(ValueError, match=r"'import os' in the parameters cell is no plain"):
        notebook("# parameters\nimport os\nseed = 3")


def test_params_here_outside_a_notebook_says_what_to_call(monkeypatch):
    monkeypatch.setattr(IPython, "get_ipython", lambda: None)
    with pytest.raises(RuntimeError, match=r"outside a notebook;.*call load_params\(dataset"):
        params_here()


def test_a_notebook_may_have_parameters_of_its_own(notebook):
    cells = "# parameters\nbefore = 'demo'\nafter = 'demo'", "# Parameters\nafter = 'hcrl_sa'"
    assert notebook(*cells, read=lambda: values_here("after", "before")) == ["hcrl_sa", "demo"]
    with pytest.raises(ValueError, match="'after' is not a parameter of this notebook; expected b"):
        notebook(*cells, read=lambda: values_here("before"))
    with pytest.raises(ValueError, match="did you mean 'before'"):
        notebook("# parameters\nbefor = 'demo'", read=lambda: values_here("before"))
    with pytest.raises(ValueError, match="'metric' has no value; expected one in the parameters"):
        notebook(*cells, read=lambda: values_here("before", "after", "metric"))


def test_assignments_are_literals():
    cell = "# parameters\nname: str = 'a'  # what\nn = -3\nf = 1e-3\nt = (1, 2)\nd = {'x': [None]}"
    assert _assignments(cell) == {"name": "a", "n": -3, "f": 1e-3, "t": (1, 2), "d": {"x": [None]}}
    assert _assignments("# parameters") == {}
    assert _assignments("seed = 1\nseed = 2") == {"seed": 2}


@pytest.mark.parametrize(
    "code",
    [
        "seed = int('3')",
        "seed = other",
        "seed = __import__('os').getpid()",
        "seed = f'{1}'",
        "print('hello')",
        "seed, stride = 1, 2",
        "fit['clip'] = 3",
        "params.seed = 3",
        "for seed in (1, 2): pass",
        "def seed(): pass",
        "seed: int",
        "3",
    ],
)
def test_assignments_refuse_code(code):
    with pytest.raises(ValueError, match=r"no plain assignment; expected name = value; move other"):
        _assignments(code)
