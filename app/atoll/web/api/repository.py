"""`repository`: repositories, their visibility and state."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.access import ADMIN, MIRROR, READ, WRITE
from atoll.db.pool import Database
from atoll.mirroring.mirrored_organizations import require_own_settings
from atoll.names import RepositoryName
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.registry.repositories import Repositories
from atoll.registry.repository_queries import ListedRepository, Repository, RepositoryQueries
from atoll.registry.tag_history import TagHistory
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.tag import tag_dates

_PAGE = 100
_TAGS_SHOWN = 500


class NewRepository(RequestModel):
    """A repository to create."""

    repository: str = Field(min_length=1, max_length=255)
    namespace: str | None = Field(default=None, max_length=255)
    visibility: Literal["public", "private"]
    description: str = Field(default="", max_length=65536)
    repo_kind: Literal["image"] | None = "image"


class RepositoryChange(RequestModel):
    """Changes of a repository."""

    description: str = Field(max_length=65536)


class VisibilityChange(RequestModel):
    """The new visibility."""

    visibility: Literal["public", "private"]


class StateChange(RequestModel):
    """The new state. In the state MIRROR, only the robot of the mirror may push."""

    state: Literal["NORMAL", "READ_ONLY", "MIRROR"]


class RepositoryQuery(RequestModel):
    """A selection of repositories, and the page of results.

    As in Quay, `public` adds repositories that are visible because they are public. Here they are
    always visible, so it only permits a list without a namespace.
    """

    namespace: str | None = Field(default=None, max_length=255)
    public: bool = False
    starred: bool = False
    last_modified: bool = False
    popularity: bool = False
    next_page: int = Field(default=0, ge=0, lt=2**63)


class RepositoryDetailQuery(RequestModel):
    """The level of detail."""

    include_tags: bool = Field(default=True, alias="includeTags")


class RepositorySchema(TypedDict):
    """A repository in a list."""

    namespace: str
    name: str
    description: str
    is_public: bool
    kind: str
    state: str
    is_starred: NotRequired[bool]
    last_modified: NotRequired[int | None]
    popularity: NotRequired[float]


class RepositoryPage(TypedDict):
    """A page of repositories, and the token of the next page."""

    repositories: list[RepositorySchema]
    next_page: NotRequired[str]


class RepositoryList:
    """`repository`."""

    def __init__(
        self, repositories: Repositories, listing: RepositoryQueries, namespaces: Namespaces
    ) -> None:
        self._repositories = repositories
        self._listing = listing
        self._namespaces = namespaces

    @operation(
        "listRepos",
        query=RepositoryQuery,
        response=RepositoryPage,
        scope="repo:read",
        anonymous=True,
    )
    def on_get(self, call: Call) -> Any:
        """List visible repositories."""
        query: RepositoryQuery = call.query
        if not query.namespace and not query.public and not query.starred:
            raise InvalidRequest("give a namespace, public=true or starred=true")
        found, more = self._listing.list(
            call.principal.username if call.principal else None,
            namespace=query.namespace,
            everything=self._namespaces.may_read_all(call),
            after=query.next_page,
            limit=_PAGE,
            starred=query.starred,
            last_modified=query.last_modified,
            popularity=query.popularity,
        )
        response: dict[str, Any] = {"repositories": [_listed(one, call) for one in found]}
        return response if more is None else {**response, "next_page": str(more)}

    @operation(
        "createRepo", body=NewRepository, status=201, response=dict[str, str], scope="repo:create"
    )
    def on_post(self, call: Call) -> Any:
        """Create a repository."""
        new: NewRepository = call.body
        namespace = new.namespace or call.actor.username
        name = RepositoryName.parse(f"{namespace}/{new.repository}")
        if not self._namespaces.may_create_repository(call, name.namespace):
            raise call.forbidden()
        if not self._repositories.create(
            name, new.visibility, call.actor.username, new.description
        ):
            raise InvalidRequest("Repository already exists")
        call.log("create_repo", name.namespace, repo=name.name)
        return {"namespace": name.namespace, "name": name.name, "kind": "image"}


class RepositoryResource:
    """`repository/{repository}`."""

    def __init__(
        self, listing: RepositoryQueries, history: TagHistory, removal: NamespaceDeletion
    ) -> None:
        self._listing = listing
        self._history = history
        self._removal = removal

    @operation("getRepo", query=RepositoryDetailQuery, scope="repo:read", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """Get a repository."""
        name = call.require(READ)
        repository = self._listing.get(name)
        result = {
            **serialize_repository(repository),
            "is_organization": repository.in_organization,
            "tag_expiration_s": repository.tag_expiration_s,
            "can_write": call.may(WRITE),
            "can_admin": call.may(ADMIN),
        }
        if call.query.include_tags:
            entries, _ = self._history.list(name, active=True, limit=_TAGS_SHOWN)
            result["tags"] = {
                entry.name: {
                    "name": entry.name,
                    "size": entry.size,
                    "manifest_digest": entry.digest,
                    "last_modified": tag_dates(entry)["last_modified"],
                }
                for entry in entries
            }
        return result

    @operation("updateRepo", body=RepositoryChange, response=dict[str, bool], scope="repo:write")
    def on_put(self, call: Call) -> Any:
        """Update the description of a repository."""
        name = call.require(WRITE)
        self._listing.change(name, description=call.body.description)
        call.log("set_repo_description", name.namespace, repo=name.name)
        return {"success": True}

    @operation("deleteRepository", status=204, scope="repo:admin")
    def on_delete(self, call: Call) -> None:
        """Delete a repository."""
        name = call.require(ADMIN)
        entry = call.entry("delete_repo", name.namespace, repo=name.name)
        self._removal.delete_repository(name, entry)


class Visibility:
    """`repository/{repository}/changevisibility`."""

    def __init__(self, listing: RepositoryQueries) -> None:
        self._listing = listing

    @operation(
        "changeRepoVisibility", body=VisibilityChange, response=dict[str, bool], scope="repo:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Change the visibility of a repository."""
        name = call.require(ADMIN)
        self._listing.change(name, visibility=call.body.visibility)
        call.log(
            "change_repo_visibility",
            name.namespace,
            repo=name.name,
            visibility=call.body.visibility,
        )
        return {"success": True}


