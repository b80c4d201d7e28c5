"""Measure a trained model, and write its card and report: python -m models.evaluate."""
