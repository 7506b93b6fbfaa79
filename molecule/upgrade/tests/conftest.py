"""The registry of two sites, which gets other images, for the tests."""

from two_sites import clients, eu, lab, us

__all__ = ["clients", "eu", "lab", "us"]
