"""Mirroring of external registries: the client for upstreams, and their shared budget."""
