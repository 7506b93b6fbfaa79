"""Report what a discovery would do, while a user waits. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from atoll.auth.secrets import SecretUnreadable
from atoll.mirroring.dry_runs import NAMED_MAXIMUM
from atoll.mirroring.limited_upstreams import LimitedUpstreams
from atoll.mirroring.organizations.decisions import Decision
from atoll.mirroring.organizations.discovery import (
    Discovered,
    UpstreamEmpty,
    check_refusals,
    discover,
    outcome_of,
)
from atoll.mirroring.organizations.organization_mirrors import OrganizationMirrors
from atoll.mirroring.organizations.organization_settings import namespace_reference
from atoll.mirroring.organizations.reconciliation import Reconciliation
from atoll.mirroring.organizations.records import OrganizationMirror
from atoll.mirroring.outcome import Outcome
from atoll.upstream.errors import UpstreamError

# What becomes of a repository: it is created, mirrored as before or again, no longer mirrored,
# cannot be mirrored, or was never selected.
CREATE, KEEP, RESUME = "create", "keep", "resume"
SKIP, CONFLICT, IGNORE = "skip", "conflict", "ignore"
ACTIONS = (CREATE, RESUME, SKIP, CONFLICT, KEEP, IGNORE)

_NOT_SELECTED = "repository_filters do not select the repository"


@dataclass(frozen=True)
class PlannedRepository:
    """What would become of a repository.

    Attributes:
        name: Its name without the namespace.
        action: One of ACTIONS.
        repository: The repository here, as `namespace/name`.
        external_reference: The repository of the upstream.
        reason: Why it is not mirrored; None if it is.
    """

    name: str
    action: str
    repository: str
    external_reference: str
    reason: str | None


@dataclass(frozen=True)
class OrganizationDryRun:
    """What a discovery would do now.

    Attributes:
        outcome: Why the discovery would fail without a change; None otherwise.
        listed: The number of repositories of the upstream.
        selected: The number of selected repositories.
        repositories: All of them, and those that were mirrored, by action and name.
    """

    outcome: Outcome | None = None
    listed: int = 0
    selected: int = 0
    repositories: Sequence[PlannedRepository] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The number of repositories by each of ACTIONS."""
        return {**dict.fromkeys(ACTIONS, 0), **Counter(one.action for one in self.repositories)}

    def named(self) -> Iterator[PlannedRepository]:
        """Yield the repositories, up to NAMED_MAXIMUM for each action."""
        seen = Counter[str]()
        for one in self.repositories:
            seen[one.action] += 1
            if seen[one.action] <= NAMED_MAXIMUM:
                yield one

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "success": self.outcome is None,
            "reason": self.outcome.reason if self.outcome else None,
            "message": self.outcome.message if self.outcome else None,
            "repositories_listed": self.listed,
            "repositories_selected": self.selected,
            "actions": self.counts,
            "repositories": [asdict(one) for one in self.named()],
        }


class OrganizationDryRuns:
    """Plans discoveries without claiming them. Thread-safe."""

    def __init__(
        self,
        mirrors: OrganizationMirrors,
        reconciliation: Reconciliation,
        upstreams: LimitedUpstreams,
    ) -> None:
        """Provide the plans of all mirrors.

        Args:
            mirrors: The mirrors.
            reconciliation: Decides what becomes of repositories.
            upstreams: Makes clients of upstreams.
        """
        self._mirrors = mirrors
        self._reconciliation = reconciliation
        self._upstreams = upstreams

    def plan(self, mirror: OrganizationMirror, seconds: float) -> OrganizationDryRun:
        """Return what a discovery of a mirror would do.

        Args:
            mirror: The mirror.
            seconds: The time after which no further request is sent to the upstream.
        """
        try:
            check_refusals(mirror)
            settings = self._mirrors.settings(mirror)
            with self._upstreams.opened(seconds) as upstreams:
                known = partial(self._reconciliation.known, mirror.id)
                found = discover(settings, upstreams.documents, known)
        except (UpstreamError, UpstreamEmpty, SecretUnreadable) as error:
            return OrganizationDryRun(outcome_of(error))
        decision = self._reconciliation.preview(mirror, found.selected, found.listed)
        repositories = _planned(mirror, found, decision)
        return OrganizationDryRun(None, len(found.listed), len(found.selected), repositories)


def _planned(
    mirror: OrganizationMirror, found: Discovered, decision: Decision
) -> list[PlannedRepository]:
    selected = set(found.selected)
    ignored = (name for name in found.listed if name not in selected and name not in decision.gone)
    actions: dict[str, tuple[str, str | None]] = {
        **dict.fromkeys(ignored, (IGNORE, _NOT_SELECTED)),
        **dict.fromkeys(decision.mirrored, (KEEP, None)),
        **dict.fromkeys(decision.resumed, (RESUME, None)),
        **dict.fromkeys(decision.new, (CREATE, None)),
        **{name: (SKIP, reason) for name, reason in decision.gone.items()},
        **{name: (CONFLICT, reason) for name, reason in decision.conflicts.items()},
    }
    upstream = namespace_reference(mirror.row)
    planned = [
        PlannedRepository(
            name, action, f"{mirror.organization}/{name}", f"{upstream}/{name}", reason
        )
        for name, (action, reason) in actions.items()
    ]
    return sorted(planned, key=lambda one: (ACTIONS.index(one.action), one.name))
