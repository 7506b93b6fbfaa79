"""The rule for permitted robots: ROBOTS_DISALLOW and ROBOTS_WHITELIST."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.config import Bundle


@dataclass(frozen=True)
class RobotRule:
    """Permits all robots or, if `disallowed`, only those whose full name is in `whitelist`."""

    disallowed: bool = False
    whitelist: frozenset[str] = frozenset()

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> RobotRule:
        """Return the rule that the bundle configures."""
        return cls(bundle.robots_disallow, frozenset(bundle.robots_whitelist))

    def allows(self, name: str) -> bool:
        """Return whether the robot `name`, such as `acme+ci`, may be created and may log in."""
        return not self.disallowed or name in self.whitelist
