"""Observability of the running service: metrics, traces, logs and drift."""
