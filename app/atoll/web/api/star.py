"""`user/starred`: repositories that the user starred."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atoll.auth.access import READ, Access
from atoll.names import RepositoryName
from atoll.registry.repository_queries import RepositoryQueries
from atoll.registry.stars import Stars
from atoll.web.api.errors import NotFound
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.repository import RepositoryPage, serialize_repository

_PAGE = 100


class StarQuery(RequestModel):
    """The page of results."""

    next_page: int = Field(default=0, ge=0, lt=2**63)


class NewStar(RequestModel):
    """The repository to star."""

    namespace: str = Field(min_length=1, max_length=255)
    repository: str = Field(min_length=1, max_length=255)


class StarList:
    """`user/starred`."""

    def __init__(self, stars: Stars, listing: RepositoryQueries, access: Access) -> None:
        self._stars = stars
        self._listing = listing
        self._access = access

    @operation("listStarredRepos", query=StarQuery, response=RepositoryPage, scope="user:admin")
    def on_get(self, call: Call) -> Any:
        """List the starred repositories that are visible to the caller."""
        found, more = self._listing.list(
            call.actor.username,
            namespace=None,
            everything=False,
            after=call.query.next_page,
            limit=_PAGE,
            starred=True,
        )
        response: dict[str, Any] = {
            "repositories": [serialize_repository(one.repository) for one in found]
        }
        return response if more is None else {**response, "next_page": str(more)}

    @operation("createStar", body=NewStar, status=201, response=dict[str, str], scope="repo:read")
    def on_post(self, call: Call) -> Any:
        """Star a visible repository."""
        name = RepositoryName.parse(f"{call.body.namespace}/{call.body.repository}")
        if not self._access.grants(call.actor.username, [name])[0].allows(READ):
            raise NotFound(f"there is no repository '{name}'")
        self._stars.add(call.actor.id, name)
        return {"namespace": name.namespace, "repository": name.name}


class StarResource:
    """`user/starred/{repository}`."""

    def __init__(self, stars: Stars) -> None:
        self._stars = stars

    @operation("deleteStar", status=204, scope="user:admin")
    def on_delete(self, call: Call) -> None:
        """Unstar a repository."""
        if call.grant is None:
            raise NotFound("give a repository as NAMESPACE/NAME")
        self._stars.remove(call.actor.id, call.grant.repository)
