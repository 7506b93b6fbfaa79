"""Debian's docker-registry, with the same store and without authentication."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager

from commands import wait_until

from .arena import TOOLS_IMAGE, Arena
from .containers import start
from .operations import DOCKER_REGISTRY
from .registry import Server
from .store import ENDPOINT, REGION

_PORT = 5000
_numbers = itertools.count(1)


@contextmanager
def running_docker_registry(arena: Arena) -> Iterator[Server]:
    """Run the registry with a bucket of its own until the block ends.

    It redirects to the store and keeps facts about blobs in memory, as Atoll does. It checks no
    token, which is an advantage over Atoll.
    """
    number = next(_numbers)
    bucket = f"docker-{number}"
    arena.store.create_bucket(bucket)
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {
            "s3": {
                "accesskey": arena.store.access_key,
                "secretkey": arena.store.secret_key,
                "region": REGION,
                "regionendpoint": ENDPOINT,
                "bucket": bucket,
                "secure": False,
                "v4auth": True,
            },
            "cache": {"blobdescriptor": "inmemory"},
            "redirect": {"disable": False},
        },
        "http": {"addr": f":{_PORT}", "secret": "x"},
    }
    file = arena.directory / f"docker-registry-{number}.yml"
    # JSON is YAML.
    file.touch(mode=0o600)
    file.write_text(json.dumps(configuration))
    command = "exec docker-registry serve /config.yml >/tmp/log 2>&1"
    options = (arena.network, f"--volume={file}:/config.yml:ro")
    container = start(arena.images[TOOLS_IMAGE], "bash", "-c", command, options=options)
    server = Server(DOCKER_REGISTRY, _PORT, arena.address, [container])
    try:
        wait_until("docker-registry answers", lambda: server.answers("/v2/"))
        yield server
    finally:
        container.remove()
        arena.store.remove_bucket(bucket)
