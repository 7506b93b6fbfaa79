"""PostgreSQL and Redis: connections and migrations. The SQL itself stands beside its domain."""
