"""Every figure. Takes arrays and imports nothing else of cangraph."""
