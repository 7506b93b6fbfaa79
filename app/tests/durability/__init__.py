"""Promises about acknowledged data, proven on real PostgreSQL with stores in memory that fail."""
