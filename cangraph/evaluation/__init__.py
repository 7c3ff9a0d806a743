"""Scores of windows and what they are worth: metrics, alarms, calibration, baselines."""
