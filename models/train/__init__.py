"""Training a VAE: python -m models.train."""
