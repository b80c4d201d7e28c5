"""Numbers, pictures and reports of a trained model: python -m models.evaluate."""
