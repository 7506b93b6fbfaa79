"""Run the registry's own check of database and stores in a container of its image."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping

from ansible_collections.atoll.registry.plugins.module_utils.host_checks.runner import (
    ERROR,
    Host,
    Problem,
    problem,
)

_SYSTEM_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
)
# A container that runs longer is killed. Podman itself needs time to start it.
PROBE_SECONDS = 25
START_SECONDS = 10
_STORE = re.compile(r"the store of '([^']+)' accepts no objects")
_UNIT = "/etc/containers/systemd/atoll-registry.container"


def local_image(host: Host, wanted: str) -> str:
    """Return the wanted image or that of the running registry if the host has it, else ""."""
    images: list[str] = [wanted, *re.findall(r"^Image=(\S+)$", host.read(_UNIT), re.MULTILINE)]
    for image in images:
        if image and host.run(["podman", "image", "exists", image])[0] == 0:
            return image
    return ""


def probe(
    host: Host,
    image: str,
    bundle: str,
    *,
    files: Mapping[str, str],
    skipped: Collection[str] = (),
) -> Iterator[Problem]:
    """Write a test object to each store and connect to the database, as a server does.

    Args:
        host: The host.
        image: Image of the registry.
        bundle: The bundle in JSON, which is written to the standard input of the container.
        files: CA certificates of the bundle, by their path in its directory.
        skipped: Subjects that have known problems: "database", and locations.
    """
    stores = json.loads(bundle).get("DISTRIBUTED_STORAGE_CONFIG") or {}
    probed = [name for name in stores if name not in skipped]
    words = ["config", "check", "-", "--json"]
    words += [word for name in probed for word in ("--probe", name)]
    words += ["--connect"] if "database" not in skipped else []
    with tempfile.TemporaryDirectory(prefix="atoll-preflight-") as folder:
        _write_files(host, folder, files)
        command = [*_container(folder), image, *words]
        _status, output = host.run(command, bundle, PROBE_SECONDS + START_SECONDS)
    start = output.find("{")
    try:
        found = json.loads(output[start:])["problems"] if start >= 0 else []
    except (ValueError, KeyError, TypeError):
        return  # An older version of the registry may have another output.
    for sentence in (" ".join(line.split()) for line in found):
        store = _STORE.search(sentence)
        # Other problems concern keys of the bundle, and the controller reports them.
        if store:
            yield problem(
                "store-unusable",
                ERROR,
                f"The registry's own probe failed: {sentence}",
                f"Correct the arguments of {store.group(1)} in DISTRIBUTED_STORAGE_CONFIG, or the"
                " permissions of its access key.",
            )
        elif sentence.startswith("DB_URI: "):
            yield problem(
                "database-unusable",
                ERROR,
                f"The registry's own check of the database failed: {sentence}",
                "Correct DB_URI and DB_CONNECTION_ARGS, or the access rules of PostgreSQL.",
            )


def _container(folder: str) -> list[str]:
    """Return the command of a container that is removed afterwards."""
    return [
        *("podman", "run", "--rm", "--interactive", "--read-only", "--cap-drop=all"),
        f"--timeout={PROBE_SECONDS}",
        *("--security-opt=no-new-privileges", "--security-opt=label=disable", "--pull=never"),
        *("--log-driver=none", "--env=ATOLL_RUNTIME_DIRECTORY=/preflight/runtime"),
        f"--volume={folder}/runtime:/preflight/runtime:ro",
        f"--volume={folder}/stack:/conf/stack:ro",
    ]


def _write_files(host: Host, folder: str, files: Mapping[str, str]) -> None:
    """Write the CA certificates where the registry reads them."""
    texts = [host.read(name) for name in _SYSTEM_CERTIFICATES]
    texts += [text for name, text in sorted(files.items()) if name.startswith("extra_ca_certs/")]
    written = {"runtime/ca-bundle.pem": "\n".join(filter(None, texts))}
    written.update({f"stack/{name}": text for name, text in files.items()})
    os.chmod(folder, 0o755)  # noqa: S103 - the container's user reads CA certificates
    for name, text in written.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    os.makedirs(os.path.join(folder, "stack"), exist_ok=True)
