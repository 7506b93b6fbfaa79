"""Images are scanned by the Clair of a site, and both sites serve the reports."""

import time
from pathlib import Path
from typing import Any

import pytest
from api import Api
from clair_state import ClairState
from clients import Clients
from commands import REPOSITORY, wait_until
from definition import Lab
from load import write_image, write_image_of
from playbook import run_playbook
from rows import Rows
from site_machine import SiteMachine
from tests.clair import images

pytestmark = pytest.mark.usefixtures("scanning_sites")

LAYER = REPOSITORY / "app/tests/clair/recordings/lab/layer-small"
REPOSITORY_PATH = "repository/admin/scanned"
NOTICES = "user/notifications?limit=100"


@pytest.fixture(scope="module")
def state(us: SiteMachine, eu: SiteMachine) -> ClairState:
    return ClairState([us, eu])


@pytest.fixture(scope="module")
def registry(lab: Lab) -> Api:
    return Api(lab)


@pytest.fixture(scope="module")
def scanned(
    clients: Clients,
    us: SiteMachine,
    state: ClairState,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Push the recorded image through the load balancer, and return its digest after its scan."""
    layout = tmp_path_factory.mktemp("image") / "layout"
    write_image_of(layout, LAYER.read_bytes())
    return push(clients, us, state, layout, "1")


def push(clients: Clients, us: SiteMachine, state: ClairState, layout: Path, tag: str) -> str:
    digest = clients.skopeo_push(f"oci:{layout}:1", f"admin/scanned:{tag}")
    us.atoll(f"scan wait admin/scanned:{tag} --timeout 300")
    state.share()
    return digest


def report(lab: Lab, site: SiteMachine, digest: str) -> Any:
    return Api(lab, site.address).call("GET", f"{REPOSITORY_PATH}/manifest/{digest}/security")


def test_both_sites_serve_the_report_of_a_pushed_image(
    lab: Lab, us: SiteMachine, eu: SiteMachine, scanned: str
) -> None:
    for site in (us, eu):
        found = report(lab, site, scanned)
        assert (found["status"], "stale" in found) == ("scanned", False)
        fixes = {
            (feature["Name"], one["Name"]): one["FixedBy"]
            for feature in found["data"]["Layer"]["Features"]
            for one in feature["Vulnerabilities"]
        }
        assert fixes["openssl", "CVE-2099-1001"] == "3.0.17-1~deb12u99"


def test_a_new_vulnerability_is_notified_once_although_clair_delivers_it_twice(
    registry: Api,
    state: ClairState,
    scanned: str,
    database: Rows,
) -> None:
    subscription = {
        "event": "vulnerability_found",
        "method": "quay_notification",
        "config": {"target": {"kind": "user", "name": "admin"}},
        "eventConfig": {},
        "title": None,
    }
    registry.call("POST", f"{REPOSITORY_PATH}/notification/", subscription)

    def is_ended() -> bool:
        """Return whether each notification of Clair was read, and its notices were delivered."""
        received = database("SELECT state FROM securitynotification")
        waiting = database("SELECT 1 FROM notificationdelivery")
        return received == [("ended",)] and not waiting

    def notices() -> list[dict[str, Any]]:
        found = registry.call("GET", NOTICES)["notifications"]
        return [one for one in found if one["kind"] == "vulnerability_found"]

    assert notices() == []
    state.change(tracker=2)
    identifier = state.announce(images.changes(scanned))
    wait_until("the registry accepts it", lambda: state.is_delivered(identifier))
    wait_until("it was read", is_ended)
    (notice,) = notices()
    assert notice["metadata"]["tags"] == ["1"]
    state.deliver_again(identifier)
    wait_until("the registry accepts it again", lambda: state.is_delivered(identifier))
    wait_until("it was read", is_ended)
    assert notices() == [notice]


def test_users_of_a_site_get_the_reports_of_the_other_clair_while_their_own_is_stopped(
    lab: Lab,
    tmp_path: Path,
    us: SiteMachine,
    *,
    state: ClairState,
    clients: Clients,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_image(tmp_path / "before")
    write_image(tmp_path / "after")
    # Reports that were read are cached for all sites, so that of this image is not.
    before = push(clients, us, state, tmp_path / "before", "before")
    us.run("systemctl stop atoll-clair")
    try:
        began = time.monotonic()
        found = report(lab, us, before)
        seconds = time.monotonic() - began
        after = push(clients, us, state, tmp_path / "after", "after")
        later = report(lab, us, after)
    finally:
        us.run("systemctl start atoll-clair")
    with capsys.disabled():
        print(f"\nthe report came from the other site after {seconds:.2f} s")  # noqa: T201
    for one in (found, later):
        assert (one["status"], "stale" in one) == ("scanned", False)
        assert one["data"]["Layer"]["Features"]


def test_a_stopped_clair_is_a_finding_of_the_status(
    lab: Lab, tmp_path: Path, us: SiteMachine, scanning: dict[str, Any]
) -> None:
    us.run("systemctl stop atoll-clair")
    try:
        outcome = run_playbook("status", lab, tmp_path, registry_config=scanning)
    finally:
        us.run("systemctl start atoll-clair")

    assert outcome.status != 0
    assert "us-1: atoll-clair.service is inactive" in " ".join(outcome.output.split())
