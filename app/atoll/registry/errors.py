"""Errors of the registry's rules. `atoll.web.errors` maps them to HTTP responses.

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

from atoll.errors import UserError


class RegistryError(UserError):
    """Base class of all errors of the registry's rules."""


class RepositoryUnknown(RegistryError):
    """There is no such repository."""


class RepositoryReplaced(RepositoryUnknown):
    """The repository that the token was issued for was deleted, renamed or disabled."""

    def __init__(self, name: object) -> None:
        super().__init__(
            f"the token was issued for an earlier repository named '{name}'; request a new token"
        )


class BlobUnknown(RegistryError):
    """The repository has no such blob."""


class BlobLost(BlobUnknown):
    """The blob's last copy was lost with its store. Pushing the blob again repairs it."""

    def __init__(self, digest: object) -> None:
        super().__init__(
            f"the content of {digest} was lost with its store; push it again to restore it"
        )


class BlobInUse(RegistryError):
    """The blob cannot be deleted, because a manifest of the repository refers to it."""


class BlobQuarantined(RegistryError):
    """All copies of the blob are corrupt or missing. Pushing the blob again repairs it."""

    def __init__(self, digest: object) -> None:
        super().__init__(
            f"all copies of {digest} are corrupt or missing, so it is not served; push it again, or"
            " retry later if it is being repaired"
        )


class ManifestUnknown(RegistryError):
    """The repository has no such manifest or tag."""


class UploadUnknown(RegistryError):
    """The upload does not exist, has ended, or belongs to another repository."""


class ManifestInvalid(RegistryError):
    """The manifest is malformed or of an unsupported type."""


class ManifestBlobUnknown(RegistryError):
    """The manifest refers to blobs or manifests that the repository lacks: `digests`."""

    def __init__(self, digests: list[str]) -> None:
        super().__init__(f"the repository does not have {', '.join(digests)}; push them first")
        self.digests = digests


class DigestMismatch(RegistryError):
    """The content does not match its digest."""


class SizeInvalid(RegistryError):
    """The size of the content differs from the announced size, or exceeds a limit."""


class RangeOutOfOrder(RegistryError):
    """A chunk does not start at the end of the previous one, after `received` bytes."""

    def __init__(self, received: int) -> None:
        super().__init__(f"{received} bytes have been received; resume after them")
        self.received = received


class DeletionUnresolved(RegistryError):
    """All available stores may still execute an earlier deletion of the object."""

    def __init__(self, digest: object, locations: tuple[str, ...]) -> None:
        super().__init__(
            f"an earlier deletion of {digest} at {', '.join(locations)} has an unknown outcome, and"
            " no other store accepts the blob; push it again in a few minutes"
        )


class DeletionUnfinished(RegistryError):
    """A request reached its time limit before everything was deleted; the next one continues."""

    def __init__(self, name: str) -> None:
        super().__init__(f"'{name}' is only partially deleted; repeat the request to continue")


class Denied(RegistryError):
    """The user lacks permission, or the repository is read-only."""
