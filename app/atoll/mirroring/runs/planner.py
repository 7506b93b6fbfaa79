"""Plan a run: list the tags of the upstream, select, and find those that changed.

A run without changes costs one listing, a HEAD request for each selected tag, and one statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.auth.robot_rule import RobotRule
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.mirror_records import MIRROR
from atoll.mirroring.outcome import (
    AUTH_FAILED,
    PLAN_INTERRUPTED,
    ROBOT_NOT_ALLOWED,
    UPSTREAM_EMPTY,
)
from atoll.mirroring.rules.platforms import selected_digests
from atoll.mirroring.rules.settings import MirrorSettings
from atoll.mirroring.rules.tag_rules import matches
from atoll.mirroring.runs.claims import RunClaim
from atoll.mirroring.runs.failures import RunRefused
from atoll.mirroring.runs.plans import Plan
from atoll.names import Digest, InvalidDigest
from atoll.upstream.bounded_json import parsed
from atoll.upstream.client import UpstreamClient
from atoll.upstream.errors import InvalidContent, ManifestUnknown

# After this number of refusals in a row the credentials are not sent again, so that no account is
# locked, until they change or a user requests a run.
REFUSALS_MAXIMUM = 3
# After this number of claims without an outcome a run is not planned again: its plan may be what
# kills the process, and with it the work for other mirrors.
LOST_CLAIMS_MAXIMUM = 5
# How often an immutable tag is checked in spite of its pattern.
_IMMUTABLE_FOR = timedelta(days=7)
# Concurrent requests; the budget of the upstream may permit fewer.
_REQUESTS_AT_ONCE = 8
# Bytes of a configuration that are read for the date of its image.
_CONFIG_MAXIMUM = 4 * 2**20


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
            check: Called before each request; raises to stop.

        Raises:
            RunRefused: The mirror may not run, its plan was interrupted too often, or the upstream
                is empty.
            UpstreamError: The upstream failed.
        """
        if claim.row["lost_claims"] >= LOST_CLAIMS_MAXIMUM:
            raise RunRefused(PLAN_INTERRUPTED)
        self._check_permission(claim)
        check()
        listed = source.tags().names
        if not listed and claim.existing_tags:
            raise RunRefused(UPSTREAM_EMPTY)
        look_up = _LookUp(claim, settings, source, check)
        selected = settings.rule.select(listed, look_up.creation_dates, claim.now)
        digests = look_up.digests(selected)
        present = {tag: digests[tag] for tag in selected if tag in digests}
        unchanged = self._presence.unchanged(claim.repository, present, settings.architectures)
        existing = claim.existing_tags.keys()
        gone = existing - set(listed)
        gone |= {tag for tag in selected if tag not in present} & existing
        plan = Plan(
            selected=present,
            unchanged=frozenset(unchanged),
            gone=frozenset(settings.rule.candidates(sorted(gone))),
            created={tag: date for tag, date in look_up.created.items() if date is not None},
            not_checked=frozenset(look_up.not_checked),
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


class _LookUp:
    """The digests and dates of the tags of one run."""

    def __init__(
        self,
        claim: RunClaim,
        settings: MirrorSettings,
        source: UpstreamClient,
        check: Callable[[], None],
    ) -> None:
        self._claim = claim
        self._settings = settings
        self._source = source
        self._check = check
        self._digests: dict[str, str | None] = {}
        self.created: dict[str, datetime | None] = {}
        self.not_checked: set[str] = set()
        self.requests = 0

    def digests(self, tags: Sequence[str]) -> dict[str, str]:
        """Return the digests of the tags that exist."""
        for tag in tags:
            if tag not in self._digests and (known := self._immutable(tag)):
                self._digests[tag] = known
                self.not_checked.add(tag)
        missing = [tag for tag in tags if tag not in self._digests]
        self._digests |= zip(missing, self._each(self._head, missing), strict=True)
        self.requests += len(missing)
        return {tag: digest for tag in tags if (digest := self._digests[tag]) is not None}

    def creation_dates(self, tags: Sequence[str]) -> Mapping[str, datetime | None]:
        """Return the dates on which the images of tags were created, as far as they have one."""
        digests = self.digests(tags)
        for tag, digest in digests.items():
            known = self._claim.known_tags.get(tag)
            if known is not None and known.created is not None and known.digest == digest:
                self.created[tag] = datetime.fromtimestamp(known.created, UTC)
        missing = [tag for tag in digests if tag not in self.created]
        dates = self._each(lambda tag: self._creation_date(digests[tag]), missing)
        self.created |= zip(missing, dates, strict=True)
        return self.created

    def _each(self, work: Callable[[str], Any], tags: Collection[str]) -> list[Any]:
        """Return the result of requests for tags, which are sent concurrently."""
        if not tags:
            return []
        with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(tags)), "mirror-plan") as executor:
            futures = [executor.submit(self._checked, work, tag) for tag in tags]
            try:
                return [future.result() for future in futures]
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise

    def _checked(self, work: Callable[[str], Any], tag: str) -> object:
        self._check()
        return work(tag)

    def _head(self, tag: str) -> str | None:
        digest = self._source.head(tag)
        return None if digest is None else str(digest)

    def _immutable(self, tag: str) -> str | None:
        """Return the digest of a tag that was copied and need not be checked now."""
        known = self._claim.known_tags.get(tag)
        if known is None or known.digest is None or known.checked_at is None:
            return None
        if tag not in self._claim.existing_tags:
            return None
        age = self._claim.now - datetime.fromtimestamp(known.checked_at, UTC)
        if age >= _IMMUTABLE_FOR or not matches(tag, self._settings.immutable_tags):
            return None
        return known.digest

    def _creation_date(self, digest: str) -> datetime | None:
        """Return when an image was created; that of an index is that of its first image."""
        try:
            manifest = self._source.manifest(digest)
            self.requests += 1
            document = json.loads(manifest.content)
            if "config" not in document:
                wanted = selected_digests(manifest.content, self._settings.architectures)
                children = [one["digest"] for one in document.get("manifests") or ()]
                first = next((one for one in children if one in wanted), None)
                if first is None:
                    return None
                self.requests += 1
                document = json.loads(self._source.manifest(first).content)
            config = document["config"]
            if not 0 < config["size"] <= _CONFIG_MAXIMUM:
                return None
            self.requests += 1
            blob = self._source.blob(Digest.parse(config["digest"]), config["size"])
            return _date_in(b"".join(blob.pieces()))
        except (ManifestUnknown, InvalidDigest, ValueError, KeyError, TypeError, RecursionError):
            return None


def _date_in(config: bytes) -> datetime | None:
    try:
        with parsed(config, "the configuration of an image") as document:
            return image_date(document)
    except InvalidContent:
        return None


def image_date(config: object) -> datetime | None:
    """Return the date on which an image was created, in UTC, from its configuration."""
    text = config.get("created") if isinstance(config, dict) else None
    if not isinstance(text, str):
        return None
    try:
        date = datetime.fromisoformat(text)
        # PostgreSQL accepts fewer offsets than Python. The year may leave the range of Python.
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
