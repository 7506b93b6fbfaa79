"""An organization of one registry follows that of another, with a token of its API.

The tests depend on their order: each begins with the mirror of the previous one.
"""

from pathlib import Path

import pytest
from api import Api
from clients import Clients
from commands import wait_until
from definition import Lab
from load import copy, write_image
from mirror_runs import run_mirror
from site_machine import SiteMachine

SOURCE, MIRROR = "platform", "followed"


@pytest.fixture(scope="module")
def there(upstream_lab: Lab) -> Api:
    """Return the API of the upstream."""
    return Api(upstream_lab)


@pytest.fixture(scope="module")
def here(lab: Lab) -> Api:
    return Api(lab)


@pytest.fixture(scope="module")
def pushed(
    upstream: Clients, there: Api, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Push an image to each of two repositories of the upstream, and return the digests."""
    there.ensure_organization(SOURCE, "reader")
    folder = tmp_path_factory.mktemp("organization")
    return {name: _push(upstream, folder / name, name) for name in ("app", "tools")}


@pytest.fixture(scope="module", autouse=True)
def mirror(here: Api, upstream_lab: Lab, upstream_host: SiteMachine, pushed: dict[str, str]) -> Api:
    """Make the organization a mirror, with a token that may only read, and return its API."""
    assert pushed
    here.ensure_organization(MIRROR, "mirror")
    here.call(
        "POST",
        f"organization/{MIRROR}/mirror",
        {
            "external_registry_type": "quay",
            "external_registry_url": f"https://{upstream_lab.registry_hostname}",
            "external_namespace": SOURCE,
            "external_registry_username": "$oauthtoken",
            "external_registry_password": upstream_host.atoll(
                "token create admin --scope repo:read"
            ).strip(),
            "robot_username": f"{MIRROR}+mirror",
            "visibility": "private",
            "sync_interval": 3600,
            "sync_start_date": "2026-01-01T00:00:00Z",
            "atoll": {"ca_certificate": upstream_lab.certificate_authority.read_text()},
        },
    )
    return here


def test_all_repositories_are_found_and_copied_to_both_sites(
    mirror: Api, clients: Clients, us: SiteMachine, eu: SiteMachine, pushed: dict[str, str]
) -> None:
    _await(mirror, {"app": "SUCCESS", "tools": "SUCCESS"})
    us.atoll("wait --timeout 300")

    for site in (us, eu):
        for name, digest in pushed.items():
            assert clients.skopeo_pull(site.address, f"{MIRROR}/{name}:1") == digest


def test_a_new_repository_appears(
    mirror: Api, upstream: Clients, clients: Clients, eu: SiteMachine, tmp_path: Path
) -> None:
    digest = _push(upstream, tmp_path / "layout", "late")

    mirror.call("POST", f"organization/{MIRROR}/mirror/sync-now", {})

    _await(mirror, {"app": "SUCCESS", "tools": "SUCCESS", "late": "SUCCESS"})
    assert clients.skopeo_pull(eu.address, f"{MIRROR}/late:1") == digest


def test_a_repository_that_vanished_is_kept_without_further_runs(
    mirror: Api, there: Api, clients: Clients, us: SiteMachine, pushed: dict[str, str]
) -> None:
    there.call("DELETE", f"repository/{SOURCE}/tools")

    mirror.call("POST", f"organization/{MIRROR}/mirror/sync-now", {})

    _await(mirror, {"app": "SUCCESS", "tools": "SKIP", "late": "SUCCESS"})
    assert clients.skopeo_pull(us.address, f"{MIRROR}/tools:1") == pushed["tools"]
    assert run_mirror(us, f"{MIRROR}/app")["tags_unchanged"] == 1


def _push(upstream: Clients, layout: Path, name: str) -> str:
    digest = write_image(layout)
    target = f"docker://{upstream.registry}/{SOURCE}/{name}:1"
    assert not copy(upstream, f"oci:{layout}:1", target)
    return digest


def _await(mirror: Api, expected: dict[str, str]) -> None:
    """Wait until the repositories of the mirror have these statuses."""

    def statuses() -> dict[str, str]:
        found = mirror.call("GET", f"organization/{MIRROR}/mirror/repositories")
        return {one["name"]: one["sync_status"] for one in found["repositories"]}

    wait_until(f"the repositories are {expected}", lambda: statuses() == expected, seconds=300)
