"""Which extra of the package brings a package that is missing."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lazy_loader

# what no extra brings, since cangraph never goes without
BASE = ("can", "jinja2", "lazy_loader", "matplotlib", "numba", "numpy", "onnxruntime", "rich")
_EXTRA = {"cantools": "dbc", "optuna": "tune", "dpkt": "pcap", "asammdf": "mf4"}
_EXTRA |= {"prometheus_client": "prometheus"}
_EXTRA |= {"pyod": "peers", "river": "peers"}  # others: train


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
        brings, asked = f"its `{extra}` extra", f"[{extra}]"
        if package in BASE:
            brings, asked = "all that it needs itself", ""
        raise MissingExtraError(
            f"{wanted}: the package {package} is not installed; expected cangraph with {brings}; "
            f'pip install ".{asked}" in a checkout, or "WHEEL{asked}" with the path of a wheel',
            name=error.name,
        ) from error


def attach(
    package: str, submodules: Sequence[str] = (), submod_attrs: dict[str, list[str]] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The names of a package, imported when first used, as `lazy_loader.attach` does it; one whose
    packages are missing is named with the extra that brings them."""
    load, names, every = lazy_loader.attach(package, submodules, submod_attrs)

    def named(name: str) -> Any:
        with named_extra(f"{package}.{name}"):
            return load(name)

    return named, names, every
