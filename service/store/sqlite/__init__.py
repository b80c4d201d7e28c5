"""The latent store in a sqlite file."""
