"""Errors of stores.

StoreError
├── StoreUnavailable    an answer that means "not now", or a connection that broke
│   ├── StoreRefused    it answers, and does not let us
│   │   └── StoreOfOtherLocation  its bucket and path belong to another location: no request is made
│   ├── StoreFull       it answers, and has no room for more
│   ├── StoreMisbehaves it answers, and the answer does not fit the request
│   │   └── WriteNotProven  it reports a write as done, without proof that it has the bytes
│   ├── OutcomeUnknown  no usable answer to a request that it may have carried out, or still may
│   └── NoAnswer        it does not answer
│       ├── StoreUnreachable   it takes no connection
│       └── StoreSilent        it did not answer in time
├── ObjectChanged      the object is not what it was a moment ago
├── ObjectMissing      the store is fine and does not have the object
├── ObjectTooShort     the store is fine and has only a part of the object
└── NoHealthyStore     of all the stores that would do, none is alive
    └── NoAllowedStore some are alive where the repository's blobs may not be
"""

from __future__ import annotations

from atoll.periodic import ServiceUnavailable


class StoreError(Exception):
    """Base of all that a store can do to us."""


class StoreUnavailable(StoreError, ServiceUnavailable):
    """The store at LOCATION did not serve a request; CAUSE is for the log.

    Unless it is a NoAnswer, the store answered, or broke off, and the reason may be the one object
    that was asked for: it says nothing about other objects until a probe has failed.
    """

    event = "store unavailable"

    def __init__(self, location: str, cause: str) -> None:
        super().__init__(f"the store of location '{location}' is unavailable: {cause}")
        self.location = location
        self.cause = cause


class StoreRefused(StoreUnavailable):
    """The store answers, but our key is not (or no longer) good for this: a matter for people."""


class StoreFull(StoreUnavailable):
    """The store answers that it has no room (its disk, or our quota); it can still be read."""


class StoreMisbehaves(StoreUnavailable):
    """The store's answer does not fit the request, as that of a proxy's error page.

    It says that the store, or what stands in front of it, cannot be relied on now, for any object.
    """


class WriteNotProven(StoreMisbehaves):
    """The store reported a write as done, without proof that it has the bytes that were sent."""


class OutcomeUnknown(StoreUnavailable):
    """There is no usable answer to a request that the store may have carried out, or still may."""


class StoreOfOtherLocation(StoreRefused):
    """The bucket and path of LOCATION are marked, by the object MARKER, as those of OWNER."""

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
    """The store takes no connection: it refuses it, or has no address or route."""


class StoreSilent(NoAnswer):
    """The store did not answer in time: it hangs, is busy, or packets are lost."""


class ObjectMissing(StoreError):
    """There is no object under KEY at LOCATION."""

    def __init__(self, location: str, key: str) -> None:
        super().__init__(f"location '{location}' has no object '{key}'")
        self.location = location
        self.key = key


class ObjectTooShort(StoreError):
    """The object under KEY at LOCATION ends before the blob does."""

    def __init__(self, location: str, key: str) -> None:
        super().__init__(f"location '{location}' has only the beginning of object '{key}'")
        self.location = location
        self.key = key


class ObjectChanged(StoreError):
    """The object under KEY at LOCATION was written anew while it was being looked at."""

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
    """What is alive is excluded by the repository's policy; PUBLIC may be told to anybody."""

    public = (
        "no store that this repository's blobs may be written to is available now; nothing was"
        " stored, try again"
    )
