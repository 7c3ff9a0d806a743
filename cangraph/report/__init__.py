"""Pages made of runs: the diagnostics report, summaries, comparisons, tables."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "diagnostics": ["Report", "build"],
        "literature": ["citations", "published"],
        "compare": ["compare_runs"],
        "scanned": ["scan"],
        "scanpage": ["alarm_rows", "page", "picture", "timeline", "told"],
        "summary": ["MODELS", "missing", "model_by_dataset", "model_by_scenario", "save_page",
                    "time_taken", "weakest_spot"],
        "tables": ["Remarks", "show", "wide"],
    },
)  # fmt: skip
