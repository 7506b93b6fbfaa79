"""The object store of a run: one Ceph RGW without TLS."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from commands import wait_until

from .containers import Container, start

STORE_IMAGE = "localhost/atoll-object-store:18"
PORT = 7480
# Not the registries' host: Atoll sends the bytes itself if clients would send their token to the
# store.
HOST = "127.0.0.2"
ENDPOINT = f"http://{HOST}:{PORT}"
REGION = "us-east-1"
_SECCOMP = Path("/usr/share/containers/seccomp.json")


class ObjectStore:
    """A store with one user and a bucket for each registry.

    Args:
        image: its image.
        network: the option of podman that selects the network.
        address: an address of the network that this machine can reach.
        directory: a directory for its files.
        tcp_nodelay: whether small answers are sent at once. Ceph's default is that they wait for
            the acknowledgement of the previous one.
    """

    def __init__(
        self, image: str, network: str, address: str, directory: Path, *, tcp_nodelay: bool
    ) -> None:
        self.access_key, self.secret_key = os.urandom(10).hex(), os.urandom(20).hex()
        self.tcp_nodelay = tcp_nodelay
        files = directory / "store"
        files.mkdir(mode=0o700, parents=True, exist_ok=True)
        (files / "access_key").write_text(self.access_key)
        (files / "secret_key").write_text(self.secret_key)
        self.container: Container = start(
            image,
            options=(
                network,
                f"--security-opt=seccomp={_write_seccomp(files)}",
                f"--volume={files}:/run/object-store:ro",
                f"--env=STORE_LOCATION={REGION}",
                f"--env=STORE_PORT={PORT}",
                f"--env=STORE_FRONTEND=port={PORT} tcp_nodelay={int(tcp_nodelay)}",
            ),
        )
        self._client = self._make_client(address)

    def wait(self) -> None:
        """Wait until the store accepts buckets."""
        wait_until("the object store answers", lambda: self._has_bucket("ready"))

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        self._client.create_bucket(Bucket=name)

    def remove_bucket(self, name: str) -> None:
        """Remove a bucket and give its space back at once."""
        words = ("bucket", "rm", f"--bucket={name}", "--purge-objects", "--bypass-gc")
        self._administer(*words)

    def version(self) -> str:
        """Return the version of Ceph."""
        return self.container.run("ceph", "--version").split()[2]

    def _administer(self, *words: str) -> None:
        self.container.run("radosgw-admin", "--name=client.rgw", *words)

    def _has_bucket(self, name: str) -> bool:
        self.container.require_running()
        try:
            self._client.create_bucket(Bucket=name)
        except (BotoCoreError, ClientError):
            return False
        return True

    # S3's clients have no types.
    def _make_client(self, address: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"http://{address}:{PORT}",
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=2,
                read_timeout=30,
                retries={"total_max_attempts": 1},
            ),
        )


# libaio of the image calls io_pgetevents, which older profiles of podman refuse with an error that
# Ceph does not survive. Without a rule for it, libaio falls back to an older call.
def _write_seccomp(directory: Path) -> Path:
    profile = json.loads(_SECCOMP.read_text())
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "io_pgetevents"]
    written = directory / "seccomp.json"
    written.write_text(json.dumps(profile))
    return written
