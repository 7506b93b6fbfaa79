"""The digests and dates of the tags of an upstream, for the plan of a run.

A tag for which the upstream responds oddly fails alone. A failure that other tags would have as
well, such as a pause or a lost connection, ends the look-up.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from atoll.mirroring.rules.platforms import selected_digests
from atoll.mirroring.rules.settings import MirrorSettings
from atoll.mirroring.rules.tag_rules import matches
from atoll.mirroring.runs.claims import RunClaim
from atoll.names import Digest, InvalidDigest
from atoll.upstream.bounded_json import parsed
from atoll.upstream.client import UpstreamClient, UpstreamManifest
from atoll.upstream.errors import (
    AuthFailed,
    InvalidContent,
    ManifestUnknown,
    NotFound,
    ServerFailed,
    UpstreamError,
)

# How often an immutable tag is checked in spite of its pattern.
_IMMUTABLE_FOR = timedelta(days=7)
# Concurrent requests; the budget of the upstream may permit fewer.
_REQUESTS_AT_ONCE = 8
# Bytes of a configuration that are read for the date of its image.
_CONFIG_MAXIMUM = 4 * 2**20
# Failures of single tags. If more tags have one, or no tag exists, the upstream is at fault.
_OF_ONE_TAG = (ServerFailed, AuthFailed, NotFound, InvalidContent)
_FAILURES_MAXIMUM = 50

Result = TypeVar("Result")
# Requests for a tag, by a client that holds a slot of the upstream.
Work = Callable[[UpstreamClient, str], Result]


class LookUp:
    """The digests and dates of the tags of one run.

    Attributes:
        created: When the images of tags were created; None if they have no date, or it could not
            be read.
        absent: Tags that the upstream does not have, although it may list them.
        failures: Tags of which the digest or the date could not be read, with their errors.
        not_checked: Tags for which the upstream was not asked.
        requests: The number of requests.
    """

    def __init__(
        self,
        claim: RunClaim,
        settings: MirrorSettings,
        source: UpstreamClient,
        check: Callable[[], None],
    ) -> None:
        """Make a look-up.

        Args:
            claim: The run.
            settings: The settings of its mirror.
            source: The upstream.
            check: Called before each request, and during waits for a slot; raises to stop.
        """
        self._claim = claim
        self._settings = settings
        self._source = source
        self._check = check
        self._digests: dict[str, str] = {}
        self.created: dict[str, datetime | None] = {}
        self.absent: set[str] = set()
        self.failures: dict[str, UpstreamError] = {}
        self.not_checked: set[str] = set()
        self.requests = 0
        self._lock = threading.Lock()

    def digests(self, tags: Sequence[str]) -> dict[str, str]:
        """Return the digests of the tags that exist, without those that failed."""
        for tag in tags:
            if tag not in self._digests and (known := self._immutable(tag)):
                self._digests[tag] = known
                self.not_checked.add(tag)
        asked = self._digests.keys() | self.absent | self.failures.keys()
        for tag, digest in self._each(
            self._head, [tag for tag in tags if tag not in asked]
        ).items():
            if digest is None:
                self.absent.add(tag)
            else:
                self._digests[tag] = digest
        if self.failures and not self._digests:
            raise next(iter(self.failures.values()))
        return {tag: self._digests[tag] for tag in tags if tag in self._digests}

    def creation_dates(self, tags: Sequence[str]) -> Mapping[str, datetime | None]:
        """Return the dates on which the images of tags were created, as far as they have one."""
        digests = self.digests(tags)
        for tag, digest in digests.items():
            known = self._claim.known_tags.get(tag)
            if known is not None and known.created is not None and known.digest == digest:
                self.created[tag] = datetime.fromtimestamp(known.created, UTC)
        missing = [tag for tag in digests if tag not in self.created]
        self.created |= dict.fromkeys(missing)
        self.created |= self._each(
            lambda source, tag: self._creation_date(source, digests[tag]), missing
        )
        return self.created

    def _each(self, work: Work[Result], tags: Collection[str]) -> dict[str, Result]:
        """Return the results of requests for tags, which are sent concurrently.

        Tags that fail alone are added to `failures`, after a second attempt.
        """
        found: dict[str, Result] = {}
        again = self._attempt(work, tags, found)
        failed = self._attempt(work, [tag for tag in again if again[tag].is_temporary], found)
        self.failures |= {
            tag: failed.get(tag, error) for tag, error in again.items() if tag not in found
        }
        if len(self.failures) > _FAILURES_MAXIMUM:
            raise next(iter(self.failures.values()))
        return found

    def _attempt(
        self, work: Work[Result], tags: Collection[str], found: dict[str, Result]
    ) -> dict[str, UpstreamError]:
        """Add the results of requests to `found`, and return the errors of single tags."""
        errors: dict[str, UpstreamError] = {}
        if not tags:
            return errors
        with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(tags)), "mirror-plan") as executor:
            futures = {tag: executor.submit(self._checked, work, tag) for tag in tags}
            try:
                for tag, future in futures.items():
                    try:
                        found[tag] = future.result()
                    except _OF_ONE_TAG as error:
                        errors[tag] = error
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        return errors

    def _count(self) -> None:
        with self._lock:
            self.requests += 1

    def _checked(self, work: Work[Result], tag: str) -> Result:
        self._check()
        with self._source.slot(self._check) as source:
            return work(source, tag)

    def _head(self, source: UpstreamClient, tag: str) -> str | None:
        self._count()
        digest = source.head(tag)
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

    def _creation_date(self, source: UpstreamClient, digest: str) -> datetime | None:
        """Return when an image was created; that of an index is that of its first image."""
        try:
            manifest = self._manifest(source, digest)
            document = json.loads(manifest.content)
            if "config" not in document:
                wanted = selected_digests(manifest.content, self._settings.architectures)
                children = [one["digest"] for one in document.get("manifests") or ()]
                first = next((one for one in children if one in wanted), None)
                if first is None:
                    return None
                document = json.loads(self._manifest(source, first).content)
            config = document["config"]
            if not 0 < config["size"] <= _CONFIG_MAXIMUM:
                return None
            self._check()
            self._count()
            blob = source.blob(Digest.parse(config["digest"]), config["size"])
            return _date_in(b"".join(blob.pieces()))
        except (ManifestUnknown, InvalidDigest, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _manifest(self, source: UpstreamClient, digest: str) -> UpstreamManifest:
        self._check()
        self._count()
        return source.manifest(digest)


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
