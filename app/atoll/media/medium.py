"""Open a medium, and refuse it if it is incomplete."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from atoll.media.archive import ArchiveReader, ArchiveWriter
from atoll.media.description import MAXIMUM_BYTES, Description, parse_description
from atoll.media.directory import DirectoryReader, DirectoryWriter
from atoll.media.errors import MediumRefused
from atoll.media.files import (
    CHECKSUMS,
    DESCRIPTION,
    INDEX,
    METADATA,
    MediumReader,
    MediumWriter,
    blob_name,
    hash_file,
)
from atoll.names import Digest

ARCHIVE_SUFFIX = ".tar"
# An index has about twice the size of the description that it belongs to.
_INDEX_MAXIMUM = 8 * MAXIMUM_BYTES
_LINE = re.compile(rb"([0-9a-f]{64}) [ *]([\w./-]{1,200})\n")
_LINE_MAXIMUM = 300


@dataclass(frozen=True)
class Medium:
    """A complete medium. The bytes of its blobs are verified when they are read."""

    reader: MediumReader
    description: Description

    @property
    def path(self) -> Path:
        """The directory or archive."""
        return self.reader.path


def medium_writer(path: Path) -> MediumWriter:
    """Return the writer for a new medium, or for one that is extended.

    Args:
        path: A directory, or an archive if its name ends with `.tar`.

    Raises:
        MediumNotWritable: The path cannot be written, or the archive exists.
    """
    if path.suffix == ARCHIVE_SUFFIX and not path.is_dir():
        return ArchiveWriter(path)
    return DirectoryWriter(path)


def open_medium(path: Path) -> Medium:
    """Open a medium.

    Raises:
        MediumRefused: A file is missing, truncated or altered; the text names it.
    """
    if not path.exists():
        raise MediumRefused(f"there is no medium '{path}'")
    reader = DirectoryReader(path) if path.is_dir() else ArchiveReader(path)
    try:
        _check_metadata(reader)
        description = _description(reader, str(path))
        for digest, size in description.files.items():
            _check_size(reader, blob_name(digest), size)
    except BaseException:
        reader.close()
        raise
    return Medium(reader, description)


def read_description(path: Path) -> Description:
    """Return the description of a medium, or of a copy of the description alone.

    Raises:
        MediumRefused: It cannot be read.
    """
    if path.is_dir() or path.suffix == ARCHIVE_SUFFIX:
        medium = open_medium(path)
        medium.reader.close()
        return medium.description
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise MediumRefused(f"'{path}' cannot be read: {error.strerror}") from error
    return parsed(content, str(path))


def parsed(content: bytes, path: str) -> Description:
    """Return a description.

    Args:
        content: The file.
        path: The file or its medium, for errors.

    Raises:
        MediumRefused: It is not a description.
    """
    if len(content) > MAXIMUM_BYTES:
        raise MediumRefused(f"'{path}': '{DESCRIPTION}' has more than {MAXIMUM_BYTES} bytes")
    try:
        return parse_description(content)
    except ValueError as error:
        raise MediumRefused(f"'{path}': '{DESCRIPTION}' is not valid: {error}") from error


def _description(reader: MediumReader, path: str) -> Description:
    with reader.open(DESCRIPTION) as file:
        return parsed(file.read(MAXIMUM_BYTES + 1), path)


def _check_metadata(reader: MediumReader) -> None:
    """Compare the checksums of the files without a content address."""
    expected = _expected_checksums(reader)
    for name in METADATA:
        size = reader.size(name)
        if size is None:
            raise MediumRefused(
                f"medium '{reader.path}': '{name}' is missing; copy the whole medium again"
            )
        if size > (_INDEX_MAXIMUM if name == INDEX else MAXIMUM_BYTES):
            raise MediumRefused(f"medium '{reader.path}': '{name}' is too large")
        with reader.open(name) as file:
            found = hash_file(file, Digest("sha256", ""), size)
        if expected.get(name) != found.hex:
            raise MediumRefused(
                f"medium '{reader.path}': '{name}' was altered, or belongs to another export;"
                " copy the whole medium again"
            )


def _expected_checksums(reader: MediumReader) -> dict[str, str]:
    if reader.size(CHECKSUMS) is None:
        raise MediumRefused(
            f"medium '{reader.path}': '{CHECKSUMS}' is missing; the export or its copy is"
            " incomplete, so repeat it"
        )
    expected: dict[str, str] = {}
    with reader.open(CHECKSUMS) as file:
        for _ in METADATA:
            match = _LINE.fullmatch(file.readline(_LINE_MAXIMUM))
            if match is not None:
                expected[match[2].decode()] = match[1].decode()
    return expected


def _check_size(reader: MediumReader, name: str, size: int) -> None:
    found = reader.size(name)
    if found is None:
        raise MediumRefused(
            f"medium '{reader.path}': '{name}' is missing; copy the whole medium again"
        )
    if found != size:
        raise MediumRefused(
            f"medium '{reader.path}': '{name}' has {found} of {size} bytes; copy it again"
        )
