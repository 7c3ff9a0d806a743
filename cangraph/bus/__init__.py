"""What a bus does: simulated vehicles, attacks injected into traffic, arbitration."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["arbitration", "attacks", "simulator"],
    submod_attrs={
        "attacks": ["ATTACKS", "PAYLOADS", "inject"],
        "simulator": ["VEHICLES", "demo_captures", "simulate"],
    },
)
