"""Pages made of runs: the diagnostics report, summaries, comparisons, tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "diagnostics": [
            "ALL",
            "Run",
            "at_false_alarms",
            "delays",
            "drift",
            "events_of",
            "gather",
            "histories",
            "intervals",
            "measured",
            "seeds",
            "tempered",
            "timelines",
            "typical",
            "undefined",
            "waits",
        ],
        "tables": ["shortened", "show", "wide"],
    },
)
