"""Presigned URLs of S3 objects (AWS Signature Version 4 in the query).

botocore evaluates rules of endpoints and builds a request for each URL, which takes more time than
all the rest of a redirect. Here the address of the bucket is determined once, by botocore, and only
the signature is computed for each URL.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

from botocore.credentials import ReadOnlyCredentials

_ALGORITHM = "AWS4-HMAC-SHA256"
_SCOPE_END = "aws4_request"
_PARAMETERS = {
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class UrlSigner:
    """Signs GET requests for the objects of one bucket; safe for any thread.

    Args:
        base_url: the URL below which the objects are, with a slash at its end.
        region: the region to sign for.
        credentials: returns the current credentials, None if there are none.
        clock: returns the time in seconds since 1970.
    """

    def __init__(
        self,
        base_url: str,
        region: str,
        credentials: Callable[[], ReadOnlyCredentials | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(base_url)
        self._base_url = base_url
        self._base_path = parts.path
        self._host = _signed_host(base_url)
        self._region = region
        self._credentials = credentials
        self._clock = clock
        # The key for signatures of one day, and the secret key and the day that it belongs to.
        self._day_key: tuple[str, str, bytes] = ("", "", b"")

    @classmethod
    def like(
        cls, url: str, path: str, credentials: Callable[[], ReadOnlyCredentials | None]
    ) -> UrlSigner | None:
        """Return a signer for the bucket of a URL that botocore signed.

        Args:
            url: the URL.
            path: the path below the base URL that it was signed for.
            credentials: returns the current credentials, None if there are none.

        Returns:
            The signer; None if the URL has a signature of another kind.
        """
        address, _, query = url.partition("?")
        values = {name: value for name, (value, *_) in parse_qs(query).items()}
        # An access key may contain slashes.
        scope = values.get("X-Amz-Credential", "").split("/")[-3:]
        region = scope[0]
        quoted = quote(path, safe="/~")
        usual = (
            set(values) - {"X-Amz-Security-Token"} == _PARAMETERS
            and (values["X-Amz-Algorithm"], values["X-Amz-SignedHeaders"]) == (_ALGORITHM, "host")
            and scope == [region, "s3", _SCOPE_END]
            and address.endswith(f"/{quoted}")
        )
        return cls(address.removesuffix(quoted), region, credentials) if usual else None

    def sign(self, path: str, seconds: int) -> str | None:
        """Return a URL for unauthenticated GET requests of an object.

        Args:
            path: the object's path below the base URL.
            seconds: the lifetime of the URL.

        Returns:
            The URL; None without credentials.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        return self._sign(path, seconds, moment)

    def _sign(self, path: str, seconds: int, moment: str) -> str | None:
        credentials = self._credentials()
        if credentials is None or credentials.secret_key is None:
            return None
        day = moment[:8]
        scope = f"{day}/{self._region}/s3/{_SCOPE_END}"
        begin = (
            f"X-Amz-Algorithm={_ALGORITHM}"
            f"&X-Amz-Credential={_quoted(f'{credentials.access_key}/{scope}')}"
            f"&X-Amz-Date={moment}&X-Amz-Expires={seconds}"
        )
        headers = "&X-Amz-SignedHeaders=host"
        token = ""
        if credentials.token is not None:
            token = f"&X-Amz-Security-Token={_quoted(credentials.token)}"
        quoted = quote(path, safe="/~")
        # The parameters are signed in the order of their names.
        request = (
            f"GET\n{self._base_path}{quoted}\n{begin}{token}{headers}\n"
            f"host:{self._host}\n\nhost\nUNSIGNED-PAYLOAD"
        )
        signed = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = self._key(credentials.secret_key, day)
        signature = hmac.digest(key, signed.encode(), "sha256").hex()
        return f"{self._base_url}{quoted}?{begin}{headers}{token}&X-Amz-Signature={signature}"

    def _key(self, secret_key: str, day: str) -> bytes:
        secret, known_day, key = self._day_key
        if (secret, known_day) == (secret_key, day):
            return key
        key = f"AWS4{secret_key}".encode()
        for part in (day, self._region, "s3", _SCOPE_END):
            key = hmac.digest(key, part.encode(), "sha256")
        self._day_key = (secret_key, day, key)
        return key


def _quoted(value: str) -> str:
    return quote(value, safe="-._~")


def _signed_host(url: str) -> str:
    """Return the header Host that clients send for a URL: without the scheme's default port."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return (
        host if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"
    )
