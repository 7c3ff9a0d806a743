"""What a bus does: simulated vehicles, attacks injected into traffic, arbitration."""
