"""Connections to a Swift service, which authenticates each of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from swiftclient.client import Connection
from swiftclient.exceptions import ClientException

from atoll.config.stores import SwiftSettings

# Seconds without progress.
TIMEOUT = 10
# Seconds before a request is repeated.
_FIRST_PAUSE = 0.2
# Idle connections that are kept.
_IDLE_MAXIMUM = 32


class _Connection(Connection):  # type: ignore[misc] # it has no types
    """A connection whose log-in has the usual time-out, even if its requests have a short one.

    Checking a password takes long, and is done by another service than the probed one.
    """

    timeout: float

    def get_auth(self) -> tuple[str, str]:
        seconds, self.timeout = self.timeout, TIMEOUT
        try:
            address, token = super().get_auth()
        finally:
            self.timeout = seconds
        return address, token


class SwiftConnections:
    """A pool of connections; each serves one thread at a time and keeps its session."""

    def __init__(
        self, settings: SwiftSettings, ca_bundle: str | None, timeout: int, *, retries: int
    ) -> None:
        password = settings.swift_password.get_secret_value()
        self._arguments: dict[str, Any] = {
            "authurl": settings.auth_url,
            "user": settings.swift_user,
            "key": password,
            "auth_version": str(settings.auth_version),
            "os_options": dict(settings.os_options),
            "cacert": settings.ca_cert_path or ca_bundle,
            "retry_on_ratelimit": settings.retry_on_ratelimit,
            "timeout": timeout,
            "retries": retries,
            "starting_backoff": _FIRST_PAUSE,
        }
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    @contextmanager
    def one(self) -> Iterator[Connection]:
        """Lend a connection; after an error without a complete answer it is closed."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or _Connection(**self._arguments)
        try:
            yield connection
        except ClientException as error:
            # This answer was read completely. Any other error may leave a part of one behind.
            if error.http_status:
                self._give_back(connection)
            else:
                connection.close()
            raise
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_MAXIMUM:
                self._idle.append(connection)
                return
        connection.close()
