"""`repository/{repository}/manifest/{digest}` and its labels."""

from __future__ import annotations

import json
from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.access import READ, WRITE
from atoll.names import Digest
from atoll.registry.expiry_label import EXPIRES_AFTER, seconds_of
from atoll.registry.labels import Label, Labels
from atoll.registry.manifests import Manifests
from atoll.registry.tags import Tags
from atoll.web.api.errors import NotFound
from atoll.web.api.operation import Call, RequestModel, operation


class NewLabel(RequestModel):
    """A label to add to a manifest."""

    key: str = Field(min_length=1, max_length=255, pattern=r"^[a-z0-9][a-z0-9.\-/]*$")
    value: str = Field(max_length=65536)
    media_type: Literal["text/plain", "application/json", None] = None


class LabelQuery(RequestModel):
    """A selection of labels."""

    filter: str = Field(default="", max_length=255)


class ManifestResource:
    """`repository/{repository}/manifest/{digest}`."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests

    @operation("getRepoManifest", scope="repo:read", anonymous=True)
    def on_get(self, call: Call, digest: str) -> Any:
        """Get a manifest."""
        name = call.require(READ)
        manifest = self._manifests.get(name, str(Digest.parse(digest)))
        document = json.loads(manifest.content)
        layers = document.get("layers")
        sizes = [layer.get("size") for layer in layers or [] if isinstance(layer, dict)]
        return {
            "digest": str(manifest.digest),
            "is_manifest_list": "manifests" in document,
            "manifest_data": manifest.content.decode(),
            "config_media_type": (document.get("config") or {}).get("mediaType"),
            "layers": [
                {"index": index, "blob_digest": layer.get("digest"), "size": layer.get("size")}
                for index, layer in enumerate(layers)
                if isinstance(layer, dict)
            ]
            if isinstance(layers, list)
            else None,
            "layers_compressed_size": sum(size for size in sizes if isinstance(size, int)),
        }


class LabelSchema(TypedDict):
    """A label."""

    id: str
    key: str
    value: str
    source_type: str
    media_type: str


class LabelList:
    """`repository/{repository}/manifest/{digest}/labels`."""

    def __init__(self, labels: Labels, manifests: Manifests, tags: Tags) -> None:
        self._tags = tags
        self._labels = labels
        self._manifests = manifests

    @operation(
        "listManifestLabels",
        query=LabelQuery,
        response=dict[str, list[LabelSchema]],
        scope="repo:read",
        anonymous=True,
    )
    def on_get(self, call: Call, digest: str) -> Any:
        """List the labels of a manifest."""
        name = call.require(READ)
        self._manifests.get(name, str(Digest.parse(digest)))
        found = self._labels.list(name, digest, call.query.filter)
        return {"labels": [_serialize(label) for label in found]}

    @operation(
        "addManifestLabel",
        body=NewLabel,
        status=201,
        response=dict[str, LabelSchema],
        scope="repo:write",
    )
    def on_post(self, call: Call, digest: str) -> Any:
        """Add a label to a manifest."""
        name = call.require_writable(WRITE)
        new: NewLabel = call.body
        label = self._labels.add(name, digest, new.key, new.value, new.media_type or "text/plain")
        seconds = seconds_of(new.value) if new.key == EXPIRES_AFTER else None
        if seconds is not None:
            self._tags.expire_all_of(name, digest, seconds)
        call.log("manifest_label_add", name.namespace, key=label.key, manifest_digest=digest)
        return {"label": _serialize(label)}


class LabelResource:
    """`repository/{repository}/manifest/{digest}/labels/{uuid}`."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels

    @operation("getManifestLabel", response=LabelSchema, scope="repo:read", anonymous=True)
    def on_get(self, call: Call, digest: str, uuid: UUID) -> Any:
        """Get a label of a manifest."""
        for label in self._labels.list(call.require(READ), digest, uuid=uuid):
            return _serialize(label)
        raise NotFound(f"the manifest has no label {uuid}")

    @operation("deleteManifestLabel", status=204, scope="repo:write")
    def on_delete(self, call: Call, digest: str, uuid: UUID) -> None:
        """Delete a label of a manifest."""
        name = call.require_writable(WRITE)
        label = self._labels.delete(name, digest, uuid)
        call.log("manifest_label_delete", name.namespace, key=label.key, manifest_digest=digest)


def _serialize(label: Label) -> LabelSchema:
    return {
        "id": str(label.uuid),
        "key": label.key,
        "value": label.value,
        "source_type": "api",
        "media_type": label.media_type,
    }
