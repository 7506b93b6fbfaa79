"""Servers outside of the registry: other registries that misbehave on command, and proxies."""
