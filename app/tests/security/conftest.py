"""Attacks on a running image: the fixtures of the image's own tests."""

from __future__ import annotations

from ..image.conftest import cheap_passwords, database, image, registry, services, template

__all__ = ["cheap_passwords", "database", "image", "registry", "services", "template"]
