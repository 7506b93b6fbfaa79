"""Authenticated requests to one upstream, within its budget."""

from __future__ import annotations

import copy
import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from atoll.outbound.destination import parse
from atoll.outbound.response import Response
from atoll.upstream.authentication import Authentication
from atoll.upstream.budget import Budget
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import (
    AuthFailed,
    EncodedContent,
    InvalidContent,
    NotARegistry,
    ServerFailed,
    TlsError,
    Unreachable,
)
from atoll.upstream.exchange import Exchanges, unexpected_status

_OWN_REFUSALS = frozenset({http.client.UNAUTHORIZED, http.client.FORBIDDEN})
_NO_SCOPE = ""


class RegistryRequests:
    """Sends requests to one upstream with one account; thread-safe."""

    def __init__(
        self,
        host: str,
        exchanges: Exchanges,
        credentials: Credentials | None,
        budget: Budget,
        *,
        insecure: bool = False,
    ) -> None:
        """Make the requests of an account.

        Args:
            host: The host and port.
            exchanges: Sends single requests.
            credentials: The credentials; None for anonymous access.
            budget: Limits the requests.
            insecure: Whether TLS is not verified; then an upstream without TLS is permitted, too.
        """
        self.host = host
        self._exchanges = exchanges
        self._credentials = credentials
        self._budget = budget
        self._insecure = insecure
        self._lock = threading.Lock()
        self._authentication = None if insecure else self._authenticate("https")
        self._base = f"https://{host}"

    @contextmanager
    def slot(self, waiting: Callable[[], None]) -> Iterator[RegistryRequests]:
        """Wait for a slot of the budget, and hold it for requests that follow each other.

        Args:
            waiting: Called about once a second during the wait; ends it by an error.

        Raises:
            Paused: The upstream must not be asked now.
        """
        self._prepare()
        with self._budget.hold(waiting) as budget:
            held = copy.copy(self)
            held._budget = budget
            yield held

    def ping(self) -> None:
        """Check that the upstream is a registry and accepts the credentials.

        Raises:
            UpstreamError: It is not, or does not.
        """
        with self.get("/v2/", _NO_SCOPE) as response:
            if response.status != http.client.OK:
                raise unexpected_status(self.host, response.status)

    def url(self, path: str) -> str:
        """Return the URL of a path.

        Raises:
            UpstreamError: Whether the upstream uses TLS could not be determined.
        """
        self._prepare()
        return f"{self._base}{path}"

    @contextmanager
    def get(
        self, target: str, scope: str, headers: Mapping[str, str] | None = None, **options: bool
    ) -> Iterator[Response]:
        """Send a GET request; see `request`."""
        with self.request("GET", target, scope, headers, **options) as response:
            yield response

    @contextmanager
    def request(
        self,
        method: str,
        target: str,
        scope: str,
        headers: Mapping[str, str] | None = None,
        *,
        streaming: bool = False,
        counts: bool = False,
    ) -> Iterator[Response]:
        """Send a request and yield its response.

        Statuses that concern the account and the availability are converted to errors.

        Args:
            method: GET or HEAD.
            target: The path, or a URL of the same upstream.
            scope: The scope of the token.
            headers: Further headers.
            streaming: Whether the body may take any time, as long as it makes progress.
            counts: Whether the upstream counts the request as a pull.

        Raises:
            Paused: The upstream must not be asked now.
            UpstreamError: The request failed.
        """
        authentication = self._prepare()
        url = target if "://" in target else f"{self._base}{target}"
        with self._budget.request(counts=counts) as turn:
            sent = authentication.header(scope)
            for attempt in range(2):
                own = {**(headers or {}), **({"Authorization": sent} if sent else {})}
                with self._exchanges.send(
                    method, url, own, host=self.host, streaming=streaming
                ) as response:
                    own_status = self._is_own(response)
                    if attempt or not own_status or response.status != http.client.UNAUTHORIZED:
                        turn.responded(response.status, response.headers)
                        self._check(response, own=own_status)
                        yield response
                        return
                    refused = response
                sent = authentication.answer(refused, scope, sent)

    @contextmanager
    def get_own(self, url: str, authorization: str | None) -> Iterator[Response]:
        """Send a GET request whose challenges are not answered, and yield the upstream's response.

        Statuses are converted to errors as in `request`. A response of another server is refused.

        Args:
            url: A URL of the upstream.
            authorization: The value of Authorization; None for anonymous access.

        Raises:
            Paused: The upstream must not be asked now.
            UpstreamError: The request failed.
        """
        self._prepare()
        headers = {"Accept": "application/json"}
        if authorization is not None:
            headers["Authorization"] = authorization
        with (
            self._budget.request(counts=False) as turn,
            self._exchanges.send("GET", url, headers, host=self.host, streaming=False) as response,
        ):
            turn.responded(response.status, response.headers)
            if not self._is_own(response):
                raise InvalidContent(f"'{self.host}' redirects its API to another server")
            self._check(response, own=True)
            yield response

    def _check(self, response: Response, *, own: bool) -> None:
        if response.status >= http.client.INTERNAL_SERVER_ERROR and (
            response.status != http.client.NOT_IMPLEMENTED
        ):
            raise ServerFailed(f"'{self.host}' responded with status {response.status}")
        if response.status in _OWN_REFUSALS:
            if own:
                raise AuthFailed(f"'{self.host}' refused access (status {response.status})")
            # The signed URL of a store expired, or the store is misconfigured.
            raise ServerFailed(
                f"'{self.host}' redirected to a server that refused access"
                f" (status {response.status})"
            )
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"", "identity"} and response.status < http.client.BAD_REQUEST:
            raise EncodedContent(f"'{self.host}' encodes its responses although none was accepted")

    def _is_own(self, response: Response) -> bool:
        """Return whether the upstream itself responded, not a server that it redirected to."""
        return response.destination.origin == parse(self._base).origin

    def _prepare(self) -> Authentication:
        """Determine whether the upstream uses TLS, unless it must."""
        with self._lock:
            if self._authentication is not None:
                return self._authentication
            scheme = self._find_scheme()
            self._base = f"{scheme}://{self.host}"
            self._authentication = self._authenticate(scheme)
            return self._authentication

    def _find_scheme(self) -> str:
        try:
            self._try("https")
        except (TlsError, Unreachable) as error:
            try:
                self._try("http")
            except (Unreachable, NotARegistry):
                raise error from None
            return "http"
        return "https"

    def _try(self, scheme: str) -> None:
        with (
            self._budget.request(counts=False) as turn,
            self._exchanges.send(
                "GET", f"{scheme}://{self.host}/v2/", {}, host=self.host, streaming=False
            ) as response,
        ):
            turn.responded(response.status, response.headers)

    def _authenticate(self, scheme: str) -> Authentication:
        return Authentication(
            self._exchanges,
            f"{scheme}://{self.host}",
            self._credentials,
            insecure=self._insecure,
        )
