"""Fixtures for a registry of two sites that is upgraded."""

from two_sites import clients, eu, lab, us

__all__ = ["clients", "eu", "lab", "us"]
