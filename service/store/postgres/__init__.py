"""The latent store in PostgreSQL with pgvector."""
