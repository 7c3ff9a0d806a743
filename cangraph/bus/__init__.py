"""What a bus does: simulated vehicles, attacks injected into traffic, arbitration."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=["arbitration", "attacks", "simulator"],
    submod_attrs={
        "attacks": ["ATTACKS", "PAYLOADS", "inject"],
        "simulator": ["VEHICLES", "demo_captures", "simulate"],
    },
)
