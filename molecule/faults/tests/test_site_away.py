"""A whole site goes, and comes back: the other one serves all who come."""

import time
from pathlib import Path

import pytest
from balancer import sites_in_use
from commands import wait_until
from faults import SITE_FAULTS, SiteFault, site_partitioned
from recovery import Registry, stay
from site_machine import SiteMachine


@pytest.mark.parametrize("fault", SITE_FAULTS, ids=lambda fault: fault.__name__)
def test_work_goes_on_at_the_other_site(
    registry: Registry, us: SiteMachine, away: float, tmp_path: Path, fault: SiteFault
) -> None:
    with registry.traffic(tmp_path / "connected") as connected:
        wait_until("people are at work", connected.works)
        with fault(registry.lab, us):
            wait_until(
                "the load balancer uses the other site alone",
                lambda: us.site.machine.name not in sites_in_use(registry.lab),
            )
            noticed = time.time()
            with registry.traffic(tmp_path / "new") as new:
                stay(away)
            if fault is site_partitioned:
                # Who was connected to a machine that only hangs waits as long as it does.
                wait_until("nobody waits for it", lambda: connected.works(noticed))
        registry.wait_until_whole()

    failed = [one for one in connected.failures() if one.began > noticed]
    assert [str(one) for one in (*failed, *new.failures())] == []
    assert new.works(noticed)
    assert registry.lost(tmp_path, {**connected.pushed, **new.pushed}) == []
