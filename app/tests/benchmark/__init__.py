"""`make bench`: compare Atoll with docker-registry, and with the limits of Python and the store."""