class State:
    """`repository/{repository}/changestate`."""

    def __init__(self, listing: RepositoryQueries, database: Database, *, mirrors: bool) -> None:
        self._listing = listing
        self._database = database
        self._mirrors = mirrors

    @operation("changeRepoState", body=StateChange, response=dict[str, bool], scope="repo:admin")
    def on_put(self, call: Call) -> Any:
        """Change the state of a repository, which permits or forbids pushes."""
        name = call.require(ADMIN)
        state = call.body.state
        if state == MIRROR and not self._mirrors:
            raise InvalidRequest("state: MIRROR requires FEATURE_REPO_MIRROR: true in the bundle")
        require_own_settings(self._database, name)
        self._listing.change(name, state=state)
        call.log("change_repo_state", name.namespace, repo=name.name, state_changed=state)
        return {"success": True}


def _listed(one: ListedRepository, call: Call) -> RepositorySchema:
    result = serialize_repository(one.repository)
    if call.principal is not None:
        result["is_starred"] = one.starred
    if call.query.last_modified:
        result["last_modified"] = one.last_modified_ms and one.last_modified_ms // 1000
    if call.query.popularity:
        result["popularity"] = float(one.popularity or 0)
    return result


def serialize_repository(repository: Repository) -> RepositorySchema:
    """Return the response schema of a repository in a list."""
    return {
        "namespace": repository.name.namespace,
        "name": repository.name.name,
        "description": repository.description,
        "is_public": repository.public,
        "kind": "image",
        "state": repository.state,
    }
