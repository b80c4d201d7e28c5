"""Tests of what deploy/ and docs/operations.md say."""
