"""Which robots there may be: ROBOTS_DISALLOW and ROBOTS_WHITELIST."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.config import Bundle


@dataclass(frozen=True)
class RobotRule:
    """With DISALLOWED there are none but those of WHITELIST, by their whole names."""

    disallowed: bool = False
    whitelist: frozenset[str] = frozenset()

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> RobotRule:
        """Return what the bundle says."""
        return cls(bundle.robots_disallow, frozenset(bundle.robots_whitelist))

    def allows(self, name: str) -> bool:
        """Tell whether the robot NAME, such as `acme+ci`, may be made and may log in."""
        return not self.disallowed or name in self.whitelist
