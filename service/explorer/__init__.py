"""The page /explore, on which people see a latent space. It is a client of the public HTTP API and of nothing else."""
