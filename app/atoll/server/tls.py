"""What the bundle says about TLS: `ssl.cert` and `ssl.key`, and who ends it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from atoll.config import Bundle, ConfigError

CERTIFICATE, KEY = "ssl.cert", "ssl.key"


@dataclass(frozen=True)
class Certificate:
    """The files that nginx serves TLS with."""

    certificate: Path
    key: Path


def read_certificate(bundle: Bundle, directory: Path) -> Certificate | None:
    """Return the certificate in DIRECTORY, which need not have one; raise ConfigError if it is bad.

    nginx would say less about it, and only after everything else had been started.
    """
    files = Certificate(directory / CERTIFICATE, directory / KEY)
    problem = _problem(bundle, files)
    if problem is not None:
        raise ConfigError(str(directory), [problem])
    return files if files.certificate.exists() else None


def _problem(bundle: Bundle, files: Certificate) -> str | None:
    there = [path.name for path in (files.certificate, files.key) if path.exists()]
    if not there:
        if bundle.preferred_url_scheme == "https" and not bundle.external_tls_termination:
            return (
                f"PREFERRED_URL_SCHEME is https, and there is no {CERTIFICATE} and {KEY}: add"
                " them, or set EXTERNAL_TLS_TERMINATION: true if a load balancer ends TLS"
            )
        return None
    if len(there) == 1:
        return f"there is {there[0]} alone; TLS needs both {CERTIFICATE} and {KEY}"
    try:
        # Without a password given, OpenSSL would ask for one on the terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        return f"{CERTIFICATE} and {KEY} are no pair that TLS can use: {error.reason or error}"
    except OSError as error:
        return (
            f"{CERTIFICATE} and {KEY} cannot be read ({error.strerror}): the container's user,"
            " 1001 unless you chose another, must be able to read the bundle"
        )
    return None


def redirects_to_tls(bundle: Bundle, certificate: Certificate | None) -> bool:
    """Tell whether who comes without TLS is sent to where it is, as in Quay."""
    return (
        certificate is not None
        and bundle.preferred_url_scheme == "https"
        and not bundle.external_tls_termination
    )
