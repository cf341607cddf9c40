"""The UCI regression tables: `python -m benchmarks.uci [--quick]`."""
