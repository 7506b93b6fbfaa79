"""Import media: images first, and each tag after everything that belongs to its image.

Media can be imported in any order. An image whose content is on a medium that was not imported yet
waits: its manifests and blobs are kept, and the import of the other medium switches its tags. A tag
of an older medium does not replace that of a newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from atoll.db.pool import Database
from atoll.media.description import Description, ExportedTag, RepositoryContent
from atoll.media.errors import SparseIndexRefused
from atoll.media.image_importer import ImageImporter, Registry, Transferred, referenced_blobs
from atoll.media.import_records import AwaitedTag, ImportRecords
from atoll.media.library import Library
from atoll.media.medium import Medium
from atoll.media.rights import Rights
from atoll.media.selection import Selection
from atoll.mirroring.copying.blob_copier import BlobCopier
from atoll.mirroring.copying.copy_errors import ContentCollected
from atoll.mirroring.copying.presence import Presence
from atoll.names import RepositoryName
from atoll.placement.upkeep.push_barrier import NotCopiedYet
from atoll.registry.blob_mounts import BlobMounts
from atoll.registry.errors import RegistryError
from atoll.registry.manifests import Manifests
from atoll.registry.repositories import Repositories

# Blobs that are copied at once, and manifests of one query.
_BLOBS_AT_ONCE, _QUERIED = 4, 1000


@dataclass(frozen=True)
class ImportFailure:
    """An image that was not imported, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Waiting:
    """An image that waits for other media.

    Attributes:
        image: NAMESPACE/REPOSITORY:TAG.
        missing: The digests of missing manifests and blobs.
        media: The names of media that have them.
        switched: Whether the tag points to the image already, a sparse index.
    """

    image: str
    missing: list[str]
    media: list[str]
    switched: bool


@dataclass
class RepositoryImport:
    """The result for a repository: numbers of tags, and bytes of blobs."""

    repository: str
    switched: int = 0
    unchanged: int = 0
    older: int = 0
    waiting: int = 0
    bytes_copied: int = 0
    bytes_present: int = 0


