"""Captures of a dataset as graphs: prepared, split, synthesised, cut into batches."""
