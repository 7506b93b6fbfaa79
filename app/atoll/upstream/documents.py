"""JSON documents of an upstream: those of its registry, and those of the API of its product."""

from __future__ import annotations

import http.client
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from atoll.outbound.errors import BodyTooLarge
from atoll.outbound.response import Response
from atoll.upstream.bounded_json import check_structure
from atoll.upstream.errors import InvalidContent, NotFound, TooLarge
from atoll.upstream.exchange import unexpected_status
from atoll.upstream.links import next_page
from atoll.upstream.numbers import content_length
from atoll.upstream.registry_requests import RegistryRequests

# Bytes of one document.
DOCUMENT_MAXIMUM = 4 * 2**20


@dataclass(frozen=True)
class Document:
    """A document.

    Attributes:
        content: The parsed JSON.
        following: The URL of the next page according to the Link header; None without one.
    """

    content: Any
    following: str | None


class UpstreamDocuments:
    """Reads documents of one upstream with one account; thread-safe.

    All methods raise UpstreamError: NotFound for status 404, AuthFailed for 401 and 403, and
    InvalidContent for a document that is not JSON, is too large, has too many values, or comes from
    another server.
    """

    def __init__(self, requests: RegistryRequests) -> None:
        self._requests = requests

    @property
    def host(self) -> str:
        """The host and port of the upstream."""
        return self._requests.host

    def registry(self, target: str, scope: str) -> Document:
        """Return a document of the registry, authenticated as its challenge requires.

        Args:
            target: The path with its query, or the URL of a next page.
            scope: The scope of the token.
        """
        url = target if "://" in target else self._requests.url(target)
        return self._document(self._requests.get(url, scope), url)

    def api(self, target: str, authorization: str | None) -> Document:
        """Return a document of the product's API, which sends no challenges.

        Args:
            target: The path with its query, or the URL of a next page.
            authorization: The value of Authorization; None for anonymous access.
        """
        url = target if "://" in target else self._requests.url(target)
        return self._document(self._requests.get_own(url, authorization), url)

    def _document(self, request: AbstractContextManager[Response], url: str) -> Document:
        name = f"a listing of '{self.host}'"
        with request as response:
            if response.status == http.client.NOT_FOUND:
                raise NotFound(f"'{self.host}' responded with status 404 to a listing")
            if response.status != http.client.OK:
                raise unexpected_status(self.host, response.status)
            body = _read(response, name)
            following = next_page(response.headers.get_all("Link", []), url)
        check_structure(body, name)
        try:
            return Document(json.loads(body.decode()), following)
        except (ValueError, RecursionError) as error:
            raise InvalidContent(f"{name} is not JSON") from error


def _read(response: Response, name: str) -> bytes:
    too_large = TooLarge(f"{name} has more than {DOCUMENT_MAXIMUM} bytes")
    if (content_length(response.headers) or 0) > DOCUMENT_MAXIMUM:
        raise too_large
    try:
        return response.read(DOCUMENT_MAXIMUM)
    except BodyTooLarge as error:
        raise too_large from error
