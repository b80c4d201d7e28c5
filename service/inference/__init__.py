"""Loaded models: the catalog, and the pipeline from pictures to posteriors and back."""
