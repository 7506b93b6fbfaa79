"""The mirror worker in a process of its own, with a store in a directory.

As a module, this is the program of the process: the uploads of its store can be resumed, as those
of S3.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from atoll.config import load
from atoll.server.mirror_process import mirror
from atoll.server.paths import HEALTH_URL_FILE
from atoll.services import Services
from atoll.storage.base import StoredPart
from atoll.storage.errors import ObjectMissing
from atoll.storage.local import LocalObjectStore

from .sites import MemorySite, bundle

_APP = Path(__file__).parents[2]
LOCATION = "us"

# The leases of a process that was killed, as if their time had passed.
_EXPIRE = """
UPDATE repomirrorconfig SET lease_expires = '-infinity' WHERE lease_token IS NOT NULL;
UPDATE mirrortask SET lease_expires = '-infinity' WHERE lease_token IS NOT NULL;
UPDATE mirrorblob SET lease_expires = '-infinity';
DELETE FROM upstreamlease;
"""


class ResumableDirectory(LocalObjectStore):
    """A directory whose multipart uploads can be resumed."""

    def stored_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        directory = self._parts(upload_id)
        if not directory.is_dir():
            raise ObjectMissing(self.location, key)
        return {
            int(path.name): StoredPart(
                path.name, path.stat().st_size, hashlib.md5(path.read_bytes()).hexdigest()
            )
            for path in directory.iterdir()
        }


@dataclass
class MirrorWorkerSite:
    """A site with a mirror worker in a process of its own.

    Attributes:
        site: The same registry in this process.
        directory: The files of the site.
        environment: The environment of its processes.
        process: The running worker.
    """

    site: MemorySite
    directory: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def is_up(self) -> bool:
        """Whether the worker claims runs and tasks."""
        return (self.directory / "run" / HEALTH_URL_FILE).exists()

    def start(self) -> subprocess.Popen[bytes]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        shutil.rmtree(self.directory / "run", ignore_errors=True)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.durability.mirror_worker"],
                env={**self.environment, "ATOLL_OPERATIONS_PORT": str(port)},
                stdout=log,
                stderr=log,
            )
        return self.process

    def kill(self) -> None:
        """Kill the worker, and let the time of its leases pass."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None
        self.site.database.run(_EXPIRE)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


def worker_site(
    uri: str,
    directory: Path,
    *certificates: Path,
    store: Sequence[object] | None = None,
    changes: Mapping[str, object] | None = None,
) -> MirrorWorkerSite:
    """Return a site that is not started, on a migrated database.

    Args:
        uri: The database.
        directory: An empty directory.
        certificates: Files with the CA certificates of upstreams and stores.
        store: The driver and arguments of the store; None for a directory.
        changes: Other keys of the bundle.
    """
    stack, objects = directory / "stack", directory / "store"
    for one in (stack / "extra_ca_certs", objects):
        one.mkdir(parents=True)
    for number, certificate in enumerate(certificates):
        shutil.copy(certificate, stack / "extra_ca_certs" / f"{number}.crt")
    settings = {
        **bundle(uri, [LOCATION]),
        "DISTRIBUTED_STORAGE_CONFIG": {
            LOCATION: list(store or ["LocalStorage", {"storage_path": str(objects)}])
        },
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": [],
        "FEATURE_STORAGE_REPLICATION": False,
        "FEATURE_REPO_MIRROR": True,
        "SSRF_ALLOWED_HOSTS": ["127.0.0.1"],
        **(changes or {}),
    }
    (stack / "config.yaml").write_text(yaml.safe_dump(settings))
    environment = {
        **os.environ,
        "ATOLL_BUNDLE_DIRECTORY": str(stack),
        "ATOLL_RUNTIME_DIRECTORY": str(directory / "run"),
        "ATOLL_SPOOL_DIRECTORY": str(directory),
        "QUAY_DISTRIBUTED_STORAGE_PREFERENCE": LOCATION,
        "PYTHONPATH": str(_APP),
    }
    graph = Services(load(environment, stack), spool=directory, connections=4)
    return MirrorWorkerSite(MemorySite(graph, {}), directory, environment)


if __name__ == "__main__":
    from atoll.storage import local

    local.LocalObjectStore = ResumableDirectory  # type: ignore[misc]
    sys.exit(mirror(migrate=False))
