"""Vectors in memory, searched exactly: an index of chunks."""
