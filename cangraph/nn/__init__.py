"""The networks and their losses."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__, submod_attrs={"models": ["n_parameters"], "losses": ["Balance"]}
)
