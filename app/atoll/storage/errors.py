"""Errors of stores.

StoreError
├── StoreUnavailable    a temporary error, or a broken connection
│   ├── StoreRefused    permission denied
│   │   └── LocationMismatch   bucket and path belong to another location; nothing was requested
│   ├── StoreFull       no space left
│   ├── InvalidStoreResponse   an answer that does not fit the request
│   │   └── WriteNotProven     a write reported as done without proof
│   ├── OutcomeUnknown  no usable answer to a request that may be carried out nevertheless
│   └── NoAnswer        no answer at all
│       ├── StoreUnreachable   connection refused, or no address or route
│       └── StoreTimeout       no answer in time
├── ObjectChanged      the object was replaced meanwhile
├── ObjectMissing      the store is available and does not have the object
├── ObjectTooShort     the store is available and has only the beginning of the object
└── NoHealthyStore     no candidate store is available
    └── NoAllowedStore the repository's policy excludes the stores that are available
"""

from __future__ import annotations

from atoll.periodic import ServiceUnavailable


class StoreError(Exception):
    """Base of the errors of stores."""


class StoreUnavailable(StoreError, ServiceUnavailable):
    """The store did not serve a request.

    Unless it is a NoAnswer, the store answered or closed the connection, and the reason may be the
    requested object alone: nothing follows for other objects until a probe has failed.

    Attributes:
        location: the store's location.
        cause: the reason, for the log.
    """

    event = "store unavailable"

    def __init__(self, location: str, cause: str) -> None:
        super().__init__(f"the store of location '{location}' is unavailable: {cause}")
        self.location = location
        self.cause = cause


class StoreRefused(StoreUnavailable):
    """The store denies permission; an operator has to correct its credentials."""


class StoreFull(StoreUnavailable):
    """The store has no space left, on disk or in a quota; it can still be read."""


class InvalidStoreResponse(StoreUnavailable):
    """The store's answer does not fit the request, such as a proxy's error page.

    The store, or a proxy in front of it, is unreliable for all objects.
    """


class WriteNotProven(InvalidStoreResponse):
    """The store reported a write as done, without proof that it has the bytes."""


class OutcomeUnknown(StoreUnavailable):
    """The store may have carried out a request, or may still do so; it did not answer."""


class LocationMismatch(StoreRefused):
    """The marker object in the location's bucket and path names another location."""

    def __init__(self, location: str, owner: str, marker: str) -> None:
        super().__init__(
            location,
            f"its bucket and path belong to location '{owner}', as the object '{marker}' there"
            f" says, so nothing of '{location}' is written or deleted there; give each location a"
            f" bucket or path of its own, or delete that object if '{owner}' is the old name of"
            f" '{location}' or its objects were copied here",
        )
        self.owner = owner


class NoAnswer(StoreUnavailable):
    """The store did not answer at all."""


class StoreUnreachable(NoAnswer):
    """The store refuses connections, or has no address or route."""


class StoreTimeout(NoAnswer):
    """The store did not answer in time: it hangs or is busy, or packets are lost."""


class ObjectMissing(StoreError):
    """The store has no object with this key."""

    def __init__(self, location: str, key: str) -> None:
        super().__init__(f"location '{location}' has no object '{key}'")
        self.location = location
        self.key = key


class ObjectTooShort(StoreError):
    """The object ends before the blob does."""

    def __init__(self, location: str, key: str) -> None:
        super().__init__(f"location '{location}' has only the beginning of object '{key}'")
        self.location = location
        self.key = key


class ObjectChanged(StoreError):
    """The object was replaced while it was read, or exists although it must be new."""

    def __init__(self, location: str, key: str) -> None:
        super().__init__(f"location '{location}' has another object '{key}' than a moment ago")
        self.location = location
        self.key = key


class NoHealthyStore(StoreError, ServiceUnavailable):
    """None of the candidate locations is available."""

    event = "store unavailable"

    def __init__(self, candidates: list[str]) -> None:
        named = ", ".join(candidates) or "no location at all"
        super().__init__(f"no healthy store among: {named}")
        self.candidates = candidates


class NoAllowedStore(NoHealthyStore):
    """The repository's policy excludes all available stores; `public` is safe for clients."""

    public = (
        "no store that this repository's blobs may be written to is available now; nothing was"
        " stored, try again"
    )