@dataclass
class ImportResult:
    """The result of an import.

    Attributes:
        repositories: The results for each repository.
        waiting: The images that wait for other media.
        failures: The images that the registry refused.
    """

    repositories: list[RepositoryImport] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    failures: list[ImportFailure] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the result for JSON."""
        return asdict(self)


class Importer:
    """Imports media."""

    def __init__(
        self,
        database: Database,
        repositories: Repositories,
        mounts: BlobMounts,
        manifests: Manifests,
        blob_copier: BlobCopier,
        *,
        sparse_indexes: bool,
    ) -> None:
        self._repositories = repositories
        self._presence = Presence(database)
        self._records = ImportRecords(database)
        self._selection = Selection(database)
        executor = ThreadPoolExecutor(_BLOBS_AT_ONCE, thread_name_prefix="import-blob")
        self._registry = Registry(mounts, manifests, blob_copier, executor, sparse_indexes)

    def run(
        self,
        media: Sequence[Medium],
        rights: Rights,
        *,
        progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    ) -> ImportResult:
        """Import media, the oldest first.

        An interrupted import leaves complete images only, and is continued by another one.

        Args:
            media: The media.
            rights: The account in whose name they are imported.
            progress: Called with the number of imported tags and of all.

        Raises:
            Denied: The account may not push to a repository; nothing was imported.
            MediumRefused: A file is altered or truncated; its image was not imported.
            CopyError: No store accepts a blob.
            DatabaseUnavailable: The database is unavailable.
        """
        media = sorted(media, key=lambda one: one.description.exported_at)
        names = {name for one in media for name in one.description.repositories}
        for name in names:
            rights.require_push(RepositoryName.parse(name))
        self._records.delete_expired()
        total = sum(
            len(content.tags) for one in media for content in one.description.repositories.values()
        )
        result, done = ImportResult(), 0
        for name in sorted(names):
            importing = self._of_repository(name, media, rights)
            for _ in importing.run(media):
                done += 1
                progress(done, total)
            importing.report(result)
        return result

    def _of_repository(
        self, text: str, media: Sequence[Medium], rights: Rights
    ) -> _RepositoryImporter:
        name = RepositoryName.parse(text)
        repository_id = rights.require_push(name)
        if repository_id is None:
            name = self._repositories.create_for_push(rights.username, name)
        else:
            name = name.bound(repository_id)
        listed = {
            digest
            for one in media
            for digest in one.description.repositories.get(text, RepositoryContent()).types
        }
        images = ImageImporter(
            self._registry,
            Library(media),
            name,
            rights.username,
            stored=self._complete(name, sorted(listed)),
            present=lambda digests: self._records.present(name, digests),
        )
        tags = self._selection.select(name, None).selected
        return _RepositoryImporter(
            images, self._records, rights, {one.name: one.digest for one in tags}
        )

    def _complete(self, name: RepositoryName, digests: list[str]) -> set[str]:
        complete: set[str] = set()
        for start in range(0, len(digests), _QUERIED):
            slice_ = digests[start : start + _QUERIED]
            complete |= self._presence.complete_manifests(name, slice_, ())
        return complete


class _RepositoryImporter:
    """The import of one repository.

    Args:
        images: Stores manifests and blobs.
        records: The records of imports.
        rights: The account.
        tags: The digests of the tags that the repository has.
    """

    def __init__(
        self,
        images: ImageImporter,
        records: ImportRecords,
        rights: Rights,
        tags: dict[str, str],
    ) -> None:
        self._images = images
        self._name = images.name
        self._records = records
        self._rights = rights
        self._tags = tags
        self._result = RepositoryImport(str(images.name))
        self._failures: dict[str, str] = {}

    def run(self, media: Sequence[Medium]) -> Iterator[None]:
        """Import the tags of media; yields after each of them."""
        for medium in media:
            content = medium.description.repositories.get(str(self._name))
            if content is None:
                continue
            for tag, state in content.tags.items():
                try:
                    self._import_tag(medium.description, content, tag, state)
                except (RegistryError, ContentCollected, SparseIndexRefused) as error:
                    self._failures[tag] = str(error)
                except NotCopiedYet as error:
                    self._failures[tag] = error.public
                yield
        self._complete_waiting()

    def report(self, result: ImportResult) -> None:
        """Add the result."""
        waiting = self._records.awaited_tags(self._name)
        moved: Transferred = self._images.transferred
        self._result.waiting = len(waiting)
        self._result.bytes_copied, self._result.bytes_present = moved.copied, moved.present
        result.repositories.append(self._result)
        result.waiting += [
            Waiting(
                f"{self._name}:{one.name}",
                one.missing,
                one.media,
                self._tags.get(one.name) == one.state.digest,
            )
            for one in waiting
        ]
        result.failures += [
            ImportFailure(f"{self._name}:{tag}", reason) for tag, reason in self._failures.items()
        ]

    def _import_tag(
        self, description: Description, content: RepositoryContent, tag: str, state: ExportedTag
    ) -> None:
        manifests = content.images[state.digest]
        for digest in manifests:
            self._images.store(digest, content.types[digest])
        # The images that an index lists precede it, and referrers follow it.
        required = manifests[manifests.index(state.digest) :]
        if lacking := self._missing(required):
            self._require_sparse_indexes(description, state.digest, lacking)
        else:
            self._switch(tag, description.registry, state)
            # Images of a sparse index.
            lacking, required = self._missing(manifests), manifests
        if lacking:
            awaited = self._awaited(description, tag, state, required, lacking)
            if not self._records.await_tag(self._name, awaited):
                self._result.older += 1
                return
            for digest in manifests:
                self._keep(digest, content.types[digest])

    def _missing(self, digests: Sequence[str]) -> set[str]:
        return set[str]().union(*(self._images.missing.get(one, ()) for one in digests))

    def _require_sparse_indexes(
        self, description: Description, index: str, lacking: set[str]
    ) -> None:
        """Refuse an index that the exporting registry had without all of its images.

        Raises:
            SparseIndexRefused: No medium has the missing images.
        """
        if absent := lacking.intersection(description.absent):
            raise SparseIndexRefused(
                f"the index {index} lacks {', '.join(sorted(absent))}, which the exporting"
                " registry did not have; enable FEATURE_SPARSE_INDEX"
            )

    def _awaited(
        self,
        description: Description,
        tag: str,
        state: ExportedTag,
        required: list[str],
        missing: set[str],
    ) -> AwaitedTag:
        holders = {description.holder(one) for one in missing}
        media = sorted({description.name_of(one) for one in holders if one is not None})
        return AwaitedTag(tag, description.registry, state, required, sorted(missing), media)

    def _keep(self, digest: str, media_type: str) -> None:
        """Keep a manifest of an incomplete image until the other media are imported."""
        content = self._images.library.manifest(digest)
        if content is not None:
            blobs = referenced_blobs(content, media_type)
            self._records.await_manifest(self._name, digest, media_type, content, blobs)

    def _switch(self, tag: str, registry: str, state: ExportedTag) -> None:
        """Point a tag to a manifest of the repository, unless a newer medium did."""
        if not self._records.advance(self._name, tag, registry, state.changed_ms):
            self._result.older += 1
            self._records.end_wait(self._name, tag, registry, state.changed_ms)
            return
        if self._tags.get(tag) == state.digest:
            self._result.unchanged += 1
        else:
            self._rights.require_push(self._name)
            manifests = self._images.registry.manifests
            found = manifests.get(self._name, state.digest)
            manifests.put(
                self._name,
                tag,
                found.content,
                found.media_type,
                tags=[],
                username=self._rights.username,
            )
            self._tags[tag] = state.digest
            self._result.switched += 1
        self._records.end_wait(self._name, tag, registry, state.changed_ms)

    def _complete_waiting(self) -> None:
        """Store the images that waited for what was imported, and switch their tags."""
        awaited = self._records.awaited_tags(self._name)
        if not awaited:
            self._records.end_manifests(self._name)
            return
        self._store_awaited()
        for tag in awaited:
            present = self._records.present(self._name, tag.required)
            if present.issuperset(tag.required):
                try:
                    self._switch(tag.name, tag.registry, tag.state)
                except RegistryError as error:
                    self._failures[tag.name] = str(error)
        self._records.end_manifests(self._name)

    def _store_awaited(self) -> None:
        """Store waiting manifests as long as one makes another one complete."""
        remaining = self._records.awaited_manifests(self._name)
        progress = True
        while remaining and progress:
            progress = False
            for digest, media_type in list(remaining.items()):
                content = self._records.content(self._name, digest)
                try:
                    stored = content is not None and self._images.store(digest, media_type, content)
                except (RegistryError, ContentCollected):
                    stored = False
                if stored:
                    del remaining[digest]
                    progress = True
