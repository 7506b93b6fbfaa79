"""HTTP in, HTTP out: resources that turn requests into calls of the registry, and back."""
