"""The botocore clients of one S3 store."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from atoll.config.stores import S3StoreSettings
from atoll.storage.s3.assumed_role import role_session
from atoll.storage.s3.tls import load_certificates_once
from atoll.storage.timeouts import assembly_seconds

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Seconds without progress. A probe has less time.
CONNECT_TIMEOUT = 2
READ_TIMEOUT = 10
_PROBE_TIMEOUT = 2
# Connections that each client keeps open.
CONNECTIONS = 32
# Clients are safe for any thread, creating one is not.
_CREATION_LOCK = threading.Lock()


class S3Clients:
    """Clients with the time-outs that different requests need.

    Creating one takes several milliseconds of the processor, so those that a starting process does
    not need are created when they are used.

    Attributes:
        prober: for probes, with short time-outs and without repetitions.
    """

    def __init__(self, settings: S3StoreSettings, ca_bundle: str | None) -> None:
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._session = _shared_session()
        if settings.role is not None:
            self._session = boto3.session.Session(
                botocore_session=role_session(settings, ca_bundle, _PROBE_TIMEOUT)
            )
        self._credentials = _credentials(self._session, settings)
        with _CREATION_LOCK:
            self.prober = self._create(_PROBE_TIMEOUT, _PROBE_TIMEOUT, attempts=1)
        # By read time-out in seconds.
        self._others: dict[int, S3Client] = {}

    @property
    def default(self) -> S3Client:
        """The client for most requests; a request that failed at once is repeated once."""
        return self._with_read_timeout(READ_TIMEOUT)

    def for_assembly(self, size: int) -> S3Client:
        """Return a client that waits as long as a store may need to write `size` bytes."""
        return self._with_read_timeout(max(assembly_seconds(size), READ_TIMEOUT))

    def frozen_credentials(self) -> ReadOnlyCredentials | None:
        """Return the current credentials, or None if there are none to sign with."""
        return self._credentials.get_frozen_credentials() if self._credentials else None

    def _with_read_timeout(self, seconds: int) -> S3Client:
        if (client := self._others.get(seconds)) is not None:
            return client
        with _CREATION_LOCK:
            if seconds not in self._others:
                self._others[seconds] = self._create(CONNECT_TIMEOUT, seconds, attempts=2)
            return self._others[seconds]

    def _create(self, connect_timeout: int, read_timeout: int, *, attempts: int) -> S3Client:
        settings = self._settings
        # With a role, the keys only serve to assume it, and the session has the role's credentials.
        keys = settings.credentials if settings.role is None else None
        token = settings.session_token
        client = self._session.client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=settings.region or "us-east-1",
            aws_access_key_id=keys[0].get_secret_value() if keys else None,
            aws_secret_access_key=keys[1].get_secret_value() if keys else None,
            aws_session_token=token.get_secret_value() if token else None,
            verify=self._ca_bundle,
            config=Config(
                signature_version=settings.signature_version,
                s3={"addressing_style": "path"} if settings.endpoint else {},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=connect_timeout,
                read_timeout=read_timeout,
                retries={"total_max_attempts": attempts, "mode": "standard"},
                max_pool_connections=CONNECTIONS,
            ),
        )
        # The published types have neither this attribute nor a handler that returns a value.
        internals: Any = client
        load_certificates_once(internals._endpoint.http_session)
        veto: Any = _veto_after_timeout
        client.meta.events.register_first("needs-retry.s3", veto)
        return client


def load_api() -> None:
    """Load the description of S3's API, which takes 14 MiB, into the session of all stores."""
    _shared_session().client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",  # noqa: S106 - the client is not used
    )


@cache
def _shared_session() -> boto3.session.Session:
    """Return the session of all stores, which loads the description of S3's API only once."""
    return boto3.session.Session()


def _credentials(session: boto3.session.Session, settings: S3StoreSettings) -> Credentials | None:
    """Return the credentials to sign with: the session's, if the bundle has no keys."""
    if settings.role is not None or settings.credentials is None:
        return session.get_credentials()
    access_key, secret_key = settings.credentials
    token = settings.session_token
    return Credentials(
        access_key.get_secret_value(),
        secret_key.get_secret_value(),
        token.get_secret_value() if token else None,
    )


def _veto_after_timeout(caught_exception: Exception | None, **_arguments: object) -> bool | None:
    """Prevent botocore from repeating a request that timed out: its caller waited long enough.

    A request that failed at once is repeated: the store may have closed an idle connection.
    """
    return False if isinstance(caught_exception, ConnectTimeoutError | ReadTimeoutError) else None
