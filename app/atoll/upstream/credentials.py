"""Credentials for an upstream."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """A user name and password, such as those of a robot, or `_json_key` and a key of Google.

    Attributes:
        username: The user name.
        password: The password or token.
    """

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of Authorization for Basic authentication."""
        encoded = base64.b64encode(f"{self.username}:{self.password}".encode())
        return f"Basic {encoded.decode()}"
