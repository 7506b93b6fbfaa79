"""What the registry refuses, one class a reason. `atoll.web.errors` says each in HTTP.

RegistryError
├── RepositoryUnknown (RepositoryReplaced)
├── BlobUnknown (BlobLost) · ManifestUnknown · UploadUnknown
├── ManifestInvalid · ManifestBlobUnknown
├── BlobInUse · BlobQuarantined
├── DigestMismatch · SizeInvalid
├── RangeOutOfOrder
├── DeletionUnfinished · DeletionUnresolved
└── Denied
"""

from __future__ import annotations


class RegistryError(Exception):
    """Base of all that the registry refuses."""


class RepositoryUnknown(RegistryError):
    """There is no such repository."""


class RepositoryReplaced(RepositoryUnknown):
    """The repository that the token was issued for was deleted, renamed or disabled."""

    def __init__(self, name: object) -> None:
        super().__init__(
            f"the token was issued for another repository than '{name}' is now; get a new token"
        )


class BlobUnknown(RegistryError):
    """The repository has no such blob."""


class BlobLost(BlobUnknown):
    """The blob's last copy went with a store that is gone for good. A push of it heals it."""

    def __init__(self, digest: object) -> None:
        super().__init__(
            f"the bytes of {digest} were lost with a store that is gone for good; push it again"
        )


class BlobInUse(RegistryError):
    """A manifest of the repository names the blob, so it cannot be deleted there."""


class BlobQuarantined(RegistryError):
    """The blob's bytes are wrong or missing wherever they were placed. A push of it heals it."""

    def __init__(self, digest: object) -> None:
        super().__init__(
            f"the bytes of {digest} are wrong or missing in every store, so they are not served;"
            " push it again, or try later: it may be healed by then"
        )


class ManifestUnknown(RegistryError):
    """The repository has no such manifest, or no such tag."""


class UploadUnknown(RegistryError):
    """There is no such upload, or it ended, or it belongs to another repository."""


class ManifestInvalid(RegistryError):
    """The manifest is not one that a registry can keep; the text says why."""


class ManifestBlobUnknown(RegistryError):
    """The manifest names what the repository does not have: `digests`."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(f"the repository does not have {', '.join(digests)}; push it first")
        self.digests = digests


class DigestMismatch(RegistryError):
    """What came is not what its digest says."""


class SizeInvalid(RegistryError):
    """Fewer or more bytes came than were announced."""


class RangeOutOfOrder(RegistryError):
    """A chunk does not begin where the one before it ended; `received` bytes are here."""

    def __init__(self, received: int) -> None:
        super().__init__(f"{received} bytes have arrived; go on from there")
        self.received = received


class DeletionUnresolved(RegistryError):
    """The only usable stores may still delete what is written under the digest."""

    def __init__(self, digest: object, locations: tuple[str, ...]) -> None:
        super().__init__(
            f"an earlier deletion of {digest} at {', '.join(locations)} has an unknown outcome, and"
            " no other store takes the blob; push it again in some minutes"
        )


class DeletionUnfinished(RegistryError):
    """There is more to delete than one request can; the next one continues."""

    def __init__(self, what: str) -> None:
        super().__init__(f"'{what}' is not deleted completely yet; repeat the request to continue")


class Denied(RegistryError):
    """The user may not do this."""
