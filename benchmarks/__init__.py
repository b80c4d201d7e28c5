"""Benchmarks of the service and of training; benchmarks/README.md lists the commands. Never part of the tests."""
