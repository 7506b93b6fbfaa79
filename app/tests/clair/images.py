"""Reports of images that were not recorded, made from recorded ones."""

from __future__ import annotations

import functools
import json
from typing import Any

# Relative, because the directory stands alone in a container image.
from .recordings import recording, recordings

# The recorded reports of the small image, by the state of the advisories.
_REPORTS_OF_SMALL = {1: "06", 2: "156", 3: "161"}
_REPORT_OF_DEBIAN = "15"
_REPORT_OF_DATA_ONLY = "70"
_CREATED = 201


@functools.cache
def _indexed() -> dict[tuple[str, ...], str]:
    """The recordings of successful index requests by the digests of the layers."""
    found: dict[tuple[str, ...], str] = {}
    for one in recordings():
        if one.method == "POST" and one.response and one.response.status == _CREATED:
            found.setdefault(tuple(layer["hash"] for layer in one.request_body["layers"]), one.name)
    return found


def index_report(digest: str, layers: list[str]) -> dict[str, Any]:
    """Return the index report of an image.

    Args:
        digest: The digest of its manifest.
        layers: The digests of its layers. Of layers that were not recorded, the report is that of
            the small image, whose packages are then in the first layer.
    """
    name = _indexed().get(tuple(layers), "03-")
    return _of_image(_document(name.partition("-")[0]), digest, layers)


def vulnerability_report(index: dict[str, Any], tracker: int) -> dict[str, Any]:
    """Return the vulnerability report of an image.

    Args:
        index: Its index report.
        tracker: The state of the advisories.
    """
    packages = index["packages"]
    layers = [one["introduced_in"] for found in index["environments"].values() for one in found]
    number = _REPORTS_OF_SMALL[tracker]
    if len(packages) == len(_document("13")["packages"]):
        # Its layers are recorded, so they need not be replaced.
        number, layers = _REPORT_OF_DEBIAN, []
    elif not packages:
        number = _REPORT_OF_DATA_ONLY
    return _of_image(_document(number), index["manifest_hash"], layers)


def changes(digest: str, number: str = "163") -> list[dict[str, Any]]:
    """Return recorded changes as those of another image.

    Args:
        digest: The digest of its manifest.
        number: The recording of a page; 163 has one change per vulnerability.
    """
    return [{**one, "manifest": digest} for one in _document(number)["notifications"]]


def _document(number: str) -> dict[str, Any]:
    response = recording(number).response
    assert response is not None
    document: dict[str, Any] = response.document
    return document


def _of_image(document: dict[str, Any], digest: str, layers: list[str]) -> dict[str, Any]:
    """Return a report as that of another image; packages of unknown layers move to the first."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    copy["manifest_hash"] = digest
    for found in copy["environments"].values():
        for one in found:
            if layers and one["introduced_in"] not in layers:
                one["introduced_in"] = layers[0]
    return copy
