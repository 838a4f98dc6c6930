"""Metrics and data sets of the field's benchmarks."""
