"""Request a registry's health over TLS, at an address that need not be in its certificate."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

ATTEMPT_SECONDS = 5


class Unhealthy(Exception):
    """The registry is unhealthy; the message names the cause.

    Attributes:
        services: Whether each service of the last response is healthy, by name.
    """

    def __init__(self, message: str, services: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.services = services or {}


class Connection(http.client.HTTPSConnection):
    """An HTTPS connection to an address that verifies the certificate for another name."""

    def __init__(self, address: str, port: int, hostname: str, context: ssl.SSLContext) -> None:
        super().__init__(hostname, port, timeout=ATTEMPT_SECONDS, context=context)
        self._address = address
        self._tls = context

    def connect(self) -> None:
        """Connect to the address, and verify the certificate for the name."""
        plain = socket.create_connection((self._address.strip("[]"), self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def request_health(
    parameters: Mapping[str, Any], path: str, context: ssl.SSLContext
) -> dict[str, Any]:
    """Return the services of a healthy response.

    Raises:
        Unhealthy: The registry cannot be reached or is unhealthy.
    """
    with _connected(parameters, context) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return healthy_services(response.status, response.read())


def certificate(parameters: Mapping[str, Any]) -> bytes:
    """Return the served certificate in DER form, without verifying it.

    Raises:
        Unhealthy: The registry cannot be reached.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with _connected(parameters, context) as connection:
        connection.connect()
        return connection.sock.getpeercert(binary_form=True) or b""


def healthy_services(status: int, body: bytes) -> dict[str, Any]:
    """Return the services of a healthy response, and raise Unhealthy for any other."""
    services: dict[str, Any]
    try:
        services = json.loads(body)["data"]["services"]
    except (ValueError, KeyError, TypeError):
        services = {}
    if status == http.client.OK:
        return services
    unhealthy = ", ".join(name for name, healthy in services.items() if not healthy)
    raise Unhealthy(
        f"its status is {status}" + (f"; unhealthy: {unhealthy}" if unhealthy else ""), services
    )


@contextmanager
def _connected(parameters: Mapping[str, Any], context: ssl.SSLContext) -> Iterator[Connection]:
    """Yield a connection, and translate its errors to Unhealthy."""
    hostname = parameters["hostname"]
    connection = Connection(parameters["address"], parameters["port"], hostname, context)
    try:
        yield connection
    except ssl.SSLCertVerificationError as error:
        raise Unhealthy(
            f"its certificate is not valid for {hostname}: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"it does not respond: {error}") from error
    finally:
        connection.close()
