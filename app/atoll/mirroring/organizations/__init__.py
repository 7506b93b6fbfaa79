"""Mirrors of organizations: the repositories of a namespace of another registry."""
