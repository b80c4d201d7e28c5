"""Exact search among vectors in memory: an index of chunks."""
