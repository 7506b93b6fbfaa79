"""Changes of how a mirror reaches its upstream: credentials, certificates and proxies.

A row of a mirror has the columns external_registry_username, external_registry_password,
external_registry_config, proxy_passwords and options.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from atoll.auth.secrets import Cipher
from atoll.mirroring.errors import InvalidMirror
from atoll.mirroring.rules.proxy_passwords import ProxyPasswords
from atoll.mirroring.rules.settings import access_of, password_purpose
from atoll.upstream.access import Access
from atoll.upstream.errors import AddressRefused, InvalidReference
from atoll.upstream.reference import UpstreamReference

# Check an upstream without connecting to it, as `Upstreams.check` does.
CheckUpstream = Callable[[UpstreamReference, Access], None]


def merge_access(
    row: dict[str, Any], old: Mapping[str, Any], change: Mapping[str, Any], cipher: Cipher
) -> None:
    """Apply a change to a row. As in Quay, a password is accepted with its user name only.

    Args:
        row: The row to change.
        old: The row before the change.
        change: The given settings; only the given keys of `external_registry_config` and `options`
            are changed, and an option that is None is reset.
        cipher: Encrypts passwords.

    Raises:
        InvalidMirror: A password without its user name or proxy.
    """
    row["external_registry_config"] = {
        **row["external_registry_config"],
        **change.get("external_registry_config", {}),
    }
    _hide_proxy_passwords(row, old, cipher)
    options = {**row["options"], **change.get("options", {})}
    row["options"] = {name: value for name, value in options.items() if value is not None}
    username_given = "external_registry_username" in change
    username = change.get("external_registry_username")
    password = change.get("external_registry_password")
    if password is not None and username is None:
        raise InvalidMirror(
            "external_registry_password",
            "needs the user name that it belongs to; set external_registry_username, too",
        )
    if username_given:
        row["external_registry_username"] = username
    if "external_registry_password" in change or (username_given and username is None):
        row["external_registry_password"] = (
            None if password is None else cipher.encrypt(password, password_purpose(row))
        )


def _hide_proxy_passwords(row: dict[str, Any], old: Mapping[str, Any], cipher: Cipher) -> None:
    """Move the passwords in the URLs of proxies to their column."""
    config, old_config = row["external_registry_config"], old["external_registry_config"]
    try:
        proxy, passwords = ProxyPasswords.from_row(old, cipher).replaced(
            old_config.get("proxy") or {}, config.get("proxy") or {}
        )
    except ValueError as error:
        raise InvalidMirror("external_registry_config.proxy", str(error)) from error
    if config.get("proxy"):
        config["proxy"] = proxy
    row["proxy_passwords"] = passwords.encrypted(row, cipher)


def check_upstream(
    check: CheckUpstream,
    reference: UpstreamReference,
    row: Mapping[str, Any],
    cipher: Cipher,
    *,
    field: str,
) -> None:
    """Check the addresses of an upstream and of its proxies, without resolving names.

    Args:
        check: Checks one upstream.
        reference: The upstream.
        row: The row.
        cipher: Decrypts the passwords of proxies.
        field: The setting that names the upstream.

    Raises:
        InvalidMirror: An address is not permitted.
    """
    access = access_of({**row, "external_registry_username": None}, cipher)
    places = [(field, Access())]
    if access.proxies is not None:
        places.append(("external_registry_config.proxy", access))
    for name, one in places:
        try:
            check(reference, one)
        except (AddressRefused, InvalidReference) as error:
            raise InvalidMirror(
                name,
                "its address is not permitted; the operator permits addresses with"
                " SSRF_ALLOWED_HOSTS",
            ) from error


def require_password_for_new_route(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    change: Mapping[str, Any],
    *,
    host: Callable[[Mapping[str, Any]], str],
) -> None:
    """Refuse a change that would send the stored password where its owner did not send it.

    An administrator could otherwise read the password at a server of their own.

    Args:
        old: The row before the change.
        new: The row after the change.
        change: The given settings.
        host: Returns the host of the upstream of a row.

    Raises:
        InvalidMirror: The password must be given again.
    """
    if new["external_registry_password"] is None or "external_registry_password" in change:
        return

    def route(row: Mapping[str, Any]) -> tuple[object, ...]:
        return host(row), row["external_registry_config"].get("proxy") or {}

    if route(old) != route(new):
        raise InvalidMirror(
            "external_registry_password",
            "must be given again with external_registry_username if the host of the upstream"
            " or its proxies change",
        )
