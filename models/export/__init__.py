"""python -m models.export: a model in formats that other programs read."""
