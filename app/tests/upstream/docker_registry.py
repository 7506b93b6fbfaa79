"""The registry that Debian packages (Docker Distribution 2), with TLS and Basic authentication."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3
from atoll.upstream.credentials import Credentials

from ..integration.services import wait_until
from .certificates import PrivateCa
from .content import UpstreamRepository
from .fault_upstream import FaultUpstream
from .skopeo import skopeo

USERNAME, PASSWORD = "mirror", "sesame"
_USER = Credentials(USERNAME, PASSWORD)
# The registry accepts bcrypt only.
_HASH = "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O"


@contextmanager
def docker_registry(ca: PrivateCa, directory: Path) -> Iterator[str]:
    """Run a registry in a directory, and yield its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (directory / "htpasswd").write_text(f"{USERNAME}:{_HASH}\n")
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "blobs")}},
        "auth": {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}},
        "http": {
            "addr": address,
            "secret": "x",
            "tls": {"certificate": str(ca.issued), "key": str(ca.key)},
        },
    }
    # JSON is YAML.
    (directory / "config.yml").write_text(json.dumps(configuration))
    log = (directory / "log").open("w")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(directory / "config.yml")], stdout=log, stderr=log
    )
    try:
        wait_until("the registry answers", lambda: _accepts_connections(address, process))
        yield address
    finally:
        process.kill()
        process.wait()
        log.close()


@contextmanager
def filled_docker_registry(
    ca: PrivateCa, directory: Path, content: UpstreamRepository
) -> Iterator[str]:
    """Run a registry whose repository `team/app` has images, which skopeo copied there."""
    with (
        FaultUpstream(ca.server_context()).running() as source,
        docker_registry(ca, directory) as address,
    ):
        source.repositories["team/app"] = content
        # Indexes of referrers last, because the registry requires the manifests that they list.
        for tag in sorted(content.tags, key=is_referrers_tag):
            if is_referrers_tag(tag):
                _put_referrers(ca, content, address, tag)
                continue
            names = (f"docker://{host}/team/app:{tag}" for host in (source.host, address))
            skopeo(ca, _USER, "copy", "--quiet", "--all", "--preserve-digests", *names)
        yield address


def is_referrers_tag(tag: str) -> bool:
    """Return whether a tag is that of an index of referrers, not of cosign."""
    return tag.startswith("sha256-") and "." not in tag


def _put_referrers(ca: PrivateCa, content: UpstreamRepository, address: str, tag: str) -> None:
    """Upload an index of referrers, which skopeo would convert."""
    media_type, manifest = content.manifests[content.tags[tag]]
    with urllib3.PoolManager(ca_certs=str(ca.certificate)) as pool:
        response = pool.request(
            "PUT",
            f"https://{address}/v2/team/app/manifests/{tag}",
            body=manifest,
            headers={"Content-Type": media_type, "Authorization": _USER.basic},
        )
    assert response.status == 201, response.data


def _accepts_connections(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the registry ended"
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
