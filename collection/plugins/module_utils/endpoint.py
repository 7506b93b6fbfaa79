"""Ask a registry over TLS as a load balancer does: an address, and a name for the certificate."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from contextlib import contextmanager

ATTEMPT_SECONDS = 5


class Unwell(Exception):
    """The registry is not healthy; the message says in what way."""

    def __init__(self, message, services=None):
        super().__init__(message)
        self.services = services or {}


class Connection(http.client.HTTPSConnection):
    """Connects to an address, verifies the certificate for a name."""

    def __init__(self, address, port, hostname, context):
        super().__init__(hostname, port, timeout=ATTEMPT_SECONDS, context=context)
        self._address = address
        self._tls = context

    def connect(self):
        """Connect as a load balancer does: address and name are two things."""
        plain = socket.create_connection((self._address.strip("[]"), self.port), self.timeout)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def ask(parameters, path, context):
    """Return the services of a healthy answer. Raises Unwell."""
    with _connected(parameters, context) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return judge(answer.status, answer.read())


def certificate(parameters):
    """Return the certificate that is served, in DER form, whoever signed it. Raises Unwell."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with _connected(parameters, context) as connection:
        connection.connect()
        return connection.sock.getpeercert(binary_form=True)


def judge(status, body):
    """Return the services of a good answer, and raise on another."""
    try:
        services = json.loads(body)["data"]["services"]
    except (ValueError, KeyError, TypeError):
        services = {}
    if status == http.client.OK:
        return services
    ill = ", ".join(name for name, well in services.items() if not well)
    raise Unwell(f"it answers {status}" + (f"; not well: {ill}" if ill else ""), services)


@contextmanager
def _connected(parameters, context):
    """Give a connection that is closed in the end, and whose errors are sentences."""
    hostname = parameters["hostname"]
    connection = Connection(parameters["address"], parameters["port"], hostname, context)
    try:
        yield connection
    except ssl.SSLCertVerificationError as error:
        raise Unwell(
            f"its certificate is not valid for {hostname}: {error.verify_message}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unwell(f"it does not answer: {error}") from error
    finally:
        connection.close()
