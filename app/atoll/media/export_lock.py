"""The lock of a medium, which one process writes at a time."""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from atoll.media.errors import MediumNotWritable

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_HOLDER = re.compile(rb"(\d{1,10}) ([\w.-]{1,100})\n")
_HOLDER_MAXIMUM = 200


class ExportLock:
    """A locked file, which is deleted when it is released.

    The lock of a process that dies is released by the system; its file is used again.

    Args:
        directory: The directory of the file. It may be renamed while the lock is held.
        name: The name of the file.
        medium: The medium, for errors.

    Raises:
        MediumNotWritable: Another process has the lock, or the file is not a regular one.
        OSError: The file cannot be created or locked.
    """

    def __init__(self, directory: Path, name: str, medium: Path) -> None:
        self._name = name
        self._medium = medium
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._file = self._lock()
        except BaseException:
            os.close(self._directory)
            raise

    def release(self) -> None:
        """Delete the file and release the lock."""
        # While the lock is held, so that the file of another process is not deleted.
        with suppress(OSError):
            os.unlink(self._name, dir_fd=self._directory)
        os.close(self._file)
        os.close(self._directory)

    def _lock(self) -> int:
        while True:
            file = os.open(self._name, _OPEN, 0o644, dir_fd=self._directory)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise MediumNotWritable(
                        f"medium '{self._medium}' cannot be written: '{self._name}' is not a"
                        " regular file; delete it"
                    )
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise MediumNotWritable(
                        f"medium '{self._medium}' is being written by {_holder(file)}; wait until"
                        " it ends, or export to another medium"
                    ) from error
                if self._is_named(file):
                    os.ftruncate(file, 0)
                    os.pwrite(file, f"{os.getpid()} {os.uname().nodename}\n".encode(), 0)
                    return file
            except BaseException:
                os.close(file)
                raise
            os.close(file)

    def _is_named(self, file: int) -> bool:
        """Return whether the file still has its name: the previous holder may have deleted it."""
        try:
            found = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(file))


def _holder(file: int) -> str:
    """Return a text that names the process that has the lock."""
    match = _HOLDER.fullmatch(os.pread(file, _HOLDER_MAXIMUM, 0))
    if match is None:
        return "another process"
    process, host = (one.decode(errors="replace") for one in match.groups())
    return f"process {process} on host '{host}'"
