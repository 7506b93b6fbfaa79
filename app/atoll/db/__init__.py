"""PostgreSQL and Redis connections, and migrations. Queries live in the modules of the domain."""
