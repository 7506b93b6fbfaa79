"""Security scanning: the client of Clair, and what the registry keeps about its reports."""
