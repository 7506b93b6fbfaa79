"""Store the manifests and blobs of media in a repository, as far as the media have them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor, as_completed, wait
from dataclasses import dataclass, field

from atoll.media.errors import MediumError
from atoll.media.library import Library, altered
from atoll.mirroring.copying.blob_copier import BlobCopier
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.names import Digest, RepositoryName
from atoll.registry.blob_mounts import MOUNTED_MAXIMUM, BlobMounts
from atoll.registry.errors import ManifestBlobUnknown, ManifestInvalid
from atoll.registry.manifest_format import ParsedManifest, parse
from atoll.registry.manifests import Manifests
from atoll.upstream.errors import WrongDigest

# How often an image is stored again because its blobs were deleted meanwhile.
_ATTEMPTS = 3


@dataclass
class Transferred:
    """Bytes of blobs that an import copied, and that the registry had."""

    copied: int = 0
    present: int = 0


@dataclass(frozen=True)
class Registry:
    """The parts of the registry that an import changes."""

    mounts: BlobMounts
    manifests: Manifests
    blob_copier: BlobCopier
    executor: Executor
    sparse_indexes: bool


@dataclass
class ImageImporter:
    """Stores images in one repository.

    Attributes:
        name: The repository, bound to its id.
        username: The account in whose name the import runs.
        stored: Manifests that the repository has.
        present: Returns which of several manifests it has.
        missing: For each manifest that could not be stored, the missing digests.
        control: Stops the copies.
        transferred: The bytes of blobs.
    """

    registry: Registry
    library: Library
    name: RepositoryName
    username: str
    stored: set[str]
    present: Callable[[Collection[str]], set[str]]
    missing: dict[str, set[str]] = field(default_factory=dict)
    control: CopyControl = field(default_factory=CopyControl)
    transferred: Transferred = field(default_factory=Transferred)

    def store(self, digest: str, media_type: str, content: bytes | None = None) -> bool:
        """Store a manifest with its blobs, unless something is missing.

        Args:
            digest: The manifest's digest.
            media_type: Its media type.
            content: The manifest; that of a medium if None.

        Returns:
            Whether the repository has the manifest.

        Raises:
            MediumRefused: A file of a medium is altered or truncated.
            RegistryError: The registry refuses the manifest.
            CopyError: A blob could not be stored.
        """
        if digest in self.stored:
            return True
        if content is None:
            content = self.library.manifest(digest)
        if content is None:
            self.missing[digest] = {digest}
            return False
        parsed = parse(content, media_type)
        if parsed.config is None:
            missing = self._store_index(digest, media_type, content, parsed)
        else:
            missing = self._store_image(digest, media_type, content, parsed)
        if missing:
            self.missing[digest] = missing
            return False
        self.missing.pop(digest, None)
        self.stored.add(digest)
        return True

    def _store_index(
        self, digest: str, media_type: str, content: bytes, parsed: ParsedManifest
    ) -> set[str]:
        """Store an index whose images precede it; return the missing digests."""
        absent = [child for child in parsed.children if child not in self.stored]
        if absent:
            self.stored |= self.present(absent)
            absent = [child for child in absent if child not in self.stored]
        missing = set[str]().union(*(self.missing.get(child, {child}) for child in absent))
        if absent and not (self.registry.sparse_indexes and len(absent) < len(parsed.children)):
            return missing
        try:
            self._put(digest, media_type, content)
        except ManifestBlobUnknown as error:
            self.stored -= set(error.digests)
            return set(error.digests)
        return set()

    def _store_image(
        self, digest: str, media_type: str, content: bytes, parsed: ParsedManifest
    ) -> set[str]:
        """Store an image; return the missing digests."""
        optional = [one for one in parsed.optional if self.library.size(one) is not None]
        for _ in range(_ATTEMPTS):
            lacking = self._copy_blobs([*parsed.blobs, *optional])
            if lacking:
                return lacking
            try:
                self._put(digest, media_type, content)
            except ManifestBlobUnknown as error:
                lost = set(error.digests)
                continue
            return set()
        return lost

    def _copy_blobs(self, digests: list[str]) -> set[str]:
        """Mount or copy blobs; return those that neither registry nor media have."""
        digests = list(dict.fromkeys(digests))
        mounted: dict[str, int] = {}
        for start in range(0, len(digests), MOUNTED_MAXIMUM):
            slice_ = digests[start : start + MOUNTED_MAXIMUM]
            mounted |= self.registry.mounts.mount_public(self.name, slice_)
        self.transferred.present += sum(mounted.values())
        others = [one for one in digests if one not in mounted]
        wanted = [one for one in others if self.library.size(one) is not None]
        self._copy(wanted)
        return set(others) - set(wanted)

    def _copy(self, digests: Iterable[str]) -> None:
        with self.control.part() as control:
            copies = [
                self.registry.executor.submit(self._copy_blob, digest, control)
                for digest in digests
            ]
            try:
                for copy in as_completed(copies):
                    self.transferred.copied += copy.result()
            except BaseException as error:
                control.stop(error if isinstance(error, Exception) else MediumError("interrupted"))
                wait(copies)
                raise

    def _copy_blob(self, digest: str, control: CopyControl) -> int:
        control.check()
        try:
            return self.registry.blob_copier.copy(
                self.library,
                self.name,
                Digest.parse(digest),
                self.library.size(digest) or 0,
                robot=self.username,
                control=control,
            )
        except WrongDigest as error:
            raise altered(self.library, digest) from error

    def _put(self, digest: str, media_type: str, content: bytes) -> None:
        self.registry.manifests.put(
            self.name, digest, content, media_type, tags=[], username=self.username
        )


def referenced_blobs(content: bytes, media_type: str) -> list[str]:
    """Return the digests of the blobs of a manifest; none if it is malformed."""
    try:
        parsed = parse(content, media_type)
    except ManifestInvalid:
        return []
    return [*parsed.blobs, *parsed.optional]
