"""`organization/`: organizations, their members and collaborators."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from atoll.auth import users
from atoll.auth.organizations import Organizations
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import avatar, member
from atoll.web.api.team import serialize_team


class NewOrganization(RequestModel):
    """An organization to create."""

    name: str = Field(max_length=255)
    email: str | None = Field(default=None, max_length=320)


class OrganizationChange(RequestModel):
    """Changes of an organization."""

    email: str | None = Field(default=None, max_length=320)
    tag_expiration_s: int | None = Field(default=None, ge=0, le=10 * 366 * 86400)


class OrganizationList:
    """`organization/`."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._database = database
        self._superusers_only = bundle.feature_superusers_org_creation_only
        self._reserved = bundle.reserved_usernames

    @operation(
        "createOrganization", body=NewOrganization, status=201, response=str, scope="org:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Create an organization that the caller owns."""
        if call.actor.robot_owner is not None:
            raise call.forbidden()
        if self._superusers_only and not call.actor.superuser:
            raise call.forbidden()
        new: NewOrganization = call.body
        reserved = new.name in self._reserved and not call.actor.superuser
        if reserved or not users.create_organization(
            self._database, new.name, call.actor.username, new.email or None
        ):
            raise InvalidRequest("A user or organization with this name already exists")
        call.log("org_create", new.name, email=new.email)
        return "Created"


class OrganizationResource:
    """`organization/{orgname}`."""

    def __init__(
        self,
        database: Database,
        organizations: Organizations,
        namespaces: Namespaces,
        removal: NamespaceDeletion,
        bundle: Bundle,
    ) -> None:
        self._database = database
        self._organizations = organizations
        self._namespaces = namespaces
        self._removal = removal
        self._expirations = bundle.tag_expiration_options
        self._expiration = bundle.default_tag_expiration

    @operation("getOrganization", anonymous=True)
    def on_get(self, call: Call, orgname: str) -> Any:
        """Get an organization; its teams are for members only."""
        found = self._organizations.get(orgname, call.principal)
        is_admin = found.is_admin or self._namespaces.may_administer_all(call)
        is_member = bool(found.roles) or self._namespaces.may_read_all(call)
        teams = self._organizations.teams(orgname) if is_member else []
        expiration = found.tag_expiration_s
        return {
            "name": found.name,
            "email": found.email if is_admin or self._namespaces.may_read_all(call) else "",
            "avatar": avatar(found.name, "org"),
            "is_admin": is_admin,
            "is_member": is_member,
            "teams": {team.name: serialize_team(team, can_view=is_member) for team in teams},
            "ordered_teams": [team.name for team in teams],
            "tag_expiration_s": self._expiration if expiration is None else expiration,
        }

    @operation("changeOrganizationDetails", body=OrganizationChange, scope="org:admin")
    def on_put(self, call: Call, orgname: str) -> Any:
        """Update an organization."""
        self._namespaces.require_admin(call, orgname)
        change: OrganizationChange = call.body
        expiration = change.tag_expiration_s
        if expiration is not None and expiration not in self._expirations:
            raise InvalidRequest("tag_expiration_s is not among TAG_EXPIRATION_OPTIONS")
        users.change_organization(
            self._database, orgname, email=change.email, tag_expiration_s=expiration
        )
        call.log("org_change", orgname, email=change.email)
        return {"name": orgname, "email": change.email}

    @operation("deleteAdminedOrganization", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str) -> None:
        """Delete an organization and its repositories."""
        self._namespaces.require_admin(call, orgname)
        self._removal.delete_namespace(
            orgname, call.entry("org_delete", orgname), organization=True
        )


class OrganizationMembers:
    """`organization/{orgname}/members`."""

    def __init__(self, organizations: Organizations, namespaces: Namespaces) -> None:
        self._organizations = organizations
        self._namespaces = namespaces

    @operation("getOrganizationMembers", scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """List the members of an organization's teams."""
        self._namespaces.require_admin(call, orgname)
        return {
            "members": [
                {
                    **member(name, is_robot=is_robot),
                    "teams": [{"name": team, "avatar": avatar(team, "team")} for team in teams],
                }
                for name, is_robot, teams in self._organizations.members(orgname)
                if not is_robot
            ]
        }


class OrganizationCollaborators:
    """`organization/{orgname}/collaborators`."""

    def __init__(self, organizations: Organizations, namespaces: Namespaces) -> None:
        self._organizations = organizations
        self._namespaces = namespaces

    @operation("getOrganizationCollaborators", scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """List users with permissions on an organization's repositories who are not members."""
        self._namespaces.require_admin(call, orgname)
        return {
            "collaborators": [
                {
                    "kind": "user",
                    "name": name,
                    "avatar": avatar(name, "user"),
                    "repositories": repositories,
                }
                for name, repositories in self._organizations.collaborators(orgname)
            ]
        }
