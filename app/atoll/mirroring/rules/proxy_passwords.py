"""Passwords in the URLs of a mirror's proxies, which are stored apart from the URLs and encrypted.

Everywhere else, the URLs have HIDDEN instead of a password, also in responses of the API. A change
may repeat such a URL: it keeps the stored password.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atoll.auth.secrets import Cipher

HIDDEN = "********"
_URLS = ("http_proxy", "https_proxy")


def hide_password(url: str) -> tuple[str, str | None]:
    """Return a URL with HIDDEN instead of its password, and the password.

    Raises:
        ValueError: A path could contain a part of the password.
    """
    scheme, separator, rest = url.rpartition("://")
    address, slash, path = rest.partition("/")
    if "@" in path:
        raise ValueError("the password in the URL of a proxy must have %2F instead of /")
    credentials, at, host = address.rpartition("@")
    username, colon, password = credentials.partition(":")
    if not colon:
        return url, None
    return f"{scheme}{separator}{username}:{HIDDEN}{at}{host}{slash}{path}", password


class ProxyPasswords:
    """The passwords of the proxies of one mirror, by the field of the URL."""

    def __init__(self, passwords: Mapping[str, str], encrypted: str | None) -> None:
        self._passwords = dict(passwords)
        self._encrypted = encrypted

    @classmethod
    def from_row(cls, row: Mapping[str, Any], cipher: Cipher) -> ProxyPasswords:
        """Return the passwords of a row of `repomirrorconfig` or `orgmirrorconfig`.

        Raises:
            SecretUnreadable: They were encrypted with another bundle's key.
        """
        encrypted: str | None = row["proxy_passwords"]
        if encrypted is None:
            return cls({}, None)
        return cls(json.loads(cipher.decrypt(encrypted, _purpose(row))), encrypted)

    def revealed(self, proxy: Mapping[str, Any]) -> dict[str, Any]:
        """Return proxies with their passwords."""
        urls = {
            name: str(proxy[name]).replace(f":{HIDDEN}@", f":{password}@", 1)
            for name, password in self._passwords.items()
        }
        return {**proxy, **urls}

    def replaced(
        self, old: Mapping[str, Any], new: Mapping[str, Any]
    ) -> tuple[dict[str, Any], ProxyPasswords]:
        """Return new proxies with hidden passwords, and these passwords.

        Args:
            old: The proxies that the passwords belong to.
            new: The new proxies; a hidden password stands for the stored one.

        Raises:
            ValueError: A hidden password stands for none, or would be sent to another proxy.
        """
        hidden, passwords = dict(new), {}
        for name in _URLS:
            if not new.get(name):
                continue
            hidden[name], password = hide_password(new[name])
            if password == HIDDEN:
                if hidden[name] != old.get(name) or name not in self._passwords:
                    raise ValueError(f"{name} needs its password, which is not stored for this URL")
                password = self._passwords[name]
            if password is not None:
                passwords[name] = password
        unchanged = passwords == self._passwords
        return hidden, ProxyPasswords(passwords, self._encrypted if unchanged else None)

    def copied(self, row: Mapping[str, Any], cipher: Cipher) -> str | None:
        """Return the column of another row, to which the passwords are copied."""
        return ProxyPasswords(self._passwords, None).encrypted(row, cipher)

    def encrypted(self, row: Mapping[str, Any], cipher: Cipher) -> str | None:
        """Return the column of a row; it changes only if a password does."""
        if not self._passwords:
            return None
        return self._encrypted or cipher.encrypt(json.dumps(self._passwords), _purpose(row))


def mirrored(row: Mapping[str, Any]) -> str:
    """Return what a row of `repomirrorconfig` or `orgmirrorconfig` mirrors, by its id."""
    if "organization_id" in row:
        return f"organization {row['organization_id']}"
    return f"repository {row['repository_id']}"


def _purpose(row: Mapping[str, Any]) -> str:
    return f"proxies of the mirror of {mirrored(row)}"
