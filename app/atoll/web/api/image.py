"""`repository/{repository}/manifest/{digest}/image` and `.../referrers`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NotRequired

from typing_extensions import TypedDict

from atoll.auth.access import READ
from atoll.names import Digest
from atoll.registry.image_details import ImageDetails
from atoll.registry.referrer_tree import ReferrerTree
from atoll.web.api.operation import Call, RequestModel, operation


class ImageQuery(RequestModel):
    """The level of detail."""

    # Whether to add the manifest itself.
    manifest: bool = False


class CopySchema(TypedDict):
    """A copy of a blob at a location; `verified_at` is when its content was last read."""

    location: str
    state: str
    verified_at: str | None


class LayerSchema(TypedDict):
    """A layer, the command that made it, and its copies."""

    digest: str
    media_type: str | None
    size: int | None
    command: str | None
    created: str | None
    copies: list[CopySchema]


class PlatformSchema(TypedDict):
    """An image in an index; `present` if it can be pulled."""

    digest: str
    media_type: str | None
    size: int | None
    platform: str | None
    artifact_type: str | None
    present: bool


class ConfigurationSchema(TypedDict):
    """The configuration of an image."""

    created: str | None
    author: str | None
    platform: str | None
    entrypoint: list[str]
    command: list[str]
    labels: dict[str, str]


class HistorySchema(TypedDict):
    """A step of the build of an image."""

    created: str | None
    command: str | None
    comment: str | None
    empty_layer: bool


class ImageSchema(TypedDict):
    """An image, an index or an artifact.

    `config_error` says why the configuration of an image could not be read from a store. With the
    parameter `manifest`, `manifest_data` is the manifest as it was pushed.
    """

    digest: str
    media_type: str
    artifact_type: str | None
    size: int
    subject: str | None
    annotations: dict[str, str]
    platforms: list[PlatformSchema]
    configuration: ConfigurationSchema | None
    config_error: str | None
    history: list[HistorySchema]
    layers: list[LayerSchema]
    manifest_data: NotRequired[str]


class ReferrerSchema(TypedDict):
    """A manifest that refers to the image, or to another referrer, its `subject`."""

    digest: str
    subject: str
    media_type: str
    artifact_type: str | None
    size: int
    annotations: dict[str, str]


class ReferrersSchema(TypedDict):
    """The referrers of an image, those of the image first; `complete` unless there are more."""

    referrers: list[ReferrerSchema]
    complete: bool


class ImageResource:
    """`repository/{repository}/manifest/{digest}/image`."""

    def __init__(self, details: ImageDetails) -> None:
        self._details = details

    @operation(
        "getManifestImage",
        query=ImageQuery,
        response=ImageSchema,
        scope="repo:read",
        anonymous=True,
    )
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the platforms, the configuration, the history and the layers of an image."""
        result = asdict(self._details.of(call.require(READ), Digest.parse(digest)))
        content: bytes = result.pop("content")
        return {**result, "manifest_data": content.decode()} if call.query.manifest else result


class ImageReferrers:
    """`repository/{repository}/manifest/{digest}/referrers`."""

    def __init__(self, tree: ReferrerTree) -> None:
        self._tree = tree

    @operation("getManifestReferrers", response=ReferrersSchema, scope="repo:read", anonymous=True)
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the signatures and other artifacts of an image, and their referrers in turn."""
        found = self._tree.of(call.require(READ), Digest.parse(digest))
        return {"referrers": [asdict(one) for one in found.referrers], "complete": found.complete}
