"""Fixtures for a registry of two sites, one of which is removed."""

from two_sites import clients, eu, lab, us

__all__ = ["clients", "eu", "lab", "us"]
