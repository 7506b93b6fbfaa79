"""Placements, tasks and policies of a test site."""

from __future__ import annotations

from atoll.placement.delete_queue import DeleteQueue
from atoll.placement.policies import Policies, Policy, Subject
from atoll.placement.tasks import Tasks

from .site import Site

REQUIRED = ["usstorage", "eustorage"]
THIRD = "asiastorage"


def placements(site: Site, digest: str, state: str = "good") -> set[str]:
    """Return the locations of a blob's placements in a state."""
    rows = site.services.database.read(
        "SELECT l.name FROM imagestorageplacement p"
        " JOIN imagestorage s ON s.id = p.storage_id"
        " JOIN imagestoragelocation l ON l.id = p.location_id"
        " WHERE s.content_checksum = %s AND p.state = %s",
        [digest, state],
    )
    return {row[0] for row in rows}


def both_locations() -> set[str]:
    return {"usstorage", "eustorage"}


def object_key(digest: str) -> str:
    """Return the key of a blob in the bucket."""
    hexadecimal = digest.partition(":")[2]
    return f"datastorage/registry/sha256/{hexadecimal[:2]}/{hexadecimal}"


def location_states(site: Site) -> dict[str, str]:
    return dict(site.services.database.read("SELECT name, state FROM imagestoragelocation"))


def place_everything(site: Site, location: str) -> None:
    """Place everything at a location as its worker would; the bytes do not matter here."""
    tasks = Tasks(site.services.database, location)
    while claimed := tasks.claim():
        tasks.finish(claimed)


def quarantine(site: Site, digest: str, location: str) -> None:
    """Quarantine a placement, as a failed verification does."""
    rows = site.services.database.read(
        "SELECT id FROM imagestorage WHERE content_checksum = %s", [digest]
    )
    site.services.database.run(
        "UPDATE imagestorageplacement p SET state = 'suspect' FROM imagestoragelocation l"
        " WHERE l.id = p.location_id AND l.name = %s AND p.storage_id = %s",
        [location, rows[0][0]],
    )
    site.services.redis.delete(f"atoll:placements:{digest}")


def delete_queue(site: Site, location: str) -> DeleteQueue:
    return DeleteQueue(site.services.database, site.services.content, location)


def policies(site: Site) -> Policies:
    return Policies(site.services.database, REQUIRED)


def exclude(site: Site, subject: str, *locations: str) -> None:
    """Set a policy that excludes locations for a repository or namespace."""
    policies(site).set(Subject.parse(subject), Policy(excluded=locations))
