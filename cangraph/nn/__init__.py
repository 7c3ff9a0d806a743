"""The networks and their losses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"models": ["n_parameters"], "losses": ["Balance"]}
)
