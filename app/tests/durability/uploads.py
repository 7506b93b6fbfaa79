"""Uploads in chunks at sites in memory, and what they leave behind."""

from __future__ import annotations

import io

from atoll.registry.upload_session import Body, Upload
from atoll.storage.errors import StoreUnreachable
from atoll.storage.prober import Prober

from .sites import SUPERUSER, MemorySite


def request_body(data: bytes) -> Body:
    """Return a request body of `data`."""
    return Body(io.BytesIO(data), len(data))


def begin_upload(site: MemorySite, *chunks: bytes) -> Upload:
    """Start an upload at `site` and append each of `chunks`."""
    upload = site.graph.uploads.start(site.repository, SUPERUSER)
    for chunk in chunks:
        upload = site.graph.uploads.append(upload, request_body(chunk))
    return upload


def count_uploads(site: MemorySite) -> int:
    """Return the number of recorded uploads."""
    return int(site.database.read("SELECT count(*) FROM blobupload")[0][0])


def count_announcements(site: MemorySite) -> int:
    """Return the number of announced deletions."""
    return int(site.database.read("SELECT count(*) FROM contentdeletion")[0][0])


def age_uploads(site: MemorySite, minutes: int = 3000) -> None:
    """Make the last change of every upload older by `minutes`."""
    site.database.run(
        "UPDATE blobupload SET changed_at = changed_at - make_interval(mins => %s)", [minutes]
    )


def take_down(site: MemorySite, location: str) -> None:
    """Make the store of `location` unavailable, and report that to `site`."""
    site.stores[location].down = True
    site.locations.health.observe(location, StoreUnreachable(location, "down"))


def bring_back(site: MemorySite, location: str) -> None:
    """Make the store of `location` available, and let `site` probe it."""
    site.stores[location].down = False
    Prober(site.stores, site.locations.health).probe_once(site.stores[location])
