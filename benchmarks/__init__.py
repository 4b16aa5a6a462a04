"""Measured speed, side by side with its yardstick: python -m benchmarks."""
