"""Which extra of the package brings a package that is missing."""

from collections.abc import Iterator
from contextlib import contextmanager

_EXTRA = {"cantools": "dbc", "optuna": "tune"}  # of all others: train


class MissingExtraError(ModuleNotFoundError):
    """A package is missing that one of cangraph's extras brings."""


@contextmanager
def named_extra(wanted: str) -> Iterator[None]:
    """Where a package is missing within the block, the error says what was `wanted` and which extra
    of cangraph brings the package.

    Raises `MissingExtraError`, the innermost where blocks are nested.

    >>> with named_extra("cangraph.load_params"):
    ...     raise ModuleNotFoundError(name="yaml")
    Traceback (most recent call last):
    cangraph.extras.MissingExtraError: cangraph.load_params: the package yaml is not installed;
    expected cangraph with its `train` extra; pip install ".[train]" in a checkout, or
    "WHEEL[train]" with the path of a wheel
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).split(".")[0]
        if package == "cangraph" or isinstance(error, MissingExtraError):
            raise
        extra = _EXTRA.get(package, "train")
        raise MissingExtraError(
            f"{wanted}: the package {package} is not installed; expected cangraph with its "
            f'`{extra}` extra; pip install ".[{extra}]" in a checkout, or "WHEEL[{extra}]" with '
            "the path of a wheel",
            name=error.name,
        ) from error
