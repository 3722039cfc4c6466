"""Figures, each measured beside its baselines in one run: `python -m benchmarks [NAME ...] [--json FILE]`."""
