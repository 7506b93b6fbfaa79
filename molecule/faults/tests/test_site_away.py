"""A whole site goes, and comes back: the other one serves all who come."""

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
from recovery import Registry, stay
from site_machine import SiteMachine


def sessions(lab: Lab, site: SiteMachine) -> int:
    """Count the connections from SITE that PostgreSQL believes in."""
    connection = psycopg2.connect(information.describe(lab)["postgres"]["uri"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s", [site.address]
        )
        found = int(cursor.fetchall()[0][0])
    connection.close()
    return found


class Waiting:
    """A client that asks over a connection by which it was answered before."""

    def __init__(self, lab: Lab) -> None:
        trust = ssl.create_default_context(cafile=str(lab.certificate_authority))
        # The seconds are for a test that can never pass.
        self._connection = http.client.HTTPSConnection(
            lab.entrance.address, timeout=180, context=trust
        )
        assert self.ask() == HTTPStatus.UNAUTHORIZED

    def ask(self) -> int:
        """Return the status; 0 if the connection was closed, which lets a client come again."""
        self._connection.request("GET", "/v2/")
        try:
            answer = self._connection.getresponse()
        except http.client.RemoteDisconnected:
            return 0
        answer.read()
        return answer.status


@pytest.mark.parametrize("fault", SITE_FAULTS, ids=lambda fault: fault.__name__)
def test_work_goes_on_at_the_other_site(
    registry: Registry, us: SiteMachine, away: float, tmp_path: Path, fault: SiteFault
) -> None:
    with registry.traffic(tmp_path / "connected") as connected:
        wait_until("people are at work", connected.works)
        assert sessions(registry.lab, us) > 0
        waiting = Waiting(registry.lab)
        with fault(registry.lab, us):
            if fault is site_partitioned:
                # The load balancer sends this to the site, and never hears that it came.
                assert waiting.ask() in {0, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
            wait_until(
                "the load balancer uses the other site alone",
                lambda: us.site.machine.name not in sites_in_use(registry.lab),
            )
            noticed = time.time()
            with registry.traffic(tmp_path / "new") as new:
                stay(away)
            if fault is site_partitioned:
                # Who was connected to a machine that only hangs waits as long as it does.
                connected.wait_until_it_works(noticed)
                # Nor what it was doing at the database: locks there are everybody's.
                wait_until("its sessions are gone", lambda: sessions(registry.lab, us) == 0)
        registry.wait_until_whole()

    failed = [one for one in connected.failures() if one.began > noticed]
    assert [str(one) for one in (*failed, *new.failures())] == []
    assert new.works(noticed)
    assert registry.lost(tmp_path, {**connected.pushed, **new.pushed}) == []
