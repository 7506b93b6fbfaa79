"""A directory with the keys of a Secret as a kubelet mounts it, and replaces it when they change.

Files are links to `..data`, which is a link to a directory with a time in its name. A change writes
a new directory, replaces `..data` with one rename, and removes the old directory. All of it belongs
to root; a container reads it because of its mode.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_DATA = "..data"
_FILE, _DIRECTORY = 0o444, 0o755


class KubeletDirectory:
    """The mounted directory.

    Args:
        path: the directory; it is created.
        files: the content of each file by its path, which may contain slashes as `items` may.
    """

    def __init__(self, path: Path, files: Mapping[str, bytes]) -> None:
        self.path = path
        self._versions = itertools.count(1)
        path.mkdir(parents=True)
        path.chmod(_DIRECTORY)
        self.replace(files)

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Replace all files at once."""
        data = self.path / _DATA
        old = data.resolve() if data.is_symlink() else None
        new = self._write(files)
        link = self.path / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(data)
        # The first components only: a directory is reached by a link as well.
        names = {Path(name).parts[0] for name in files}
        for name in names:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"{_DATA}/{name}")
        for present in self.path.iterdir():
            if (
                present.is_symlink()
                and not present.name.startswith("..")
                and present.name not in names
            ):
                present.unlink()
        if old is not None:
            shutil.rmtree(old)

    def _write(self, files: Mapping[str, bytes]) -> Path:
        version = self.path / f"..2026_11_29_12_00_00.{next(self._versions)}"
        version.mkdir()
        for name, content in files.items():
            file = version / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(_FILE)
        for directory, _directories, _files in os.walk(version):
            Path(directory).chmod(_DIRECTORY)
        return version


def read_files(directory: Path) -> dict[str, bytes]:
    """Return the content of all files below a directory by their paths."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
