"""A region continues to serve its clients if a host or a load balancer fails."""

from collections.abc import Callable
from functools import partial

import pytest
from commands import podman, run, succeeds, wait_until
from conftest import RegionalLoads
from definition import Lab, LoadBalancer
from regions import Probe, holder, restart

# The specification of the floating address in seconds; the address fails over within this time.
FAILOVER = 2


def kill_haproxy(lab: Lab, balancer: LoadBalancer) -> None:
    run([*lab.ssh(balancer), "sudo podman kill --signal=KILL atoll-load-balancer"])


def kill_machine(_lab: Lab, balancer: LoadBalancer) -> None:
    podman("kill", "--signal=KILL", balancer.container)


def _await_pulls(loads: RegionalLoads) -> None:
    pulls = loads.pulls
    wait_until("clients of each region pull", lambda: loads.pulls > pulls + 1)


@pytest.mark.parametrize("fail", [kill_haproxy, kill_machine])
def test_the_floating_address_responds_again_within_two_seconds(
    lab: Lab, loads: RegionalLoads, fail: Callable[[Lab, LoadBalancer], None]
) -> None:
    active = holder(lab, "us")
    _await_pulls(loads)
    with Probe(lab, "us").running() as probe:
        fail(lab, active)
        responses = probe.responses
        wait_until("the address responds again", lambda: probe.responses > responses + 10)
        _await_pulls(loads)
        if fail is kill_machine:
            restart(lab, active)
        holder(lab, "us")

    assert probe.longest_outage < FAILOVER
    assert loads.failures == []


def test_clients_see_no_failure_while_a_host_of_each_site_is_killed(
    lab: Lab, loads: RegionalLoads
) -> None:
    _await_pulls(loads)
    for site in lab.sites:
        machine = site.machines[1]
        podman("kill", "--signal=KILL", machine.container)
        _await_pulls(loads)
        podman("start", machine.container)
        healthy = [*lab.ssh(machine), "sudo podman healthcheck run atoll-registry"]
        wait_until(f"{machine.name} is healthy", partial(succeeds, healthy))

    assert loads.failures == []
