"""The selection of tags that a mirror copies.

The conditions are applied in this order: include, exclude, versions, age, newest. Dates of images
cost requests to the upstream, so they are looked up only for tags that passed all cheaper
conditions.

Tags that are named after a digest, such as the signatures of cosign, accompany the image with that
digest and are never selected themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from atoll.mirroring.rules.globs import matcher
from atoll.mirroring.rules.semantic_versions import Version, VersionRange

NewestBy = Literal["semver", "created", "name"]

# Return the dates on which the images of tags were created; None for images without a date.
CreationDates = Callable[[Sequence[str]], Mapping[str, datetime | None]]

_DIGEST_TAG = re.compile(r"(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})(?:\.[A-Za-z0-9._-]+)?")
_NEVER = datetime.min.replace(tzinfo=UTC)


def is_digest_tag(tag: str) -> bool:
    """Return whether a tag is named after a digest, as signatures and lists of referrers are."""
    return _DIGEST_TAG.fullmatch(tag) is not None


def split_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return patterns without blanks; a string may hold several, separated by commas."""
    parts = (part.strip() for pattern in patterns for part in pattern.split(","))
    return tuple(part for part in parts if part)


def matches(tag: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a tag matches one of the patterns, which are those of a Unix shell."""
    return matcher(patterns)(tag)


@dataclass(frozen=True)
class TagRule:
    """The conditions for tags.

    Attributes:
        include: Patterns, one of which a tag matches.
        exclude: Patterns, none of which a tag matches.
        versions: Ranges, one of which a tag's version is in; all tags if empty.
        max_age: The maximum age of images.
        newest: The number of tags that are selected; None for all.
        newest_by: The order of tags.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    versions: tuple[VersionRange, ...] = ()
    max_age: timedelta | None = None
    newest: int | None = None
    newest_by: NewestBy = "semver"

    @property
    def needs_dates(self) -> bool:
        """Whether the selection depends on dates of images."""
        return self.max_age is not None or (self.newest is not None and self.newest_by == "created")

    def candidates(self, tags: Sequence[str]) -> list[str]:
        """Return the tags that pass the conditions on names and versions, in the given order."""
        included, excluded = matcher(self.include), matcher(self.exclude)
        found = [
            tag for tag in tags if included(tag) and not excluded(tag) and not is_digest_tag(tag)
        ]
        if not self.versions and not (self.newest is not None and self.newest_by == "semver"):
            return found
        versions = ((tag, Version.parse(tag)) for tag in found)
        return [
            tag
            for tag, version in versions
            if version is not None
            and (not self.versions or any(one.contains(version) for one in self.versions))
        ]

    def select(
        self, tags: Sequence[str], creation_dates: CreationDates, now: datetime
    ) -> list[str]:
        """Return the selected tags, in the given order.

        A tag whose image has no date is older than all others. Its age is not known, so it must not
        be deleted because it is not selected.

        Args:
            tags: The tags of the upstream.
            creation_dates: Called at most once, and only if the selection depends on dates. An
                exception that it raises ends the selection: tags must not be deleted because the
                upstream did not return a date.
            now: The current time.
        """
        found = self.candidates(tags)
        created: dict[str, datetime] = {}
        if found and self.needs_dates:
            dates = creation_dates(found)
            created = {tag: dates.get(tag) or _NEVER for tag in found}
        if self.max_age is not None:
            found = [tag for tag in found if now - created[tag] <= self.max_age]
        if self.newest is None:
            return found
        newest = set(self._from_newest(found, created)[: self.newest])
        return [tag for tag in found if tag in newest]

    def _from_newest(self, tags: Sequence[str], created: Mapping[str, datetime]) -> list[str]:
        if self.newest_by == "created":
            return sorted(tags, key=lambda tag: (created[tag], tag), reverse=True)
        if self.newest_by == "semver":
            versions = {tag: Version.parse(tag) for tag in tags}
            return sorted(tags, key=lambda tag: (versions[tag], tag), reverse=True)
        return sorted(tags, reverse=True)
