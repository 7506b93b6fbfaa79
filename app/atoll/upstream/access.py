"""How an upstream is reached."""

from __future__ import annotations

from dataclasses import dataclass, field

from atoll.outbound.proxies import Proxies
from atoll.upstream.credentials import Credentials


@dataclass(frozen=True)
class Access:
    """How an upstream is reached.

    Attributes:
        credentials: The credentials; None for anonymous access.
        verify_tls: Whether its certificate is verified. If not, plain HTTP is permitted, too.
        ca_certificate: Further CA certificates in PEM format.
        proxies: The proxies; None for those of the environment.
    """

    credentials: Credentials | None = None
    verify_tls: bool = True
    ca_certificate: str | None = field(default=None, repr=False)
    proxies: Proxies | None = None
