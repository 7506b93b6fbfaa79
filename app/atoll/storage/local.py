"""The driver for a local directory: one site, without URLs, so the registry sends the bytes.

An object becomes visible atomically: it is written to another file of the same file system, synced
to the disk, and renamed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import UUID, uuid4

from atoll.config.stores import LocalSettings
from atoll.storage.base import Body, StoredObject
from atoll.storage.errors import (
    ObjectChanged,
    ObjectMissing,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
)
from atoll.storage.observed_store import Observe, ObservedStore, ignore_outcome
from atoll.storage.probe import READ_MAXIMUM

_PIECE = 1024 * 1024
# Below the storage path, so that a rename stays within one file system. No key starts with it.
_UNFINISHED = ".unfinished"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalObjectStore(ObservedStore):
    """One directory."""

    def __init__(
        self,
        location: str,
        settings: LocalSettings,
        *,
        ca_bundle: str | None = None,
        observe: Observe = ignore_outcome,
    ) -> None:
        del ca_bundle
        super().__init__(location, observe)
        self._root = Path(settings.storage_path)

    def put(self, key: str, body: Body, size: int) -> None:
        """Write one object."""
        with self._writes(key), self._unfinished() as path:
            self._fill(path, body, size)
            self._make_visible(path, key)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the object's bytes, or a range of them."""
        with self._answers(key), self._path(key).open("rb") as file:
            file.seek(start)
            remaining = os.fstat(file.fileno()).st_size if end is None else end - start
            while remaining > 0 and (piece := file.read(min(_PIECE, remaining))):
                remaining -= len(piece)
                yield piece

    def size(self, key: str) -> int:
        """Return the file's size."""
        with self._answers(key):
            return self._path(key).stat().st_size

    def delete(self, key: str) -> None:
        """Delete the file."""
        with self._writes(key, store=False):
            path = self._path(key)
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync_directory(path.parent)

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the files below a directory."""
        with self._answers(prefix):
            yield from self._below(self._path(prefix) if prefix else self._root)

    def presigned_url(self, key: str, seconds: int) -> None:
        """Return None: clients cannot read the directory."""
        del key, seconds

    def begin_parts(self, key: str) -> str:
        """Create a directory for the parts."""
        upload_id = str(uuid4())
        with self._writes(key):
            self._parts(upload_id).mkdir(parents=True)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: Body, size: int) -> str:
        """Write one part; its number is its tag."""
        with self._writes(key):
            self._fill(self._parts(upload_id) / str(number), body, size)
        return str(number)

    def finish_parts(self, key: str, upload_id: str, tags: list[str], size: int) -> None:
        """Join the parts in order, and delete each one after it was copied."""
        del size
        with self._writes(key):
            parts = [self._parts(upload_id) / str(int(tag)) for tag in tags]
            with self._unfinished() as whole:
                with whole.open("wb") as file:
                    for part in parts:
                        with part.open("rb") as source:
                            shutil.copyfileobj(source, file, _PIECE)
                        part.unlink()
                    _sync(file)
                self._make_visible(whole, key)
            shutil.rmtree(self._parts(upload_id), ignore_errors=True)

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Delete the directory of the parts."""
        with self._answers(key):
            if self._parts(upload_id).exists():
                shutil.rmtree(self._parts(upload_id))

    def abort_abandoned_parts(self, before: datetime, kept: Collection[str]) -> int:
        """Delete the directories of uploads without a write since the given time.

        Files that a killed process left are deleted, too.
        """
        aborted = 0
        with self._writes(_UNFINISHED, store=False):
            for path in (self._root / _UNFINISHED).glob("*"):
                if path.name in kept or _modified_at(path) >= before:
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                    aborted += 1
                else:
                    path.unlink(missing_ok=True)
        return aborted

    def name_of(self, key: str) -> str:
        """Return the file's path."""
        return str(self._path(key))

    def _check_bucket(self) -> None:
        if not self._root.is_dir():
            raise StoreUnavailable(self.location, "its directory does not exist")

    def _read_small(self, key: str) -> bytes:
        with self._path(key).open("rb") as file:
            return file.read(READ_MAXIMUM)

    def _write_small(self, key: str, data: bytes, *, new: bool) -> None:
        with self._unfinished() as path:
            self._fill(path, data, len(data))
            if new:
                # Unlike a rename, this fails if the file exists. The rename has no effect then.
                try:
                    self._path(key).hardlink_to(path)
                except FileExistsError as error:
                    raise ObjectChanged(self.location, key) from error
            self._make_visible(path, key)

    def _path(self, key: str) -> Path:
        """Return the path of an object's file; no object has a key that leads elsewhere."""
        parts = PurePosixPath(key).parts
        if not parts or parts[0] in {"/", _UNFINISHED} or ".." in parts:
            raise ObjectMissing(self.location, key)
        return self._root.joinpath(*parts)

    def _below(self, directory: Path) -> Iterator[StoredObject]:
        """Yield the files below a directory, sorted by their keys."""
        if not directory.is_dir():
            return
        entries = [
            (f"{path.name}/" if path.is_dir() else path.name, path)
            for path in directory.iterdir()
            if path != self._root / _UNFINISHED
        ]
        for name, path in sorted(entries):
            if name.endswith("/"):
                yield from self._below(path)
            else:
                key = str(path.relative_to(self._root))
                yield StoredObject(key, path.stat().st_size, _modified_at(path))

    def _parts(self, upload_id: str) -> Path:
        # An invalid id raises ValueError before it becomes a path.
        return self._root / _UNFINISHED / str(UUID(upload_id))

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """Lend a path for a new file, and delete a file that is left there."""
        directory = self._root / _UNFINISHED
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{uuid4()}.file"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _fill(self, path: Path, body: Body, size: int) -> None:
        """Write `size` bytes of a body to the disk."""
        with path.open("wb") as file:
            if isinstance(body, bytes | memoryview):
                file.write(body)
            else:
                remaining = size
                while remaining and (piece := body.read(min(_PIECE, remaining))):
                    remaining -= len(piece)
                    file.write(piece)
            if file.tell() != size:
                raise StoreUnavailable(self.location, f"only {file.tell()} of {size} bytes sent")
            _sync(file)

    def _make_visible(self, path: Path, key: str) -> None:
        """Rename a file to an object's path, durably."""
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        directory = target.parent
        while directory != self._root.parent:
            _sync_directory(directory)
            directory = directory.parent

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise ObjectMissing(self.location, key) from error
        except PermissionError as error:
            raise StoreRefused(self.location, error.strerror or "no permission") from error
        except OSError as error:
            cause = error.strerror or type(error).__name__
            kind = StoreFull if error.errno in _FULL else StoreUnavailable
            raise kind(self.location, cause) from error


def _modified_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    """Sync a directory, which holds the result of a rename."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
