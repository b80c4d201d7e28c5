"""Who may ask for what: keys, scopes and rate limits."""
