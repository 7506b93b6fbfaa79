"""`find/repositories`: by name, also with a typo."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atoll.registry.listing import Listing
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Body, Call, operation
from atoll.web.api.repository import repository_view
from atoll.web.api.views import avatar

_PAGE = 10


class FindQuery(Body):
    """What to look for."""

    query: str = Field(default="", max_length=255)
    page: int = Field(default=1, ge=1, le=1000)


class FindRepositories:
    """`find/repositories`."""

    def __init__(self, listing: Listing, namespaces: Namespaces) -> None:
        self._listing = listing
        self._namespaces = namespaces

    @operation("conductRepoSearch", query=FindQuery, scope="repo:read", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Find repositories that one may see by what their names are like, best first."""
        page = call.query.page
        start = (page - 1) * _PAGE
        found = self._listing.find(
            call.principal.username if call.principal else None,
            call.query.query,
            everything=self._namespaces.full_access(call),
            limit=_PAGE + 1,
            offset=start,
        )
        return {
            "results": [
                {
                    "kind": "repository",
                    **repository_view(repository),
                    "namespace": {
                        "name": repository.name.namespace,
                        "kind": "organization" if repository.in_organization else "user",
                        "avatar": avatar(
                            repository.name.namespace,
                            "org" if repository.in_organization else "user",
                        ),
                    },
                    "score": score,
                    "href": f"/repository/{repository.name}",
                }
                for repository, score in found[:_PAGE]
            ],
            "has_additional": len(found) > _PAGE,
            "page": page,
            "page_size": _PAGE,
            "start_index": start,
        }
