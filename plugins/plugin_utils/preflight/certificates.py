"""Checks of certificates: keys, names, chains and expiry."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import re
from collections.abc import Generator, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleError
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.files import deployed_files
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Host,
    Inventory,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    Problem,
    problem,
)

# Ansible itself requires cryptography, but tools that only read the documentation may lack it.
with contextlib.suppress(ImportError):
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )
    from cryptography.x509.oid import ExtensionOID

_UTC = datetime.timezone.utc  # noqa: UP017, Python 3.10 has no datetime.UTC
_WARNING_DAYS = 30
_MAXIMUM_CHAIN = 10
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_BUNDLE_DIRECTORY = "/conf/stack/"
_REDIS_KEYS = ("BUILDLOGS_REDIS", "USER_EVENTS_REDIS")


def certificate_problems(inventory: Inventory) -> Iterator[Problem]:
    """Yield the problems of the certificates of each component."""
    now = datetime.datetime.now(_UTC)
    for host, role in inventory.files_of():
        variable = f"{role}_tls_certificate_file"
        chain = yield from _load(inventory, host, variable)
        if not chain:
            continue
        yield from _key(inventory, host, role, chain[0])
        yield from _validity(host, variable, chain[0], now)
        yield from _names(inventory, host, role, chain[0])
        yield from _trust(inventory, host, role, chain, now)


def _load(
    inventory: Inventory, host: Host, variable: str
) -> Generator[Problem, None, list[x509.Certificate]]:
    """Yield a problem if a file has no certificates, and return them."""
    try:
        content = inventory.read(host.text(variable))
    except AnsibleError:
        return []  # The checks of files report it.
    try:
        found = [x509.load_pem_x509_certificate(pem) for pem in _PEM.findall(content)]
    except ValueError as error:
        found, reason = [], f"contains an invalid certificate: {error}"
    else:
        reason = "contains no certificate in PEM format"
    if not found:
        yield problem(
            "certificate-unreadable",
            host.name,
            f"{variable} ({host.text(variable)}) {reason}.",
            "Set it to a file in PEM format.",
        )
    return found


def _key(
    inventory: Inventory, host: Host, role: str, certificate: x509.Certificate
) -> Iterator[Problem]:
    variable = f"{role}_tls_key_file"
    path = host.text(variable)
    try:
        key = load_pem_private_key(inventory.read(path), None)
    except AnsibleError:
        return
    except (ValueError, TypeError) as error:
        reason = "is encrypted with a passphrase" if isinstance(error, TypeError) else "is no key"
        yield problem(
            "certificate-unreadable",
            host.name,
            f"{variable} ({path}) {reason}.",
            "Set it to a private key in PEM format without a passphrase. The file may be encrypted"
            " with ansible-vault.",
        )
        return
    if _public(key.public_key()) != _public(certificate.public_key()):
        yield problem(
            "certificate-key-mismatch",
            host.name,
            f"{variable} ({path}) is not the key of {role}_tls_certificate_file"
            f" ({host.text(f'{role}_tls_certificate_file')}).",
            "Set both to files of the same pair.",
        )


def _validity(
    host: Host, variable: str, certificate: x509.Certificate, now: datetime.datetime
) -> Iterator[Problem]:
    start, end = _period(certificate)
    named = f"The certificate in {variable} ({host.text(variable)})"
    renew = "Renew the certificate."
    if end <= now:
        yield problem("certificate-expired", host.name, f"{named} expired on {end.date()}.", renew)
    elif start > now:
        yield problem(
            "certificate-not-yet-valid",
            host.name,
            f"{named} is not valid until {start.date()}.",
            "Use a certificate that is valid, and check the clock of the controller.",
        )
    elif (end - now).days < _WARNING_DAYS:
        yield problem(
            "certificate-expires",
            host.name,
            f"{named} expires in {(end - now).days} days, on {end.date()}.",
            renew,
            "warning",
        )


def _names(
    inventory: Inventory, host: Host, role: str, certificate: x509.Certificate
) -> Iterator[Problem]:
    for name, source in _expected_names(inventory, host, role).items():
        if not valid_for(certificate, name):
            valid = ", ".join(_alternative_names(certificate)) or "no names"
            yield problem(
                "certificate-name",
                host.name,
                f"The certificate in {role}_tls_certificate_file is not valid for {name}"
                f" ({source}), but for {valid}.",
                f"Use a certificate with the subject alternative name {name}.",
            )


def _expected_names(inventory: Inventory, host: Host, role: str) -> dict[str, str]:
    """Return the names that clients of a role verify, each with the setting that contains it."""
    if role in ("registry", "load_balancer"):
        name = host.text("registry_hostname")
        return {name: "registry_hostname"} if name else {}
    if role == "clair":
        address = host.text("clair_url") or f"https://{host.text('clair_address')}"
        return {urlsplit(address).hostname or "": "clair_url or clair_address"}
    found: dict[str, str] = {}
    for site in inventory.sites():
        bundle = site.get("registry_config")
        if not isinstance(bundle, dict):
            continue
        if role == "postgres":
            found |= dict.fromkeys(database_hosts(bundle), "DB_URI")
            continue
        for key in _REDIS_KEYS:
            settings = bundle.get(key)
            if isinstance(settings, dict) and settings.get("ssl") and settings.get("host"):
                found.setdefault(str(settings["host"]), key)
    return found


def database_hosts(bundle: dict[str, Any]) -> list[str]:
    """Return the hosts in DB_URI if clients verify the name of the server."""
    arguments = bundle.get("DB_CONNECTION_ARGS")
    mode = arguments.get("sslmode") if isinstance(arguments, dict) else None
    try:
        address = urlsplit(str(bundle.get("DB_URI") or ""))
    except ValueError:
        return []  # The check of the bundle reports it.
    if mode != "verify-full" and "sslmode=verify-full" not in address.query:
        return []
    servers = address.netloc.rpartition("@")[2].split(",")
    return [
        server[1:].partition("]")[0] if server.startswith("[") else server.partition(":")[0]
        for server in servers
        if server
    ]


def _trust(
    inventory: Inventory,
    host: Host,
    role: str,
    chain: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> Iterator[Problem]:
    if role in ("load_balancer", "clair"):
        return  # Only clients verify it, or the registry with all of its CA certificates.
    variable = f"{role}_tls_certificate_file"
    sources = _trust_files(inventory, host, role)
    if not sources:
        if _issued(chain[0], chain[0]):
            yield problem(
                "certificate-chain",
                host.name,
                f"The certificate in {variable} is self-signed, and no file with CA certificates is"
                " set.",
                f"Set {_trust_variable(role)}, or use a certificate of a public CA.",
            )
        return
    for path, source in sources.items():
        try:
            anchors = [
                x509.load_pem_x509_certificate(pem) for pem in _PEM.findall(inventory.read(path))
            ]
        except AnsibleError:
            continue  # The checks of files report it.
        except ValueError:
            anchors = []
        if not anchors:
            yield problem(
                "certificate-unreadable",
                host.name,
                f"{source} ({path}) contains no certificate in PEM format.",
                "Set it to a file with CA certificates in PEM format.",
            )
            continue
        reason = chain_error(chain, anchors, now)
        if reason:
            yield problem(
                "certificate-chain",
                host.name,
                f"The certificate in {variable} does not lead to a CA in {source} ({path}):"
                f" {reason}.",
                f"Add the intermediate certificates to {variable}, or correct {source}.",
            )


def _trust_variable(role: str) -> str:
    return {
        "postgres": "registry_database_ca_file",
        "redis": "registry_extra_ca_files and ssl_ca_certs",
    }.get(role, f"{role}_ca_file")


def _trust_files(inventory: Inventory, host: Host, role: str) -> dict[str, str]:
    """Return the files with the CA certificates of the clients of a role, and their settings."""
    if role == "registry":
        found = {host.text("registry_ca_file"): "registry_ca_file"}
        # A load balancer verifies the certificates of the sites.
        for balancer in inventory.running("load_balancer"):
            found.setdefault(balancer.text("load_balancer_ca_file"), "load_balancer_ca_file")
    elif role == "postgres":
        found = {
            site.text("registry_database_ca_file"): "registry_database_ca_file"
            for site in inventory.sites()
        }
    else:
        found = {}
        for site in inventory.sites():
            found |= dict.fromkeys(_redis_trust(site), "registry_extra_ca_files")
    return {path: source for path, source in found.items() if path}


def _redis_trust(site: Host) -> list[str]:
    bundle = site.get("registry_config")
    deployed = deployed_files(site)
    files = []
    for key in _REDIS_KEYS:
        settings = bundle.get(key) if isinstance(bundle, dict) else None
        if isinstance(settings, dict):
            name = str(settings.get("ssl_ca_certs") or "").removeprefix(_BUNDLE_DIRECTORY)
            files.append(deployed.get(name, ""))
    return files


def chain_error(
    chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime.datetime
) -> str:
    """Return why a certificate does not lead to a trusted one; empty if it does.

    Args:
        chain: The certificate and intermediate certificates.
        anchors: The trusted certificates.
        now: The time at which all certificates must be valid.
    """
    current = chain[0]
    for _step in range(_MAXIMUM_CHAIN):
        if current in anchors:
            return ""
        issuers = [one for one in (*anchors, *chain[1:]) if _issued(current, one)]
        if not issuers:
            return f"there is no certificate of {current.issuer.rfc4514_string() or 'the issuer'}"
        issuer = issuers[0]
        start, end = _period(issuer)
        name = issuer.subject.rfc4514_string()
        if not start <= now <= end:
            return f"the certificate of {name} is valid from {start.date()} to {end.date()}"
        if not _is_ca(issuer):
            return f"the certificate of {name} is not the certificate of a CA"
        if issuer in anchors:
            return ""
        current = issuer
    return "the chain is too long"


def valid_for(certificate: x509.Certificate, name: str) -> bool:
    """Return whether a certificate is valid for a host name or an IP address."""
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        pattern = name.lower().rstrip(".")
        parent = f"*.{pattern.partition('.')[2]}"
        return any(valid.lower() in (pattern, parent) for valid in _alternative_names(certificate))
    return str(address) in _alternative_names(certificate)


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        )
    except (x509.ExtensionNotFound, ValueError):
        return []
    names: Any = extension.value
    return [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:
        # The names differ, the signature is invalid, or the algorithm is not supported.
        return False
    return True


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return certificate.version == x509.Version.v1
    return extension.value.ca


def _period(certificate: x509.Certificate) -> tuple[datetime.datetime, datetime.datetime]:
    try:
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except AttributeError:  # before cryptography 42
        return (
            certificate.not_valid_before.replace(tzinfo=_UTC),
            certificate.not_valid_after.replace(tzinfo=_UTC),
        )


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded
