"""Export images to a medium.

The medium gets only new files: those that it has, and with an earlier medium those that this one
has for the same repository, are not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from atoll.db.pool import Database
from atoll.media.description import Description, ExportedTag, RepositoryContent
from atoll.media.errors import MediumNotWritable, MediumRefused
from atoll.media.files import (
    CHECKSUMS,
    DESCRIPTION,
    INDEX,
    LAYOUT,
    LAYOUT_CONTENT,
    MediumWriter,
    Read,
    WrongBytes,
)
from atoll.media.image_content import ImageContents
from atoll.media.layout import checksums, index
from atoll.media.medium import parsed
from atoll.media.selection import SelectedRepository, SelectedTag
from atoll.names import Digest, RepositoryName
from atoll.periodic import ServiceUnavailable
from atoll.registry.blobs import Blob, Blobs
from atoll.registry.errors import RegistryError
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.storage.errors import StoreError
from atoll.upstream.attached_tags import attached_tags, fallback_tag

# The blobs of manifests that an earlier medium has.
_BLOBS_OF = f"""
SELECT DISTINCT s.content_checksum
FROM manifest m JOIN manifestblob mb ON mb.manifest_id = m.id
JOIN imagestorage s ON s.id = mb.blob_id
WHERE m.repository_id = {REPOSITORY_ID} AND m.digest = ANY(%(digests)s::text[])
"""


@dataclass(frozen=True)
class Failure:
    """An image that was not exported, and why."""

    image: str
    reason: str
    unavailable: bool = False


@dataclass
class RepositoryExport:
    """The result for a repository: numbers of tags and files, and bytes."""

    repository: str
    tags: int = 0
    written: int = 0
    bytes_written: int = 0
    present: int = 0
    omitted: int = 0


@dataclass
class ExportResult:
    """The result of an export."""

    medium: str
    name: str
    repositories: list[RepositoryExport] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the result for JSON."""
        return asdict(self)


class Exporter:
    """Exports images.

    Args:
        database: The database.
        contents: Collects the content of images.
        blobs: The blobs of all repositories.
        registry: The host name of this registry.
    """

    def __init__(
        self, database: Database, contents: ImageContents, blobs: Blobs, registry: str
    ) -> None:
        self._database = database
        self._contents = contents
        self._blobs = blobs
        self._registry = registry

    def export(
        self,
        repositories: list[SelectedRepository],
        writer: MediumWriter,
        *,
        name: str,
        earlier: Description | None = None,
        progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    ) -> ExportResult:
        """Export repositories, and make the medium valid.

        An image that cannot be exported does not prevent the others.

        Args:
            repositories: The repositories.
            writer: Writes the medium.
            name: The name of a new medium.
            earlier: The description of an earlier medium, whose files are omitted.
            progress: Called with the number of exported tags and of all.

        Raises:
            MediumError: The medium cannot be written, or belongs to another registry.
            DatabaseUnavailable: The database is unavailable.
        """
        found = writer.description()
        if found is None:
            now = Description(id=uuid4().hex, name=name, registry=self._registry, exported_at="-")
        else:
            now = parsed(found, name)
        for medium in (now, earlier):
            if medium is not None and medium.registry != self._registry:
                raise MediumRefused(
                    f"medium '{medium.name}' has images of '{medium.registry}', and this registry"
                    f" is '{self._registry}'; use another medium"
                )
        export = _Export(writer, now, earlier)
        result = ExportResult(now.id, now.name)
        total = sum(len(one.selected) for one in repositories)
        done = 0
        for one in repositories:
            exporting = _RepositoryExporter(
                one, export, self._contents, self._blobs, self._known(one.name, earlier)
            )
            for _ in exporting.run():
                done += 1
                progress(done, total)
            result.repositories.append(exporting.result)
            result.failures += exporting.failures
        export.finish()
        return result

    def _known(self, name: RepositoryName, earlier: Description | None) -> set[str]:
        """Return what earlier media have for a repository.

        Files of other repositories do not count: the importer may be unable to read these.
        """
        if earlier is None or str(name) not in earlier.repositories:
            return set()
        manifests = [
            digest
            for digest in earlier.repositories[str(name)].types
            if earlier.holder(digest) is not None
        ]
        rows = self._database.read(_BLOBS_OF, {**name_parameters(name), "digests": manifests})
        return {*manifests, *(row[0] for row in rows if earlier.holder(row[0]) is not None)}


