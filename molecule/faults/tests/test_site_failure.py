"""A site fails and recovers, and the other site serves all clients meanwhile."""

import http.client
import ssl
import time
from http import HTTPStatus
from pathlib import Path

import information
import psycopg2
import pytest
from balancer import sites_in_use
from commands import wait_until
from definition import Lab
from faults import SITE_FAULTS, SiteFault, site_partitioned
from recovery import Registry, sustain
from site_machine import SiteMachine


def sessions(lab: Lab, site: SiteMachine) -> int:
    """Return the number of connections from a site that PostgreSQL considers open."""
    connection = psycopg2.connect(information.describe(lab)["postgres"]["uri"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s", [site.address]
        )
        found = int(cursor.fetchall()[0][0])
    connection.close()
    return found


class PersistentClient:
    """A client that reuses a connection."""

    def __init__(self, lab: Lab) -> None:
        trust = ssl.create_default_context(cafile=str(lab.certificate_authority))
        # The timeout only ends a test that cannot pass.
        self._connection = http.client.HTTPSConnection(
            lab.entrance.address, timeout=180, context=trust
        )
        assert self.request() == HTTPStatus.UNAUTHORIZED

    def request(self) -> int:
        """Return the status; 0 if the connection was closed, after which clients retry."""
        self._connection.request("GET", "/v2/")
        try:
            answer = self._connection.getresponse()
        except http.client.RemoteDisconnected:
            return 0
        answer.read()
        return answer.status


@pytest.mark.parametrize("fault", SITE_FAULTS, ids=lambda fault: fault.__name__)
def test_the_other_site_serves_all_clients(
    registry: Registry, us: SiteMachine, outage: float, tmp_path: Path, fault: SiteFault
) -> None:
    with registry.traffic(tmp_path / "connected") as connected:
        wait_until("clients push and pull", connected.works)
        assert sessions(registry.lab, us) > 0
        persistent = PersistentClient(registry.lab)
        with fault(registry.lab, us):
            if fault is site_partitioned:
                # The load balancer forwards this request, and receives no acknowledgement.
                assert persistent.request() in {
                    0,
                    HTTPStatus.BAD_GATEWAY,
                    HTTPStatus.GATEWAY_TIMEOUT,
                }
            wait_until(
                "the load balancer uses only the other site",
                lambda: us.site.machine.name not in sites_in_use(registry.lab),
            )
            detected = time.time()
            with registry.traffic(tmp_path / "new") as new:
                sustain(outage)
            if fault is site_partitioned:
                # Clients of a frozen machine hang until it resumes, so this holds only here.
                connected.wait_until_it_works(detected)
                # Its database sessions must end, too, because they may hold locks.
                wait_until(
                    "the sessions of the site are closed", lambda: sessions(registry.lab, us) == 0
                )
        registry.wait_until_healthy()

    failed = [one for one in connected.failures() if one.began > detected]
    assert [str(one) for one in (*failed, *new.failures())] == []
    assert new.works(detected)
    assert registry.lost(tmp_path, {**connected.pushed, **new.pushed}) == []
