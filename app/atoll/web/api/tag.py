"""`repository/{repository}/tag/`: tags and their history (Quay's time machine)."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, NotRequired

from pydantic import Field, field_validator
from typing_extensions import TypedDict

from atoll.auth.access import ADMIN, READ, WRITE
from atoll.names import Digest, RepositoryName, parse_tag
from atoll.registry.image_completeness import ImageCompleteness
from atoll.registry.manifest_fields import artifact_type_of, platforms_of
from atoll.registry.tag_history import Position, TagEntry, TagHistory
from atoll.registry.tags import Tags
from atoll.scanning.scan_summary import ScanSummarySchema, scan_summary
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.replication_policy import CompletenessSchema
from atoll.web.api.schemas import http_date

# The year 9999, after which there are no dates.
_EXPIRATION_MAXIMUM = 253_402_300_800


class TagQuery(RequestModel):
    """A selection of tags, and the page of results."""

    only_active_tags: bool = Field(default=False, alias="onlyActiveTags")
    specific_tag: str | None = Field(default=None, alias="specificTag", max_length=128)
    filter_tag_name: str | None = Field(default=None, pattern="^(like|eq):.{1,128}$")
    limit: int = Field(default=50, ge=1, le=100)
    page: int = Field(default=1, ge=1, le=1_000_000)
    # Not Quay's: the position of the page that `next_page` of the previous one returned. Unlike
    # with a number, entries that come meanwhile do not shift the pages.
    next_page: str | None = Field(default=None, max_length=200)
    # Not Quay's: whether to add the locations at which the images of active tags are complete.
    replication: bool = False
    # Not Quay's: whether to add the type of each artifact, and the platforms of indexes.
    platforms: bool = False
    # Not Quay's: whether to add the pulls by each tag, as `pull_statistics` counts them.
    pulls: bool = False
    # Not Quay's: whether to add the status of the security scan, and the counts by severity.
    security: bool = False


class ManifestReference(RequestModel):
    """A reference to a manifest."""

    manifest_digest: str

    @field_validator("manifest_digest")
    @classmethod
    def _is_digest(cls, value: str) -> str:
        return str(Digest.parse(value))


class TagChange(RequestModel):
    """The new manifest of a tag, or its expiry in seconds since 1970."""

    manifest_digest: str | None = Field(default=None, max_length=200)
    expiration: int | None = Field(default=None, ge=0, lt=_EXPIRATION_MAXIMUM)

    @field_validator("manifest_digest")
    @classmethod
    def _is_digest(cls, value: str | None) -> str | None:
        return None if value is None else str(Digest.parse(value))


class Expiry(RequestModel):
    """The history to delete: all of it, or the entries of one manifest."""

    manifest_digest: str | None = Field(default=None, max_length=200)


class TagSchema(TypedDict):
    """An entry in the history of a tag; times in seconds since 1970.

    With the parameter `replication`, an active tag has the locations at which it is complete. An
    index has the number of manifests that it lists, and of those that can be pulled; if these
    differ, also a map from each digest to whether it can be pulled. With the parameter `platforms`,
    an entry has the type of its artifact and an index its platforms, unless its manifest has more
    than 64 KiB. With the parameter `pulls`, it has the number of pulls by the tag, and the last.
    With the parameter `security`, it has the result of the security scan.
    """

    name: str
    start_ts: int
    end_ts: NotRequired[int]
    manifest_digest: str
    is_manifest_list: bool
    size: int | None
    reversion: bool
    last_modified: str | None
    expiration: NotRequired[str | None]
    is_sparse: NotRequired[bool]
    child_manifest_count: NotRequired[int]
    present_child_count: NotRequired[int]
    child_manifests_presence: NotRequired[dict[str, bool]]
    replication: NotRequired[CompletenessSchema]
    artifact_type: NotRequired[str | None]
    platforms: NotRequired[list[str]]
    tag_pull_count: NotRequired[int]
    last_tag_pull_date: NotRequired[str | None]
    security: NotRequired[ScanSummarySchema]


class TagPage(TypedDict):
    """A page of the history of tags; `next_page` is the position of the next one."""

    tags: list[TagSchema]
    page: int
    has_additional: bool
    next_page: NotRequired[str]


class TagList:
    """`repository/{repository}/tag/`."""

    def __init__(
        self,
        history: TagHistory,
        completeness: ImageCompleteness,
        *,
        counted: bool,
        scanned: bool,
    ) -> None:
        """Make the resource.

        Args:
            history: The tags of all repositories.
            completeness: The copies of their images.
            counted: FEATURE_IMAGE_PULL_STATS.
            scanned: FEATURE_SECURITY_SCANNER.
        """
        self._scanned = scanned
        self._history = history
        self._completeness = completeness
        self._counted = counted

    @operation("listRepoTags", query=TagQuery, response=TagPage, scope="repo:read", anonymous=True)
    def on_get(self, call: Call) -> Any:
        """List tags and, unless onlyActiveTags is set, their history."""
        name = call.require(READ)
        query: TagQuery = call.query
        if query.pulls:
            self._require_pulls(call)
        if query.security and not self._scanned:
            raise InvalidRequest("security: FEATURE_SECURITY_SCANNER is not true")
        operator, _, text = (query.filter_tag_name or "").partition(":")
        entries, more = self._history.list(
            name,
            active=query.only_active_tags,
            tag=text if operator == "eq" else query.specific_tag or None,
            like=text if operator == "like" else None,
            limit=query.limit,
            page=query.page,
            after=Position.parse(query.next_page) if query.next_page else None,
            details=query.platforms,
            pulls=query.pulls,
            security=query.security,
        )
        tags = [
            {
                **_serialize(entry),
                **(_contents(entry) if query.platforms else {}),
                **(_pulls(entry) if query.pulls else {}),
                **({"security": scan_summary(entry.scans)} if entry.scans is not None else {}),
            }
            for entry in entries
        ]
        if query.replication:
            self._add_replication(name, tags)
        response = {"tags": tags, "page": query.page, "has_additional": more}
        return {**response, "next_page": str(entries[-1].position)} if more else response

    def _require_pulls(self, call: Call) -> None:
        """Require what `pull_statistics` requires. Raises InvalidRequest, or as `require`."""
        if not self._counted:
            raise InvalidRequest("pulls: FEATURE_IMAGE_PULL_STATS is not true")
        call.require_personal()

    def _add_replication(self, name: RepositoryName, tags: list[dict[str, Any]]) -> None:
        """Add the completeness of active tags, of which there is one of each name."""
        found = self._completeness.of_tags(name, [one["name"] for one in tags])
        for one in tags:
            image = found.get(one["name"])
            if image is not None and image.digest == one["manifest_digest"] and _is_active(one):
                one["replication"] = image.as_dict()


class TagResource:
    """`repository/{repository}/tag/{tag}`."""

    def __init__(self, history: TagHistory, tags: Tags, *, changeable: bool) -> None:
        self._history = history
        self._tags = tags
        self._changeable = changeable

    @operation("changeTag", body=TagChange, status=201, response=str, scope="repo:write")
    def on_put(self, call: Call, tag: str) -> Any:
        """Point a tag to a manifest in the repository, or set its expiry."""
        name = call.require_writable(WRITE)
        change: TagChange = call.body
        sets_expiration = "expiration" in change.model_fields_set
        if not sets_expiration and change.manifest_digest is None:
            raise InvalidRequest("give manifest_digest, expiration, or both")
        if sets_expiration and not self._changeable:
            raise InvalidRequest("FEATURE_CHANGE_TAG_EXPIRATION is not set")
        if sets_expiration and change.expiration is not None and change.expiration <= time.time():
            raise InvalidRequest("expiration: must be in the future")
        if change.manifest_digest is not None:
            self._history.point(name, parse_tag(tag), change.manifest_digest)
            call.log("move_tag", name.namespace, tag=tag, manifest_digest=change.manifest_digest)
        if sets_expiration:
            moment = change.expiration
            self._tags.expire(name, parse_tag(tag), None if moment is None else moment * 1000)
            call.log("change_tag_expiration", name.namespace, tag=tag, expiration_date=moment)
        return "Updated"

    @operation("deleteFullTag", status=204, scope="repo:write")
    def on_delete(self, call: Call, tag: str) -> None:
        """Delete a tag, which can be restored for a limited time."""
        name = call.require_writable(WRITE)
        self._tags.delete(name, tag)
        call.log("delete_tag", name.namespace, tag=tag)


class RestoreTag:
    """`repository/{repository}/tag/{tag}/restore`."""

    def __init__(self, history: TagHistory) -> None:
        self._history = history

    @operation("restoreTag", body=ManifestReference, scope="repo:write")
    def on_post(self, call: Call, tag: str) -> Any:
        """Restore a tag to an earlier manifest."""
        name = call.require_writable(WRITE)
        digest = call.body.manifest_digest
        self._history.restore(name, parse_tag(tag), digest)
        call.log("revert_tag", name.namespace, tag=tag, manifest_digest=digest)
        return {}


class ExpireTag:
    """`repository/{repository}/tag/{tag}/expire`."""

    def __init__(self, history: TagHistory) -> None:
        self._history = history

    @operation("removeTagFromTimemachine", body=Expiry, response=str, scope="repo:admin")
    def on_post(self, call: Call, tag: str) -> Any:
        """Delete the history of a tag, so that it cannot be restored."""
        name = call.require_writable(ADMIN)
        self._history.expire(name, tag, call.body.manifest_digest)
        call.log("permanently_delete_tag", name.namespace, tag=tag)
        return ""


def tag_dates(entry: TagEntry) -> dict[str, str | None]:
    """Return the dates at which an entry in a tag's history began and ended."""
    began = datetime.fromtimestamp(entry.start_ms / 1000, UTC)
    ended = datetime.fromtimestamp(entry.end_ms / 1000, UTC) if entry.end_ms else None
    dates = {"last_modified": http_date(began)}
    return {**dates, "expiration": http_date(ended)} if ended else dates


