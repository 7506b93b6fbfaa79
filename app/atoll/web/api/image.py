"""`repository/{repository}/manifest/{digest}/image`, the same of a tag, and `.../referrers`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, NotRequired

from typing_extensions import TypedDict

from atoll.auth.access import READ
from atoll.names import Digest, parse_tag
from atoll.registry.image_details import Details, ImageDetails
from atoll.registry.referrer_tree import Referrers, ReferrerTree
from atoll.web.api.operation import Call, RequestModel, operation


class ImageQuery(RequestModel):
    """The level of detail."""

    # Whether to add the manifest itself, and the referrers of the image.
    manifest: bool = False
    referrers: bool = False


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


class ImageSchema(TypedDict):
    """An image, an index or an artifact.

    `config_error` says why the configuration of an image could not be read from a store. With the
    parameter `manifest`, `manifest_data` is the manifest as it was pushed; with `referrers`, there
    is the response of `getManifestReferrers`. The image of a tag has the time at which the tag got
    it and, if the tag expires, the time of that, in seconds since 1970.
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
    referrers: NotRequired[ReferrersSchema]
    start_ts: NotRequired[int]
    end_ts: NotRequired[int]


class _ImageBase:
    """Base of the resources."""

    def __init__(self, details: ImageDetails) -> None:
        self._details = details

    def _image(self, call: Call, reference: Digest | str) -> dict[str, Any]:
        query: ImageQuery = call.query
        found = self._details.of(call.require(READ), reference, referrers=query.referrers)
        return serialize_image(found, manifest=query.manifest)


class ImageResource(_ImageBase):
    """`repository/{repository}/manifest/{digest}/image`."""

    @operation(
        "getManifestImage",
        query=ImageQuery,
        response=ImageSchema,
        scope="repo:read",
        anonymous=True,
    )
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the platforms, the configuration, the history and the layers of an image."""
        return self._image(call, Digest.parse(digest))


class TagImage(_ImageBase):
    """`repository/{repository}/tag/{tag}/image`."""

    @operation(
        "getTagImage",
        query=ImageQuery,
        response=ImageSchema,
        scope="repo:read",
        anonymous=True,
    )
    def on_get(self, call: Call, tag: str) -> Any:
        """Get the platforms, the configuration, the history and the layers of a tag's image."""
        return self._image(call, parse_tag(tag))


class ImageReferrers:
    """`repository/{repository}/manifest/{digest}/referrers`."""

    def __init__(self, tree: ReferrerTree) -> None:
        self._tree = tree

    @operation("getManifestReferrers", response=ReferrersSchema, scope="repo:read", anonymous=True)
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the signatures and other artifacts of an image, and their referrers in turn."""
        return _serialize(self._tree.of(call.require(READ), Digest.parse(digest)))


def _serialize(found: Referrers) -> dict[str, Any]:
    return {"referrers": [asdict(one) for one in found.referrers], "complete": found.complete}


def serialize_image(found: Details, *, manifest: bool) -> dict[str, Any]:
    """Return the response schema of an image, with the manifest if it was requested."""
    result = asdict(found)
    for name in ("content", "start_ms", "end_ms", "referrers"):
        del result[name]
    if manifest:
        result["manifest_data"] = found.content.decode()
    if found.referrers is not None:
        result["referrers"] = _serialize(found.referrers)
    for name, moment in (("start_ts", found.start_ms), ("end_ts", found.end_ms)):
        if moment is not None:
            result[name] = moment // 1000
    return result
