"""Report what a run of a mirror would do, while a user waits. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.auth.robot_rule import RobotRule
from atoll.auth.secrets import Cipher, SecretUnreadable
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.errors import MirrorUnknown
from atoll.mirroring.limited_upstreams import LimitedUpstreams
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.outcome import Outcome, failed_tags, too_many_deletions
from atoll.mirroring.rules.settings import MirrorSettings
from atoll.mirroring.runs.claims import RunClaim, observed
from atoll.mirroring.runs.deletions import are_too_many
from atoll.mirroring.runs.failures import RunRefused, outcome_of
from atoll.mirroring.runs.planner import PlannedRun, Planner
from atoll.upstream.errors import UpstreamError

# Why a tag ends.
UNSELECTED, GONE = "unselected", "gone"
# Tags of each kind that `as_dict` names.
NAMED_MAXIMUM = 1000

_GONE = "SELECT tag, gone_since FROM mirrortag WHERE mirror_id = %s AND gone_since IS NOT NULL"


@dataclass(frozen=True)
class DryRun:
    """What a run would do now.

    Attributes:
        outcome: Why the run would fail without copying, or would delete nothing; None otherwise.
        listed: The number of tags of the upstream.
        selected: The number of selected tags.
        copied: The digests of the tags that would be copied.
        unchanged: The number of tags that would not.
        ended: Why each tag that would be deleted ends: UNSELECTED or GONE.
        postponed: When each tag that the upstream no longer has would be deleted; None if this run
            is the first to miss it.
        requests: The number of requests that were sent to the upstream.
    """

    outcome: Outcome | None = None
    listed: int = 0
    selected: int = 0
    copied: Mapping[str, str] | None = None
    unchanged: int = 0
    ended: Mapping[str, str] | None = None
    postponed: Mapping[str, datetime | None] | None = None
    requests: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON. The bytes of the copies are not known before them."""
        copied, ended, postponed = self.copied or {}, self.ended or {}, self.postponed or {}
        return {
            "success": self.outcome is None,
            "reason": self.outcome.reason if self.outcome else None,
            "message": self.outcome.message if self.outcome else None,
            "tags_listed": self.listed,
            "tags_selected": self.selected,
            "tags_unchanged": self.unchanged,
            "tags_copied": len(copied),
            "tags_ended": len(ended),
            "tags_postponed": len(postponed),
            "bytes": None,
            "requests": self.requests,
            "copied": [{"tag": tag, "digest": copied[tag]} for tag in _named(copied)],
            "ended": [{"tag": tag, "reason": ended[tag]} for tag in _named(ended)],
            "postponed": [
                {"tag": tag, "until": date.isoformat() if (date := postponed[tag]) else None}
                for tag in _named(postponed)
            ],
        }


class DryRuns:
    """Plans runs without claiming them. Thread-safe."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        planner: Planner,
        upstreams: LimitedUpstreams,
    ) -> None:
        """Provide the plans of all mirrors.

        Args:
            database: Where mirrors are stored, which are only read, and the budgets of upstreams.
            cipher: Decrypts passwords.
            planner: Plans runs.
            upstreams: Makes clients of upstreams.
        """
        self._database = database
        self._cipher = cipher
        self._planner = planner
        self._upstreams = upstreams

    @classmethod
    def from_bundle(
        cls, database: Database, cipher: Cipher, bundle: Bundle, ca_bundle: str | None
    ) -> DryRuns:
        """Return the plans of all mirrors, with the destinations that a bundle permits.

        Args:
            database: Where mirrors are stored.
            cipher: Decrypts passwords.
            bundle: The bundle.
            ca_bundle: A file of CA certificates; None to use those of the system.
        """
        planner = Planner(Presence(database), RobotRule.from_bundle(bundle))
        return cls(
            database, cipher, planner, LimitedUpstreams(bundle, ca_bundle, database=database)
        )

    def plan(self, mirror: Mirror, seconds: float) -> DryRun:
        """Return what a run of a mirror would do.

        Args:
            mirror: The mirror.
            seconds: The time after which no further request is sent to the upstream.

        Raises:
            MirrorUnknown: The mirror was deleted.
        """
        claim = observed(self._database, mirror.id)
        if claim is None:
            raise MirrorUnknown(f"the repository '{mirror.repository}' is no mirror")
        try:
            settings = MirrorSettings.from_row(claim.row, self._cipher)
            with self._upstreams.opened(seconds) as upstreams:
                source = upstreams.client(settings.reference, settings.access)
                planned = self._planner.plan(claim, settings, source, lambda: None)
        except (RunRefused, UpstreamError, SecretUnreadable) as error:
            return DryRun(outcome_of(error))
        return self._report(claim, settings, planned)

    def _report(self, claim: RunClaim, settings: MirrorSettings, planned: PlannedRun) -> DryRun:
        plan = planned.plan
        ended: dict[str, str] = {}
        postponed: dict[str, datetime | None] = {}
        gone_since: dict[str, datetime] = dict(self._database.read(_GONE, [claim.id]))
        # A run with failed tags deletes none.
        unselected = set() if plan.failed else claim.existing_tags.keys() - plan.kept
        for tag in sorted(unselected):
            since = gone_since.get(tag)
            end = None if since is None else since + settings.delete_after
            if tag not in plan.gone:
                ended[tag] = UNSELECTED
            elif not settings.delete_after or (end is not None and end <= claim.now):
                ended[tag] = GONE
            else:
                postponed[tag] = end
        existing = len(claim.existing_tags.keys() | plan.selected.keys())
        confirmed = claim.row["deletions_confirmed"]
        refused = are_too_many(len(ended), existing, settings, is_confirmed=confirmed)
        outcome = too_many_deletions(len(ended), existing) if refused else None
        if plan.failed:
            outcome = failed_tags(plan.failed, plan.total)
        return DryRun(
            outcome,
            len(planned.listed),
            plan.total,
            {tag: digest for tag, digest in plan.selected.items() if tag not in plan.unchanged},
            len(plan.unchanged),
            ended,
            postponed,
            plan.requests,
        )


def _named(tags: Mapping[str, object]) -> Sequence[str]:
    return sorted(tags)[:NAMED_MAXIMUM]
