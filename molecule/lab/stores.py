"""Create the S3 stores of a lab, one with a bucket for each location."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from commands import PODMAN, podman, succeeds, wait_until
from containers import Containers
from definition import Lab, Store
from errors import LabError


@dataclass(frozen=True)
class Kind:
    """The image of a kind of store, and the directory of its data."""

    image: str
    data: str


# Ceph RADOS Gateway, and OpenStack Swift with its S3 API.
KINDS = {
    "ceph": Kind("localhost/atoll-object-store:18", "/var/lib/ceph"),
    "swift": Kind("localhost/atoll-swift-store:13", "/srv/node"),
}
# Each store accepts this region.
_REGION = "us-east-1"

# The distribution's default seccomp profile of containers.
_COMMON_SECCOMP = Path("/usr/share/containers/seccomp.json")
_UNAVAILABLE = 503
_NOT_FOUND = 404


def create(lab: Lab, containers: Containers, store: Store) -> bool:
    """Ensure a store is running and has its bucket, and return whether the store is new."""
    kind = _kind(store)
    new = containers.ensure(
        lab,
        store,
        f"--security-opt=seccomp={_seccomp(lab, store)}",
        "--stop-timeout=60",
        "--log-opt=max-size=20mb",
        f"--volume={containers.create_volume(store, 'data')}:{kind.data}",
        f"--volume={_files(lab, store)}:/run/object-store:ro",
        f"--env=STORE_LOCATION={store.location}",
        f"--env=STORE_PORT={store.port}",
        kind.image,
    )
    client = client_of(lab, store)
    wait_until(f"{store.container} has its bucket", lambda: _has_bucket(client, store))
    return new


def _kind(store: Store) -> Kind:
    if store.kind not in KINDS:
        known = ", ".join(KINDS)
        raise LabError(
            f"the store_kind of {store.name} is {store.kind}, but must be one of: {known}"
        )
    return KINDS[store.kind]


def client_of(lab: Lab, store: Store) -> Any:
    """Return an S3 client with the credentials of the registry."""
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=_REGION,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        verify=str(lab.certificate_authority),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=10,
            retries={"total_max_attempts": 1},
        ),
    )


def _has_bucket(client: Any, store: Store) -> bool:
    if not succeeds([*PODMAN, "container", "inspect", store.container]) or _exited(store):
        raise LabError(f"{store.container} exited; see `podman logs {store.container}`")
    try:
        client.head_bucket(Bucket=store.bucket)
    except ClientError as refusal:
        if _status(refusal) == _NOT_FOUND:
            _create_bucket(client, store)
        return False
    except BotoCoreError:
        return False
    return True


def _create_bucket(client: Any, store: Store) -> None:
    try:
        client.create_bucket(Bucket=store.bucket)
    except ClientError as refusal:
        # A store that is still starting is retried.
        if _status(refusal) < _UNAVAILABLE:
            raise


def _status(refusal: ClientError) -> int:
    return int(refusal.response["ResponseMetadata"]["HTTPStatusCode"])


def _exited(store: Store) -> bool:
    state = podman("container", "inspect", "--format", "{{.State.Status}}", store.container)
    return state.strip() == "exited"


# Debian 13's libaio calls io_pgetevents, for which podman 4.3's profile returns EPERM, and Ceph
# aborts. Without that name, the profile returns ENOSYS, and libaio falls back to an older call.
def _seccomp(lab: Lab, store: Store) -> Path:
    profile = json.loads(_COMMON_SECCOMP.read_text())
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "io_pgetevents"]
    written = lab.state / "object-store-seccomp.json"
    # Stores start concurrently, so the file is replaced atomically.
    temporary = written.with_suffix(f".{store.name}")
    temporary.write_text(json.dumps(profile))
    temporary.replace(written)
    return written


# The keys are passed as files, because `podman inspect` shows environment variables.
def _files(lab: Lab, store: Store) -> Path:
    folder = lab.state / "stores" / store.name
    folder.mkdir(parents=True, exist_ok=True)
    certificate = lab.certificate(store.name)
    contents = {
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "tls.crt": certificate.read_text(),
        "tls.key": certificate.with_suffix(".key").read_text(),
    }
    for name, content in contents.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(content)
    return folder
