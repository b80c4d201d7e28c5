"""What is told about the running service: metrics, traces, logs, drift."""
