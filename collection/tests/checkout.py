"""Copies of the repository as others get it: only with the files in version control."""

import shutil
import subprocess
from pathlib import Path


def tracked_files(root: Path) -> list[str]:
    """Return the paths of the files in version control that exist."""
    words = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    names = [name for name in listed.split("\0") if name]
    return [name for name in names if (root / name).is_symlink() or (root / name).is_file()]


def copy_checkout(root: Path, target: Path) -> Path:
    """Copy the repository to a directory, without changes of the environment such as .venv."""
    for name in tracked_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name, follow_symlinks=False)
    return target
