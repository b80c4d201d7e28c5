"""Bulk encoding: from files to stored posteriors, by one process, several, or a Ray cluster. Knows nothing of HTTP."""
