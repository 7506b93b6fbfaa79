"""A client of the registry's own API: log in, push and pull an image through one address."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import secrets
import socket
import ssl
import tarfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from atoll.errors import UserError

_TIMEOUT = 60
# Load balancers notice after a few seconds that a site became healthy.
_PAUSE = 1.0
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_ERROR_LENGTH = 300


class RequestFailed(UserError):
    """A request of the client failed; the message names the address, the step and the cause."""


@dataclass(frozen=True)
class Image:
    """A small image, whose blobs exist nowhere else."""

    config: bytes
    layer: bytes

    @classmethod
    def unique(cls) -> Image:
        """Create an image with random content."""
        data = secrets.token_bytes(1024)
        file = tarfile.TarInfo("random")
        file.size = len(data)
        unpacked = io.BytesIO()
        with tarfile.open(fileobj=unpacked, mode="w") as archive:
            archive.addfile(file, io.BytesIO(data))
        tar = unpacked.getvalue()
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        }
        return cls(json.dumps(config).encode(), gzip.compress(tar))

    @property
    def manifest(self) -> bytes:
        """The image's manifest."""
        described = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": _descriptor(_CONFIG_TYPE, self.config),
            "layers": [_descriptor(_LAYER_TYPE, self.layer)],
        }
        return json.dumps(described).encode()


@dataclass(frozen=True)
class Endpoint:
    """An address at which the registry is reachable."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Parse `ADDRESS:PORT`, with IPv6 addresses in brackets.

        Raises:
            UserError: The text has another form.
        """
        address, _, port = text.rpartition(":")
        if not address or not port.isdecimal():
            raise UserError(f"--endpoint '{text}' must be ADDRESS:PORT, such as 192.0.2.20:443")
        return cls(address.strip("[]"), int(port))

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class _Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


class RegistryClient:
    """A client that connects to one endpoint for the registry's host name.

    Args:
        endpoint: the address to connect to, without name resolution.
        hostname: the host name of the registry, for which the certificate must be valid.
        context: the TLS settings for the registry and the object stores.
        credentials: user name and password.
        repository: the repository to push to and pull from.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        hostname: str,
        context: ssl.SSLContext,
        *,
        credentials: tuple[str, str],
        repository: str,
    ) -> None:
        self.endpoint = endpoint
        self._hostname = hostname
        self._context = context
        basic = base64.b64encode(":".join(credentials).encode()).decode()
        self._basic = {"Authorization": f"Basic {basic}"}
        self._repository = repository
        self._bearer: dict[str, str] = {}

    def log_in(self, timeout: float) -> None:
        """Request a token, and repeat this while the registry is unavailable.

        Args:
            timeout: seconds after which the last error is raised.

        Raises:
            RequestFailed: The registry is unavailable or rejects the credentials.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._log_in()
            except _Unavailable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE)

    def push(self, image: Image, tag: str) -> None:
        """Push an image.

        Raises:
            RequestFailed: A request failed.
        """
        for blob in (image.config, image.layer):
            self._push_blob(blob)
        self._request(
            "push of the manifest",
            "PUT",
            f"/v2/{self._repository}/manifests/{tag}",
            HTTPStatus.CREATED,
            body=image.manifest,
            headers={"Content-Type": _MANIFEST_TYPE},
        )

    def pull(self, image: Image, tag: str) -> None:
        """Pull an image, and compare it with the pushed one.

        Raises:
            RequestFailed: A request failed, or the content differs.
        """
        manifest = self._request(
            "pull of the manifest",
            "GET",
            f"/v2/{self._repository}/manifests/{tag}",
            HTTPStatus.OK,
            headers={"Accept": _MANIFEST_TYPE},
        )
        self._compare("manifest", manifest.body, image.manifest)
        for blob in (image.config, image.layer):
            self._compare("blob", self._pull_blob(blob), blob)

    def _log_in(self) -> None:
        scope = quote(f"repository:{self._repository}:pull,push")
        path = f"/v2/auth?service={quote(self._hostname)}&scope={scope}"
        answer = self._request("login", "GET", path, HTTPStatus.OK, headers=self._basic)
        self._bearer = {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}

    def _push_blob(self, blob: bytes) -> None:
        path = f"/v2/{self._repository}/blobs/uploads/"
        begun = self._request("push of a blob", "POST", path, HTTPStatus.ACCEPTED, body=b"")
        location = urlsplit(begun.headers["location"])
        query = f"{location.query}&" if location.query else ""
        self._request(
            "push of a blob",
            "PUT",
            f"{location.path}?{query}digest={quote(digest(blob))}",
            HTTPStatus.CREATED,
            body=blob,
            headers={"Content-Type": "application/octet-stream"},
        )

    def _pull_blob(self, blob: bytes) -> bytes:
        path = f"/v2/{self._repository}/blobs/{digest(blob)}"
        redirects = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.FOUND)
        answer = self._request("pull of a blob", "GET", path, HTTPStatus.OK, *redirects)
        if answer.status == HTTPStatus.OK:
            return answer.body
        url = answer.headers["location"]
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT, context=self._context) as response:  # noqa: S310
                return bytes(response.read())
        except (OSError, http.client.HTTPException) as error:
            store = urlsplit(url).netloc
            raise self._failed(f"pull of a blob from the store {store}", str(error)) from error

    def _compare(self, kind: str, pulled: bytes, pushed: bytes) -> None:
        if pulled != pushed:
            cause = f"received {digest(pulled)} instead of {digest(pushed)}"
            raise self._failed(f"pull of a {kind}", cause)

    def _request(
        self,
        step: str,
        method: str,
        path: str,
        *expected: HTTPStatus,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> _Response:
        connection = _Connection(self.endpoint, self._hostname, self._context)
        try:
            connection.request(
                method,
                path,
                body=body,
                headers={"Host": self._hostname} | self._bearer | dict(headers or {}),
            )
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            response = _Response(answer.status, found, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(step, str(error) or repr(error), _Unavailable) from error
        finally:
            connection.close()
        if response.status not in expected:
            kind = (
                _Unavailable
                if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
                else RequestFailed
            )
            text = response.body.decode(errors="replace")[:_ERROR_LENGTH].strip()
            raise self._failed(step, f"status {response.status}: {text}", kind)
        return response

    def _failed(
        self, step: str, cause: str, kind: type[RequestFailed] = RequestFailed
    ) -> RequestFailed:
        return kind(f"{step} through {self.endpoint} failed: {' '.join(cause.split())}")


class _Unavailable(RequestFailed):
    """The registry cannot be reached, or answers with an error of the server."""


class _Connection(http.client.HTTPSConnection):
    """HTTPS to an address, with the certificate verified for a host name."""

    def __init__(self, endpoint: Endpoint, hostname: str, context: ssl.SSLContext) -> None:
        super().__init__(endpoint.address, endpoint.port, timeout=_TIMEOUT, context=context)
        self._tls = context
        # SERVER_HOSTNAME may contain a port.
        self._name = urlsplit(f"//{hostname}").hostname or hostname

    def connect(self) -> None:
        """Connect to the address, and verify the certificate for the host name."""
        plain = socket.create_connection((self.host, self.port), _TIMEOUT)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)
        except OSError:
            plain.close()
            raise


def digest(data: bytes) -> str:
    """Return the digest of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(media_type: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}
