"""The registry of two sites, of which one is lost, for the tests."""

from two_sites import clients, eu, lab, us

__all__ = ["clients", "eu", "lab", "us"]
