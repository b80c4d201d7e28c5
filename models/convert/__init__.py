"""python -m models.convert: checkpoints of other software become ours, where the architecture exists here."""
