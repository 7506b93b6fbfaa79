"""Mirrors: repositories that are kept in step with repositories of other registries."""
