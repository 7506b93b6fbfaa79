"""`…/pull_statistics`: the number of pulls of a tag or manifest."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.audit.statistics import PullCount, PullStatistics
from atoll.names import Digest, parse_tag
from atoll.registry.manifests import Manifests
from atoll.web.api.operation import Call, operation
from atoll.web.api.schemas import http_date


class ManifestStatistics(TypedDict):
    """Pulls of a manifest, by digest and by tag."""

    manifest_digest: str
    manifest_pull_count: int
    last_manifest_pull_date: str | None


class TagStatistics(TypedDict):
    """Pulls by a tag, and pulls of its current manifest."""

    tag_name: str
    tag_pull_count: int
    last_tag_pull_date: str | None
    current_manifest_digest: str
    manifest_pull_count: int
    last_manifest_pull_date: str | None


class _Statistics:
    """Base of the resources."""

    def __init__(self, statistics: PullStatistics, manifests: Manifests) -> None:
        self._statistics = statistics
        self._manifests = manifests


class TagPullStatistics(_Statistics):
    """`repository/{repository}/tag/{tag}/pull_statistics`."""

    @operation("getTagPullStatistics", response=TagStatistics, scope="repo:read")
    def on_get(self, call: Call, tag: str) -> Any:
        """Get the number of pulls of a tag."""
        name = call.require_personal()
        digest = str(self._manifests.get(name, parse_tag(tag)).digest)
        by_tag, of_manifest = self._statistics.get(name, tag, digest)
        return {
            "tag_name": tag,
            "tag_pull_count": by_tag.count,
            "last_tag_pull_date": http_date(by_tag.last),
            "current_manifest_digest": digest,
            **_of_manifest(of_manifest),
        }


class ManifestPullStatistics(_Statistics):
    """`repository/{repository}/manifest/{digest}/pull_statistics`."""

    @operation("getManifestPullStatistics", response=ManifestStatistics, scope="repo:read")
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the number of pulls of a manifest."""
        name = call.require_personal()
        found = str(self._manifests.get(name, str(Digest.parse(digest))).digest)
        _, of_manifest = self._statistics.get(name, None, found)
        return {"manifest_digest": found, **_of_manifest(of_manifest)}


def _of_manifest(pulled: PullCount) -> dict[str, Any]:
    return {
        "manifest_pull_count": pulled.count,
        "last_manifest_pull_date": http_date(pulled.last),
    }
