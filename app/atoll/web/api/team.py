"""`organization/{orgname}/team/{teamname}`: teams, their members and permissions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from atoll.auth.organizations import Organizations, Team
from atoll.web.api.errors import NotFound
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import avatar, member


class TeamChange(RequestModel):
    """A team's role and description."""

    role: Literal["member", "creator", "admin"]
    description: str | None = Field(default=None, max_length=65536)


class TeamResource:
    """`organization/{orgname}/team/{teamname}`."""

    def __init__(self, organizations: Organizations, namespaces: Namespaces) -> None:
        self._organizations = organizations
        self._namespaces = namespaces

    @operation("updateOrganizationTeam", body=TeamChange, scope="org:admin")
    def on_put(self, call: Call, orgname: str, teamname: str) -> Any:
        """Create or update a team."""
        self._namespaces.require_admin(call, orgname)
        change: TeamChange = call.body
        new = self._organizations.put_team(orgname, teamname, change.role, change.description)
        kind = "org_create_team" if new else "org_set_team_role"
        call.log(kind, orgname, team=teamname, role=change.role)
        for team in self._organizations.teams(orgname):
            if team.name == teamname:
                return {**serialize_team(team, can_view=True), "new_team": new}
        raise NotFound(f"the team '{teamname}' was deleted concurrently")

    @operation("deleteOrganizationTeam", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str, teamname: str) -> None:
        """Delete a team."""
        self._namespaces.require_admin(call, orgname)
        self._organizations.delete_team(orgname, teamname)
        call.log("org_delete_team", orgname, team=teamname)


class TeamMembers:
    """`organization/{orgname}/team/{teamname}/members`."""

    def __init__(self, organizations: Organizations, namespaces: Namespaces) -> None:
        self._organizations = organizations
        self._namespaces = namespaces

    @operation("getOrganizationTeamMembers", scope="org:admin")
    def on_get(self, call: Call, orgname: str, teamname: str) -> Any:
        """List the members of a team."""
        organization = self._namespaces.require_member(call, orgname)
        return {
            "name": teamname,
            "members": [
                {**member(name, is_robot=is_robot), "invited": False}
                for name, is_robot in self._organizations.team_members(orgname, teamname)
            ],
            "can_edit": organization.is_admin or self._namespaces.may_administer_all(call),
        }


class TeamMember:
    """`organization/{orgname}/team/{teamname}/members/{membername}`."""

    def __init__(self, organizations: Organizations, namespaces: Namespaces) -> None:
        self._organizations = organizations
        self._namespaces = namespaces

    @operation("updateOrganizationTeamMember", scope="org:admin")
    def on_put(self, call: Call, orgname: str, teamname: str, membername: str) -> Any:
        """Add a member to a team."""
        self._namespaces.require_admin(call, orgname)
        self._organizations.add_member(orgname, teamname, membername)
        call.log("org_add_team_member", orgname, team=teamname, member=membername)
        return {**member(membername, is_robot="+" in membername), "invited": False}

    @operation("deleteOrganizationTeamMember", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str, teamname: str, membername: str) -> None:
        """Remove a member from a team."""
        self._namespaces.require_admin(call, orgname)
        self._organizations.remove_member(orgname, teamname, membername)
        call.log("org_remove_team_member", orgname, team=teamname, member=membername)


class TeamPermissions:
    """`organization/{orgname}/team/{teamname}/permissions`."""

    def __init__(self, organizations: Organizations, namespaces: Namespaces) -> None:
        self._organizations = organizations
        self._namespaces = namespaces

    @operation("getOrganizationTeamPermissions", scope="org:admin")
    def on_get(self, call: Call, orgname: str, teamname: str) -> Any:
        """List the repositories on which a team has a permission."""
        self._namespaces.require_admin(call, orgname)
        return {
            "permissions": [
                {"repository": {"name": name, "is_public": public}, "role": role}
                for name, role, public in self._organizations.team_permissions(orgname, teamname)
            ]
        }


def serialize_team(team: Team, *, can_view: bool) -> dict[str, Any]:
    """Return the response schema of a team."""
    return {
        "name": team.name,
        "description": team.description,
        "role": team.role,
        "avatar": avatar(team.name, "team"),
        "can_view": can_view,
        "repo_count": team.repositories,
        "member_count": team.members,
        "is_synced": False,
    }
