"""Durability of acknowledged data, tested on real PostgreSQL with faulty stores in memory."""
