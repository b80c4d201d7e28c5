"""Mathematics in latent space: noise from a seed, paths, distances, mixtures. Pure functions of arrays."""
