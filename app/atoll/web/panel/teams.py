"""Forms that create, change and delete teams, and the page of a team with its members."""

from __future__ import annotations

from typing import Any

from atoll.web.api.errors import InvalidRequest, NotFound
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_ORGANIZATION = "/organization/{orgname}"
_TEAM = f"{_ORGANIZATION}/team/{{teamname}}"
_MEMBERS = f"{_TEAM}/members"
# The length of NAMESPACE+ROBOT.
_MEMBER_LENGTH = 511


class NewTeam:
    """`/organization/{orgname}/new-team`."""

    @page("team_form.html.j2")
    def on_get(self, visit: Visit, orgname: str) -> dict[str, Any]:
        """Show the form."""
        _administered(visit, orgname)
        return {"orgname": orgname, "team": None}

    @form()
    def on_post(self, visit: Visit, orgname: str) -> str:
        """Create the team; unlike the API, change no team that exists."""
        name = visit.form.get("name", "").strip()
        if name in _administered(visit, orgname)["teams"]:
            raise InvalidRequest(f"The team {name[:200]} exists already.")
        _save(visit, orgname, name)
        return f"/organization/{orgname}/teams/{name}"


class TeamPage:
    """`/organization/{orgname}/teams/{teamname}`."""

    @page("team.html.j2")
    def on_get(self, visit: Visit, orgname: str, teamname: str) -> dict[str, Any]:
        """Show the members and, to administrators, the forms that change them."""
        found = visit.api("GET", _MEMBERS, orgname=orgname, teamname=teamname)
        return {
            "orgname": orgname,
            "teamname": teamname,
            "members": found["members"],
            "changeable": found["can_edit"] and visit.may_change,
        }

    @form()
    def on_post(self, visit: Visit, orgname: str, teamname: str) -> str:
        """Remove the member with the button `remove`, or add one."""
        removed = visit.form.get("remove")
        method, member = "PUT", visit.form.get("member", "").strip()[:_MEMBER_LENGTH]
        if removed is not None:
            method, member = "DELETE", removed[:_MEMBER_LENGTH]
        path = f"{_MEMBERS}/{{membername}}"
        visit.api(method, path, orgname=orgname, teamname=teamname, membername=member)
        return f"/organization/{orgname}/teams/{teamname}"


class TeamChange:
    """`/organization/{orgname}/teams/{teamname}/change`."""

    @page("team_form.html.j2")
    def on_get(self, visit: Visit, orgname: str, teamname: str) -> dict[str, Any]:
        """Show the form."""
        return {"orgname": orgname, "team": _team(visit, orgname, teamname)}

    @form()
    def on_post(self, visit: Visit, orgname: str, teamname: str) -> str:
        """Change the role and the description of a team that exists."""
        _team(visit, orgname, teamname)
        _save(visit, orgname, teamname)
        return f"/organization/{orgname}"


class TeamDeletion:
    """`/organization/{orgname}/teams/{teamname}/delete`."""

    @page("team_delete.html.j2")
    def on_get(self, visit: Visit, orgname: str, teamname: str) -> dict[str, Any]:
        """Ask for the confirmation, and show what depends on the team."""
        return {"orgname": orgname, "team": _team(visit, orgname, teamname)}

    @form()
    def on_post(self, visit: Visit, orgname: str, teamname: str) -> str:
        """Delete the team."""
        visit.require_name("team", teamname)
        visit.require_fresh_login()
        visit.api("DELETE", _TEAM, orgname=orgname, teamname=teamname)
        return f"/organization/{orgname}"


def _administered(visit: Visit, orgname: str) -> dict[str, Any]:
    """Return an organization whose teams the caller may change."""
    organization: dict[str, Any] = visit.api("GET", _ORGANIZATION, orgname=orgname)
    if not (organization["is_admin"] and visit.may_change):
        raise visit.call.forbidden()
    return organization


def _team(visit: Visit, orgname: str, teamname: str) -> dict[str, Any]:
    team: dict[str, Any] | None = _administered(visit, orgname)["teams"].get(teamname)
    if team is None:
        raise NotFound(f"'{orgname}' has no team '{teamname[:200]}'")
    return team


def _save(visit: Visit, orgname: str, teamname: str) -> None:
    body = {
        "role": visit.form.get("role", ""),
        "description": visit.form.get("description", "").strip(),
    }
    visit.api("PUT", _TEAM, body=body, orgname=orgname, teamname=teamname)
