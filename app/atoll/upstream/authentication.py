"""Authentication at an upstream: challenges, tokens and their renewal.

Tokens are kept per realm, service and scope until shortly before they expire. The credentials are
sent to the upstream itself (Basic) or to the token service that it names (Bearer), and nowhere
else; the token service is checked as every destination is.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from atoll.outbound.response import Response
from atoll.upstream.challenges import Challenge, parse_challenges
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import AuthFailed, NotARegistry
from atoll.upstream.exchange import Exchanges, unexpected_status

_TOKEN_MAXIMUM = 256 * 1024
# Seconds that a token lasts if the service does not specify it, and by which it is renewed early.
_LIFETIME_DEFAULT = 60.0
_EARLY = 10.0
_LIFETIME_MAXIMUM = 86_400.0
_REFUSED = frozenset({http.client.UNAUTHORIZED, http.client.FORBIDDEN})
# Characters of a token; others could not be sent in a header.
_VISIBLE = frozenset(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True)
class TokenRequest:
    """What a token is requested with."""

    realm: str
    service: str | None
    scopes: tuple[str, ...]


@dataclass(frozen=True)
class _Token:
    text: str = field(repr=False)
    renew_at: float = 0.0


class Authentication:
    """Provides the Authorization header of requests to one upstream; thread-safe."""

    def __init__(
        self,
        exchanges: Exchanges,
        base: str,
        credentials: Credentials | None,
        *,
        insecure: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an authentication.

        Args:
            exchanges: Sends requests for tokens.
            base: The URL of the upstream.
            credentials: The credentials; None for anonymous access.
            insecure: Whether credentials may be sent to a token service by plain HTTP although the
                upstream uses TLS.
            monotonic: The clock.
        """
        self._exchanges = exchanges
        self._base = base
        self._host = urlsplit(base).netloc
        self._credentials = credentials
        self._insecure = insecure
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # The last challenge of each scope: further tokens are requested without one.
        self._basic = False
        self._requests: dict[str, TokenRequest] = {}
        self._tokens: dict[TokenRequest, _Token] = {}

    def header(self, scope: str) -> str | None:
        """Return the value of Authorization for a request; None if none is known to be needed.

        Args:
            scope: The scope of the request, such as `repository:library/alpine:pull`; empty for
                none.

        Raises:
            UpstreamError: A token could not be renewed.
        """
        with self._lock:
            request = self._requests.get(scope)
            if request is not None:
                return f"Bearer {self._token(request).text}"
            return self._credentials.basic if self._basic and self._credentials else None

    def answer(self, response: Response, scope: str, sent: str | None) -> str:
        """Return the value of Authorization that answers a challenge.

        Args:
            response: A response with status 401.
            scope: The scope of the request.
            sent: The value of Authorization that was refused; None if there was none.

        Raises:
            AuthFailed: There are no credentials, or they were refused.
            UpstreamError: No token could be obtained.
        """
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate", []))
        with self._lock:
            request = self._token_request(challenges, scope)
            if request is not None:
                return self._bearer(request, scope, sent)
            header = self._credentials.basic if self._credentials else None
            if header is None:
                raise AuthFailed(f"'{self._host}' requires credentials")
            if header == sent:
                raise AuthFailed(f"'{self._host}' refused the credentials")
            if not any(challenge.scheme == "basic" for challenge in challenges):
                raise NotARegistry(f"'{self._host}' requires an unknown kind of authentication")
            self._basic = True
            self._requests.pop(scope, None)
            return header

    def _bearer(self, request: TokenRequest, scope: str, sent: str | None) -> str:
        known = self._tokens.get(request)
        # Another thread may have renewed the token since.
        if known is not None and sent == f"Bearer {known.text}":
            del self._tokens[request]
        self._requests[scope] = request
        header = f"Bearer {self._token(request).text}"
        if header == sent:
            raise AuthFailed(f"'{self._host}' refused a token of its own token service")
        return header

    def _token_request(self, challenges: Iterable[Challenge], scope: str) -> TokenRequest | None:
        for challenge in challenges:
            realm = challenge.parameters.get("realm")
            if challenge.scheme != "bearer" or not realm:
                continue
            scopes = challenge.parameters.get("scope", "").split()
            if scope and not _includes(scopes, scope):
                scopes.append(scope)
            return TokenRequest(
                self._realm(realm), challenge.parameters.get("service"), tuple(scopes)
            )
        return None

    def _realm(self, realm: str) -> str:
        """Return the URL of a token service, which may be relative to that of the upstream.

        Raises:
            NotARegistry: The URL is malformed or not encrypted.
        """
        try:
            url = urljoin(self._base, realm)
            scheme = urlsplit(url).scheme
        except ValueError as error:
            raise NotARegistry(f"'{self._host}' names a malformed token service") from error
        if scheme == "http" and self._base.startswith("https:") and not self._insecure:
            raise NotARegistry(f"'{self._host}' names a token service without TLS")
        return url

    def _token(self, request: TokenRequest) -> _Token:
        known = self._tokens.get(request)
        if known is None or self._monotonic() >= known.renew_at:
            known = self._tokens[request] = self._fetch(request)
        return known

    def _fetch(self, request: TokenRequest) -> _Token:
        host = urlsplit(request.realm).netloc.rpartition("@")[2]
        headers = {"Accept": "application/json"}
        if self._credentials is not None:
            headers["Authorization"] = self._credentials.basic
        started = self._monotonic()
        with self._exchanges.send(
            "GET", self._token_url(request), headers, host=host, streaming=False
        ) as response:
            if response.status in _REFUSED:
                refused = "the credentials" if self._credentials else "anonymous access"
                raise AuthFailed(f"the token service '{host}' refused {refused}")
            if response.status != http.client.OK:
                raise unexpected_status(host, response.status)
            text, lifetime = _parse(host, response.read(_TOKEN_MAXIMUM))
        return _Token(text, started + max(lifetime - _EARLY, lifetime / 2))

    def _token_url(self, request: TokenRequest) -> str:
        parts = urlsplit(request.realm)
        query = parse_qsl(parts.query, keep_blank_values=True)
        if request.service is not None:
            query.append(("service", request.service))
        query += [("scope", scope) for scope in request.scopes]
        if self._credentials is not None:
            query.append(("account", self._credentials.username))
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))


def _includes(scopes: Iterable[str], scope: str) -> bool:
    """Return whether one of the scopes permits more actions on the same resource."""
    resource, _, actions = scope.rpartition(":")
    for other in scopes:
        name, _, granted = other.rpartition(":")
        if name == resource and {"*", *granted.split(",")} >= set(actions.split(",")):
            return True
    return False


def _parse(host: str, body: bytes) -> tuple[str, float]:
    """Return the token in a response, and the seconds until it expires."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotARegistry(f"the token service '{host}' did not respond with JSON") from error
    found = document if isinstance(document, dict) else {}
    text = found.get("token") or found.get("access_token")
    if not isinstance(text, str) or not _VISIBLE.issuperset(text):
        raise NotARegistry(f"the token service '{host}' did not return a token")
    lifetime = found.get("expires_in")
    # A boolean is an int in Python.
    if not isinstance(lifetime, int | float) or isinstance(lifetime, bool) or not lifetime > 0:
        return text, _LIFETIME_DEFAULT
    return text, min(float(lifetime), _LIFETIME_MAXIMUM)
