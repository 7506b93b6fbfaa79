"""Copy an image of an upstream to a mirror: manifests, blobs, referrers and signatures.

Everything is addressed by digest; tags change afterwards (`tag_switch`). The manifests of an index
are stored before the index, and an image after its blobs, so a copy that stops in the middle leaves
nothing incomplete behind. Manifests are kept byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Container
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Literal

from atoll.mirroring.copying.blob_copier import BlobCopier
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.mirroring.copying.copy_errors import (
    ArchitectureMissing,
    ContentCollected,
    CopiesPending,
    ManifestRefused,
    NotAMirror,
    SparseIndexDisabled,
)
from atoll.mirroring.copying.presence import Presence
from atoll.mirroring.rules.platforms import selected_digests
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.push_barrier import NotCopiedYet
from atoll.registry.blob_mounts import MOUNTED_MAXIMUM, BlobMounts
from atoll.registry.errors import (
    Denied,
    ManifestBlobUnknown,
    ManifestInvalid,
    RepositoryUnknown,
)
from atoll.registry.manifest_format import ParsedManifest, parse
from atoll.registry.manifests import Manifests
from atoll.upstream.attached_tags import attached_tags, fallback_tag
from atoll.upstream.client import UpstreamClient, UpstreamManifest
from atoll.upstream.errors import ManifestUnknown

# Indexes in indexes, and referrers of referrers, that are copied.
INDEX_DEPTH, REFERRER_DEPTH = 3, 2
# The largest blob, in bytes: parts of larger ones would exceed the memory of a worker.
BLOB_MAXIMUM = 400 * 2**30
# How often an image is stored again because its blobs were deleted meanwhile.
_ATTEMPTS = 3
# Blobs of one image that are copied at once; the budget of the upstream may permit fewer.
_BLOBS_AT_ONCE = 8
# Seconds between two looks at the control of the copy, and how long blobs may take to stop.
_TICK, _STOP_SECONDS = 0.5, 2.0


@dataclass(frozen=True)
class CopyOptions:
    """What is copied with an image.

    Attributes:
        architectures: The architectures of the images in an index; all if empty.
        referrers: `all`, `none`, or the artifact types of referrers.
        listed_tags: The tags of the upstream among which those of cosign are found.
    """

    architectures: tuple[str, ...] = ()
    referrers: Literal["all", "none"] | tuple[str, ...] = "all"
    listed_tags: Container[str] = ()


@dataclass
class CopyResult:
    """The result of a copy.

    Attributes:
        bytes_copied: The bytes of blobs that were received.
        bytes_present: The bytes of blobs that did not have to be received.
        attached: The digests of the tags of cosign that belong to the image. They change together
            with the tag of the image.
    """

    bytes_copied: int = 0
    bytes_present: int = 0
    attached: dict[str, str] = field(default_factory=dict)


class ImageCopier:
    """Copies images to mirrors. Thread-safe.

    Args:
        presence: Reports which manifests mirrors have.
        mounts: Mounts blobs.
        manifests: The manifests of all repositories.
        blob_copier: Copies blobs.
        sparse_indexes: Whether an index may lack images, as FEATURE_SPARSE_INDEX says.
    """

    def __init__(
        self,
        presence: Presence,
        mounts: BlobMounts,
        manifests: Manifests,
        blob_copier: BlobCopier,
        *,
        sparse_indexes: bool,
    ) -> None:
        self._presence = presence
        self._mounts = mounts
        self._manifests = manifests
        self._blob_copier = blob_copier
        self._sparse_indexes = sparse_indexes

    def copy(
        self,
        source: UpstreamClient,
        name: RepositoryName,
        digest: Digest,
        options: CopyOptions,
        *,
        robot: str,
        control: CopyControl,
    ) -> CopyResult:
        """Copy an image, but no tag.

        Args:
            source: The upstream.
            name: The mirror, bound to its id.
            digest: The manifest.
            options: What is copied with it.
            robot: The robot of the mirror.
            control: Controls the copy.

        Raises:
            UpstreamError: The upstream failed, or its content is not valid.
            CopyError: The image could not be stored.
            DatabaseUnavailable: The database is unavailable.
        """
        target = _Target(
            name,
            robot,
            self._presence,
            self._mounts,
            self._manifests,
            self._blob_copier,
            sparse_indexes=self._sparse_indexes,
        )
        copy = _ImageCopy(source, target, options, control)
        try:
            copy.run(digest)
        except (Denied, RepositoryUnknown) as error:
            raise NotAMirror(str(error)) from error
        except NotCopiedYet as error:
            raise CopiesPending(error.public) from error
        return copy.result


@dataclass(frozen=True)
class _Target:
    """The mirror, and what changes it."""

    name: RepositoryName
    robot: str
    presence: Presence
    mounts: BlobMounts
    manifests: Manifests
    blob_copier: BlobCopier
    sparse_indexes: bool


class _ImageCopy:
    """The copy of one image."""

    def __init__(
        self,
        source: UpstreamClient,
        target: _Target,
        options: CopyOptions,
        control: CopyControl,
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._control = control
        self._done: set[str] = set()
        self.result = CopyResult()

    def run(self, digest: Digest) -> None:
        """Copy the image and what belongs to it."""
        images = self._copy(str(digest))
        if self._options.referrers == "none":
            return
        for image in images:
            self._copy_referrers(image, REFERRER_DEPTH)
        if self._options.referrers == "all":
            for image in images:
                self._copy_attached(Digest.parse(image))

    def _copy(self, digest: str) -> list[str]:
        """Copy a manifest and all below it; return their digests, as far as they are selected."""
        if digest in self._done:
            return []
        return self._store(self._manifest(digest), 0)

    def _manifest(self, reference: str) -> UpstreamManifest:
        """Return a manifest; blobs of other images may have all slots of the upstream for long."""
        with self._source.slot(self._control.waiting) as source:
            return source.manifest(reference)

    def _store(self, manifest: UpstreamManifest, depth: int) -> list[str]:
        self._control.check()
        digest = str(manifest.digest)
        if digest in self._done:
            return []
        try:
            parsed = parse(manifest.content, manifest.media_type)
        except ManifestInvalid as error:
            raise ManifestRefused(f"manifest {digest}: {error}") from error
        below: list[str] = []
        if parsed.config is None:
            below = self._copy_children(manifest, parsed, depth)
            self._put_index(manifest)
        else:
            self._copy_image(manifest, parsed)
        self._done.add(digest)
        return [digest, *below]

    # Indexes ----------------------------------------------------------------------------------

    def _copy_children(
        self, manifest: UpstreamManifest, parsed: ParsedManifest, depth: int
    ) -> list[str]:
        if depth == INDEX_DEPTH:
            raise ManifestRefused(f"index {manifest.digest} is nested too deeply")
        architectures = self._options.architectures
        selected = selected_digests(manifest.content, architectures)
        wanted = [one for one in dict.fromkeys(parsed.children) if one in selected]
        if parsed.children and not wanted:
            raise ArchitectureMissing(
                f"index {manifest.digest} has no image for {', '.join(architectures)}"
            )
        if len(wanted) < len(set(parsed.children)) and not self._target.sparse_indexes:
            raise SparseIndexDisabled(
                f"index {manifest.digest} would lack images; enable FEATURE_SPARSE_INDEX or remove"
                " the filter of architectures"
            )
        present = self._target.presence.complete_manifests(self._target.name, wanted, architectures)
        found: list[str] = []
        for digest in wanted:
            if digest in present:
                self._done.add(digest)
                found.append(digest)
            elif digest not in self._done:
                found += self._store(self._manifest(digest), depth + 1)
        return found

    def _put_index(self, manifest: UpstreamManifest) -> None:
        try:
            self._put(manifest)
        except ManifestBlobUnknown as error:
            raise ContentCollected(
                f"images of index {manifest.digest} were deleted while it was copied"
            ) from error

    # Images -----------------------------------------------------------------------------------

    def _copy_image(self, manifest: UpstreamManifest, parsed: ParsedManifest) -> None:
        sizes = _blob_sizes(manifest, parsed)
        for _ in range(_ATTEMPTS):
            self._copy_blobs(sizes)
            try:
                self._put(manifest)
            except ManifestBlobUnknown:
                # The rights to blobs of a slow copy may end before the manifest refers to them.
                continue
            return
        raise ContentCollected(f"blobs of {manifest.digest} were deleted while it was copied")

    def _copy_blobs(self, sizes: dict[str, int]) -> None:
        """Mount the blobs of this and of public repositories, and copy the others."""
        digests = list(sizes)
        visible: dict[str, int] = {}
        for start in range(0, len(digests), MOUNTED_MAXIMUM):
            slice_ = digests[start : start + MOUNTED_MAXIMUM]
            visible |= self._target.mounts.mount_public(self._target.name, slice_)
        self.result.bytes_present += sum(visible.values())
        missing = [digest for digest in digests if digest not in visible]
        if not missing:
            return
        # Threads of its own, so that a slow upstream occupies those of no other image.
        executor = ThreadPoolExecutor(min(len(missing), _BLOBS_AT_ONCE), "mirror-blob")
        try:
            with self._control.part() as control:
                self._wait_for_all(
                    {
                        executor.submit(self._copy_blob, digest, sizes[digest], control)
                        for digest in missing
                    },
                    control,
                )
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _copy_blob(self, digest: str, size: int, control: CopyControl) -> int:
        control.check()
        return self._target.blob_copier.copy(
            self._source,
            self._target.name,
            Digest.parse(digest),
            size,
            robot=self._target.robot,
            control=control,
        )

    def _wait_for_all(self, copies: set[Future[int]], control: CopyControl) -> None:
        """Wait for copies of blobs; the first error stops the others.

        Those that do not stop in time, because a store does not respond, end by themselves.
        """
        try:
            while copies:
                ended, copies = wait(copies, _TICK, FIRST_COMPLETED)
                for copy in ended:
                    self.result.bytes_copied += copy.result()
                control.check()
        except Exception as error:
            control.stop(error)
            wait({copy for copy in copies if not copy.cancel()}, _STOP_SECONDS)
            raise

    def _put(self, manifest: UpstreamManifest) -> None:
        self._control.check()
        self._target.manifests.put(
            self._target.name,
            str(manifest.digest),
            manifest.content,
            manifest.media_type,
            tags=[],
            username=self._target.robot,
        )
        self._control.moved()

    # What belongs to an image -----------------------------------------------------------------

    def _copy_referrers(self, digest: str, depth: int) -> None:
        self._control.check()
        types = self._options.referrers
        with self._source.slot(self._control.waiting) as source:
            referrers = source.referrers(Digest.parse(digest))
        for referrer in referrers:
            if types != "all" and referrer.artifact_type not in types:
                continue
            try:
                copied = self._copy(str(referrer.digest))
            except ManifestUnknown:
                # Indexes of referrers may list deleted ones.
                continue
            if copied and depth > 1:
                self._copy_referrers(copied[0], depth - 1)

    def _copy_attached(self, digest: Digest) -> None:
        """Copy what cosign attaches by tags; the index of referrers is not needed here."""
        for tag in attached_tags(digest, self._options.listed_tags):
            if tag == fallback_tag(digest):
                continue
            try:
                manifest = self._manifest(tag)
            except ManifestUnknown:
                # Deleted since the tags were listed.
                continue
            self._store(manifest, 0)
            self.result.attached[tag] = str(manifest.digest)


def _blob_sizes(manifest: UpstreamManifest, parsed: ParsedManifest) -> dict[str, int]:
    """Return the sizes of the blobs of an image by their digests; foreign layers are left out."""
    document = json.loads(manifest.content.decode())
    descriptors: list[dict[str, Any]] = [document["config"], *document["layers"]]
    required = set(parsed.blobs)
    sizes: dict[str, int] = {}
    for descriptor in descriptors:
        digest, size = descriptor["digest"], descriptor.get("size")
        if digest not in required:
            continue
        if type(size) is not int or not 0 <= size <= BLOB_MAXIMUM:
            raise ManifestRefused(
                f"manifest {manifest.digest}: the size of {digest} is not between 0 and"
                f" {BLOB_MAXIMUM} bytes"
            )
        if sizes.setdefault(digest, size) != size:
            raise ManifestRefused(f"manifest {manifest.digest}: {digest} has two sizes")
    return sizes
