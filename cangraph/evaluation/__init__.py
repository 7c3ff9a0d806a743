"""Scores of windows and what they are worth: metrics, alarms, calibration, baselines."""

from cangraph.extras import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "scores": ["Scores", "attack_spans", "by_capture", "by_scenario", "compare",
                   "metrics", "overall", "threshold", "why_undefined"],
        "alarms": ["AlarmRule", "alarm_rule", "event_metrics", "events_by_capture",
                   "raise_alarms"],
        "calibration": ["brier", "calibrated", "clean_stretch", "clean_threshold", "ece",
                        "log_odds", "recalibrated"],
        "baselines": ["BoostedTrees", "calibrated_count", "decided", "leak_canary"],
        "blame": ["blamed_ids", "by_attack_and_capture", "frame_scores", "localised", "worst"],
        "stats": ["clustered", "interval"],
    },
)  # fmt: skip
