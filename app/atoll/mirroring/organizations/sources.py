"""How registries of each kind list the repositories of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from atoll.mirroring.organizations.listing import Page, Source, entries, text
from atoll.upstream.credentials import Credentials
from atoll.upstream.documents import UpstreamDocuments
from atoll.upstream.errors import InvalidContent

QUAY, HARBOR, OCI = "quay", "harbor", "oci"
_PAGE_SIZE: Final = 100
_CATALOG_PAGE_SIZE: Final = 1000
# Characters of a token of Quay.
_TOKEN_MAXIMUM = 8192


class QuaySource:
    """Lists an organization of Quay, or of this registry, whose password is an OAuth token."""

    lists_all = False

    def __init__(
        self, documents: UpstreamDocuments, namespace: str, credentials: Credentials | None
    ) -> None:
        self._documents = documents
        self._namespace = namespace
        self._authorization = None if credentials is None else f"Bearer {credentials.password}"

    def page(self, position: str | None) -> Page:
        """Return a page, whose position is the token that Quay returned."""
        query = {"namespace": self._namespace, "public": "true"}
        if position is not None:
            query["next_page"] = position
        target = f"/api/v1/repository?{urlencode(query)}"
        document, host = self._documents.api(target, self._authorization).content, self.host
        names = [
            f"{text(entry, 'namespace', host)}/{text(entry, 'name', host)}"
            for entry in entries(document, "repositories", host)
        ]
        following = document.get("next_page") or None
        if following is not None and not (
            isinstance(following, str) and len(following) <= _TOKEN_MAXIMUM
        ):
            raise InvalidContent(f"'{host}' sent a malformed token of its next page")
        return Page(names, following)

    @property
    def host(self) -> str:
        """The upstream."""
        return self._documents.host


class HarborSource:
    """Lists a project of Harbor."""

    lists_all = False

    def __init__(
        self, documents: UpstreamDocuments, project: str, credentials: Credentials | None
    ) -> None:
        self._documents = documents
        self._project = project
        self._authorization = None if credentials is None else credentials.basic

    def page(self, position: str | None) -> Page:
        """Return a page, whose position is its number; one with fewer entries is the last one."""
        number = 1 if position is None else int(position)
        query = urlencode({"page": number, "page_size": _PAGE_SIZE})
        target = f"/api/v2.0/projects/{self._project}/repositories?{query}"
        document = self._documents.api(target, self._authorization)
        host = self._documents.host
        found = entries(document.content, None, host)
        names = [text(entry, "name", host) for entry in found]
        # Not all versions, nor all proxies in front of them, send the header.
        is_last = document.following is None and len(found) < _PAGE_SIZE
        return Page(names, None if is_last or not found else str(number + 1))


class CatalogSource:
    """Lists all repositories of a registry that the account can see, by `/v2/_catalog`."""

    lists_all = True

    def __init__(
        self, documents: UpstreamDocuments, namespace: str, credentials: Credentials | None
    ) -> None:
        del namespace, credentials
        self._documents = documents

    def page(self, position: str | None) -> Page:
        """Return a page, whose position is its URL."""
        first = f"/v2/_catalog?{urlencode({'n': _CATALOG_PAGE_SIZE})}"
        document = self._documents.registry(position or first, "registry:catalog:*")
        host = self._documents.host
        content = document.content
        # Null is how some registries encode an empty list.
        if isinstance(content, dict) and content.get("repositories", ()) is None:
            return Page([], document.following)
        names = [text(entry, None, host) for entry in entries(content, "repositories", host)]
        return Page(names, document.following)


SOURCES: dict[str, Callable[[UpstreamDocuments, str, Credentials | None], Source]] = {
    HARBOR: HarborSource,
    QUAY: QuaySource,
    OCI: CatalogSource,
}
