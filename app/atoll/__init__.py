"""Atoll: a container registry that spans several regions."""

__version__ = "0.1.0"
