"""The image in a pod: any user id with group 0, and nothing writable but two volumes.

The options reproduce what OpenShift permits a pod; no cluster takes part.
"""

from __future__ import annotations

import json
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
import requests
import yaml

from ..integration.services import Services, make_certificate, wait_until
from ..kubelet_directory import KubeletDirectory, read_files
from .content import MEBIBYTE, Content
from .pods import mounted_bundle, pod_options, running_pod, running_worker
from .running import POD_USER, RunningImage, begin_upload, podman, push_blob, start

NAME = "library/pods"
MIRROR = {"FEATURE_REPO_MIRROR": True}
QUESTION = (
    "WARNING: This is a destructive operation. Are you sure you want to remove eustorage from your"
    " storage locations? [y/n] "
)


def keys_of(mounted: KubeletDirectory) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((mounted.path / "config.yaml").read_bytes())
    return found


def replace_keys(mounted: KubeletDirectory, keys: dict[str, object]) -> None:
    """Replace config.yaml as a kubelet does when the Secret has changed."""
    files = read_files((mounted.path / "..data").resolve())
    mounted.replace(files | {"config.yaml": yaml.safe_dump(keys).encode()})


def without_eustorage(keys: dict[str, object]) -> dict[str, object]:
    stores = dict(keys["DISTRIBUTED_STORAGE_CONFIG"])  # type: ignore[call-overload]
    del stores["eustorage"]
    return keys | {
        "DISTRIBUTED_STORAGE_CONFIG": stores,
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage"],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["usstorage"],
    }


def client(running: RunningImage) -> requests.Session:
    session = running.session()
    running.authorize(session, NAME)
    return session


def test_the_registry_runs_as_any_user_with_group_0_and_without_capabilities(
    pod: RunningImage,
) -> None:
    status = pod.run("cat", "/proc/1/status").stdout
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert values["Uid"].split() == [str(POD_USER)] * 4
    assert values["Gid"].split() == ["0"] * 4
    assert int(values["CapBnd"], 16) == int(values["CapEff"], 16) == 0
    assert values["NoNewPrivs"] == "1"
    unknown = pod.run("python", "-c", f"import pwd; pwd.getpwuid({POD_USER})")
    assert "KeyError" in unknown.stdout


def test_nothing_is_writable_but_the_volumes(pod: RunningImage) -> None:
    search = "find / -xdev -type d -writable 2>/dev/null"
    found = pod.run("sh", "-c", search).stdout.split()
    assert [one for one in found if not one.startswith(("/tmp", "/var/spool/atoll"))] == []
    for directory in ("/", "/run", "/var/tmp", "/opt/atoll", "/conf/stack", "/var/lib/nginx"):
        assert pod.run("touch", f"{directory}/written").returncode != 0, directory


