"""The load balancer does not use a site while its store hangs, and clients see no failure."""

from collections.abc import Iterator
from http import HTTPStatus

import images
import pytest
from balancer import sites_in_use
from clients import Clients
from commands import wait_until
from definition import Lab
from pausing import paused
from site_machine import SiteMachine


@pytest.fixture
def hanging_store(lab: Lab, us: SiteMachine) -> Iterator[None]:
    store = next(store for store in lab.stores if store.location == us.location)
    wait_until("the load balancer uses both sites", lambda: len(sites_in_use(lab)) == 2)
    with paused(store):
        yield
    wait_until(
        "the load balancer uses the site again",
        lambda: us.site.machine.name in sites_in_use(lab),
    )


@pytest.mark.usefixtures("hanging_store")
def test_clients_push_and_pull_at_the_other_site_while_a_store_hangs(
    lab: Lab, clients: Clients, us: SiteMachine, eu: SiteMachine
) -> None:
    wait_until(
        "the load balancer uses only the other site",
        lambda: sites_in_use(lab) == {eu.site.machine.name},
    )

    assert us.health("endtoend") == HTTPStatus.SERVICE_UNAVAILABLE
    assert us.health("instance") == HTTPStatus.OK
    assert eu.health("endtoend") == HTTPStatus.OK
    pushed = clients.podman_push(images.CLIENTS.tag, "admin/without-us:1")
    assert clients.skopeo_pull(clients.registry, "admin/without-us:1") == pushed
    # Requests that reach the site are served from the other store.
    assert clients.skopeo_pull(us.address, f"admin/without-us@{pushed}") == pushed


def test_blobs_that_were_pushed_meanwhile_are_copied_to_the_recovered_store(
    clients: Clients, us: SiteMachine
) -> None:
    us.atoll("replication wait --timeout 300")

    assert clients.skopeo_manifest(us.address, "admin/without-us:1")
    assert us.health("endtoend") == HTTPStatus.OK
