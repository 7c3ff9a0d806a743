"""Several detectors as one: rules, a DQN, and the choice between them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"rules": ["STATE"]})
