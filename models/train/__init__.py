"""Training: python -m models.train."""
