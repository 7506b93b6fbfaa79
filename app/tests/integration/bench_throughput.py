"""Benchmark one replication worker against `rclone copy`, which only copies.

Both copy the same objects between the same two stores, in the same run, one after the other; the
worker also hashes all bytes and records each placement. `make benchmark` prints the figures.
Compare only figures of the same run.

In the first figures, the processors are the bottleneck: both stores, the database and the copying
process share those of this machine. In the last figures it is the network link, as between regions.
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
from contextlib import contextmanager, suppress
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
    """Return as many sizes of 4 to 8 KiB as of 512 KiB to 1 MiB, a mix that images have."""
    chance = random.Random(1)
    return [int(4 * KIBIBYTE * 2 ** chance.uniform(0, 8)) for _ in range(1200)]


def large_sizes() -> list[int]:
    chance = random.Random(2)
    return [chance.randint(50, 200) * MEBIBYTE for _ in range(12)]


MIXES = {
    "small (1200 of 4 KiB..1 MiB)": small_sizes(),
    "large (12 of 50..200 MiB)": large_sizes(),
    "small and large": small_sizes() + large_sizes(),
}


# The bandwidth of the link to the target in Mbit/s, and the seconds between two samples of a
# process.
LINK_MBITS = 400
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Run:
    """The cost of one run: elapsed and processor time in seconds, and peak memory in MiB."""

    seconds: float
    processor: float
    memory: float


class ResourceSampler:
    """Samples the resource usage of a process; memory is its proportional set size."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self._began = self._processor_seconds()
        self.processor = 0.0
        self.memory = 0.0

    def sample(self) -> None:
        # A process that has just ended has nothing to read.
        with suppress(FileNotFoundError, ProcessLookupError):
            self.processor = self._processor_seconds() - self._began
            for line in (self._process / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    self.memory = max(self.memory, int(line.split()[1]) / KIBIBYTE)

    def _processor_seconds(self) -> float:
        stat = (self._process / "stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def limited_bandwidth(store: Store) -> Iterator[None]:
    """Limit the bandwidth of uploads to a store."""
    process = store.container.attrs["State"]["Pid"]
    index = Path(f"/proc/{process}/root/sys/class/net/eth0/iflink").read_text().strip()
    [interface] = [
        path.parent.name
        for path in Path("/sys/class/net").glob("veth*/ifindex")
        if path.read_text().strip() == index
    ]
    queue = ["dev", interface, "root"]
    limit = ["tbf", "rate", f"{LINK_MBITS}mbit", "burst", "256kb", "latency", "200ms"]
    subprocess.run(["tc", "qdisc", "replace", *queue, *limit], check=True)
    try:
        yield
    finally:
        subprocess.run(["tc", "qdisc", "delete", *queue], check=True)


def put_objects(store: Store, sizes: list[int]) -> dict[str, int]:
    """Put objects of the given sizes at content addresses; return their digests and sizes."""
    blobs = {}
    for number, size in enumerate(sizes):
        data = random.Random(number).randbytes(min(size, MEBIBYTE))
        data = (data * (size // len(data) + 1))[:size]
        hexadecimal = hashlib.sha256(data).hexdigest()
        key = f"{PREFIX}/{hexadecimal[:2]}/{hexadecimal}"
        store.client.put_object(Bucket=store.bucket, Key=key, Body=data)
        blobs[f"sha256:{hexadecimal}"] = size
    return blobs


def run_rclone(services: Services, directory: Path) -> Run:
    """Copy everything with rclone's defaults; only the stores and the keys are configured."""
    program = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    assert program is not None, "rclone is not installed; `make setup` installs it"
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
    watched = ResourceSampler(process.pid)
    while process.poll() is None:
        watched.sample()
        time.sleep(SAMPLE_SECONDS)
    assert process.returncode == 0, (directory / "rclone.log").read_text()
    return Run(time.perf_counter() - began, watched.processor, watched.memory)


def count_unplaced(database: Database) -> int:
    return int(database.read("SELECT count(*) FROM replicationtask")[0][0])


def run_worker(us: Site, eu: Site, blobs: dict[str, int]) -> Run:
    """Let a worker that is already running and idle copy everything."""
    eu.start_worker()
    eu.wait_for_worker()
    assert eu.worker is not None
    watched = ResourceSampler(eu.worker.pid)
    began = time.perf_counter()
    us.services.database.run(_PLACED, {"digests": list(blobs), "sizes": list(blobs.values())})
    while count_unplaced(us.services.database):
        watched.sample()
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - began
    eu.stop_worker()
    placed = "SELECT count(*) FROM imagestorageplacement p JOIN imagestoragelocation l"
    placed += " ON l.id = p.location_id WHERE l.name = 'eustorage' AND p.state = 'good'"
    assert us.services.database.read(placed)[0][0] == len(blobs)
    return Run(seconds, watched.processor, watched.memory)


def print_run(name: str, run: Run, blobs: dict[str, int]) -> None:
    rate = sum(blobs.values()) / MEBIBYTE / run.seconds
    print(  # noqa: T201
        f"  {name:<14} {run.seconds:7.1f} s  {rate:7.1f} MiB/s  {len(blobs) / run.seconds:7.1f}"
        f" blobs/s  {run.processor:6.1f} s of processor time  {run.memory:6.1f} MiB of memory"
    )


@pytest.fixture
def emptied(services: Services) -> Iterator[None]:
    yield
    for store in services.stores():
        store.empty()


def compare(us: Site, eu: Site, services: Services, directory: Path, blobs: dict[str, int]) -> None:
    """Copy the blobs from us to eu with both programs, and print the cost of each."""
    by_rclone = run_rclone(services, directory)
    print_run("rclone copy", by_rclone, blobs)
    services.eu.empty()
    by_worker = run_worker(us, eu, blobs)
    print_run("atoll worker", by_worker, blobs)
    print(f"  the worker is {by_rclone.seconds / by_worker.seconds:.2f} times as fast")  # noqa: T201


@pytest.mark.usefixtures("emptied")
@pytest.mark.parametrize("mix", MIXES)
def test_worker_against_rclone(
    us: Site, eu: Site, services: Services, tmp_path: Path, mix: str
) -> None:
    blobs = put_objects(services.us, MIXES[mix])
    print(f"\n{mix}: {sum(blobs.values()) / MEBIBYTE:.0f} MiB")  # noqa: T201
    compare(us, eu, services, tmp_path, blobs)


@pytest.mark.usefixtures("emptied")
def test_worker_against_rclone_over_a_limited_link(
    us: Site, eu: Site, services: Services, tmp_path: Path
) -> None:
    blobs = put_objects(services.us, large_sizes())
    total = sum(blobs.values()) / MEBIBYTE
    print(f"\nlarge, over a link of {LINK_MBITS} Mbit/s: {total:.0f} MiB")  # noqa: T201
    with limited_bandwidth(services.eu):
        compare(us, eu, services, tmp_path, blobs)
