"""A model of the blobs that clients may rely on: acknowledged and still referenced.

The model is conservative: if the outcome of an operation is unknown, it relies on fewer blobs.
Times are seconds of a virtual clock that only the test advances.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Seconds for which an uploaded blob, an untagged manifest and a deleted manifest are kept.
KEPT_SECONDS = 3600
# An upper bound of the real time that an example takes.
_MARGIN_SECONDS = 120


@dataclass
class Model:
    """The acknowledged state.

    Attributes:
        now: the virtual time.
        rights: the end of a repository's right to a blob that was pushed or mounted there.
        manifests: the blobs of each accepted manifest, by repository and digest.
        kept: the end of the retention of a manifest without a tag.
        tags: the manifest of each tag, by repository and tag.
        lost: blobs whose loss an operator accepted, by the location that was removed as lost.
        accepted: the number of the removal with which the loss of a blob was accepted.
    """

    now: int = 0
    rights: dict[tuple[str, str], int] = field(default_factory=dict)
    manifests: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    kept: dict[tuple[str, str], int] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)

    def needed(self) -> set[str]:
        """Return the digests of all blobs that must be readable now."""
        limit = self.now + _MARGIN_SECONDS
        found = {digest for (_, digest), until in self.rights.items() if until > limit}
        tagged = {(repository, digest) for (repository, _), digest in self.tags.items()}
        for key, blobs in self.manifests.items():
            if key in tagged or self.kept[key] > limit:
                found |= blobs
        return found - self.lost.keys()

    def blob_acknowledged(self, repository: str, digest: str, losses_before: int) -> None:
        """Record a successful push or mount.

        Args:
            repository: the repository.
            digest: the blob.
            losses_before: the number of removals as lost before the push began. A removal beside it
                may have counted the pushed copy as lost.
        """
        self.rights[repository, digest] = self.now + KEPT_SECONDS
        if self.accepted.get(digest, 0) <= losses_before:
            self.lost.pop(digest, None)

    def right_deleted(self, repository: str, digest: str) -> None:
        """Record that the repository may have lost its right to the blob."""
        self.rights.pop((repository, digest), None)

    def manifest_accepted(
        self, repository: str, digest: str, blobs: frozenset[str], tag: str | None
    ) -> None:
        """Record an accepted manifest, under `tag` unless it is None."""
        self.manifests[repository, digest] = blobs
        self.kept[repository, digest] = self.now + KEPT_SECONDS
        if tag is not None:
            self.tag_ended(repository, tag)
            self.tags[repository, tag] = digest

    def tag_ended(self, repository: str, tag: str) -> None:
        """Record that `tag` may refer to another manifest, or to none."""
        before = self.tags.pop((repository, tag), None)
        if before is not None:
            self.kept[repository, before] = self.now + KEPT_SECONDS

    def manifest_deleted(self, repository: str, digest: str) -> None:
        """Record that the manifest may be deleted; its former tags can be restored for a while."""
        for name, tag in list(self.tags):
            if name == repository and self.tags[name, tag] == digest:
                self.tag_ended(name, tag)

    def loss_accepted(self, digests: set[str], location: str, number: int) -> None:
        """Record blobs whose loss with `location` was accepted, by removal `number`."""
        for digest in digests:
            self.lost.setdefault(digest, location)
            self.accepted[digest] = number

    def removal_undone(self, location: str) -> None:
        """Record that the removal of `location` was undone, which restores its blobs."""
        for digest in [digest for digest, where in self.lost.items() if where == location]:
            del self.lost[digest]

    def removal_completed(self, location: str) -> None:
        """Record that the removal of `location` completed, so it cannot be undone."""
        for digest, where in self.lost.items():
            if where == location:
                self.lost[digest] = ""
