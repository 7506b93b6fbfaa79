"""One process writes a medium at a time; the lock of a dead process is free."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from atoll.media.errors import MediumNotWritable
from atoll.media.files import DESCRIPTION
from atoll.media.medium import medium_writer

HOLDER = """
import sys
from pathlib import Path
from atoll.media.medium import medium_writer
writer = medium_writer(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
writer.close()
"""


@contextmanager
def other_process(medium: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes a medium until its input ends."""
    paths = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(medium)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["new", "existing", "new.tar"])
def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path: Path, name: str) -> None:
    medium = tmp_path / name
    if name == "existing":
        medium.mkdir()
    with other_process(medium) as process:
        with pytest.raises(MediumNotWritable) as refused:
            medium_writer(medium)
        assert str(refused.value) == (
            f"medium '{medium}' is being written by process {process.pid} on host"
            f" '{os.uname().nodename}'; wait until it ends, or export to another medium"
        )
        process.communicate()
        assert not list(tmp_path.rglob("*.lock"))
        medium_writer(medium).close()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    with other_process(medium) as process:
        process.kill()
        process.wait()
        assert list(tmp_path.rglob("*.lock"))
        with closing(medium_writer(medium)) as writer:
            assert writer.description() is None
        assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("name", ["medium", "medium.tar"])
def test_a_medium_that_another_export_completes_meanwhile_is_not_replaced(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first export ends after the second one opened its lock."""
    medium = tmp_path / name
    first = medium_writer(medium)
    real = fcntl.flock

    def flock(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.finish({DESCRIPTION: b"the first"})
        first.close()
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    if medium.suffix:
        with pytest.raises(MediumNotWritable, match="archives are not extended"):
            medium_writer(medium)
    else:
        with closing(medium_writer(medium)) as second:
            assert second.description() == b"the first"
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    medium = tmp_path / "medium"
    medium.mkdir()
    medium.joinpath("atoll-export.lock").symlink_to(outside)
    with pytest.raises(MediumNotWritable, match="cannot be written"):
        medium_writer(medium)
    assert not outside.exists()
