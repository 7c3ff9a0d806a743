"""The parameters of the notebook that calls."""

import ast
from typing import Any

from cangraph.params import Params, load_params, near

__all__ = ["params_here", "values_here"]


def params_here(*own: str) -> Params:
    """The parameters of the notebook that calls it.

    Reads the assignments of the cells that start with `# parameters` (the tagged first cell)
    or `# Parameters` (the cell that papermill injects), so that a misspelt name is refused
    rather than ignored. The names in `own` are the notebook's own, and no parameters of a run.

    Raises `ValueError` as `load_params` does, and `RuntimeError` outside a notebook.
    """
    values = _given("params_here")
    return load_params(**{name: v for name, v in values.items() if name not in own})


def values_here(*names: str) -> list[Any]:
    """The values of `names` in a notebook whose parameters are its own, read as `params_here` does.

    Raises `ValueError` for another name in the parameters cell or one that is missing there, and
    `RuntimeError` outside a notebook.
    """
    values = _given("values_here")
    if not values:  # nbval keeps no history; then nothing is injected either
        import IPython

        here = IPython.get_ipython().user_ns
        values = {name: here[name] for name in names if name in here}
    for name in values:
        if name not in names:
            raise ValueError(
                f"params: {name!r} is not a parameter of this notebook; expected "
                f"{', '.join(names)}{near(name, names)}"
            )
    for name in names:
        if name not in values:
            raise ValueError(
                f"params: {name!r} has no value; expected one in the parameters cell; add it there"
            )
    return [values[name] for name in names]


def _given(who: str) -> dict[str, Any]:
    import IPython

    shell = IPython.get_ipython()
    if shell is None:
        raise RuntimeError(
            f"{who}: called outside a notebook; expected a cell that starts with "
            "'# parameters'; in a script call load_params(dataset, ...)"
        )
    values: dict[str, Any] = {}
    for source in shell.user_ns["In"]:
        if source.lstrip().lower().startswith("# parameters"):
            values |= _assignments(source)
    return values


def _assignments(source: str) -> dict[str, Any]:
    """The literal assignments of a parameters cell.

    >>> _assignments("# parameters\\ndataset: str = 'demo'  # which\\nseed = 3")
    {'dataset': 'demo', 'seed': 3}
    """
    values = {}
    for node in ast.parse(source).body:
        try:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    values[name] = ast.literal_eval(value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    values[name] = ast.literal_eval(value)
                case _:
                    raise ValueError
        except ValueError:
            raise ValueError(
                f"params: {ast.unparse(node)!r} in the parameters cell is no plain assignment; "
                "expected name = value; move other code to another cell"
            ) from None
    return values
