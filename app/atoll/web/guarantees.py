"""The guarantees of the registry, and the figures that show whether they are kept now.

`docs/explanation/guarantees.md` describes each guarantee, and how its figures are measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.mirroring.status import MirrorSummary
from atoll.placement.checks.missing_blobs import MissingBlobs
from atoll.placement.locations.contents import LocationContents
from atoll.placement.status import StatusReport
from atoll.placement.upkeep.garbage_status import DeletionBacklog, Waiting
from atoll.storage.states import DRAINING, REMOVED

KEPT, AT_RISK, BROKEN, UNKNOWN = "kept", "at risk", "broken", "unknown"
# Seconds for which a copy may be pending, as in the alert AtollReplicationLag.
LAG_MAXIMUM = 900
COUNT, BYTES, SECONDS, TIME = "count", "bytes", "seconds", "time"


@dataclass(frozen=True)
class Figure:
    """A figure of a guarantee.

    Attributes:
        name: What it is.
        value: A number, or a time in RFC 3339; None if there is nothing to measure.
        unit: `count`, `bytes`, `seconds` or `time`.
    """

    name: str
    value: float | str | None
    unit: str = COUNT


@dataclass(frozen=True)
class Guarantee:
    """A guarantee.

    Attributes:
        id: Its name, G1 to G9.
        text: What is guaranteed.
        state: `kept`; `at risk` if another failure, or more time, may break it; `broken`; or
            `unknown` if no instance reports what is measured.
        figures: The figures by which the state is determined.
    """

    id: str
    text: str
    state: str
    figures: list[Figure]


@dataclass(frozen=True)
class Measurements:
    """What the figures are taken from; `grace` and `window` are settings in seconds."""

    status: StatusReport
    contents: Mapping[str, LocationContents]
    missing: MissingBlobs
    marked: Waiting
    deletions: list[DeletionBacklog]
    mirrors: MirrorSummary
    grace: float
    window: float


def guarantees(measured: Measurements) -> list[Guarantee]:
    """Return all guarantees in their order."""
    return [
        _no_loss(measured.missing),
        _all_locations(measured.status),
        _right_bytes(measured.contents),
        _failed_stores(measured.status),
        _independent_sites(measured.status),
        _safe_removal(measured),
        _late_deletion(measured),
        _one_configuration(measured.status),
        _complete_mirrors(measured.mirrors),
    ]


def _state(*, risk: bool, broken: bool = False, known: bool = True) -> str:
    if broken:
        return BROKEN
    if risk:
        return AT_RISK
    return KEPT if known else UNKNOWN


def _no_loss(missing: MissingBlobs) -> Guarantee:
    return Guarantee(
        "G1",
        "An acknowledged blob is never lost.",
        _state(risk=missing.suspect > 0, broken=missing.missing > 0),
        [
            Figure("blobs without a good copy", missing.missing),
            Figure("blobs with a copy in quarantine", missing.suspect),
        ],
    )


def _all_locations(status: StatusReport) -> Guarantee:
    entries = [one for one in status.locations if one.state != REMOVED]
    oldest = max((one.oldest_seconds for one in entries), default=0.0)
    failing = sum(one.failing_blobs for one in entries)
    return Guarantee(
        "G2",
        "Every blob reaches every location that requires it.",
        _state(risk=failing > 0 or oldest > LAG_MAXIMUM),
        [
            Figure("pending copies", sum(one.pending_blobs for one in entries)),
            Figure("pending bytes", sum(one.pending_bytes for one in entries), BYTES),
            Figure("age of the oldest pending copy", oldest, SECONDS),
            Figure("copies whose last attempt failed", failing),
        ],
    )


def _right_bytes(contents: Mapping[str, LocationContents]) -> Guarantee:
    verified = [one.verified_since for one in contents.values() if one.verified_since]
    quarantined = sum(one.quarantined for one in contents.values())
    doubted = sum(one.doubted for one in contents.values())
    return Guarantee(
        "G3",
        "Clients get the bytes that were pushed.",
        _state(risk=quarantined > 0 or doubted > 0),
        [
            Figure(
                "all copies verified since", min(verified).isoformat() if verified else None, TIME
            ),
            Figure("copies in quarantine", quarantined),
            Figure("doubted copies", doubted),
        ],
    )


def _failed_stores(status: StatusReport) -> Guarantee:
    alive = [one for one in status.instances if not one.lost]
    down = {
        entry.location
        for entry in status.locations
        if entry.state != REMOVED and status.down_at(entry.location)
    }
    # An instance without any store can neither serve blobs nor accept them.
    without = sum(
        1
        for one in alive
        if one.stores and all(store.get("up") is False for store in one.stores.values())
    )
    return Guarantee(
        "G4",
        "A failed store does not stop pulls and pushes.",
        _state(risk=bool(down), broken=without > 0, known=bool(alive)),
        [
            Figure("stores that an instance finds down", len(down)),
            Figure("instances without any store", without),
        ],
    )


def _independent_sites(status: StatusReport) -> Guarantee:
    alive = [one for one in status.instances if not one.lost]
    lost = len(status.instances) - len(alive)
    return Guarantee(
        "G5",
        "A site serves while other sites are unavailable.",
        _state(risk=lost > 0, known=bool(alive)),
        [
            Figure("sites with running instances", len({one.preference[0] for one in alive})),
            Figure("running instances", len(alive)),
            Figure("lost instances", lost),
        ],
    )


def _safe_removal(measured: Measurements) -> Guarantee:
    states = [one.state for one in measured.status.locations]
    return Guarantee(
        "G6",
        "No location is removed while a blob depends on it.",
        _state(risk=False, broken=measured.missing.accepted > 0),
        [
            Figure("locations that are drained", states.count(DRAINING)),
            Figure("locations that are being removed", states.count(REMOVED)),
            Figure("blobs whose loss was accepted", measured.missing.accepted),
        ],
    )


def _late_deletion(measured: Measurements) -> Guarantee:
    return Guarantee(
        "G7",
        "Nothing is deleted while it may be needed.",
        _state(risk=measured.grace == 0 or measured.window == 0),
        [
            Figure("time until an unused blob is collected", measured.grace, SECONDS),
            Figure("time until its objects are deleted", measured.window, SECONDS),
            Figure("unused blobs that are still kept", measured.marked.number),
            Figure("objects to delete", sum(one.objects for one in measured.deletions)),
        ],
    )


def _one_configuration(status: StatusReport) -> Guarantee:
    alive = [one for one in status.instances if not one.lost]
    drifting = sum(1 for one in alive if one.drift)
    versions = len({one.version for one in alive})
    return Guarantee(
        "G8",
        "All instances run one configuration and one version.",
        _state(risk=drifting > 0 or versions > 1, known=bool(alive)),
        [
            Figure("instances whose bundle differs", drifting),
            Figure("versions that run", versions),
        ],
    )


def _complete_mirrors(mirrors: MirrorSummary) -> Guarantee:
    overdue = len(mirrors.overdue)
    return Guarantee(
        "G9",
        "A mirrored tag names a complete image, and failed runs are repeated.",
        _state(risk=overdue > 0),
        [
            Figure("active mirrors", mirrors.active),
            Figure("mirrors whose last run failed", mirrors.failed),
            Figure("mirrors without a recent success", overdue),
        ],
    )
