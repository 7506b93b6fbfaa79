"""`/repository/{repository}/tag/{tag}` and `manifest/{digest}`: an image or another artifact."""

from __future__ import annotations

import json
from typing import Any

from atoll.auth.access import READ
from atoll.media_types import IMAGE_CONFIG_TYPES
from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

_MANIFEST = "/repository/{repository}/manifest/{digest}"
# Characters of a raw manifest that a page shows.
_RAW_MAXIMUM = 64 * 1024
_HELM = "application/vnd.cncf.helm.config.v1+json"
IMAGE, INDEX, CHART, ARTIFACT = "image", "index", "Helm chart", "artifact"


class TagPage:
    """`/repository/{repository}/tag/{tag}`."""

    @page("image.html.j2")
    def on_get(self, visit: Visit, tag: str) -> dict[str, Any] | None:
        """Show the image of a tag."""
        query = {"manifest": True, "referrers": True}
        image = visit.api("GET", "/repository/{repository}/tag/{tag}/image", query=query, tag=tag)
        period = {name: image[name] for name in ("start_ts", "end_ts") if name in image}
        return _shown(visit, image, tag={"name": tag, **period})


class ManifestPage:
    """`/repository/{repository}/manifest/{digest}`."""

    @page("image.html.j2")
    def on_get(self, visit: Visit, digest: str) -> dict[str, Any] | None:
        """Show an image by its digest, also the copies of the page of a tag while they change."""
        query = {"manifest": True, "referrers": True}
        image = visit.api("GET", f"{_MANIFEST}/image", query=query, digest=digest)
        return _shown(visit, image, tag=None)


def _shown(
    visit: Visit, image: dict[str, Any], *, tag: dict[str, Any] | None
) -> dict[str, Any] | None:
    digest, raw, kind = image["digest"], image["manifest_data"], _kind(image)
    path = f"{_MANIFEST}/replication"
    replication = visit.live(lambda: {"of": digest, **visit.api("GET", path, digest=digest)})
    if replication is None:
        return None
    return {
        "tag": tag,
        "name": visit.call.require(READ),
        "image": image,
        "kind": kind,
        "size": sum(layer["size"] or 0 for layer in image["layers"]),
        "security": kind in {IMAGE, INDEX} and visit.calls.serves(f"{_MANIFEST}/security"),
        "replication": replication,
        "tree": _tree(digest, image["referrers"]["referrers"]),
        "all_referrers": image["referrers"]["complete"],
        "raw": _indented(raw) if len(raw) <= _RAW_MAXIMUM else None,
        "clients": _CLIENTS[kind],
    }


def kind_of(tag: dict[str, Any]) -> str:
    """Return the kind of the image of a tag, as `listRepoTags` describes it with `platforms`."""
    if tag["is_manifest_list"]:
        return INDEX
    if tag["artifact_type"] == _HELM:
        return CHART
    known = tag["artifact_type"] is None or tag["artifact_type"] in IMAGE_CONFIG_TYPES
    return IMAGE if known else ARTIFACT


def _kind(image: dict[str, Any]) -> str:
    if image["platforms"] or "index" in image["media_type"] or "list" in image["media_type"]:
        return INDEX
    if image["artifact_type"] == _HELM:
        return CHART
    return IMAGE if image["configuration"] or image["config_error"] else ARTIFACT


# The commands that pull a reference, by the kind of the manifest.
_IMAGE_CLIENTS = [
    ("podman", "podman pull {}"),
    ("docker", "docker pull {}"),
    ("skopeo", "skopeo copy --all docker://{} oci:image"),
]
_CLIENTS = {
    IMAGE: _IMAGE_CLIENTS,
    INDEX: _IMAGE_CLIENTS,
    CHART: [("helm", "helm pull oci://{}"), ("oras", "oras pull {}")],
    ARTIFACT: [("oras", "oras pull {}")],
}


def _tree(digest: str, referrers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the referrers of a manifest, each with its own in `referrers`."""
    nodes: dict[str, list[dict[str, Any]]] = {digest: []}
    # The referrers of a level come before those of the next one.
    for one in referrers:
        node = {**one, "referrers": nodes.setdefault(one["digest"], [])}
        nodes.setdefault(one["subject"], []).append(node)
    return nodes[digest]


def _indented(raw: str) -> str:
    return json.dumps(json.loads(raw), indent=2, ensure_ascii=False)
