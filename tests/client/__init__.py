"""Tests of the Python client in client/."""