class _Export:
    """The medium of an export, and its new description."""

    def __init__(
        self, writer: MediumWriter, description: Description, earlier: Description | None
    ) -> None:
        self._writer = writer
        self.description = description
        self._earlier = earlier
        self._absent = set(description.absent)

    def add(
        self, digest: str, size: int, read: Read, known: set[str], result: RepositoryExport
    ) -> None:
        """Write a file, unless this or an earlier medium has it."""
        parsed_digest = Digest.parse(digest)
        files = self.description.files
        if self._writer.has(parsed_digest, size):
            result.present += digest not in files
        elif self._earlier is not None and digest in known:
            holder = self._earlier.holder(digest)
            if holder is not None:
                result.omitted += digest not in self.description.omitted
                self.description.omitted[digest] = holder
                return
        else:
            self._writer.write(parsed_digest, size, read)
            result.written += 1
            result.bytes_written += size
        files[digest] = size

    def add_absent(self, digests: set[str]) -> None:
        """Record manifests that the registry does not have."""
        self._absent |= digests

    def finish(self) -> None:
        """Write the files without a content address."""
        now = self.description
        now.exported_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        now.omitted = {one: held for one, held in now.omitted.items() if one not in now.files}
        now.absent = sorted(self._absent - set(now.files) - set(now.omitted))
        if self._earlier is not None:
            names = {**self._earlier.earlier, self._earlier.id: self._earlier.name}
            names = {**now.earlier, **names}
            now.earlier = {one: names.get(one, one) for one in set(now.omitted.values())}
        try:
            content = now.to_json()
        except ValueError as error:
            raise MediumNotWritable(
                f"the medium has too many images: {error}; export fewer repositories to each"
            ) from error
        metadata = {LAYOUT: LAYOUT_CONTENT, INDEX: index(now), DESCRIPTION: content}
        self._writer.finish({**metadata, CHECKSUMS: checksums(metadata, now.files)})


class _RepositoryExporter:
    """The export of one repository."""

    def __init__(
        self,
        selected: SelectedRepository,
        export: _Export,
        contents: ImageContents,
        blobs: Blobs,
        known: set[str],
    ) -> None:
        self._selected = selected
        self._name = selected.name
        self._export = export
        self._contents = contents
        self._blobs = blobs
        self._known = known
        self._content = RepositoryContent()
        self._done: set[str] = set()
        self._failed: dict[str, Failure] = {}
        # The tags by their names up to a dot: those of cosign begin with a digest.
        self._by_stem: dict[str, dict[str, SelectedTag]] = {}
        for one in (*selected.others, *selected.selected):
            self._by_stem.setdefault(one.name.partition(".")[0], {})[one.name] = one
        self.result = RepositoryExport(str(selected.name))
        self.failures: list[Failure] = []

    def run(self) -> Iterator[None]:
        """Export the tags; yields after each of them."""
        repositories = self._export.description.repositories
        if not self._selected.whole and self.result.repository in repositories:
            self._keep(repositories[self.result.repository])
        for tag in self._selected.selected:
            self._export_tag(tag)
            yield
        repositories[self.result.repository] = self._content
        self.result.tags = len(self._content.tags)

    def _keep(self, old: RepositoryContent) -> None:
        """Keep the tags of the medium that are not exported again."""
        selected = {one.name for one in self._selected.selected}
        self._content.tags = {tag: one for tag, one in old.tags.items() if tag not in selected}
        for digest in {one.digest for one in self._content.tags.values()}:
            self._content.images[digest] = old.images[digest]
            self._content.types |= {one: old.types[one] for one in old.images[digest]}

    def _export_tag(self, tag: SelectedTag) -> None:
        if tag.name in self._done:
            return
        self._done.add(tag.name)
        image = f"{self._name}:{tag.name}"
        failure = self._failed.get(tag.digest)
        if failure is None and tag.digest not in self._content.images:
            failure = self._export_image(tag.digest, image)
        if failure is not None:
            self._failed[tag.digest] = failure
            self.failures.append(Failure(image, failure.reason, failure.unavailable))
            return
        # The importer switches tags in this order: signatures precede the image.
        for manifest in self._content.images[tag.digest]:
            digest = Digest.parse(manifest)
            near = self._by_stem.get(fallback_tag(digest), {})
            for name in attached_tags(digest, near):
                self._export_tag(near[name])
        self._content.tags[tag.name] = ExportedTag(digest=tag.digest, changed_ms=tag.changed_ms)

    def _export_image(self, digest: str, image: str) -> Failure | None:
        try:
            content = self._contents.of(self._name, digest)
            for manifest, size in content.sizes.items():
                self._add(manifest, size, self._manifest(manifest))
            for blob in content.blobs.values():
                self._add(str(blob.digest), blob.size, self._blob(blob))
        except (RegistryError, StoreError) as error:
            return Failure(image, str(error), isinstance(error, ServiceUnavailable))
        except WrongBytes as error:
            return Failure(image, f"{error}; run `atoll verify --full --heal`")
        self._export.add_absent(content.absent)
        self._content.images[digest] = list(content.types)
        self._content.types |= content.types
        return None

    def _add(self, digest: str, size: int, read: Read) -> None:
        self._export.add(digest, size, read, self._known, self.result)

    def _manifest(self, digest: str) -> Read:
        def read(start: int) -> Iterator[bytes]:
            yield self._contents.manifest(self._name, digest).content[start:]

        return read

    def _blob(self, blob: Blob) -> Read:
        def read(start: int) -> Iterator[bytes]:
            with closing(self._blobs.read(blob, start, blob.size)) as pieces:
                yield from pieces

        return read
