"""The owner of robots: an organization, or the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.web.panel.visit import Visit


@dataclass(frozen=True)
class RobotOwner:
    """A namespace whose robots a page shows.

    Attributes:
        name: The name of the namespace.
        organization: Whether it is an organization.
    """

    name: str
    organization: bool

    @classmethod
    def of(cls, visit: Visit, orgname: str | None, username: str | None) -> RobotOwner:
        """Return the owner that a path names.

        Raises:
            InsufficientScope: The user is not the caller.
            Unauthenticated: The user is not the caller, who is not signed in.
        """
        if orgname is not None:
            return cls(orgname, organization=True)
        return cls(visit.require_self(username), organization=False)

    @property
    def page(self) -> str:
        """The path of the owner's page."""
        return f"/organization/{self.name}" if self.organization else f"/user/{self.name}"

    def api(self, visit: Visit, method: str, path: str = "", **arguments: Any) -> Any:
        """Run an operation on the robots; `path` is its URI template below that of their list."""
        if self.organization:
            base, arguments = "/organization/{orgname}/robots", {**arguments, "orgname": self.name}
        else:
            base = "/user/robots"
        return visit.api(method, base + path, **arguments)

    def robots(self, visit: Visit) -> list[dict[str, Any]]:
        """Return the robots, without their tokens."""
        found = self.api(visit, "GET", query={"token": False})["robots"]
        return [{**one, "short": one["name"].partition("+")[2]} for one in found]
