"""Errors of the life cycle of a location. Each message names the problem and the remedy.

LocationError
├── LocationUnknown
├── LossNotAccepted
├── ReplicationDisabled
├── StoreInUse
└── ChangeRefused
    ├── LocationsBusy
    ├── SoleCopiesRemain
    └── StoreUnreachable
"""

from __future__ import annotations

from atoll.errors import UserError


class LocationError(UserError):
    """Base class of the errors of the life cycle of a location."""


class LocationUnknown(LocationError):
    """There is no such location, or no removal of it is under way."""


class LossNotAccepted(LocationError):
    """The number of blobs that would be lost is not the number that was accepted."""


class ReplicationDisabled(LocationError):
    """Nothing copies blobs, so a drain would never end."""

    def __init__(self) -> None:
        super().__init__(
            "FEATURE_STORAGE_REPLICATION is not true in the bundle: there is nothing to replicate"
        )


class StoreInUse(LocationError):
    """The store of a location must not be emptied, because it is, or may be, in use."""


class ChangeRefused(LocationError):
    """The location cannot be removed, or its state cannot be changed."""


class LocationsBusy(ChangeRefused):
    """Another command is removing a location or changing its state."""


class SoleCopiesRemain(ChangeRefused):
    """Blobs have their sole copy at the location."""


class StoreUnreachable(ChangeRefused):
    """Blobs have their sole copy at the location, and no instance can read from its store."""
