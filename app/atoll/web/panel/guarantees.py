"""`/superuser/guarantees`: the guarantees with live figures, and how these are measured."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

# How the figures of each guarantee are measured, and the page for operators with the details.
MEASURED = {
    "G1": (
        "/superuser/verification",
        "Verification",
        "Lost blobs that operators accepted, and blobs with a copy in quarantine, are looked up"
        " for a good copy at any location; at most 10,000 of each.",
    ),
    "G2": (
        "/superuser/replication",
        "Replication",
        "Each missing copy has a task in the database, which is deleted with"
        " the commit of the copy. Tasks are counted; more than 200,000 are estimated. At risk if an"
        " attempt failed, or a copy has been due for more than 15 minutes.",
    ),
    "G3": (
        "/superuser/verification",
        "Verification",
        "Bytes are hashed when a copy is written, and read again by the scrub. The oldest such"
        " time of all copies is shown. A copy with wrong bytes is put in quarantine and"
        " not read.",
    ),
    "G4": (
        "/superuser",
        "Sites",
        "Each instance probes each store every few seconds, and reports the result with its"
        " heartbeat. Broken if an instance finds every store down.",
    ),
    "G5": (
        "/superuser",
        "Sites",
        "Each instance sends a heartbeat. One is lost if its heartbeats stopped and no other"
        " instance of its site has its role.",
    ),
    "G6": (
        "/superuser",
        "Sites",
        "A removal proves under a lock that each used blob has a good copy elsewhere. Only an"
        " operator who names the number of blobs to lose can remove a location without it.",
    ),
    "G7": (
        "/superuser/garbage",
        "Garbage",
        "Unused blobs are marked, collected after the first time if they are still unused, and"
        " their objects are deleted after the second one. At risk if one of the times is 0.",
    ),
    "G8": (
        "/superuser/config",
        "Configuration",
        "Each instance reports its version and a hash of each key of its bundle. At risk while"
        " they differ, as during an upgrade.",
    ),
    "G9": (
        "/superuser/mirrors",
        "Mirrors",
        "A tag is changed when all parts of its image are in the registry. At risk if a mirror"
        " has had no success for two intervals.",
    ),
}


class GuaranteesPage:
    """`/superuser/guarantees`."""

    @page("guarantees.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show each guarantee with its state, its figures, and how these are measured."""
        found = visit.api("GET", "/superuser/guarantees")["guarantees"]
        linked = {one.path for one in visit.operator_navigation}
        return {"guarantees": found, "measured": MEASURED, "linked": linked}
