"""The client for one repository of an upstream: tags, manifests, blobs and referrers.

The protocol is that of the OCI distribution specification 1.1 and of Docker's registry API v2,
with the deviations of well-known registries.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from atoll.names import Digest, Hash, InvalidDigest, is_tag
from atoll.outbound.errors import BodyTooLarge
from atoll.outbound.response import Response
from atoll.registry.manifest_format import MAXIMUM_SIZE
from atoll.upstream.attached_tags import fallback_tag
from atoll.upstream.bounded_json import parsed
from atoll.upstream.download import Download, VerifiedDownload
from atoll.upstream.errors import (
    EndlessListing,
    InvalidContent,
    ManifestUnknown,
    NotFound,
    TooLarge,
    WrongDigest,
)
from atoll.upstream.exchange import outbound_failures, unexpected_status
from atoll.upstream.links import next_page
from atoll.upstream.media_types import ACCEPT, OCI_INDEX, SUPPORTED, is_schema_1, manifest_type
from atoll.upstream.numbers import content_length
from atoll.upstream.registry_requests import RegistryRequests

_PAGE_SIZE = 1000
# Limits of listings: entries of all pages, pages, and bytes of one page. Some registries send all
# tags as one page.
TAGS_MAXIMUM = 200_000
REFERRERS_MAXIMUM = 1000
_PAGES_MAXIMUM = 10_000
_REFERRER_PAGES_MAXIMUM = 100
_TAGS_PAGE_BYTES = 8 * 2**20
# Values of a page in addition to its tags.
_OTHER_VALUES = 100
_ERROR_BYTES = 64 * 1024
# Statuses with which registries without the referrers API respond to it.
_NO_REFERRERS_API = frozenset(
    {
        http.client.BAD_REQUEST,
        http.client.NOT_FOUND,
        http.client.METHOD_NOT_ALLOWED,
        http.client.NOT_ACCEPTABLE,
        http.client.NOT_IMPLEMENTED,
    }
)
# Statuses with which registries without HEAD requests for manifests respond to them.
_NO_HEAD = frozenset(
    {http.client.BAD_REQUEST, http.client.METHOD_NOT_ALLOWED, http.client.NOT_IMPLEMENTED}
)


@dataclass(frozen=True)
class Tags:
    """The tags of a repository.

    Attributes:
        names: The tags in the upstream's order.
        skipped: The number of entries that are no valid tags.
        is_null: Whether the upstream sent no list at all, which some registries do for an empty
            repository, and others after a fault.
    """

    names: list[str]
    skipped: int = 0
    is_null: bool = False


@dataclass(frozen=True)
class UpstreamManifest:
    """A manifest, byte for byte, with a verified digest."""

    digest: Digest
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Referrer:
    """A manifest that refers to another one.

    Attributes:
        digest: Its digest.
        media_type: Its media type.
        size: Its size in bytes.
        artifact_type: Its artifact type, if it is known.
    """

    digest: Digest
    media_type: str
    size: int
    artifact_type: str | None


def _continue() -> None:
    """Let a listing continue."""


class UpstreamClient:
    """Reads one repository of an upstream; thread-safe. All methods raise UpstreamError."""

    def __init__(self, requests: RegistryRequests, repository: str) -> None:
        self._requests = requests
        self._repository = repository
        self._scope = f"repository:{repository}:pull"
        self._path = f"/v2/{repository}"
        self._name = f"'{requests.host}/{repository}'"
        self._listing = f"a listing of {self._name}"

    @property
    def host(self) -> str:
        """The host and port."""
        return self._requests.host

    @contextmanager
    def slot(self, waiting: Callable[[], None]) -> Iterator[UpstreamClient]:
        """Wait for a slot of the budget, and hold it for the requests of the yielded client.

        These follow each other: the slot permits one at a time. Other requests wait for a slot for
        half a minute at most.

        Args:
            waiting: Called about once a second during the wait; ends it by an error.
        """
        with self._requests.slot(waiting) as requests:
            yield UpstreamClient(requests, self._repository)

    def ping(self) -> None:
        """Check that the upstream is a registry and accepts the credentials."""
        self._requests.ping()

    def tags(self, check: Callable[[], None] = _continue) -> Tags:
        """Return all tags.

        They need up to 50 MB, and while a page is read, up to 110 MB more.

        Args:
            check: Called after each page; ends the listing by an error.

        Raises:
            NotFound: The repository does not exist.
            EndlessListing: There are more than 200,000 tags, or too many pages.
            TooLarge: A page has more than 8 MiB, or more values than tags are permitted.
        """
        names: dict[str, None] = {}
        skipped, is_null = 0, False
        for body in self._pages(
            "tags/list", {"n": str(_PAGE_SIZE)}, pages=_PAGES_MAXIMUM, maximum=_TAGS_PAGE_BYTES
        ):
            check()
            with parsed(body, self._listing, values=TAGS_MAXIMUM + _OTHER_VALUES) as document:
                if "tags" not in document or not isinstance(document["tags"], list | None):
                    raise InvalidContent(f"the tags of {self._name} are not a list")
                is_null |= document["tags"] is None
                for tag in document["tags"] or ():
                    if isinstance(tag, str) and is_tag(tag):
                        names[tag] = None
                    else:
                        skipped += 1
            if len(names) + skipped > TAGS_MAXIMUM:
                raise EndlessListing(f"{self._name} has more than {TAGS_MAXIMUM} tags")
        return Tags(list(names), skipped, is_null and not names)

    def head(self, reference: str) -> Digest | None:
        """Return the digest of a manifest without fetching it; None if there is none.

        One HEAD request, which registries do not count as a pull. The manifest is fetched only from
        upstreams without HEAD requests or without digests in their responses.

        Args:
            reference: A tag or digest.
        """
        with self._manifest_request("HEAD", reference) as response:
            if response.status == http.client.NOT_FOUND:
                return None
            digest = _header_digest(response)
            if response.status == http.client.OK and digest is not None:
                return digest
            if response.status not in {http.client.OK, *_NO_HEAD}:
                raise unexpected_status(self._requests.host, response.status)
        try:
            return self.manifest(reference).digest
        except ManifestUnknown:
            return None

    def manifest(self, reference: str) -> UpstreamManifest:
        """Return a manifest.

        Args:
            reference: A tag or digest.

        Raises:
            ManifestUnknown: It does not exist.
            TooLarge: It has more than 4 MiB or 100,000 values.
            Schema1: It is a Docker image manifest of schema 1.
            UnsupportedManifest: It is of another unsupported type.
            WrongDigest: The bytes do not have the digest.
        """
        name = f"'{self._requests.host}/{self._repository}' {reference}"
        with self._manifest_request("GET", reference) as response:
            if response.status == http.client.NOT_FOUND:
                raise self._not_found(response, name)
            if response.status != http.client.OK:
                raise unexpected_status(self._requests.host, response.status)
            announced = _header_digest(response)
            content_type = response.headers.get("Content-Type", "")
            content = self._read(response, MAXIMUM_SIZE, f"the manifest {name}")
        media_type = manifest_type(content, content_type, name)
        expected = Digest.parse(reference) if Digest.is_digest(reference) else announced
        digest = Digest.of(content, expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            raise WrongDigest(f"the manifest {name} has other bytes than its digest promises")
        return UpstreamManifest(digest, media_type, content)

    def blob(
        self, digest: Digest, size: int, *, start: int = 0, hasher: Hash | None = None
    ) -> VerifiedDownload:
        """Return a download of a blob. No request is sent before its bytes are read.

        Args:
            digest: The digest.
            size: The size in bytes.
            start: The number of bytes that the caller already has.
            hasher: A hash of these bytes.
        """
        return VerifiedDownload(
            lambda headers: self._blob_request(digest, headers),
            digest,
            size,
            start=start,
            hasher=hasher,
        )

    def blob_part(self, digest: Digest, size: int, start: int, end: int) -> Download:
        """Return a download of a part of a blob, whose digest the caller must check.

        `Download.pieces` raises RangesUnsupported if the upstream sends whole blobs only.

        Args:
            digest: The digest of the blob.
            size: The size of the blob in bytes.
            start: The position of the first byte.
            end: The position after the last byte.
        """
        return Download(
            lambda headers: self._blob_request(digest, headers), f"blob {digest}", size, start, end
        )

    def referrers(self, digest: Digest) -> list[Referrer]:
        """Return the manifests that refer to a manifest.

        Upstreams without the referrers API have them in an index with a tag that is derived from
        the digest.

        Args:
            digest: The digest of the manifest.

        Raises:
            EndlessListing: There are more than 1,000 referrers, or too many pages.
            TooLarge: A page has more than 4 MiB or 100,000 values.
        """
        found: dict[Digest, Referrer] = {}
        listed = 0
        for body in self._referrer_pages(digest):
            with parsed(body, self._listing) as document:
                entries = document.get("manifests")
                # Null is how some registries encode an empty list.
                if isinstance(entries, list):
                    listed += len(entries)
                    if listed > REFERRERS_MAXIMUM:
                        raise EndlessListing(
                            f"{digest} in {self._name} has more than {REFERRERS_MAXIMUM} referrers"
                        )
                    found |= {one.digest: one for one in self._entries(entries)}
        return list(found.values())

    def _referrer_pages(self, digest: Digest) -> Iterator[bytes]:
        try:
            yield from self._pages(
                f"referrers/{digest}",
                {},
                pages=_REFERRER_PAGES_MAXIMUM,
                maximum=MAXIMUM_SIZE,
                headers={"Accept": OCI_INDEX},
                unsupported=_NO_REFERRERS_API,
            )
        except _Unsupported:
            with suppress(NotFound):
                fallback = self.manifest(fallback_tag(digest))
                if fallback.media_type == OCI_INDEX:
                    yield fallback.content

    def _entries(self, entries: Iterable[Any]) -> Iterator[Referrer]:
        for entry in entries:
            try:
                digest = Digest.parse(entry["digest"])
                media_type, size = entry["mediaType"], entry["size"]
                if not isinstance(size, int) or size < 0:
                    raise ValueError("not a size")
            except (TypeError, KeyError, ValueError) as error:
                raise InvalidContent(f"a referrer in {self._name} is malformed") from error
            kind = entry.get("artifactType")
            if media_type in SUPPORTED:
                yield Referrer(digest, media_type, size, kind if isinstance(kind, str) else None)

    @contextmanager
    def _manifest_request(self, method: str, reference: str) -> Iterator[Response]:
        path = f"{self._path}/manifests/{reference}"
        headers = {"Accept": ACCEPT}
        with self._requests.request(
            method, path, self._scope, headers, counts=method == "GET"
        ) as response:
            if is_schema_1(response.headers.get("Content-Type", "")) and method == "HEAD":
                # Their digests exclude the signatures, so only the error of a GET is useful.
                del response.headers["Docker-Content-Digest"]
            yield response

    @contextmanager
    def _blob_request(self, digest: Digest, headers: Mapping[str, str]) -> Iterator[Response]:
        path = f"{self._path}/blobs/{digest}"
        with self._requests.get(path, self._scope, headers, streaming=True) as response:
            yield response

    def _pages(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        pages: int,
        maximum: int,
        headers: Mapping[str, str] | None = None,
        unsupported: frozenset[int] = frozenset(),
    ) -> Iterator[bytes]:
        """Yield the pages of a listing, each of which is requested after the one before was used.

        Args:
            path: The path within the repository.
            query: The query of the first page.
            pages: The maximum number of pages.
            maximum: The maximum size of a page in bytes.
            headers: Headers of the requests.
            unsupported: Statuses of the first page that mean that there is no such listing.

        Raises:
            _Unsupported: There is no such listing.
        """
        suffix = f"?{urlencode(query)}" if query else ""
        target: str | None = self._requests.url(f"{self._path}/{path}{suffix}")
        # Hashes, because an upstream chooses the length of its URLs.
        seen: set[int] = set()
        while target is not None:
            if hash(target) in seen or len(seen) == pages:
                raise EndlessListing(f"{self._listing} does not end")
            seen.add(hash(target))
            with self._requests.get(target, self._scope, headers) as response:
                if len(seen) == 1 and response.status in unsupported:
                    raise _Unsupported
                if response.status == http.client.NOT_FOUND:
                    raise NotFound(f"the repository {self._name} was not found")
                if response.status != http.client.OK:
                    raise unexpected_status(self._requests.host, response.status)
                body = self._read(response, maximum, self._listing)
                target = next_page(response.headers.get_all("Link", []), target)
            yield body

    def _read(self, response: Response, maximum: int, name: str) -> bytes:
        too_large = TooLarge(f"{name} has more than {maximum} bytes")
        if (content_length(response.headers) or 0) > maximum:
            raise too_large
        try:
            return response.read(maximum)
        except BodyTooLarge as error:
            raise too_large from error

    def _not_found(self, response: Response, name: str) -> NotFound:
        """Distinguish a missing repository from a missing manifest by the code of the error."""
        with outbound_failures(self._requests.host):
            body = response.read(_ERROR_BYTES)
        if b'"NAME_UNKNOWN"' in body:
            return NotFound(f"the repository {self._name} was not found")
        return ManifestUnknown(f"the manifest {name} was not found")


class _Unsupported(Exception):
    """The upstream does not have the referrers API."""


def _header_digest(response: Response) -> Digest | None:
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", "").strip())
    except InvalidDigest:
        return None
