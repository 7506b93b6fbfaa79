"""Which blobs clients may rely on: what was acknowledged to them and is still referenced.

The model is conservative: where the outcome of an operation is unknown, it relies on less. Times
are seconds of a virtual clock, which only the test moves.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# Seconds for which an uploaded blob, an untagged manifest and a deleted manifest are kept.
KEPT_SECONDS = 3600
# Examples take real time, too, but less than this.
_MARGIN_SECONDS = 120


@dataclass
class Model:
    """What was acknowledged.

    Attributes:
        now: the virtual time.
        rights: until when a repository may rely on a blob that was pushed or mounted there.
        manifests: the blobs of each accepted manifest, by repository and digest.
        kept: until when a manifest is kept although no tag refers to it.
        tags: the manifest of each tag, by repository and tag.
        lost: blobs that an operator gave up, with the location that was removed as lost.
    """

    now: int = 0
    rights: dict[tuple[str, str], int] = field(default_factory=dict)
    manifests: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    kept: dict[tuple[str, str], int] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def needed(self) -> set[str]:
        """Return the digests of all blobs that must be readable now."""
        limit = self.now + _MARGIN_SECONDS
        found = {digest for (_, digest), until in self.rights.items() if until > limit}
        tagged = {(repository, digest) for (repository, _), digest in self.tags.items()}
        for key, blobs in self.manifests.items():
            if key in tagged or self.kept[key] > limit:
                found |= blobs
        return found - self.lost.keys()

    def blob_acknowledged(self, repository: str, digest: str) -> None:
        """A push or a mount succeeded."""
        self.rights[repository, digest] = self.now + KEPT_SECONDS
        self.lost.pop(digest, None)

    def right_deleted(self, repository: str, digest: str) -> None:
        """The repository's right to the blob may be gone."""
        self.rights.pop((repository, digest), None)

    def manifest_accepted(
        self, repository: str, digest: str, blobs: frozenset[str], tag: str | None
    ) -> None:
        """A manifest was accepted, under `tag` if there is one."""
        self.manifests[repository, digest] = blobs
        self.kept[repository, digest] = self.now + KEPT_SECONDS
        if tag is not None:
            self.tag_ended(repository, tag)
            self.tags[repository, tag] = digest

    def tag_ended(self, repository: str, tag: str) -> None:
        """`tag` may refer to another manifest, or to none."""
        before = self.tags.pop((repository, tag), None)
        if before is not None:
            self.kept[repository, before] = self.now + KEPT_SECONDS

    def manifest_deleted(self, repository: str, digest: str) -> None:
        """The manifest may be deleted; what a tag referred to can be restored for a while."""
        for name, tag in list(self.tags):
            if name == repository and self.tags[name, tag] == digest:
                self.tag_ended(name, tag)

    def given_up(self, digests: set[str], location: str) -> None:
        """These blobs were lost with `location`, as was accepted."""
        for digest in digests:
            self.lost.setdefault(digest, location)

    def came_back(self, location: str) -> None:
        """The removal of `location` was undone, so nothing is lost with it any more."""
        for digest in [digest for digest, where in self.lost.items() if where == location]:
            del self.lost[digest]

    def lost_for_good(self, location: str) -> None:
        """The removal of `location` has ended, so it cannot be undone."""
        for digest, where in self.lost.items():
            if where == location:
                self.lost[digest] = ""
