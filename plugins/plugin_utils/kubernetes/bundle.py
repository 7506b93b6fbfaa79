"""The bundle of a site as a Secret that is mounted as a directory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

SUPERUSER_FILE = "initial-superuser-password"
_SUPERUSER_KEY = "INITIAL_SUPERUSER_PASSWORD"
# Keys of a Secret cannot contain a slash. Quay's Operator uses the same prefix.
_EXTRA_PREFIX = "extra_ca_cert_"
EXTRA_DIRECTORY = "extra_ca_certs"


@dataclass(frozen=True)
class Bundle:
    """The content of a bundle's directory.

    Attributes:
        config: The content of `config.yaml`, with the password of the first superuser, if any.
        certificate: The content of `ssl.cert`.
        key: The content of `ssl.key`.
        database_ca: The CA certificates for PostgreSQL, if any.
        extra: The other CA certificates by the names of their files.
    """

    config: Mapping[str, Any]
    certificate: str
    key: str
    database_ca: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def superuser_password(self) -> str:
        """The password of the first superuser; empty if there is none."""
        return str(self.config.get(_SUPERUSER_KEY) or "")

    @property
    def deployed_config(self) -> dict[str, Any]:
        """The content of `config.yaml`, without the password that only a migration needs."""
        return {key: value for key, value in self.config.items() if key != _SUPERUSER_KEY}

    @property
    def files(self) -> dict[str, str]:
        """The files in the directory itself."""
        text = yaml.safe_dump(self.deployed_config, sort_keys=False, allow_unicode=True)
        found = {"config.yaml": text, "ssl.cert": self.certificate, "ssl.key": self.key}
        if self.database_ca:
            found["database.pem"] = self.database_ca
        return found

    @property
    def data(self) -> dict[str, str]:
        """All files by their keys in the Secret."""
        return self.files | {extra_key(name): text for name, text in sorted(self.extra.items())}

    @property
    def items(self) -> list[dict[str, str]]:
        """The path of each key of the Secret in the directory."""
        return [
            *({"key": name, "path": name} for name in self.files),
            *(
                {"key": extra_key(name), "path": f"{EXTRA_DIRECTORY}/{name}"}
                for name in sorted(self.extra)
            ),
        ]

    @property
    def checksum(self) -> str:
        """A hash of all files. It reveals nothing, because a private key is among them."""
        text = json.dumps(self.data, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def extra_key(name: str) -> str:
    """Return the key of a file of `extra_ca_certs` in the Secret."""
    return f"{_EXTRA_PREFIX}{name}"


def encoded(data: Mapping[str, str]) -> dict[str, str]:
    """Return the field `data` of a Secret."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
