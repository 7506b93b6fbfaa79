"""A site, the database, Redis or a store fails in the middle of a run, and the run succeeds."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from clients import Clients
from commands import podman, run, wait_until
from conftest import Apply
from definition import Lab
from docker_upstream import DockerUpstream
from errors import LabError
from load import copy, write_image
from mirror_runs import last_run, run_mirror
from pausing import paused
from site_machine import SiteMachine

MIRROR, SOURCE = "mirrored/large", "team/large"
_IMAGES = 6
_SIZE = 16 * 1024 * 1024

_CLAIMED = """
    SELECT count(*) FROM mirrortask task
    JOIN mirrorrun run ON run.id = task.run_id
    JOIN repomirrorconfig mirror ON mirror.id = run.mirror_id
    WHERE mirror.external_reference = %s AND task.state = 'pending'
    AND task.lease_token IS NOT NULL
"""


@pytest.fixture
def pushed(docker: DockerUpstream, apply: Apply, layout: Path) -> dict[str, str]:
    """Push images, create their mirror, and return their digests."""
    digests = {}
    for number in range(_IMAGES):
        digests[f"{number}"] = write_image(layout, _SIZE)
        target = f"docker://{docker.address}/{SOURCE}:{number}"
        reason = copy(docker.clients, f"oci:{layout}:1", target)
        assert not reason, reason
    apply(docker.mirror(MIRROR, SOURCE))
    return digests


@pytest.fixture
def slow_link(docker: DockerUpstream, us: SiteMachine) -> Iterator[None]:
    """Limit the link from the upstream to one site, so that copying takes long there."""
    packets = f"ip saddr {docker.host} tcp sport {docker.port}"
    rules = f"""
        table inet test {{
            chain forward {{
                type filter hook forward priority 0;
                {packets} limit rate over 1 mbytes/second burst 1 mbytes drop
            }}
        }}
    """
    us.run("nft --file -", given=rules)
    yield
    us.attempt("nft delete table inet test")


@pytest.fixture
def eu_without_mirrors(eu: SiteMachine) -> Iterator[None]:
    """Stop the mirror process of a site, so that the other one claims the tags."""
    eu.run("systemctl stop atoll-mirror")
    yield
    eu.run("systemctl start atoll-mirror")


@pytest.fixture
def begun(
    docker: DockerUpstream,
    us: SiteMachine,
    database: Any,
    pushed: dict[str, str],
) -> dict[str, Any]:
    """Request a run, wait until the site copies tags, and return the run."""
    assert pushed
    us.atoll(f"mirror sync {MIRROR}")
    wait_until("the site copies tags", lambda: _claimed(database, docker) > 0)
    return last_run(us, MIRROR)


@pytest.mark.usefixtures("slow_link", "eu_without_mirrors")
def test_another_site_ends_the_run_of_a_site_that_dies(
    clients: Clients,
    us: SiteMachine,
    eu: SiteMachine,
    pushed: dict[str, str],
    begun: dict[str, Any],
) -> None:
    with paused(us.site.machine):
        eu.run("systemctl start atoll-mirror")
        wait_until(
            "the other site ends the run",
            lambda: last_run(eu, MIRROR)["outcome"] is not None,
            seconds=300,
        )
        done = last_run(eu, MIRROR)
        manifests = {
            tag: clients.skopeo_manifest(eu.address, f"{MIRROR}@{digest}")
            for tag, digest in pushed.items()
        }
        for tag, digest in pushed.items():
            assert clients.skopeo_pull(eu.address, f"{MIRROR}:{tag}") == digest

    assert begun["site"] == us.location
    assert (done["id"], done["outcome"]) == (begun["id"], "SUCCESS")
    assert (done["tags_copied"], done["tags_failed"]) == (_IMAGES, 0)
    wait_until("the site recovers", lambda: us.health("endtoend") == HTTPStatus.OK, seconds=300)
    us.attempt("nft delete table inet test")
    # The copies that the site continues do not change the tags again.
    assert run_mirror(us, MIRROR)["tags_unchanged"] == _IMAGES
    for tag, manifest in manifests.items():
        assert clients.skopeo_manifest(us.address, f"{MIRROR}:{tag}") == manifest


def kill_database(lab: Lab) -> None:
    _kill_service(lab, "atoll-postgres")


def kill_redis(lab: Lab) -> None:
    _kill_service(lab, "atoll-redis")


def kill_store(lab: Lab) -> None:
    podman("kill", "--signal=KILL", lab.stores[0].container)


@pytest.fixture
def stores_restarted(lab: Lab, us: SiteMachine) -> Iterator[None]:
    """Start the stores again after the test."""
    yield
    for store in lab.stores:
        podman("start", store.container)
    wait_until("the site recovers", lambda: us.health("endtoend") == HTTPStatus.OK, seconds=300)


@pytest.mark.usefixtures("slow_link", "eu_without_mirrors", "stores_restarted")
@pytest.mark.parametrize("fail", [kill_database, kill_redis, kill_store])
def test_a_run_succeeds_although_a_service_is_killed(
    fail: Callable[[Lab], None],
    lab: Lab,
    us: SiteMachine,
    eu: SiteMachine,
    begun: dict[str, Any],
) -> None:
    fail(lab)
    us.attempt("nft delete table inet test")

    wait_until("the run ends", lambda: _outcome(eu) is not None, seconds=300)

    done = last_run(eu, MIRROR)
    assert (done["id"], done["outcome"]) == (begun["id"], "SUCCESS")
    assert (done["tags_copied"], done["tags_failed"]) == (_IMAGES, 0)


def _kill_service(lab: Lab, container: str) -> None:
    """Kill a container of the shared host, which systemd starts again."""
    run([*lab.ssh(lab.shared[0]), f"sudo podman kill --signal=KILL {container}"])


def _outcome(site: SiteMachine) -> str | None:
    """Return the outcome of the last run; None if it is in progress or cannot be read."""
    try:
        return last_run(site, MIRROR)["outcome"]
    except LabError:
        return None


def _claimed(database: Any, docker: DockerUpstream) -> int:
    with database.cursor() as cursor:
        cursor.execute(_CLAIMED, (f"{docker.address}/{SOURCE}",))
        return int(cursor.fetchone()[0])
