"""Plan a run: list the tags of the upstream, select, and find those that changed.

A run without changes costs one listing, a HEAD request for each selected tag, and one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from atoll.auth.robot_rule import RobotRule
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.mirror_records import MIRROR
from atoll.mirroring.outcome import (
    AUTH_FAILED,
    LOST_PLANS_MAXIMUM,
    PLAN_INTERRUPTED,
    ROBOT_NOT_ALLOWED,
    UPSTREAM_EMPTY,
)
from atoll.mirroring.rules.settings import MirrorSettings
from atoll.mirroring.runs.claims import RunClaim
from atoll.mirroring.runs.failures import RunRefused, outcome_of
from atoll.mirroring.runs.look_up import LookUp
from atoll.mirroring.runs.plans import Plan
from atoll.upstream.client import UpstreamClient

# After this number of refusals in a row the credentials are not sent again, so that no account is
# locked, until they change or a user requests a run.
REFUSALS_MAXIMUM = 3


@dataclass(frozen=True)
class PlannedRun:
    """A plan, and what was learned on the way.

    Attributes:
        plan: The plan.
        listed: The tags of the upstream.
    """

    plan: Plan
    listed: Sequence[str]


class Planner:
    """Plans runs. Thread-safe."""

    def __init__(self, presence: Presence, robots: RobotRule) -> None:
        """Make a planner.

        Args:
            presence: Reports which tags are complete.
            robots: The rule for permitted robots.
        """
        self._presence = presence
        self._robots = robots

    def plan(
        self,
        claim: RunClaim,
        settings: MirrorSettings,
        source: UpstreamClient,
        check: Callable[[], None],
    ) -> PlannedRun:
        """Return the plan of a run.

        Args:
            claim: The run.
            settings: The settings of its mirror.
            source: The upstream.
            check: Called between requests, and during waits for a slot; raises to stop.

        Raises:
            RunRefused: The mirror may not run, its plan was interrupted too often, or the upstream
                is empty.
            UpstreamError: The upstream failed.
        """
        if claim.row["lost_claims"] >= LOST_PLANS_MAXIMUM:
            raise RunRefused(PLAN_INTERRUPTED)
        self._check_permission(claim)
        check()
        with source.slot(check) as held:
            listed = held.tags(check).names
        if not listed and claim.existing_tags:
            raise RunRefused(UPSTREAM_EMPTY)
        look_up = LookUp(claim, settings, source, check)
        selected = settings.rule.select(listed, look_up.creation_dates, claim.now)
        digests = look_up.digests(selected)
        present = {tag: digests[tag] for tag in selected if tag in digests}
        unchanged = self._presence.unchanged(claim.repository, present, settings.architectures)
        gone = (claim.existing_tags.keys() - set(listed)) | (
            claim.existing_tags.keys() & look_up.absent
        )
        failures = {tag: error for tag, error in look_up.failures.items() if tag not in present}
        dates = look_up.created
        plan = Plan(
            selected=present,
            unchanged=frozenset(unchanged),
            gone=frozenset(settings.rule.candidates(sorted(gone))),
            created={tag: date for tag, date in dates.items() if date is not None},
            not_checked=frozenset(look_up.not_checked),
            failed={tag: outcome_of(error).reason or "" for tag, error in failures.items()},
            undated=frozenset(
                tag
                for tag, date in dates.items()
                if date is None and tag not in present and tag not in failures
            ),
            requests=look_up.requests + 1,
        )
        return PlannedRun(plan, listed)

    def _check_permission(self, claim: RunClaim) -> None:
        if (
            claim.repository_state != MIRROR
            or not claim.robot_permitted
            or not self._robots.allows(claim.robot)
        ):
            raise RunRefused(ROBOT_NOT_ALLOWED)
        if claim.row["refusals"] >= REFUSALS_MAXIMUM:
            raise RunRefused(AUTH_FAILED)
