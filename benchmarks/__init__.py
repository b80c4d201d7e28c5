"""What is measured, and against what: `python -m benchmarks.service` and `python -m benchmarks.peers`. Never part of tests."""
