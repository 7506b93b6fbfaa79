"""The placement protocol: which blob must be, and is, at which location."""
