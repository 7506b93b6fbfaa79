"""Requests to one Clair."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode
from uuid import UUID

from atoll.scanning.clair.errors import (
    ImageRejected,
    InvalidScannerResponse,
    ReportNotReady,
    ReportUnknown,
    RequestRejected,
    ScannerBusy,
    ScannerError,
    ScannerRefused,
    ScannerUnavailable,
)
from atoll.scanning.clair.failures import index_failure
from atoll.scanning.clair.http import ClairHttp, ClairResponse
from atoll.scanning.clair.report import (
    IndexReport,
    IndexState,
    NotificationPage,
    VulnerabilityReport,
    error_document,
    parse,
)
from atoll.scanning.clair.tokens import request_token

READ_SECONDS = 10.0
# Clair responds after it has indexed the image, and not at all while its database is down.
INDEX_SECONDS = 600.0
PAGE_SIZE = 500

_INDEX_STATE = "/indexer/api/v1/index_state"
_INDEX_REPORT = "/indexer/api/v1/index_report"
_VULNERABILITY_REPORT = "/matcher/api/v1/vulnerability_report"
_NOTIFICATION = "/notifier/api/v1/notification"
_NOT_FOUND = "not-found"
_NO_RECEIPT = "no receipt exists"
_DELETED = frozenset({http.client.OK, http.client.NO_CONTENT})
_REDIRECTS = range(http.client.MULTIPLE_CHOICES, http.client.BAD_REQUEST)


@dataclass(frozen=True)
class Layer:
    """A layer, and where Clair fetches it.

    Attributes:
        digest: The digest.
        uri: The URL, which may be presigned and is a secret.
        headers: The values of each header to send, such as Authorization.
    """

    digest: str
    uri: str = field(repr=False)
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)


class ClairClient:
    """Sends requests to one Clair; thread-safe.

    All methods raise ScannerError:

    - ScannerUnavailable if there is no connection or response, or Clair fails by itself,
    - ScannerBusy if Clair has too many requests in progress,
    - ScannerRefused if Clair accepts none of the keys,
    - RequestRejected if Clair does not accept the request,
    - InvalidScannerResponse if the response is not understood.
    """

    def __init__(
        self,
        location: str,
        endpoint: str,
        keys: Sequence[bytes],
        session: ClairHttp,
        *,
        index_seconds: float = INDEX_SECONDS,
        read_seconds: float = READ_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make a client.

        Args:
            location: The location of Clair's site, for the choice of stores and for errors.
            endpoint: The URL of Clair.
            keys: The keys that are shared with Clair: none, one, or the old and the new one while
                it is replaced. A key is used until Clair refuses it.
            session: Sends the requests.
            index_seconds: The longest time to wait until an image is indexed.
            read_seconds: The longest time to wait for other responses.
            clock: Returns the time in seconds since 1970.
        """
        self.location = location
        self._endpoint = endpoint.rstrip("/")
        self._keys = tuple(keys)
        self._accepted = 0
        self._session = session
        self._index_seconds = index_seconds
        self._read_seconds = read_seconds
        self._clock = clock

    def index_state(self) -> str:
        """Return the state of the indexer, which changes when images should be indexed again."""
        response = self._exchange("GET", _INDEX_STATE)
        self._require(response, http.client.OK)
        return parse(IndexState, response.body).state

    def index(self, digest: str, layers: Sequence[Layer]) -> IndexReport:
        """Index an image, and wait until it is indexed.

        Args:
            digest: The digest of the image's manifest.
            layers: Its layers, lowest first.

        Raises:
            ImageRejected: The image cannot be indexed.
            IndexFailed: Clair failed on the content of the image.
            LayerUnreachable: Clair could not fetch a layer.
            LayerInvalid: A layer is damaged, or its store states a wrong type.
            ReportNotReady: Clair responded before the image was indexed.
        """
        body = {
            "hash": digest,
            "layers": [
                {
                    "hash": layer.digest,
                    "uri": layer.uri,
                    "headers": {name: list(values) for name, values in layer.headers.items()},
                }
                for layer in layers
            ],
        }
        response = self._exchange("POST", _INDEX_REPORT, body, seconds=self._index_seconds)
        if response.status == http.client.BAD_REQUEST:
            raise ImageRejected(_message(response))
        if response.status == http.client.INTERNAL_SERVER_ERROR:
            raise index_failure(_message(response))
        self._require(response, http.client.CREATED)
        report = _index_report(response, digest)
        if report.is_failed:
            raise report.failure()
        if not report.is_finished:
            raise ReportNotReady(f"the image is being indexed: state '{report.state}'")
        return report

    def index_report(self, digest: str) -> IndexReport | None:
        """Return the result of indexing an image, which may be unfinished or failed.

        While its database is down, Clair denies having any report.

        Args:
            digest: The digest of the image's manifest.

        Returns:
            The report; None if Clair does not know the image.
        """
        response = self._exchange("GET", f"{_INDEX_REPORT}/{_quoted(digest)}")
        if _is_unknown(response):
            return None
        self._require(response, http.client.OK)
        return _index_report(response, digest)

    def delete(self, digest: str) -> None:
        """Delete the reports of an image; it need not have any.

        Args:
            digest: The digest of the image's manifest.
        """
        response = self._exchange("DELETE", f"{_INDEX_REPORT}/{_quoted(digest)}")
        self._require(response, *_DELETED)

    def vulnerability_report(self, digest: str) -> bytes:
        """Return the vulnerabilities of an image: JSON that was parsed as VulnerabilityReport.

        Args:
            digest: The digest of the image's manifest.

        Raises:
            ReportNotReady: Clair has no vulnerability data yet; it need not have indexed the image.
            ReportUnknown: Clair has not indexed the image.
        """
        response = self._exchange("GET", f"{_VULNERABILITY_REPORT}/{_quoted(digest)}")
        if response.status == http.client.ACCEPTED:
            raise ReportNotReady("Clair has no vulnerability data yet")
        if _is_unknown(response):
            raise ReportUnknown("Clair has no report of the image")
        self._require(response, http.client.OK)
        _check_digest(parse(VulnerabilityReport, response.body).manifest_hash, digest)
        return response.body

    def notification_page(
        self, identifier: UUID, size: int = PAGE_SIZE, position: str | None = None
    ) -> NotificationPage:
        """Return a page of the changes that a notification announces.

        Args:
            identifier: The notification. An unknown one has a single page without changes.
            size: The maximum number of changes.
            position: `page.next` of the previous page; None for the first page.
        """
        query = {"page_size": str(size)} | ({"next": position} if position else {})
        response = self._exchange("GET", f"{_NOTIFICATION}/{identifier}?{urlencode(query)}")
        self._require(response, http.client.OK)
        return parse(NotificationPage, response.body)

    def delete_notification(self, identifier: UUID) -> None:
        """Delete a notification, whose changes were read; it need not exist any more.

        Args:
            identifier: The notification.
        """
        response = self._exchange("DELETE", f"{_NOTIFICATION}/{identifier}")
        if response.status == http.client.INTERNAL_SERVER_ERROR and _NO_RECEIPT in _message(
            response
        ):
            return
        self._require(response, *_DELETED)

    def _exchange(
        self, method: str, path: str, body: object = None, *, seconds: float | None = None
    ) -> ClairResponse:
        """Send a request with the key that was accepted last, and with others if it is refused."""
        headers = {"Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        for number, authorization in self._authorizations():
            response = self._session.request(
                method,
                f"{self._endpoint}{path}",
                headers | authorization,
                content,
                seconds=seconds or self._read_seconds,
            )
            if response.status != http.client.UNAUTHORIZED:
                self._accepted = number
                return response
        raise ScannerRefused(
            f"the Clair of '{self.location}' does not accept the key; it must be the one of the"
            " registry, and its issuers must include 'quay'"
        )

    def _authorizations(self) -> Iterator[tuple[int, dict[str, str]]]:
        if not self._keys:
            yield 0, {}
            return
        first = self._accepted
        for number in (first, *(one for one in range(len(self._keys)) if one != first)):
            token = request_token(self._keys[number], clock=self._clock)
            yield number, {"Authorization": f"Bearer {token}"}

    def _require(self, response: ClairResponse, *statuses: int) -> None:
        """Raise the error for a response that does not have an expected status."""
        if response.status not in statuses:
            raise _status_failure(response)


def _status_failure(response: ClairResponse) -> ScannerError:
    status, message = response.status, _message(response)
    text = f"Clair responded with status {status}{': ' if message else ''}{message}"
    if status == http.client.TOO_MANY_REQUESTS:
        return ScannerBusy(text)
    if status >= http.client.INTERNAL_SERVER_ERROR:
        return ScannerUnavailable(text)
    if status == http.client.NOT_FOUND or status in _REDIRECTS or status < http.client.BAD_REQUEST:
        return InvalidScannerResponse(f"{text}; its address must be that of Clair's API")
    return RequestRejected(text)


def _index_report(response: ClairResponse, digest: str) -> IndexReport:
    report = parse(IndexReport, response.body)
    _check_digest(report.manifest_hash, digest)
    return report.model_copy(update={"indexer_state": response.etag})


def _check_digest(found: str, digest: str) -> None:
    if found != digest:
        raise InvalidScannerResponse("manifest_hash is that of another image")


def _is_unknown(response: ClairResponse) -> bool:
    """Return whether Clair itself, and not a proxy, does not find a report."""
    return (
        response.status == http.client.NOT_FOUND
        and error_document(response.body).code == _NOT_FOUND
    )


def _message(response: ClairResponse) -> str:
    return error_document(response.body).message


def _quoted(digest: str) -> str:
    return quote(digest, safe=":")
