"""Atoll: one container registry that lives in several regions."""

__version__ = "0.1.0"
