"""`entities/{prefix}`: search for users, robots, teams and organizations."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.entities import ORGANIZATION, TEAM, Entities, Entity
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import Avatar, avatar

_LIMIT = 10


class EntityQuery(RequestModel):
    """The namespace to search, and whether to include teams and organizations."""

    namespace: str | None = Field(default=None, max_length=255)
    include_teams: bool = Field(default=False, alias="includeTeams")
    include_organizations: bool = Field(default=False, alias="includeOrgs")


class EntitySchema(TypedDict):
    """A user, robot, team or organization."""

    name: str
    kind: str
    is_robot: bool
    is_org_member: bool
    avatar: Avatar


class EntitySearch:
    """`entities/{prefix}`."""

    def __init__(self, entities: Entities) -> None:
        self._entities = entities

    @operation(
        "getMatchingEntities",
        query=EntityQuery,
        response=dict[str, list[EntitySchema]],
        scope="user:read",
    )
    def on_get(self, call: Call, prefix: str) -> Any:
        """Find users, robots, teams and organizations by prefix."""
        query: EntityQuery = call.query
        found = self._entities.find(
            call.actor.id,
            prefix,
            query.namespace,
            teams=query.include_teams,
            organizations=query.include_organizations,
            limit=_LIMIT,
        )
        return {"results": [_serialize(one) for one in found]}


def _serialize(one: Entity) -> EntitySchema:
    kinds = {TEAM: "team", ORGANIZATION: "org"}
    avatar_kind = "robot" if one.is_robot else kinds.get(one.kind, "user")
    return {
        "name": one.name,
        "kind": one.kind,
        "is_robot": one.is_robot,
        "is_org_member": one.is_member,
        "avatar": avatar(one.name, avatar_kind),
    }
