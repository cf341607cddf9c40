"""Ratio benchmarks: `python -m benchmarks.NAME [--quick]`."""
