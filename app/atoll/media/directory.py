"""Media that are directories.

All files are opened relative to the directory, without following symbolic links, so that no medium
leads to other files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from atoll.media.description import MAXIMUM_BYTES
from atoll.media.errors import MediumError, MediumNotWritable, MediumRefused
from atoll.media.export_lock import ExportLock
from atoll.media.files import (
    DESCRIPTION,
    PIECE,
    MediumReader,
    MediumWriter,
    Read,
    WrongBytes,
    blob_name,
    is_file_name,
)
from atoll.names import Digest

# The end of the names of unfinished files and directories.
UNFINISHED = ".partial"
_LOCK = "atoll-export.lock"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a FIFO does not wait.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DirectoryReader(MediumReader):
    """Reads a medium that is a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self, name: str) -> int | None:
        """Return the size of a file; None if it does not exist."""
        if not is_file_name(name):
            return None
        try:
            with self._opened(name) as descriptor:
                return os.fstat(descriptor).st_size
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        try:
            with self._opened(name) as descriptor:
                return os.fdopen(os.dup(descriptor), "rb")
        except FileNotFoundError as error:
            raise MediumRefused(f"medium '{self.path}': '{name}' is missing") from error

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        with ExitStack() as stack:
            try:
                directory = _directory(self.path, name, stack, create=False)
                descriptor = os.open(name.rpartition("/")[2], _READ, dir_fd=directory)
                stack.callback(os.close, descriptor)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise _refused(self.path, name, error) from error
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise MediumRefused(f"medium '{self.path}': '{name}' is not a regular file")
            yield descriptor


class DirectoryWriter(MediumWriter):
    """Writes a medium to a directory, or extends the one that a directory has.

    A new directory has another name until the medium is valid. The directory is locked until the
    writer is closed.

    Raises:
        MediumNotWritable: The directory cannot be written, or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = self._root = path
        while (lock := self._lock()) is None:
            pass
        self._export_lock = lock
        self._reader = DirectoryReader(self._root)

    def description(self) -> bytes | None:
        """Return the description of the medium in the directory."""
        if self._reader.size(DESCRIPTION) is None:
            self._require_empty()
            return None
        with self._reader.open(DESCRIPTION) as file:
            content = file.read(MAXIMUM_BYTES + 1)
        if len(content) > MAXIMUM_BYTES:
            raise MediumRefused(f"medium '{self._root}': '{DESCRIPTION}' is too large")
        return content

    def has(self, digest: Digest, size: int) -> bool:
        """Return whether the file of a blob has its size."""
        return self._reader.size(blob_name(digest)) == size

    def write(self, digest: Digest, size: int, read: Read) -> None:
        """Write a blob under another name, and rename it after its digest was verified."""
        name = blob_name(digest)
        with self._converted_errors(), ExitStack() as stack:
            directory = _directory(self._root, name, stack, create=True)
            final = name.rpartition("/")[2]
            partial = f"{final}{UNFINISHED}"
            descriptor = os.open(partial, _WRITE, 0o644, dir_fd=directory)
            file = stack.enter_context(os.fdopen(descriptor, "r+b"))
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise MediumNotWritable(f"'{self._root}/{name}{UNFINISHED}' is not a file")
            try:
                _fill(file, digest, size, read)
            except WrongBytes:
                os.unlink(partial, dir_fd=directory)
                raise
            file.flush()
            os.fsync(descriptor)
            os.replace(partial, final, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    def finish(self, metadata: Mapping[str, bytes]) -> None:
        """Write the other files, delete unfinished ones, and name the directory."""
        with self._converted_errors(), ExitStack() as stack:
            directory = _directory(self._root, "", stack, create=False)
            for name, content in metadata.items():
                partial = f"{name}{UNFINISHED}"
                with suppress(FileNotFoundError):
                    os.unlink(partial, dir_fd=directory)
                descriptor = os.open(partial, _WRITE | os.O_EXCL, 0o644, dir_fd=directory)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
            for name in metadata:
                partial = f"{name}{UNFINISHED}"
                os.replace(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
            self._delete_unfinished()
            os.fsync(directory)
            if self._root != self._path:
                self._root.rename(self._path)
                self._root = self._path

    def close(self) -> None:
        """Release the directory."""
        self._export_lock.release()

    def _lock(self) -> ExportLock | None:
        """Lock the directory; None if another process has named a new directory meanwhile."""
        self._root = self._path
        with self._converted_errors():
            if self._path.is_dir():
                return ExportLock(self._root, _LOCK, self._path)
            if self._path.exists() or self._path.is_symlink():
                raise MediumNotWritable(f"'{self._path}' is not a directory; name another one")
            self._root = self._path.with_name(f"{self._path.name}{UNFINISHED}")
            self._root.mkdir(exist_ok=True)
            try:
                lock = ExportLock(self._root, _LOCK, self._path)
            except FileNotFoundError:
                if self._root.is_dir():
                    raise
                return None
        if not self._path.is_dir():
            return lock
        lock.release()
        with suppress(OSError):
            self._root.rmdir()
        return None

    def _require_empty(self) -> None:
        """Refuse a directory of other files; an unfinished medium has only blobs."""
        with self._converted_errors():
            names = {one.name for one in self._root.iterdir()} - {"blobs", "lost+found", _LOCK}
        foreign = sorted(one for one in names if not one.endswith(UNFINISHED))
        if foreign:
            raise MediumNotWritable(
                f"'{self._root}' has other files, such as '{foreign[0][:100]}', and no medium;"
                " name an empty directory"
            )

    def _delete_unfinished(self) -> None:
        for algorithm in ("sha256", "sha512"):
            with ExitStack() as stack, suppress(FileNotFoundError):
                directory = _directory(self._root, f"blobs/{algorithm}/", stack, create=False)
                for name in os.listdir(directory):
                    if name.endswith(UNFINISHED):
                        os.unlink(name, dir_fd=directory)

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _not_writable(self._root, error) from error


def _fill(file: BinaryIO, digest: Digest, size: int, read: Read) -> None:
    """Append the missing bytes of a blob to a file, and verify all of them."""
    hasher, position = digest.hasher(), 0
    while position < size and (piece := file.read(min(PIECE, size - position))):
        hasher.update(piece)
        position += len(piece)
    file.truncate(position)
    resumed = position > 0
    for piece in read(position) if position < size else ():
        hasher.update(piece)
        position += len(piece)
        if position > size:
            break
        file.write(piece)
    if position == size and hasher.hexdigest() == digest.hex:
        return
    if not resumed:
        raise WrongBytes(f"{digest} has other bytes than its digest promises")
    # The bytes of the interrupted export may not have reached the disk.
    file.seek(0)
    file.truncate(0)
    _fill(file, digest, size, read)


def _directory(root: Path, name: str, stack: ExitStack, *, create: bool) -> int:
    """Return a descriptor of the directory of a file, which a stack closes."""
    # The operator names the root, which may be a symbolic link.
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    for part in name.split("/")[:-1]:
        if create:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=descriptor)
        descriptor = os.open(part, _DIRECTORY, dir_fd=descriptor)
        stack.callback(os.close, descriptor)
    return descriptor


def _refused(path: Path, name: str, error: OSError) -> MediumError:
    return MediumRefused(
        f"medium '{path}': '{name}' cannot be read ({error.strerror}); files and directories of a"
        " medium must not be symbolic links"
    )


def _not_writable(path: Path, error: OSError) -> MediumError:
    return MediumNotWritable(
        f"medium '{path}' cannot be written: {error.strerror}; free space or permit writing, and"
        " repeat the command, which continues"
    )
