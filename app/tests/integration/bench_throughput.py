"""How fast one worker copies, beside `rclone copy`, which only copies. `make benchmark` prints it.

The same files, the same two stores, the same run, one after the other; the worker hashes all it
copies and writes each placement. Figures of one run are to be compared with each other only.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from atoll.db.pool import Database

from .services import Services, Store
from .site import Site

KIBIBYTE, MEBIBYTE = 2**10, 2**20
PREFIX = "datastorage/registry/sha256"
_PLACED = """
INSERT INTO imagestorage (content_checksum, image_size)
SELECT * FROM unnest(%(digests)s, %(sizes)s);
INSERT INTO imagestorageplacement (storage_id, location_id)
SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'usstorage';
INSERT INTO replicationtask (storage_id, location_id)
SELECT s.id, l.id FROM imagestorage s, imagestoragelocation l WHERE l.name = 'eustorage';
"""


def small_sizes() -> list[int]:
    """As many of 4 KiB to 8 KiB as of 512 KiB to 1 MiB, as those of images are."""
    chance = random.Random(1)
    return [int(4 * KIBIBYTE * 2 ** chance.uniform(0, 8)) for _ in range(1200)]


def large_sizes() -> list[int]:
    chance = random.Random(2)
    return [chance.randint(50, 200) * MEBIBYTE for _ in range(12)]


MIXES = {
    "small (1200 of 4 KiB..1 MiB)": small_sizes(),
    "large (12 of 50..200 MiB)": large_sizes(),
    "all of them": small_sizes() + large_sizes(),
}


@dataclass(frozen=True)
class Run:
    """What one program took: seconds, and its greatest proportional set size in MiB."""

    seconds: float
    memory: float


class Watched:
    """The memory that a process takes at most, looked at again and again."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/smaps_rollup")
        self.peak = 0.0

    def look(self) -> None:
        # Nothing is read of a process that has just ended.
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in self._file.read_text().splitlines():
                if line.startswith("Pss:"):
                    self.peak = max(self.peak, int(line.split()[1]) / KIBIBYTE)


def fill(store: Store, sizes: list[int]) -> dict[str, int]:
    """Put objects of SIZES where blobs lie; return their digests and sizes."""
    blobs = {}
    for number, size in enumerate(sizes):
        data = random.Random(number).randbytes(min(size, MEBIBYTE))
        data = (data * (size // len(data) + 1))[:size]
        hexadecimal = hashlib.sha256(data).hexdigest()
        key = f"{PREFIX}/{hexadecimal[:2]}/{hexadecimal}"
        store.client.put_object(Bucket=store.bucket, Key=key, Body=data)
        blobs[f"sha256:{hexadecimal}"] = size
    return blobs


def rclone(services: Services, directory: Path) -> Run:
    """Copy everything with rclone as it comes, told only where and with which keys."""
    program = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    assert program is not None, "rclone is not there; `make setup` installs it"
    environment = {**os.environ, "RCLONE_CONFIG": "/dev/null", "RCLONE_CA_CERT": ""}
    for store in services.stores():
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Ceph",
            "ENDPOINT": f"https://127.0.0.1:{store.port}",
            "ACCESS_KEY_ID": store.access_key,
            "SECRET_ACCESS_KEY": store.secret_key,
        }
        for name, value in settings.items():
            environment[f"RCLONE_CONFIG_{store.location.upper()}_{name}"] = value
        environment["RCLONE_CA_CERT"] = str(store.certificate)
    source, target = (
        f"{store.location}:{store.bucket}/{PREFIX}" for store in (services.us, services.eu)
    )
    began = time.perf_counter()
    with (directory / "rclone.log").open("ab") as log:
        process = subprocess.Popen([program, "copy", source, target], env=environment, stderr=log)
    watched = Watched(process.pid)
    while process.poll() is None:
        watched.look()
        time.sleep(0.02)
    assert process.returncode == 0, (directory / "rclone.log").read_text()
    return Run(time.perf_counter() - began, watched.peak)


def unplaced(database: Database) -> int:
    return int(database.read("SELECT count(*) FROM replicationtask")[0][0])


def worker(us: Site, eu: Site, blobs: dict[str, int]) -> Run:
    """Have everything copied by a worker that was waiting for it."""
    eu.start_worker()
    eu.wait_for_worker()
    assert eu.worker is not None
    watched = Watched(eu.worker.pid)
    began = time.perf_counter()
    us.graph.database.run(_PLACED, {"digests": list(blobs), "sizes": list(blobs.values())})
    while unplaced(us.graph.database):
        watched.look()
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    eu.stop_worker()
    placed = "SELECT count(*) FROM imagestorageplacement p JOIN imagestoragelocation l"
    placed += " ON l.id = p.location_id WHERE l.name = 'eustorage' AND p.state = 'good'"
    assert us.graph.database.read(placed)[0][0] == len(blobs)
    return Run(seconds, watched.peak)


def told(name: str, run: Run, blobs: dict[str, int]) -> None:
    rate = sum(blobs.values()) / MEBIBYTE / run.seconds
    print(  # noqa: T201
        f"  {name:<14} {run.seconds:7.1f} s  {rate:7.1f} MiB/s  {len(blobs) / run.seconds:7.1f}"
        f" blobs/s  {run.memory:6.1f} MiB of memory"
    )


@pytest.fixture
def emptied(services: Services) -> Iterator[None]:
    yield
    for store in services.stores():
        store.empty()


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("mix", MIXES)
def test_a_worker_beside_rclone(
    us: Site, eu: Site, services: Services, tmp_path: Path, mix: str
) -> None:
    blobs = fill(services.us, MIXES[mix])
    print(f"\n{mix}: {sum(blobs.values()) / MEBIBYTE:.0f} MiB")  # noqa: T201
    by_rclone = rclone(services, tmp_path)
    told("rclone copy", by_rclone, blobs)
    services.eu.empty()
    by_worker = worker(us, eu, blobs)
    told("atoll worker", by_worker, blobs)
    print(f"  the worker is {by_rclone.seconds / by_worker.seconds:.2f} times as fast")  # noqa: T201