def _serialize(entry: TagEntry) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": entry.name,
        "start_ts": entry.start_ms // 1000,
        "manifest_digest": entry.digest,
        "is_manifest_list": entry.is_list,
        "size": None if entry.is_list else entry.size,
        "reversion": entry.reversion,
        **tag_dates(entry),
        **(_presence(entry.listed) if entry.listed is not None else {}),
    }
    return {**result, "end_ts": entry.end_ms // 1000} if entry.end_ms else result


def _contents(entry: TagEntry) -> dict[str, Any]:
    """Return the type of an artifact and the platforms of an index, as far as they were read."""
    if entry.content is None:
        return {"artifact_type": None}
    document = json.loads(entry.content)
    result: dict[str, Any] = {"artifact_type": artifact_type_of(document)}
    return {**result, "platforms": platforms_of(document)} if entry.is_list else result


def _pulls(entry: TagEntry) -> dict[str, Any]:
    return {
        "tag_pull_count": entry.pulls or 0,
        "last_tag_pull_date": http_date(entry.last_pull),
    }


def _is_active(tag: dict[str, Any]) -> bool:
    return "end_ts" not in tag or tag["end_ts"] > time.time()


def _presence(listed: dict[str, bool]) -> dict[str, Any]:
    """Return the fields that describe which manifests of an index can be pulled."""
    present = sum(listed.values())
    counts = {
        "is_sparse": present < len(listed),
        "child_manifest_count": len(listed),
        "present_child_count": present,
    }
    return {**counts, "child_manifests_presence": listed} if counts["is_sparse"] else counts
