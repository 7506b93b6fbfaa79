"""Background maintenance of placements: backfill, garbage collection, lag."""
