"""The latent store in PostgreSQL with the extension pgvector."""
