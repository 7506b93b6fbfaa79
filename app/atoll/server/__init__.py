"""The processes that run inside a container."""
