"""`find/`: fuzzy search for names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import Field

from atoll.registry import search
from atoll.registry.repository_queries import Repository, RepositoryQueries
from atoll.registry.search import REPOSITORY_WEIGHT, Search, SearchResult
from atoll.web.api.errors import TooManySearches
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.repository import serialize_repository
from atoll.web.api.schemas import avatar

_PAGE = 10
# Results of each kind that `find/all` returns.
_RESULTS_OF_KIND = 5
# Concurrent searches of unauthenticated callers, per process.
_ANONYMOUS = 2
_AVATAR_KINDS = {search.ORGANIZATION: "org"}
_TITLES = {search.USER: "user", search.ORGANIZATION: "org", search.ROBOT: "robot"}


class SearchQuery(RequestModel):
    """A search for names."""

    query: str = Field(default="", max_length=255)


class RepositorySearchQuery(SearchQuery):
    """A search for names, and the page of results."""

    page: int = Field(default=1, ge=1, le=1000)


class SearchSlots:
    """A limit on unauthenticated searches, which could occupy the database and all threads."""

    def __init__(self, slots: int = _ANONYMOUS) -> None:
        self._free = threading.BoundedSemaphore(slots)

    @contextmanager
    def one_of(self, call: Call) -> Iterator[None]:
        """Hold a slot if the caller is unauthenticated. Raises TooManySearches."""
        if call.principal is not None:
            yield
            return
        if not self._free.acquire(blocking=False):
            raise TooManySearches
        try:
            yield
        finally:
            self._free.release()


class FindRepositories:
    """`find/repositories`."""

    def __init__(
        self, listing: RepositoryQueries, namespaces: Namespaces, slots: SearchSlots
    ) -> None:
        self._listing = listing
        self._namespaces = namespaces
        self._slots = slots

    @operation("conductRepoSearch", query=RepositorySearchQuery, scope="repo:read", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Find visible repositories by similarity of their names, best match first."""
        page = call.query.page
        start = (page - 1) * _PAGE
        with self._slots.one_of(call):
            found = self._listing.find(
                call.principal.username if call.principal else None,
                call.query.query,
                everything=self._namespaces.may_read_all(call),
                limit=_PAGE + 1,
                offset=start,
            )
        return {
            "results": [_repository(repository, score) for repository, score in found[:_PAGE]],
            "has_additional": len(found) > _PAGE,
            "page": page,
            "page_size": _PAGE,
            "start_index": start,
        }


class FindAll:
    """`find/all`."""

    def __init__(
        self, listing: RepositoryQueries, search: Search, namespaces: Namespaces, slots: SearchSlots
    ) -> None:
        self._listing = listing
        self._search = search
        self._namespaces = namespaces
        self._slots = slots

    @operation("conductSearch", query=SearchQuery, scope="repo:read", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Find visible repositories, users, organizations, teams and robots."""
        text = call.query.query
        if not text:
            return {"results": []}
        username = call.principal.username if call.principal else None
        everything = self._namespaces.may_read_all(call)
        with self._slots.one_of(call):
            repositories = self._listing.find(
                username, text, everything=everything, limit=_RESULTS_OF_KIND, offset=0
            )
            others = self._search.find(
                username, text, everything=everything, limit=_RESULTS_OF_KIND
            )
        results = [_repository(one, score * REPOSITORY_WEIGHT) for one, score in repositories]
        results += [_other(one, username) for one in others]
        return {"results": sorted(results, key=lambda one: one["score"], reverse=True)}


def _repository(repository: Repository, score: float) -> dict[str, Any]:
    kind = search.ORGANIZATION if repository.in_organization else search.USER
    return {
        **serialize_repository(repository),
        "kind": "repository",
        "title": "repo",
        "namespace": _account(kind, repository.name.namespace),
        "score": score,
        "href": f"/repository/{repository.name}",
    }


def _account(kind: str, name: str) -> dict[str, Any]:
    return {
        "title": _TITLES[kind],
        "kind": kind,
        "name": name,
        "avatar": avatar(name, _AVATAR_KINDS.get(kind, kind)),
        "href": f"/{kind}/{name}",
    }


def _other(one: SearchResult, username: str | None) -> dict[str, Any]:
    if one.kind == search.TEAM:
        return {
            "kind": "team",
            "name": one.name,
            "organization": _account(search.ORGANIZATION, one.namespace),
            "avatar": avatar(one.name, "team"),
            "score": one.score,
            "href": f"/organization/{one.namespace}/teams/{one.name}",
        }
    result = {**_account(one.kind, one.name), "score": one.score}
    if one.kind == search.ROBOT:
        owner = search.USER if one.namespace == username else search.ORGANIZATION
        result["href"] = f"/{owner}/{one.namespace}?tab=robots&showRobot={one.name}"
        result["short_name"] = one.name.partition("+")[2]
    return result
