"""Requests to the image as started by `podman run`, with different bundles."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ..container_processes import processes_of
from ..integration.services import Services
from .running import (
    CONFINED,
    RUNS_PODS,
    RunningImage,
    podman,
    push_blob,
    running_image,
    write_bundle,
)


@pytest.mark.parametrize("scheme", ["url", "tls_url"])
def test_a_blob_is_pushed_and_pulled_over_http_and_over_tls(
    image: RunningImage, scheme: str
) -> None:
    url = getattr(image, scheme)
    session = image.session()
    assert session.get(f"{url}/v2/").status_code == 401
    image.authorize(session, "library/served", url=url)
    data = f"pushed by {scheme}".encode()
    digest = push_blob(session, url, "library/served", data)
    answer = session.get(f"{url}/v2/library/served/blobs/{digest}", allow_redirects=False)
    assert answer.status_code == 307
    # The redirect leads to the store, whose certificate has the same CA.
    assert image.session().get(answer.headers["Location"]).content == data


@pytest.mark.parametrize("scheme", ["url", "tls_url"])
def test_a_location_keeps_the_clients_scheme_and_host(image: RunningImage, scheme: str) -> None:
    url = getattr(image, scheme)
    session = image.session()
    image.authorize(session, "library/served", url=url)
    answer = session.post(f"{url}/v2/library/served/blobs/uploads/")
    assert answer.headers["Location"].startswith(f"{url}/v2/library/served/blobs/uploads/")
    challenge = image.session().get(f"{url}/v2/").headers["WWW-Authenticate"]
    assert f'realm="{url}/v2/auth"' in challenge


def test_threads_of_web_processes_do_not_interrupt_each_other(image: RunningImage) -> None:
    policies = {
        os.sched_getscheduler(int(thread.name))
        for process in processes_of(image.process)
        if Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"atoll\0web\0")
        for thread in Path(f"/proc/{process}/task").iterdir()
    }
    assert policies == {os.SCHED_BATCH}


@pytest.mark.parametrize("scheme", ["url", "tls_url"])
def test_nginx_sends_the_files_of_the_panels_pages(image: RunningImage, scheme: str) -> None:
    url = getattr(image, scheme)
    page = image.session().get(f"{url}/")
    assert page.headers["Content-Type"].startswith("text/html")
    files = set(re.findall(r'/panel/static/[^"#]+', page.text))
    assert any("/htmx.min." in path for path in files)
    for path in files:
        answer = image.session().get(url + path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        # The application sends none.
        assert answer.headers["ETag"]


@pytest.mark.skipif(RUNS_PODS, reason="the command chooses no user")
def test_the_documented_command_is_sufficient(
    services: Services, database: str, tmp_path: Path
) -> None:
    """`podman run -d -p … -v CONFIG:/conf/stack:Z -e QUAY_…=europestorage IMAGE`, nothing more."""
    us, eu = services.on_network().stores()
    # The default paths of the stores belong to locations with other names.
    usa, europe = (
        [kind, settings | {"storage_path": "/documented"}]
        for kind, settings in (us.settings, eu.settings)
    )
    changes = {
        "DISTRIBUTED_STORAGE_CONFIG": {"usastorage": usa, "europestorage": europe},
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usastorage", "europestorage"],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["usastorage", "europestorage"],
    }
    stack = write_bundle(services, database, tmp_path, changes)
    with running_image(services, stack, preference="europestorage", options=()) as running:
        session = running.session()
        running.authorize(session, "library/documented", url=running.tls_url)
        digest = push_blob(session, running.tls_url, "library/documented", b"in Europe")
        url = f"{running.tls_url}/v2/library/documented/blobs/{digest}"
        answer = session.get(url, allow_redirects=False)
        assert answer.headers["Location"].startswith(f"https://{eu.host}:")


def test_every_process_is_healthy_from_the_first_response_on(
    services: Services, database: str, tmp_path: Path
) -> None:
    """Otherwise a load balancer whose checks reach different processes would see it flapping."""
    stack = write_bundle(services, database, tmp_path)
    options = (*CONFINED, "--env=WORKER_COUNT=4")
    with running_image(services, stack, options=options) as running:
        session = running.session()
        statuses = [session.get(f"{running.url}/health/endtoend").status_code for _ in range(20)]
        assert set(statuses) == {200}


def test_a_request_that_no_process_answers_is_retryable(
    services: Services, database: str, tmp_path: Path
) -> None:
    stack = write_bundle(services, database, tmp_path)
    with running_image(services, stack) as running:
        for path in running.inside("/tmp/atoll").glob("web-*.sock"):
            path.unlink()
        answer = running.session().get(f"{running.url}/v2/")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"


def test_the_image_runs_confined_and_as_any_user(
    services: Services, database: str, tmp_path: Path
) -> None:
    stack = write_bundle(services, database, tmp_path)
    (stack / "ssl.key").chmod(0o644)
    options = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--user=4321")
    with running_image(services, stack, options=options) as running:
        status = running.run("cat", "/proc/1/status").stdout
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert values["Uid"].split() == ["4321"] * 4
        assert int(values["CapBnd"], 16) == int(values["CapEff"], 16) == 0
        assert values["NoNewPrivs"] == "1"
        assert running.run("touch", "/opt/atoll/written").returncode != 0
        assert running.run("atoll", "healthcheck").returncode == 0


def test_http_clients_are_redirected_if_https_is_preferred(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes = {"PREFERRED_URL_SCHEME": "https", "SERVER_HOSTNAME": "registry.test:8443"}
    stack = write_bundle(services, database, tmp_path, changes)
    with running_image(services, stack) as running:
        session = running.session()
        answer = session.get(f"{running.url}/v2/_catalog?n=1", allow_redirects=False)
        assert answer.status_code == 308
        assert answer.headers["Location"] == "https://127.0.0.1:8443/v2/_catalog?n=1"
        assert session.get(f"{running.url}/health/instance").status_code == 200
        assert session.get(f"{running.tls_url}/v2/").status_code == 401


def test_urls_are_https_behind_a_load_balancer_that_terminates_tls(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes = {"PREFERRED_URL_SCHEME": "https", "EXTERNAL_TLS_TERMINATION": True}
    stack = write_bundle(services, database, tmp_path, changes)
    for name in ("ssl.cert", "ssl.key"):
        (stack / name).unlink()
    with running_image(services, stack) as running:
        answer = running.session().get(f"{running.url}/v2/", headers={"Host": "registry.test"})
        assert 'realm="https://registry.test/v2/auth"' in answer.headers["WWW-Authenticate"]


def test_no_secret_is_in_the_log_or_the_process_list(image: RunningImage) -> None:
    session = image.session()
    image.authorize(session, "library/served")
    push_blob(session, image.url, "library/served", b"for the log")
    seen = image.log() + podman("top", str(image.container.id), "args").stdout
    secrets = [image.password, "a secret of the tests", session.headers["Authorization"]]
    assert "library/served" in seen
    assert not [secret for secret in secrets if str(secret) in seen]
