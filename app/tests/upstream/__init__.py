"""Servers that stand for the world outside: registries that misbehave on command, and proxies."""
