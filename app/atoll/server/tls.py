"""TLS as the bundle configures it: `ssl.cert`, `ssl.key` and where TLS is terminated."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from atoll.config import Bundle, ConfigError

CERTIFICATE, KEY = "ssl.cert", "ssl.key"


@dataclass(frozen=True)
class Certificate:
    """The files that nginx serves TLS with."""

    certificate: Path
    key: Path


def read_certificate(bundle: Bundle, directory: Path) -> Certificate | None:
    """Return the certificate in DIRECTORY, None if there is none.

    Checked here because nginx reports less, and only after everything else has started.

    Raises:
        ConfigError: the certificate is required and missing, or unusable.
    """
    files = Certificate(directory / CERTIFICATE, directory / KEY)
    problem = _find_problem(bundle, files)
    if problem is not None:
        raise ConfigError(str(directory), [problem])
    return files if files.certificate.exists() else None


def certificate_end(directory: Path) -> datetime | None:
    """Return the end of the certificate in DIRECTORY, None if there is no readable one."""
    try:
        certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    except (OSError, ValueError):
        return None
    return certificate.not_valid_after_utc


def _find_problem(bundle: Bundle, files: Certificate) -> str | None:
    there = [path.name for path in (files.certificate, files.key) if path.exists()]
    if not there:
        if bundle.preferred_url_scheme == "https" and not bundle.external_tls_termination:
            return (
                f"PREFERRED_URL_SCHEME is https, and there is no {CERTIFICATE} and {KEY}: add"
                " them, or set EXTERNAL_TLS_TERMINATION: true if a load balancer terminates TLS"
            )
        return None
    if len(there) == 1:
        return f"there is {there[0]} alone; TLS needs both {CERTIFICATE} and {KEY}"
    try:
        # Without a password given, OpenSSL would ask for one on the terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        return f"{CERTIFICATE} and {KEY} are not a valid pair: {error.reason or error}"
    except OSError as error:
        return (
            f"{CERTIFICATE} and {KEY} cannot be read ({error.strerror}): the container's user,"
            " 1001 unless you chose another, must be able to read the bundle"
        )
    return None


def redirects_to_tls(bundle: Bundle, certificate: Certificate | None) -> bool:
    """Return whether requests without TLS are redirected to the TLS port, as in Quay."""
    return (
        certificate is not None
        and bundle.preferred_url_scheme == "https"
        and not bundle.external_tls_termination
    )