@pytest.mark.parametrize(
    "words",
    [("status",), ("config", "check", "/conf/stack/config.yaml"), ("healthcheck",), ("reload",)],
    ids=" ".join,
)
def test_commands_of_operators_need_no_home_directory(
    pod: RunningImage, words: tuple[str, ...]
) -> None:
    answer = pod.run("env", "--unset=HOME", "atoll", *words)
    assert answer.returncode == 0, answer.stdout
    assert "Traceback" not in answer.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("registry",),
        ("registry-nomigrate",),
        ("replication",),
        ("repomirror",),
        ("repomirror-nomigrate",),
    ],
    ids=" ".join,
)
def test_every_process_runs_in_a_pod(
    services: Services, database: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    mounted = mounted_bundle(services, database, tmp_path, MIRROR)
    with running_worker(
        services, mounted, tmp_path / "pod", "usstorage eustorage", *words
    ) as container:
        log = podman("logs", str(container.id)).stdout
        assert "Traceback" not in log
        assert "Permission denied" not in log


def dump(services: Services, database: str) -> str:
    """Return the schema and all rows of a database."""
    words = ("pg_dump", "--host=127.0.0.1", "--username=atoll", database)
    answer = podman("exec", str(services.postgres.id), *words)
    assert answer.returncode == 0, answer.stdout
    # pg_dump protects its output with a new key each time.
    lines = answer.stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def test_a_second_migration_of_a_pod_changes_nothing(services: Services, tmp_path: Path) -> None:
    database = "migrated_by_a_pod"
    connection = psycopg2.connect(services.postgres_uri)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {database}")
    connection.close()
    mounted = mounted_bundle(services, database, tmp_path)
    dumps = []
    for _ in range(2):
        container = start(
            services,
            mounted.path,
            options=pod_options(tmp_path),
            words=("migrate", "head", "--json"),
        )
        status = container.wait()
        log = podman("logs", str(container.id)).stdout
        podman("rm", "--force", "--volumes", str(container.id))
        assert status == 0, log
        dumps.append((json.loads(log.splitlines()[-1])["applied"], dump(services, database)))
    assert dumps[0][0] != []
    assert dumps[1] == ([], dumps[0][1])


def test_a_reload_follows_a_changed_secret(
    services: Services, database: str, tmp_path: Path
) -> None:
    mounted = mounted_bundle(services, database, tmp_path)
    complete = keys_of(mounted)
    replace_keys(mounted, without_eustorage(complete))
    with running_pod(services, mounted, tmp_path, preference="usstorage") as running:
        metrics = f"{running.operations_url}/metrics"
        eu = 'atoll_store_up{location="eustorage"}'
        assert eu not in requests.get(metrics).text
        certificate, key = make_certificate(tmp_path, ["127.0.0.1"])
        files = read_files((mounted.path / "..data").resolve())
        mounted.replace(
            files
            | {
                "config.yaml": yaml.safe_dump(complete).encode(),
                "ssl.cert": certificate.read_bytes(),
                "ssl.key": key.read_bytes(),
            }
        )
        reloaded = running.run("atoll", "reload")
        assert reloaded.returncode == 0, reloaded.stdout
        assert f"{eu} 1.0" in requests.get(metrics).text
        address = urlsplit(running.tls_url)
        served = ssl.get_server_certificate((str(address.hostname), int(address.port or 0)))
        assert served == certificate.read_text()


def test_a_restarted_container_serves_with_the_volumes_of_its_pod(
    services: Services, database: str, tmp_path: Path
) -> None:
    """A kubelet restarts a container that was killed; /tmp and the spool are those of the pod."""
    mounted = mounted_bundle(services, database, tmp_path)
    temporary = tmp_path / "tmp"
    with running_pod(services, mounted, tmp_path, temporary=temporary) as running:
        session = client(running)
        content = Content(8 * MEBIBYTE, seed=1)
        location = urlsplit(begin_upload(session, running.url, NAME))
        with socket.create_connection((str(location.hostname), int(location.port or 0))) as upload:
            upload.sendall(
                f"PATCH {location.path}?{location.query} HTTP/1.1\r\nHost: {location.netloc}\r\n"
                f"Authorization: {session.headers['Authorization']!s}\r\n"
                f"Content-Length: {content.size}\r\n\r\n".encode()
                + b"".join(content.pieces(0, MEBIBYTE))
            )
            running.container.kill(signal="SIGKILL")
            running.container.wait()
        stale = temporary / "atoll/metrics/gauge_max_99999.db"
        stale.write_bytes(b"no metrics")
        running.container.start()
        running.container.reload()
        wait_until(
            "the registry is healthy again",
            lambda: running.run("atoll", "healthcheck").returncode == 0,
        )
        # Bodies in progress have no name, so they end with their process.
        assert list((tmp_path / "spool").iterdir()) == []
        assert not stale.exists()
        assert requests.get(f"{running.operations_url}/metrics").status_code == 200
        push_blob(client(running), running.url, NAME, b"after the restart")


def test_a_site_is_removed_with_the_commands_of_quays_runbook(
    services: Services, database: str, tmp_path: Path
) -> None:
    us_secret = mounted_bundle(services, database, tmp_path / "us")
    eu_secret = mounted_bundle(services, database, tmp_path / "eu")
    blobs = [b"pushed at us", b"pushed at eu"]
    with ExitStack() as pods:
        us = pods.enter_context(
            running_pod(services, us_secret, tmp_path / "us", preference="usstorage")
        )
        us_worker = pods.enter_context(
            running_worker(services, us_secret, tmp_path / "us/worker", "usstorage", "replication")
        )
        with ExitStack() as leaving:
            preference = "eustorage"
            eu = leaving.enter_context(
                running_pod(services, eu_secret, tmp_path / "eu", preference=preference)
            )
            digests = [
                push_blob(client(site), site.url, NAME, data)
                for site, data in zip((us, eu), blobs, strict=True)
            ]
            queued = us.run("python", "-m", "util.backfillreplication")
            assert queued.returncode == 0, queued.stdout
            assert "Enqueueing manifest blob" in queued.stdout
            leaving.enter_context(
                running_worker(
                    services, eu_secret, tmp_path / "eu/worker", preference, "replication"
                )
            )
            drained = us.run("atoll", "drain", "eustorage", "--wait")
            assert drained.returncode == 0, drained.stdout
        replace_keys(us_secret, without_eustorage(keys_of(us_secret)))
        for reloaded in (
            us.run("atoll", "reload"),
            podman("exec", str(us_worker.id), "atoll", "reload"),
        ):
            assert reloaded.returncode == 0, reloaded.stdout
        removed = us.run("sh", "-c", "python -m util.removelocation eustorage", text="y\n")
        assert removed.returncode == 0, removed.stdout
        assert removed.stdout.startswith(QUESTION)
        first, *lines = removed.stdout.removeprefix(QUESTION).splitlines()
        assert first == "Removed 0 temporary blobs from blobupload table."
        assert [line.rstrip("0123456789") for line in lines[:-1]] == ["Deleted placement "] * 2
        assert lines[-1] == "Deleted location eustorage"
        session = client(us)
        for digest, data in zip(digests, blobs, strict=True):
            assert session.get(f"{us.url}/v2/{NAME}/blobs/{digest}").content == data
