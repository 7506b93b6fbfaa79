"""Media that are tar files. They are read in place: no member is extracted."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from atoll.media.directory import UNFINISHED
from atoll.media.errors import MediumNotWritable, MediumRefused
from atoll.media.export_lock import ExportLock
from atoll.media.files import (
    MediumReader,
    MediumWriter,
    Read,
    WrongBytes,
    blob_name,
    hash_file,
    is_file_name,
)
from atoll.names import Digest

# The most members of an archive, and bytes of the header of one.
_MEMBERS_MAXIMUM = 250_000
_HEADER_MAXIMUM = 64 * 1024
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)


class ArchiveReader(MediumReader):
    """Reads a medium that is an uncompressed tar file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise MediumRefused(f"medium '{path}' cannot be read: {error.strerror}") from error
        try:
            self._members = {
                member.name: (member.offset_data, member.size)
                for member in _members(path, self._file)
            }
        except BaseException:
            self._file.close()
            raise

    def size(self, name: str) -> int | None:
        """Return the size of a member; None if it does not exist."""
        member = self._members.get(name)
        return None if member is None else member[1]

    def open(self, name: str) -> BinaryIO:
        """Open a member."""
        if name not in self._members:
            raise MediumRefused(f"medium '{self.path}': '{name}' is missing")
        return cast(BinaryIO, io.BufferedReader(_Slice(self._file, *self._members[name])))

    def close(self) -> None:
        """Close the archive."""
        self._file.close()


class ArchiveWriter(MediumWriter):
    """Writes a new medium to a tar file, which has another name until the medium is valid.

    The file is locked until the writer is closed.

    Raises:
        MediumNotWritable: The file exists or cannot be written, or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}{UNFINISHED}")
        self._sizes: dict[str, int] = {}
        with self._converted_errors():
            self._export_lock = ExportLock(path.parent, f"{path.name}.lock", path)
            try:
                self._file = self._open()
            except BaseException:
                self._export_lock.release()
                raise

    def description(self) -> bytes | None:
        """Return None: an archive is always new."""
        return None

    def has(self, digest: Digest, size: int) -> bool:
        """Return whether the archive has a blob."""
        return self._sizes.get(blob_name(digest)) == size

    def write(self, digest: Digest, size: int, read: Read) -> None:
        """Append a blob."""
        name = blob_name(digest)
        with self._converted_errors():
            begin = self._file.tell()
            self._file.write(_header(name, size))
            hasher, written = digest.hasher(), 0
            try:
                for piece in read(0):
                    hasher.update(piece)
                    written += len(piece)
                    if written > size:
                        break
                    self._file.write(piece)
                if written != size or hasher.hexdigest() != digest.hex:
                    raise WrongBytes(f"{digest} has other bytes than its digest promises")
                self._file.write(bytes(-size % _BLOCK))
            except BaseException:
                self._file.seek(begin)
                self._file.truncate()
                raise
            self._sizes[name] = size

    def finish(self, metadata: Mapping[str, bytes]) -> None:
        """Append the other files, and name the archive."""
        with self._converted_errors():
            for name, content in metadata.items():
                self._file.write(_header(name, len(content)))
                self._file.write(content + bytes(-len(content) % _BLOCK))
            self._file.write(_END)
            self._file.truncate()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.rename(self._path)

    def close(self) -> None:
        """Close and release the archive."""
        with suppress(OSError):
            self._file.close()
        self._export_lock.release()

    def _open(self) -> BinaryIO:
        """Open the archive, at the end of what an interrupted export left."""
        if self._path.exists() or self._path.is_symlink():
            raise MediumNotWritable(
                f"'{self._path}' exists, and archives are not extended; name another file, and"
                " this one with --since for an archive of only the changes"
            )
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(self._partial, flags, 0o644), "r+b")
        try:
            self._resume(file)
        except BaseException:
            file.close()
            raise
        return file

    def _resume(self, file: BinaryIO) -> None:
        """Keep the intact blobs of an interrupted export, and continue after them."""
        end = 0
        with suppress(MediumRefused):
            for member in _members(self._partial, file):
                if not member.name.startswith("blobs/"):
                    break
                _, algorithm, hexadecimal = member.name.split("/")
                digest = Digest(algorithm, hexadecimal)
                file.seek(member.offset_data)
                if hash_file(file, digest, member.size) != digest:
                    break
                self._sizes[member.name] = member.size
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
        file.seek(end)
        file.truncate()

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MediumNotWritable(
                f"medium '{self._partial}' cannot be written: {error.strerror}; free space or"
                " permit writing, and repeat the command, which continues"
            ) from error


class _Slice(io.RawIOBase):
    """A range of a file that several threads read."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._descriptor = file.fileno()
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        length = max(0, min(len(buffer), self._size - self._position))
        data = os.pread(self._descriptor, length, self._start + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _BoundedFile:
    """A file for `tarfile`, which reads headers of any announced size into memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if size > _HEADER_MAXIMUM:
            raise tarfile.ReadError("a header is too large")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Archive(tarfile.TarFile):
    """An archive whose list of members can be cleared, because it is not needed."""

    members: list[tarfile.TarInfo]


def _members(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield the files of an archive; each of them is complete.

    Raises:
        MediumRefused: The archive is damaged, or has something that a medium does not have.
    """
    size = os.fstat(file.fileno()).st_size
    seen: set[str] = set()
    file.seek(0)
    try:
        with _Archive(fileobj=cast(BinaryIO, _BoundedFile(file))) as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()
                archive.pax_headers = {}
                if member.isdir():
                    continue
                member.name = member.name.removeprefix("./")
                shown = member.name[:200]
                if not is_file_name(member.name) or not member.isreg() or member.issparse():
                    raise MediumRefused(
                        f"medium '{path}': '{shown}' is not a file of a medium; links and other"
                        " names are refused"
                    )
                if member.name in seen:
                    raise MediumRefused(f"medium '{path}': '{shown}' occurs twice")
                if len(seen) == _MEMBERS_MAXIMUM:
                    raise MediumRefused(
                        f"medium '{path}' has more than {_MEMBERS_MAXIMUM} files; export fewer"
                        " repositories to it"
                    )
                if member.offset_data + member.size > size:
                    raise MediumRefused(f"medium '{path}': '{shown}' is truncated")
                seen.add(member.name)
                yield member
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        raise MediumRefused(f"medium '{path}' is not a complete tar file: {error}") from error


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)
